//! Refusals as the caller reads them: problem+json (RFC 9457), or a gRPC status.

use std::time::Duration;

use serde::Serialize;

use crate::decision::Refusal;
use crate::fairness::Over;

/// One row of the table of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub status: u16,
    /// gRPC status.
    pub grpc: u8,
    pub code: &'static str,
    pub title: &'static str,
    pub detail: &'static str,
    /// After which another try makes sense.
    pub retry_after: Option<Duration>,
}

const fn row(status: u16, grpc: u8, code: &'static str, title: &'static str, detail: &'static str) -> Row {
    Row { status, grpc, code, title, detail, retry_after: None }
}

const fn later(row: Row, seconds: u64) -> Row {
    Row { retry_after: Some(Duration::from_secs(seconds)), ..row }
}

/// The row of a limit that a tenant has reached.
fn over(over: Over) -> Row {
    match over {
        Over::Requests { after } => Row {
            retry_after: Some(after),
            ..row(
                429,
                8,
                "router/rate-limit",
                "Too many requests",
                "The tenant makes more requests than its tier allows.",
            )
        },
        Over::Bytes { after } => Row {
            retry_after: Some(after),
            ..row(429, 8, "router/byte-limit", "Too many bytes", "The tenant moves more bytes than its tier allows.")
        },
        Over::Concurrent { .. } => later(
            row(
                429,
                8,
                "router/concurrency-limit",
                "Too many requests at once",
                "The tenant has as many requests under way as its tier allows.",
            ),
            1,
        ),
        Over::Share => {
            later(row(503, 14, "router/busy", "Busy", "The router is full, and the tenant has its share of it."), 1)
        }
    }
}

/// The row of a refusal. gRPC: 3 invalid, 4 deadline, 5 not found, 7 denied, 8 exhausted,
/// 13 internal, 14 unavailable, 16 unauthenticated.
pub fn row_of(refusal: Refusal) -> Row {
    // length: a table, one row for each refusal.
    use Refusal::*;
    match refusal {
        NoHost => row(400, 3, "router/no-host", "No host", "The request names no host."),
        BadHost => row(400, 3, "router/bad-host", "Bad host", "The request's host is malformed."),
        BadTarget => row(400, 3, "router/bad-target", "Bad target", "The request's target is malformed or ambiguous."),
        BadFraming => row(
            400,
            3,
            "router/bad-framing",
            "Bad framing",
            "The request's length or transfer coding could be read in two ways.",
        ),
        NotFound => row(404, 5, "router/not-found", "Not found", "Nothing is served there."),
        WrongName => row(
            421,
            14,
            "router/misdirected",
            "Misdirected request",
            "The request's host differs from the name asked for in TLS. Open a connection for this host.",
        ),
        UnknownHost => row(404, 5, "router/unknown-host", "Unknown host", "No tenant has this host."),
        HeaderTooLarge => {
            row(431, 8, "router/header-too-large", "Header too large", "The request's header is larger than allowed.")
        }
        BodyTooLarge => {
            row(413, 8, "router/body-too-large", "Body too large", "The request's body is larger than allowed.")
        }
        TokenMissing => {
            row(401, 16, "router/token-missing", "Not authenticated", "Send a token: authorization: Bearer <token>.")
        }
        TokenBad(_) => row(401, 16, "router/token-invalid", "Not authenticated", "The token is not valid."),
        OtherTenant => {
            row(403, 7, "router/other-tenant", "Forbidden", "The token is for another tenant than the host's.")
        }
        UnknownTenant => row(404, 5, "router/unknown-tenant", "Unknown tenant", "The token's tenant has no placement."),
        OtherGroup => row(
            421,
            14,
            "router/other-group",
            "Misdirected request",
            "Other routers serve this tenant. Resolve its host again.",
        ),
        NotReady => {
            later(row(503, 14, "router/not-ready", "Not ready", "The router has no keys to check tokens with yet."), 2)
        }
        Moving => later(
            row(
                503,
                14,
                "router/placement-moving",
                "Unavailable",
                "The tenant's placement is changing. Nothing was executed.",
            ),
            1,
        ),
        CellUnavailable => {
            later(row(503, 14, "router/cell-unavailable", "Unavailable", "The tenant's cell cannot be reached."), 2)
        }
        CellTimeout => row(504, 4, "router/cell-timeout", "Timeout", "The tenant's cell did not answer in time."),
        CellBroken => row(502, 14, "router/cell-broken", "Bad gateway", "The tenant's cell broke off its answer."),
        Over(limit) => over(limit),
        Internal => row(500, 13, "router/internal", "Internal error", "The router failed."),
    }
}

