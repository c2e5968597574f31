//! Device sign-in (RFC 8628): the terminal's request and the person's page.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use kit::fault::{Kind, Problem};
use kit::http::Query;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Address;
use super::oauth::{OAuthProblem, form, no_store, oauth_problem, wanted};
use crate::Identity;
use crate::ops::device;

#[derive(Deserialize, ToSchema)]
pub struct DeviceRequest {
    client_id: Option<String>,
    tenant: Option<String>,
    scope: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct DeviceResponse {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    /// Seconds.
    expires_in: i64,
    /// Seconds between two polls.
    interval: i32,
}

/// Start a device sign-in.
#[utoipa::path(
    post, path = "/oauth2/device_authorization", tag = "sign-in",
    request_body(content = DeviceRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeviceResponse), (status = 400, body = OAuthProblem)),
)]
pub async fn authorise(
    State(identity): State<Identity>,
    Address(address): Address,
    body: Result<Form<DeviceRequest>, FormRejection>,
) -> Result<Response, OAuthProblem> {
    let request = form(body)?;
    let refused = |error| oauth_problem(error, "invalid_request");
    let wanted = wanted(request.tenant.as_deref(), request.scope.as_deref()).map_err(refused)?;
    let client = request.client_id.unwrap_or_default();
    let started = device::start(&identity, &client, &wanted, &address).await.map_err(refused)?;
    let page = format!("{}/device", identity.0.settings.public_url);
    Ok(no_store(
        StatusCode::OK,
        DeviceResponse {
            verification_uri_complete: format!("{page}?user_code={}", started.user_code),
            verification_uri: page,
            device_code: started.device_code,
            user_code: started.user_code,
            expires_in: started.expires_in,
            interval: started.interval,
        },
    ))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    user_code: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub struct Decision {
    user_code: String,
    email: String,
    password: String,
    /// `approve` or `deny`.
    decision: String,
}

#[derive(Serialize, ToSchema)]
pub struct Decided {
    /// `approved` or `denied`.
    status: &'static str,
}

/// Only letters and dashes of a code can reach the page, so nothing in it needs escaping.
fn harmless(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(16).collect()
}

fn html(status: StatusCode, title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:16px/1.5 system-ui;max-width:24rem;\
         margin:4rem auto;padding:0 1rem}}label,input,button{{display:block;width:100%;margin:.5rem 0;font:inherit}}\
         input,button{{padding:.5rem;box-sizing:border-box}}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    (status, [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_SECURITY_POLICY, policy)], Html(page))
        .into_response()
}

/// The page where a person enters the code.
#[utoipa::path(get, path = "/device", tag = "sign-in", params(PageQuery), responses((status = 200, description = "An HTML form", content_type = "text/html", body = String)))]
pub async fn page(Query(query): Query<PageQuery>) -> Response {
    let code = harmless(&query.user_code.unwrap_or_default());
    let form = format!(
        "<p>Check that the code is the one your terminal shows. Never enter a code that somebody sent you.</p>\
         <form method=\"post\" action=\"/device\"><label>Code <input name=\"user_code\" value=\"{code}\" required autocomplete=\"off\"></label>\
         <label>E-mail <input name=\"email\" type=\"email\" required autocomplete=\"username\"></label>\
         <label>Password <input name=\"password\" type=\"password\" required autocomplete=\"current-password\"></label>\
         <button name=\"decision\" value=\"approve\">Sign the terminal in</button>\
         <button name=\"decision\" value=\"deny\">Refuse</button></form>"
    );
    html(StatusCode::OK, "Sign a terminal in", &form)
}

fn is(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains(wanted))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Option<Decision> {
    if is(headers, header::CONTENT_TYPE, "application/json") {
        return serde_json::from_slice(body).ok();
    }
    let mut fields: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(body).into_owned().collect();
    Some(Decision {
        user_code: fields.remove("user_code")?,
        email: fields.remove("email")?,
        password: fields.remove("password")?,
        decision: fields.remove("decision")?,
    })
}

/// A person's decision, as a form or as JSON.
#[utoipa::path(
    post, path = "/device", tag = "sign-in", request_body = Decision,
    responses((status = 200, body = Decided), (status = 401), (status = 404, description = "No such code waits"), (status = 422)),
)]
pub async fn decide(
    State(identity): State<Identity>,
    Address(address): Address,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let outcome = decide_parsed(&identity, &address, read(&headers, &body)).await;
    let browser = is(&headers, header::ACCEPT, "text/html");
    match outcome {
        Ok(status) if browser => {
            html(StatusCode::OK, "Done", &format!("<p>The request was {status}. You may close this page.</p>"))
        }
        Ok(status) => Json(Decided { status }).into_response(),
        // The detail is one of our own sentences.
        Err(problem) if browser => html(
            problem.kind().status(),
            "That did not work",
            &format!("<p>{}</p><p><a href=\"/device\">Try again</a></p>", problem.detail()),
        ),
        Err(problem) => problem.into_response(),
    }
}

async fn decide_parsed(
    identity: &Identity,
    address: &str,
    decision: Option<Decision>,
) -> Result<&'static str, Problem> {
    let malformed =
        || Problem::new(Kind::Invalid, "request/body", "user_code, email, password and decision are required");
    let decision = decision.ok_or_else(malformed)?;
    let approve = match decision.decision.as_str() {
        "approve" => true,
        "deny" => false,
        _ => return Err(Problem::new(Kind::Invalid, "request/body", "decision is approve or deny")),
    };
    device::decide(identity, &decision.user_code, &decision.email, decision.password, approve, address).await?;
    Ok(if approve { "approved" } else { "denied" })
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_code_cannot_carry_markup_into_the_page() {
        assert_eq!(harmless("\"><script>alert(1)</script>"), "scriptalert1scri");
        assert_eq!(harmless("BCDF-GHJK"), "BCDF-GHJK");
    }
}
