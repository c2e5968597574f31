//! Host names of tenants.

/// Lower-cased, or refused: at least two labels of `a-z`, `0-9` and inner `-`, 253 bytes at most,
/// not an address. `*.` before them stands for any one label.
pub fn normalise(text: &str) -> Option<String> {
    let name = text.trim().trim_end_matches('.').to_lowercase();
    let host = name.strip_prefix("*.").unwrap_or(&name);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    let numeric_end = labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    let well_formed = name.len() <= 253 && labels.len() >= 2 && labels.iter().all(|l| label(l)) && !numeric_end;
    well_formed.then_some(name)
}

/// Names below the site's suffix belong to tenants by their id; one that could be taken by hand
/// would let a tenant answer for another.
pub fn is_reserved(host: &str, suffix: &str) -> bool {
    host == suffix || host.ends_with(&format!(".{suffix}"))
}

/// Ids that are hosts of the platform itself.
pub const RESERVED_TENANTS: &[&str] = &["global", "router", "www", "api", "admin", "identity"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_names_are_hosts() {
        assert_eq!(normalise("Data.Acme.Example."), Some("data.acme.example".into()));
        assert_eq!(normalise("*.Data.Acme.Example"), Some("*.data.acme.example".into()));
        for bad in [
            "",
            "*.acme",
            "*",
            "*.*.a.b",
            "a.*.b.c",
            "*a.b.c",
            "*.127.0.0.1",
            "acme",
            "a..b",
            "-a.b",
            "a_b.c",
            "127.0.0.1",
            "a.b:80",
            "é.example",
            "a b.c",
        ] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    #[test]
    fn another_tenants_default_host_cannot_be_taken() {
        assert!(is_reserved("globex.localhost", "localhost"));
        assert!(is_reserved("x.globex.localhost", "localhost"));
        assert!(is_reserved("*.globex.localhost", "localhost"));
        assert!(!is_reserved("globex.example", "localhost"));
        assert!(!is_reserved("notlocalhost", "localhost"));
    }
}
