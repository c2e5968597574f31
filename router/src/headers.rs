//! Which headers cross the door, and the ones the router mints. Pure.

use std::net::IpAddr;

use contracts::headers::RESERVED_PREFIX;

/// The client's own request id, as the cell sees it.
pub const CLIENT_REQUEST_ID: &str = "x-client-request-id";
pub const FORWARDED: &str = "forwarded";
pub const TRACESTATE: &str = "tracestate";

/// Whether the platform speaks with this header: no client may send it, and none is shown one.
/// `_` counts as `-`, because some readers fold the one into the other.
pub fn is_reserved(name: &str) -> bool {
    starts_with_folded(name, RESERVED_PREFIX)
}

/// Whether a client's header stays outside: identity, and who the client claims to have come from.
pub fn is_stripped(name: &str) -> bool {
    is_reserved(name)
        || starts_with_folded(name, "x-forwarded-")
        || matches!(name, FORWARDED | "x-real-ip" | "x-client-request-id" | "x-original-url" | "x-rewrite-url")
        || matches!(name, "proxy-authorization" | "proxy-connection" | "expect")
}

fn starts_with_folded(name: &str, prefix: &str) -> bool {
    let folded = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(a, b)| folded(a) == b)
}

/// A client's request id that may be passed on: it ends in logs.
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

/// Value of `forwarded` (RFC 7239) for the next hop.
pub fn forwarded(client: Option<IpAddr>, host: &str, tls: bool) -> String {
    let client = match client {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".into(),
    };
    let proto = if tls { "https" } else { "http" };
    format!("for={client};host=\"{host}\";proto={proto}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_reserved_header_passes() {
        for name in ["x-cyto-tenant", "x-cyto-", "x-cyto-anything", "x_cyto_tenant", "X-Cyto-Scopes", "x-cyto_actor"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip", "x_forwarded_for", "expect"] {
            assert!(is_stripped(name) && !is_reserved(name), "{name}");
        }
        for name in ["x-cytoplane", "x-cyto", "authorization", "x-request-id", "te", "grpc-timeout", "x-forwarded"] {
            assert!(!is_stripped(name), "{name}");
        }
    }

    #[test]
    fn request_ids_that_could_forge_a_log_line_stay_out() {
        assert!(is_request_id(b"0193-aB_c.d:e"));
        for bad in [&b""[..], b"a b", b"a\nb", b"a\"b", &[b'a'; 129]] {
            assert!(!is_request_id(bad));
        }
    }

    #[test]
    fn forwarded_quotes_what_must_be_quoted() {
        assert_eq!(
            forwarded("::1".parse().ok(), "acme.localhost", true),
            "for=\"[::1]\";host=\"acme.localhost\";proto=https"
        );
        assert_eq!(forwarded("127.0.0.1".parse().ok(), "a", false), "for=127.0.0.1;host=\"a\";proto=http");
    }
}
