//! The machine's own apt sources: the only place a mirror's address comes from.

use std::path::Path;

use crate::error::{Error, Result};

const DEFAULT_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One place packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub uri: String,
    pub signed_by: String,
}

impl Source {
    /// A one-line source for another suite of the same archive.
    pub(super) fn line(&self, suite: &str) -> String {
        format!("deb [signed-by={}] {} {suite} main\n", self.signed_by, self.uri)
    }
}

/// The archive this machine's own release comes from.
pub(super) fn archive_of_this_machine() -> Result<Source> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename =
        release.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME=")).unwrap_or("stable").trim_matches('"');
    let mut texts = Vec::new();
    if let Ok(text) = std::fs::read_to_string("/etc/apt/sources.list") {
        texts.push((false, text));
    }
    let mut paths: Vec<_> =
        std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let is_deb822 = match extension(&path) {
            "sources" => true,
            "list" => false,
            _ => continue,
        };
        texts.extend(std::fs::read_to_string(&path).map(|text| (is_deb822, text)));
    }
    let found =
        texts.iter().find_map(
            |(is_deb822, text)| {
                if *is_deb822 { from_deb822(text, codename) } else { from_lines(text, codename) }
            },
        );
    found.ok_or_else(|| Error::Missing {
        what: format!("the machine's apt sources name no Debian archive for {codename}"),
        remedy: "parts come from Debian's archive; add it to /etc/apt/sources.list.d".into(),
    })
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

/// `*.sources`: paragraphs of `Key: value`, continued by indented lines.
fn from_deb822(text: &str, codename: &str) -> Option<Source> {
    let unfolded = text.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |mut all, line| {
        if !line.starts_with([' ', '\t']) || line.trim().is_empty() {
            all.push('\n');
        }
        all + line
    });
    unfolded.split("\n\n").find_map(|paragraph| {
        let value = |key: &str| {
            paragraph.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
            })
        };
        let has = |key: &str, word: &str| value(key).is_some_and(|v| v.split_whitespace().any(|w| w == word));
        let enabled = value("Enabled").is_none_or(|v| v != "no");
        if !enabled || !has("Types", "deb") || !has("Suites", codename) || !has("Components", "main") {
            return None;
        }
        let uri = value("URIs")?.split_whitespace().next()?.to_owned();
        let keyring = value("Signed-By").filter(|v| v.starts_with('/'));
        Some(Source { uri, signed_by: keyring.unwrap_or_else(|| DEFAULT_KEYRING.to_owned()) })
    })
}

/// `sources.list`: `deb [options] uri suite component…`.
fn from_lines(text: &str, codename: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        if suite != codename || !words.any(|component| component == "main") {
            return None;
        }
        let keyring = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by="));
        Some(Source { uri: uri.to_owned(), signed_by: keyring.unwrap_or(DEFAULT_KEYRING).to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
  http://second.example/debian
Suites: bookworm
  bookworm-updates
Components: main contrib
Signed-By: /etc/keys/debian.gpg
";

    #[test]
    fn a_deb822_paragraph_of_the_own_release_is_found() {
        let source = from_deb822(DEB822, "bookworm").unwrap();
        assert_eq!(source.uri, "http://mirror.example/debian");
        assert_eq!(
            source.line("forky"),
            "deb [signed-by=/etc/keys/debian.gpg] http://mirror.example/debian forky main\n"
        );
        assert_eq!(from_deb822(DEB822, "trixie"), None);
    }

    #[test]
    fn a_one_line_source_is_found_with_and_without_options() {
        let plain = "# old\ndeb http://mirror.example/debian bookworm main contrib\n";
        assert_eq!(from_lines(plain, "bookworm").unwrap().signed_by, DEFAULT_KEYRING);
        let with = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main";
        assert_eq!(
            from_lines(with, "bookworm").unwrap(),
            Source { uri: "http://mirror.example/debian".into(), signed_by: "/k.gpg".into() }
        );
        assert_eq!(from_lines("deb http://other.example/x bookworm-security main", "bookworm"), None);
    }

    #[test]
    fn a_disabled_paragraph_does_not_count() {
        let text = "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\nEnabled: no\n";
        assert_eq!(from_deb822(text, "bookworm"), None);
    }
}
