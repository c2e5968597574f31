//! OAuth 2: the token endpoint, revocation, user information.

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::TenantId;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::fault::{Fault as _, Kind, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Address;
use crate::Identity;
use crate::domain::access::Caller;
use crate::domain::device::Poll;
use crate::error::Error;
use crate::ops::device::{self, Collected};
use crate::ops::tokens::{self, TokenGrant, Wanted};
use crate::ops::{accounts, sessions};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[derive(Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials`, `refresh_token` or `urn:ietf:params:oauth:grant-type:device_code`.
    grant_type: String,
    /// Id of a service account or user; may come by HTTP Basic instead.
    client_id: Option<String>,
    /// An API key; may come by HTTP Basic instead.
    client_secret: Option<String>,
    refresh_token: Option<String>,
    device_code: Option<String>,
    /// Tenant to act in; without one the token is for the global plane.
    tenant: Option<String>,
    /// Space separated; everything the subject holds when absent.
    scope: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct TokenResponse {
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl From<TokenGrant> for TokenResponse {
    fn from(grant: TokenGrant) -> Self {
        Self {
            access_token: grant.access_token,
            token_type: "Bearer",
            expires_in: grant.expires_in,
            scope: grant.scopes,
            tenant: grant.tenant,
            refresh_token: grant.refresh_token,
        }
    }
}

/// The wire form of RFC 6749 §5.2, which clients of every OAuth library expect.
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthProblem {
    error: &'static str,
    error_description: String,
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl OAuthProblem {
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, error_description: description.into(), status: 400, retry_after: None }
    }
}

/// `bad_credentials` is the grant's own name for credentials that are not valid.
pub fn oauth_problem(error: Error, bad_credentials: &'static str) -> OAuthProblem {
    match error {
        Error::BadCredentials if bad_credentials == "invalid_client" => {
            OAuthProblem { status: 401, ..OAuthProblem::new(bad_credentials, error.to_string()) }
        }
        Error::BadCredentials => OAuthProblem::new(bad_credentials, error.to_string()),
        Error::Scope => OAuthProblem::new("invalid_scope", error.to_string()),
        Error::Invalid(text) => OAuthProblem::new("invalid_request", text),
        other => {
            let (retry_after, kind) = (other.retry_after().map(|d| d.as_secs().max(1)), other.kind());
            let problem = Problem::from(other);
            let name = if kind == Kind::TooMany { "slow_down" } else { "server_error" };
            OAuthProblem { status: kind.status().as_u16(), retry_after, ..OAuthProblem::new(name, problem.detail()) }
        }
    }
}

impl IntoResponse for OAuthProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"cytoplane\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Tokens are never cached.
pub fn no_store(status: StatusCode, body: impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Reads a form; a body that is none is `invalid_request`.
pub fn form<T>(form: Result<Form<T>, FormRejection>) -> Result<T, OAuthProblem> {
    form.map(|Form(value)| value).map_err(|rejection| OAuthProblem::new("invalid_request", rejection.body_text()))
}

pub fn wanted(tenant: Option<&str>, scope: Option<&str>) -> Result<Wanted, Error> {
    let tenant = tenant.filter(|t| !t.is_empty()).map(TenantId::new).transpose();
    Ok(Wanted::new(tenant.map_err(|_| Error::BadCredentials)?, scope))
}

/// Client id and secret from HTTP Basic, where both are form-encoded (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, encoded) = value.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let mut pairs = url::form_urlencoded::parse(part.as_bytes());
        pairs.next().map(|(text, _)| text.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

/// Issue a token.
#[utoipa::path(
    post, path = "/oauth2/token", tag = "sign-in",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenResponse), (status = 400, body = OAuthProblem), (status = 401, body = OAuthProblem), (status = 429, body = OAuthProblem)),
)]
pub async fn token(
    State(identity): State<Identity>,
    Address(address): Address,
    headers: HeaderMap,
    body: Result<Form<TokenRequest>, FormRejection>,
) -> Result<Response, OAuthProblem> {
    let request = form(body)?;
    let missing = |what: &str| OAuthProblem::new("invalid_request", format!("{what} is required"));
    let grant = match request.grant_type.as_str() {
        "client_credentials" => {
            let (id, secret) = basic(&headers)
                .or_else(|| request.client_id.clone().zip(request.client_secret.clone()))
                .ok_or_else(|| missing("client authentication"))?;
            let refused = |error| oauth_problem(error, "invalid_client");
            let wanted = wanted(request.tenant.as_deref(), request.scope.as_deref()).map_err(refused)?;
            tokens::by_client(&identity, &id, &secret, wanted, &address).await.map_err(refused)?
        }
        "refresh_token" => {
            let token = request.refresh_token.as_deref().ok_or_else(|| missing("refresh_token"))?;
            let refused = |error| oauth_problem(error, "invalid_grant");
            let wanted = wanted(request.tenant.as_deref(), request.scope.as_deref()).map_err(refused)?;
            tokens::by_refresh(&identity, token, wanted).await.map_err(refused)?
        }
        DEVICE_GRANT => {
            let code = request.device_code.as_deref().ok_or_else(|| missing("device_code"))?;
            match device::collect(&identity, code).await.map_err(|error| oauth_problem(error, "invalid_grant"))? {
                Collected::Grant(grant) => grant,
                Collected::Wait(poll) => return Err(poll_problem(poll)),
            }
        }
        _ => return Err(OAuthProblem::new("unsupported_grant_type", "this grant type is not known here")),
    };
    Ok(no_store(StatusCode::OK, TokenResponse::from(grant)))
}

fn poll_problem(poll: Poll) -> OAuthProblem {
    match poll {
        Poll::Pending => OAuthProblem::new("authorization_pending", "nobody has decided yet"),
        Poll::SlowDown => OAuthProblem::new("slow_down", "ask less often: five more seconds between two polls"),
        Poll::Denied => OAuthProblem::new("access_denied", "the request was denied"),
        Poll::Expired | Poll::Ready(_) => OAuthProblem::new("expired_token", "the device code is no longer good"),
    }
}

#[derive(Deserialize, ToSchema)]
pub struct RevokeRequest {
    /// A refresh token or an access token; the whole session ends.
    token: String,
}

/// End the session of a token (RFC 7009). Answers 200 for tokens that are not ours, too.
#[utoipa::path(
    post, path = "/oauth2/revoke", tag = "sign-in",
    request_body(content = RevokeRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The session has ended, if there was one"), (status = 400, body = OAuthProblem)),
)]
pub async fn revoke(
    State(identity): State<Identity>,
    body: Result<Form<RevokeRequest>, FormRejection>,
) -> Result<StatusCode, OAuthProblem> {
    let request = form(body)?;
    sessions::revoke_token(&identity, &request.token).await.map_err(|error| oauth_problem(error, "invalid_grant"))?;
    Ok(StatusCode::OK)
}

#[derive(Serialize, ToSchema)]
pub struct UserInfo {
    pub sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub name: String,
    /// The home organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The first 1000 tenants the subject is a member of.
    pub tenants: Vec<String>,
}

/// Who the bearer is.
#[utoipa::path(get, path = "/oauth2/userinfo", tag = "sign-in", responses((status = 200, body = UserInfo), (status = 401)))]
pub async fn userinfo(State(identity): State<Identity>, caller: Caller) -> Result<Json<UserInfo>, Problem> {
    let (subject, tenants) = accounts::myself(&identity, &caller).await?;
    Ok(Json(UserInfo {
        sub: subject.id.to_string(),
        email: subject.email,
        name: subject.name,
        org: subject.organisation,
        tenants,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(text)).parse().unwrap());
            basic(&headers)
        };
        assert_eq!(read("id:ck_a_b"), Some(("id".into(), "ck_a_b".into())));
        assert_eq!(read("a%3Ab:c%25"), Some(("a:b".into(), "c%".into())));
        assert_eq!(read("nothing"), None);
    }
}
