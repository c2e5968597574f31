//! The routes of a cell, as its own OpenAPI documents declare them.

use anyhow::{Context, ensure};
use contracts::services::{SERVICES, for_path};
use reqwest::Method;
use serde_json::Value;
use testkit::{Tenant, eventually};

#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    pub template: String,
    /// Media types of the body, if it takes one.
    pub bodies: Vec<String>,
    /// The scope it says it needs.
    pub scope: Option<String>,
}

/// Every route that can be called through the gateway.
pub async fn routes(tenant: &Tenant) -> anyhow::Result<Vec<Route>> {
    eventually("every service describes its routes", || async {
        let routes = described(tenant).await?;
        for service in SERVICES.iter().filter(|service| !service.paths.is_empty()) {
            let its_own = |route: &Route| for_path(&route.template).is_some_and(|found| found.name == service.name);
            ensure!(routes.iter().any(its_own), "{} does not", service.name);
        }
        Ok(routes)
    })
    .await
}

async fn described(tenant: &Tenant) -> anyhow::Result<Vec<Route>> {
    let document = tenant.get("/openapi.json").await?;
    let paths = document["paths"].as_object().context("no paths")?;
    let mut routes = Vec::new();
    for (template, item) in paths {
        for (name, operation) in item.as_object().into_iter().flatten() {
            let Some(method) = method(name) else { continue };
            let content = operation["requestBody"]["content"].as_object();
            let bodies = content.map(|c| c.keys().cloned().collect()).unwrap_or_default();
            let scope = operation["x-cyto-scope"].as_str().map(str::to_owned);
            routes.push(Route { method, template: template.clone(), bodies, scope });
        }
    }
    Ok(routes)
}

pub fn method(name: &str) -> Option<Method> {
    match name {
        "get" => Some(Method::GET),
        "put" => Some(Method::PUT),
        "post" => Some(Method::POST),
        "delete" => Some(Method::DELETE),
        "patch" => Some(Method::PATCH),
        "head" => Some(Method::HEAD),
        _ => None,
    }
}

impl Route {
    pub fn parameters(&self) -> Vec<&str> {
        self.template.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
    }

    /// The path with every parameter replaced.
    pub fn path(&self, value: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
        let mut path = self.template.clone();
        for parameter in self.parameters() {
            let filled =
                value(parameter).with_context(|| format!("{}: the tests know no {parameter}", self.template))?;
            path = path.replace(&format!("{{{parameter}}}"), &filled);
        }
        Ok(path)
    }

    pub fn takes_json(&self) -> bool {
        self.bodies.iter().any(|b| b == "application/json")
    }

    pub fn label(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// The value of a JSON problem's `code`, or the Iceberg error type.
pub fn code(value: &Value) -> String {
    let code = value["code"].as_str().or_else(|| value["error"]["type"].as_str());
    code.unwrap_or_default().to_owned()
}
