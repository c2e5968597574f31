//! Requests for a WebSocket (RFC 6455, 4.1). Pure.

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Version};

/// How a browser says its token: it can give a WebSocket no header but its protocols.
const BEARER: &str = "bearer.";

/// Whether the request asks for one. Any other upgrade is not asked for here, and its request is answered as it is.
pub fn is_asked_for(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let names = |name, wanted| items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted));
    *method == Method::GET
        && version == Version::HTTP_11
        && names(UPGRADE, "websocket")
        && names(CONNECTION, "upgrade")
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// What a browser's protocols say, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Values of `authorization`.
    pub tokens: Vec<String>,
    /// The protocols that are some.
    pub protocols: Vec<String>,
}

/// Takes tokens out of the offered protocols. Beside an `authorization` they are none: the header is what the client is
/// known by. Two of them are two credentials, which the decision refuses.
pub fn offered(headers: &HeaderMap) -> Offered {
    let is_known = headers.contains_key(AUTHORIZATION);
    let mut offered = Offered::default();
    for item in items(headers, SEC_WEBSOCKET_PROTOCOL) {
        match item.get(..BEARER.len()).filter(|begin| begin.eq_ignore_ascii_case(BEARER)) {
            Some(_) if is_known => {}
            Some(begin) => offered.tokens.push(format!("Bearer {}", &item[begin.len()..])),
            None => offered.protocols.push(item.to_owned()),
        }
    }
    offered
}

/// The items of a list, over all lines of its header.
fn items(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in of {
            all.append(*name, HeaderValue::from_static(value));
        }
        all
    }

    const ASKED: &[(&str, &str)] = &[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];

    #[test]
    fn a_websocket_is_asked_for_with_a_get_over_http_1_1_that_has_no_body() {
        let is =
            |method: &Method, version, of: &[(&'static str, &'static str)]| is_asked_for(method, version, &headers(of));
        assert!(is(&Method::GET, Version::HTTP_11, ASKED));
        assert!(!is(&Method::POST, Version::HTTP_11, ASKED));
        assert!(!is(&Method::GET, Version::HTTP_2, ASKED));
        assert!(!is(&Method::GET, Version::HTTP_11, &ASKED[..1]));
        assert!(!is(&Method::GET, Version::HTTP_11, &ASKED[1..]));
        assert!(!is(&Method::GET, Version::HTTP_11, &[ASKED[0], ("upgrade", "h2c")]));
        for body in [("content-length", "0"), ("transfer-encoding", "chunked")] {
            assert!(!is(&Method::GET, Version::HTTP_11, &[ASKED[0], ASKED[1], body]));
        }
    }

    #[test]
    fn a_browsers_token_becomes_the_requests() {
        let protocol = "sec-websocket-protocol";
        let told = |tokens: &[&str], protocols: &[&str]| Offered {
            tokens: tokens.iter().map(|token| format!("Bearer {token}")).collect(),
            protocols: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
        };
        let of = |of: &[(&'static str, &'static str)]| offered(&headers(of));
        assert_eq!(of(&[(protocol, "cyto, bearer.a.b-c_d")]), told(&["a.b-c_d"], &["cyto"]));
        assert_eq!(of(&[(protocol, "Bearer.x")]), told(&["x"], &[]));
        assert_eq!(of(&[(protocol, "cyto")]), told(&[], &["cyto"]));
        assert_eq!(of(&[(protocol, "bearer.x"), ("authorization", "Bearer y")]), told(&[], &[]));
        assert_eq!(of(&[(protocol, "bearer.x, a"), (protocol, "bearer.y")]), told(&["x", "y"], &["a"]));
    }
}
