//! Faults: one closed list of kinds, one table to HTTP, gRPC, log level and retry advice.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use contracts::{Generation, headers};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Precondition,
    Misdirected,
    TooMany,
    TooLarge,
    Unavailable,
    Timeout,
    Internal,
}

impl Kind {
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Precondition => StatusCode::PRECONDITION_FAILED,
            Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub fn grpc(self) -> tonic::Code {
        match self {
            Kind::Invalid => tonic::Code::InvalidArgument,
            Kind::Unauthenticated => tonic::Code::Unauthenticated,
            Kind::Forbidden => tonic::Code::PermissionDenied,
            Kind::NotFound => tonic::Code::NotFound,
            Kind::Conflict => tonic::Code::AlreadyExists,
            Kind::Precondition | Kind::Misdirected => tonic::Code::FailedPrecondition,
            Kind::TooMany | Kind::TooLarge => tonic::Code::ResourceExhausted,
            Kind::Unavailable => tonic::Code::Unavailable,
            Kind::Timeout => tonic::Code::DeadlineExceeded,
            Kind::Internal => tonic::Code::Internal,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Kind::Invalid => "The request is not valid",
            Kind::Unauthenticated => "Not signed in",
            Kind::Forbidden => "Not allowed",
            Kind::NotFound => "Not found",
            Kind::Conflict => "Conflict",
            Kind::Precondition => "A condition of the request does not hold",
            Kind::Misdirected => "This cell does not serve the tenant at this generation",
            Kind::TooMany => "Too many requests",
            Kind::TooLarge => "Too large",
            Kind::Unavailable => "Temporarily unavailable",
            Kind::Timeout => "Timed out",
            Kind::Internal => "Internal error",
        }
    }

    /// Only faults of ours are logged as errors; a caller's mistake is not our noise.
    pub fn is_ours(self) -> bool {
        matches!(self, Kind::Internal | Kind::Unavailable | Kind::Timeout)
    }
}

/// An error that knows its kind. `Display` is what the caller reads, so it never prints a source.
pub trait Fault: std::error::Error {
    fn kind(&self) -> Kind;
    /// Stable, documented, for example `dataset/transaction-open`.
    fn code(&self) -> &'static str;
    fn retry_after(&self) -> Option<Duration> {
        None
    }
    /// On [`Kind::Misdirected`]: the generation to reach before a retry.
    fn generation_required(&self) -> Option<Generation> {
        None
    }
    /// On [`Kind::Misdirected`]: it will be reached when the tenant has arrived elsewhere, which may take seconds.
    fn is_leaving(&self) -> bool {
        false
    }
    /// One more member of the problem document.
    fn extension(&self) -> Option<(&'static str, Value)> {
        None
    }
}

/// The wire form (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    generation_required: Option<Generation>,
    is_leaving: bool,
    extensions: Vec<(String, Value)>,
}

impl Problem {
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            retry_after: None,
            generation_required: None,
            is_leaving: false,
            extensions: Vec::new(),
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.extensions.push((member.to_owned(), value));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The same fault for a gRPC caller: code and detail in the status, the rest in metadata.
    pub fn to_status(&self) -> tonic::Status {
        let mut status = tonic::Status::new(self.kind.grpc(), self.detail.clone());
        let metadata = status.metadata_mut();
        if let Ok(code) = self.code.parse() {
            metadata.insert(contracts::headers::ERROR_CODE, code);
        }
        if let Some(after) = self.retry_after
            && let Ok(seconds) = whole_seconds(after).to_string().parse()
        {
            metadata.insert("retry-after", seconds);
        }
        if let Some(generation) = self.generation_required
            && let Ok(value) = generation.to_string().parse()
        {
            metadata.insert(headers::GENERATION_REQUIRED, value);
        }
        if self.is_leaving {
            metadata.insert(headers::LEAVING, tonic::metadata::MetadataValue::from_static("1"));
        }
        status
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("https://cytoplane.dev/errors/{}", self.code),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            for (name, value) in &self.extensions {
                members.insert(name.clone(), value.clone());
            }
        }
        body
    }
}

/// A retry hint is never zero: zero would ask for a busy loop.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs_f64().ceil().max(1.0) as u64
}

impl<E: Fault> From<E> for Problem {
    fn from(fault: E) -> Self {
        let kind = fault.kind();
        if kind.is_ours() {
            tracing::error!(code = fault.code(), error = %chain(&fault), "request failed");
        }
        let detail = if kind == Kind::Internal {
            "Something failed on our side; the request id finds it in our logs.".to_owned()
        } else {
            fault.to_string()
        };
        Self {
            kind,
            code: fault.code(),
            detail,
            retry_after: fault.retry_after().or(matches!(kind, Kind::Unavailable).then_some(Duration::from_secs(1))),
            generation_required: fault.generation_required(),
            is_leaving: fault.is_leaving(),
            extensions: fault.extension().map(|(k, v)| (k.to_owned(), v)).into_iter().collect(),
        }
    }
}

/// The error and its sources, for logs only.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.body().to_string()).into_response();
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthenticated {
            out.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            out.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(generation) = self.generation_required {
            out.insert(headers::GENERATION_REQUIRED, HeaderValue::from(generation.0));
        }
        if self.is_leaving {
            out.insert(headers::LEAVING, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(ProblemCode(self.code));
        response
    }
}

/// Left on the response for the access log.
#[derive(Debug, Clone, Copy)]
pub struct ProblemCode(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk at /secret is full")]
    struct Hidden;
    impl Fault for Hidden {
        fn kind(&self) -> Kind {
            Kind::Internal
        }
        fn code(&self) -> &'static str {
            "test/hidden"
        }
    }

    #[test]
    fn an_internal_fault_never_shows_its_detail() {
        let problem = Problem::from(Hidden);
        assert!(!problem.body().to_string().contains("/secret"));
        assert!(!problem.to_status().message().contains("/secret"));
    }
}