/// A refusal ready to be written. gRPC callers read theirs in the trailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(&'static str, String)>,
}

/// Who is answered.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub grpc: bool,
    pub request_id: &'a str,
    pub trace_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    request_id: &'a str,
    trace_id: &'a str,
}

/// Shapes a refusal for its caller.
pub fn answer(refusal: Refusal, caller: Caller<'_>) -> Answer {
    let row = row_of(refusal);
    let detail = match refusal {
        Refusal::TokenBad(error) => format!("{} {}.", row.detail, sentence(&error.to_string())),
        _ => row.detail.to_owned(),
    };
    let mut headers = vec![("x-request-id", caller.request_id.to_owned()), ("cache-control", "no-store".to_owned())];
    if row.status == 401 {
        headers.push(("www-authenticate", challenge(refusal)));
    }
    if let Some(after) = row.retry_after {
        // Whole seconds, and never too early.
        headers.push(("retry-after", after.as_nanos().div_ceil(1_000_000_000).max(1).to_string()));
    }
    if caller.grpc {
        headers.push(("content-type", "application/grpc".into()));
        let mut trailers =
            vec![("grpc-status", row.grpc.to_string()), ("grpc-message", format!("{}: {detail}", row.code))];
        if let Some(after) = row.retry_after {
            trailers.push(("grpc-retry-pushback-ms", after.as_nanos().div_ceil(1_000_000).to_string()));
        }
        return Answer { status: 200, headers, body: Vec::new(), trailers };
    }
    let problem = Problem {
        r#type: "about:blank",
        title: row.title,
        status: row.status,
        code: row.code,
        detail: &detail,
        request_id: caller.request_id,
        trace_id: caller.trace_id,
    };
    // A struct of texts and a number always has a JSON form.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    headers.push(("content-type", "application/problem+json".into()));
    headers.push(("content-length", body.len().to_string()));
    Answer { status: row.status, headers, body, trailers: Vec::new() }
}

fn challenge(refusal: Refusal) -> String {
    match refusal {
        Refusal::TokenBad(error) => {
            format!("Bearer realm=\"cytoplane\", error=\"invalid_token\", error_description=\"{error}\"")
        }
        _ => "Bearer realm=\"cytoplane\"".into(),
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenError;

    const HTTP: Caller<'_> = Caller { grpc: false, request_id: "r", trace_id: "t" };

    #[test]
    fn http_callers_get_a_problem() {
        let given = answer(Refusal::TokenBad(TokenError::Expired), HTTP);
        assert_eq!(given.status, 401);
        let body: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
        assert_eq!(body["code"], "router/token-invalid");
        assert_eq!(body["detail"], "The token is not valid. The token has expired.");
        assert_eq!(body["requestId"], "r");
        let challenge = given.headers.iter().find(|(name, _)| *name == "www-authenticate").unwrap();
        assert!(challenge.1.contains("invalid_token"));
    }

    #[test]
    fn grpc_callers_read_a_status_in_the_trailers() {
        let given = answer(Refusal::Moving, Caller { grpc: true, ..HTTP });
        assert_eq!((given.status, given.body.len()), (200, 0));
        assert!(given.trailers.contains(&("grpc-status", "14".into())));
        assert!(given.headers.contains(&("retry-after", "1".into())));
        assert!(given.trailers.contains(&("grpc-retry-pushback-ms", "1000".into())));
    }

    #[test]
    fn a_limit_says_when_to_come_again_and_never_too_early() {
        for (after, seconds) in [(1, "1"), (1_000_000_000, "1"), (1_000_000_001, "2")] {
            let over = Refusal::Over(Over::Requests { after: Duration::from_nanos(after) });
            let given = answer(over, HTTP);
            assert_eq!(given.status, 429);
            assert!(given.headers.contains(&("retry-after", seconds.into())), "{after}");
        }
    }
}
