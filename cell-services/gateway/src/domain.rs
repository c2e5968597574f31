//! Pure decisions of the entry: which paths are sound, which headers travel, who may call from
//! a browser, what is worth an audit entry.

use contracts::headers;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Headers that belong to one hop (RFC 9110 §7.6.1), plus what a proxy must not pass on.
const HOP_BY_HOP: &[HeaderName] = &[
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const HOP_BY_HOP_UNNAMED: &[&str] = &["keep-alive", "proxy-connection", "http2-settings"];

/// Whether a path means the same to every reader: no empty, `.` or `..` segment in any spelling,
/// no backslash, no encoded slash, no control character. What does not is refused before any
/// routing decision, so that a service never sees another path than the one that was routed.
pub fn path_is_sound(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let lower = rest.to_ascii_lowercase();
    if lower.contains('\\')
        || ["%2f", "%5c", "%00"].iter().any(|bad| lower.contains(bad))
        || lower.chars().any(char::is_control)
    {
        return false;
    }
    lower.split('/').all(|segment| {
        let plain = segment.replace("%2e", ".");
        !plain.is_empty() && plain != "." && plain != ".."
    })
}

/// Headers of a request as they go on to a service: nothing of the hop, no identity the caller
/// may have claimed, no credential. The scope's own headers are added after this.
pub fn request_headers(incoming: &HeaderMap) -> HeaderMap {
    let mut kept = without_hop(incoming);
    for name in [header::AUTHORIZATION, header::COOKIE, header::HOST, header::EXPECT, header::ORIGIN] {
        kept.remove(name);
    }
    strip_reserved(&mut kept, None);
    kept
}

/// Headers of an answer as they go back. Of the reserved ones only the generation of a 421
/// leaves the cell: the router reads it.
pub fn response_headers(incoming: &HeaderMap) -> HeaderMap {
    let mut kept = without_hop(incoming);
    strip_reserved(&mut kept, Some(headers::GENERATION_REQUIRED));
    // Whether another origin may read the answer is decided here, not by a service.
    let cors: Vec<HeaderName> = kept.keys().filter(|n| n.as_str().starts_with("access-control-")).cloned().collect();
    for name in cors {
        kept.remove(name);
    }
    kept
}

fn without_hop(incoming: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = incoming
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut kept = HeaderMap::with_capacity(incoming.len());
    for (name, value) in incoming {
        let of_the_hop = HOP_BY_HOP.contains(name)
            || HOP_BY_HOP_UNNAMED.contains(&name.as_str())
            || named.iter().any(|n| n == name.as_str());
        if !of_the_hop {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn strip_reserved(map: &mut HeaderMap, except: Option<&str>) {
    let reserved: Vec<HeaderName> = map
        .keys()
        .filter(|name| name.as_str().starts_with(headers::RESERVED_PREFIX) && Some(name.as_str()) != except)
        .cloned()
        .collect();
    for name in reserved {
        map.remove(name);
    }
}

/// Whether a method changes nothing (RFC 9110 §9.2.1).
pub fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// How an exchange ended, in the words of the audit entry.
pub fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 | 421 | 429 => "denied",
        code if code >= 400 => "failed",
        _ => "allowed",
    }
}

/// Changes, refusals and failures are recorded one by one; reads that succeeded are counted only.
pub fn is_recorded(method: &Method, status: StatusCode) -> bool {
    !is_safe(method) || status.as_u16() >= 400
}

/// One origin, or a family of them, that may call the API from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    scheme: String,
    /// `.example.com` for the rule `*.example.com`.
    suffix: Option<String>,
    host: String,
    /// `None` accepts any port.
    port: Option<String>,
}

impl OriginRule {
    /// `scheme://host[:port]`; the host may begin with `*.`, the port may be `*`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, host, port) = split_origin(text)?;
        let suffix = host.strip_prefix('*').map(str::to_ascii_lowercase);
        let well_formed = match &suffix {
            Some(rest) => rest.len() > 1 && rest.starts_with('.') && !rest.contains('*'),
            None => !host.contains('*'),
        };
        well_formed.then(|| Self {
            scheme: scheme.to_ascii_lowercase(),
            suffix,
            host: host.to_ascii_lowercase(),
            port: (port != "*").then(|| port.to_owned()),
        })
    }

    pub fn accepts(&self, origin: &HeaderValue) -> bool {
        let Some((scheme, host, port)) = origin.to_str().ok().and_then(split_origin) else { return false };
        let host = host.to_ascii_lowercase();
        let same_host = match &self.suffix {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            None => host == self.host,
        };
        scheme.eq_ignore_ascii_case(&self.scheme) && same_host && self.port.as_deref().is_none_or(|p| p == port)
    }
}

fn split_origin(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
    let sound = ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str())
        && !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.*".contains(c))
        && (port == "*" || port.chars().all(|c| c.is_ascii_digit()));
    sound.then_some((scheme, host, port))
}
