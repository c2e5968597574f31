//! What a request points at: its host and its path, read strictly.

/// The host of an authority or `Host` value: lower case, without port and without a final dot.
/// `None` when it is not a host at all.
pub fn host_of(authority: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, port) = split_port(text)?;
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return None;
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']')?;
        return address.parse::<std::net::Ipv6Addr>().ok().map(|ip| format!("[{ip}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let well_formed = !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    well_formed.then(|| host.to_ascii_lowercase())
}

fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// Whether a host is an address literal.
pub fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// What a path is to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    Plain,
    /// `/internal…`, in whatever spelling: feeds that only peers with an identity of their own may
    /// read. The router has such an identity, so it must never lend it to a client.
    Internal,
    /// Dot segments, backslashes or control characters, plain or encoded: two readers could
    /// disagree on where such a path leads.
    Ambiguous,
}

/// Judges a path (without query) as the most permissive reader behind the door would read it.
pub fn judge_path(path: &str) -> PathKind {
    if path == "*" {
        return PathKind::Plain;
    }
    if !path.starts_with('/') {
        return PathKind::Ambiguous;
    }
    let Some(decoded) = percent_decoded(path.as_bytes()) else { return PathKind::Ambiguous };
    if decoded.iter().any(|b| *b == b'\\' || *b == 0 || *b == 0x7f || (*b < 0x20 && *b != 0x1f)) {
        return PathKind::Ambiguous;
    }
    let mut segments = decoded.split(|b| *b == b'/');
    if segments.clone().any(|segment| segment == b"." || segment == b"..") {
        return PathKind::Ambiguous;
    }
    match segments.find(|segment| !segment.is_empty()) {
        Some(first) if first.eq_ignore_ascii_case(b"internal") => PathKind::Internal,
        _ => PathKind::Plain,
    }
}

/// `None` on a broken escape. 0x1F stays allowed by the caller: Iceberg REST separates the parts
/// of a namespace with it.
fn percent_decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let high = char::from(*bytes.next()?).to_digit(16)?;
        let low = char::from(*bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_strictly() {
        let good = [
            ("acme.localhost", "acme.localhost"),
            ("ACME.localhost:8080", "acme.localhost"),
            ("acme.localhost.", "acme.localhost"),
            ("127.0.0.1:50133", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[0:0::1]", "[::1]"),
        ];
        for (given, host) in good {
            assert_eq!(host_of(given.as_bytes()).as_deref(), Some(host), "{given}");
        }
        for bad in [
            "", ":80", "a b", "a@b", "a:b", "a:99999", "[::1", "[::1]x", "a..b", ".a", "a/b", "a:80:80", "\u{e9}.x",
            "a\0b",
        ] {
            assert_eq!(host_of(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn no_spelling_of_internal_passes() {
        for path in [
            "/internal",
            "/internal/v1/jwks",
            "/Internal/x",
            "//internal/x",
            "/%69nternal/v1",
            "/%2finternal",
            "/%2Finternal/a",
        ] {
            assert_eq!(judge_path(path), PathKind::Internal, "{path}");
        }
        for path in [
            "/a/../internal",
            "/./internal",
            "/a/%2e%2e/internal",
            "/a%2f..%2finternal",
            "/\\internal",
            "/%5cinternal",
            "internal",
            "/a%0",
            "/a%zz",
            "/%00",
            "/a%0d",
        ] {
            assert_eq!(judge_path(path), PathKind::Ambiguous, "{path}");
        }
        for path in [
            "/",
            "*",
            "/api/v1/internal",
            "/internals",
            "/iceberg/v1/acme/namespaces/a%1Fb/tables/t",
            "/a%20b/...",
            "/api/v1/streams",
        ] {
            assert_eq!(judge_path(path), PathKind::Plain, "{path}");
        }
    }
}
