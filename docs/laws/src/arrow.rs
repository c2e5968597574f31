//! One Arrow, one DataFusion, and DataFusion only where queries run.

use crate::tree::{members, none, root};

fn versions(package: &str) -> Vec<String> {
    let lock: toml::Table = std::fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let named = packages.iter().filter(|p| p["name"].as_str() == Some(package));
    named.map(|p| p["version"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn there_is_one_arrow_and_one_datafusion() {
    for package in ["arrow", "arrow-array", "arrow-flight", "parquet", "datafusion", "object_store", "rustls", "tonic"]
    {
        assert_eq!(versions(package).len(), 1, "{package}: {:?}", versions(package));
    }
}

#[test]
fn datafusion_is_linked_only_where_queries_run() {
    let allowed = ["query-engine", "sql-bi-gateway", "sql-warehousing"];
    let findings = members()
        .into_iter()
        .filter(|m| m.dependencies.iter().any(|d| d.starts_with("datafusion")) && !allowed.contains(&m.name.as_str()))
        .map(|m| m.folder)
        .collect();
    none("DataFusion is linked only by the engine, the pool and the edge", findings);
}
