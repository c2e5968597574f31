//! The corpus of `http_desync_guardian`, as bytes.

use serde::Deserialize;

use crate::fetched;
use crate::lane::{Lane, TOKEN};

/// Its files that hold cases of their own.
const FILES: [&str; 9] = [
    "acceptable",
    "ambiguous",
    "bad-header-characters",
    "edge-cases",
    "more-compliant-tests",
    "real-life-test-cases",
    "rfc-compliant",
    "severe",
    "uri-specific-test-cases",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

#[derive(Debug, Deserialize)]
pub struct Case {
    pub name: String,
    uri: String,
    method: String,
    version: String,
    #[serde(default)]
    headers: Vec<Header>,
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct Header {
    name: String,
    value: serde_yaml::Value,
}

#[derive(Debug, Deserialize)]
struct Expected {
    tier: Tier,
}

pub fn cases() -> Vec<Case> {
    let folder = fetched("CYTO_DESYNC").join("tests");
    let read = |name: &str| {
        let path = folder.join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_yaml::from_str::<Vec<Case>>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    FILES.iter().flat_map(|name| read(name)).collect()
}

impl Case {
    pub fn tier(&self) -> Tier {
        self.expected.tier
    }

    /// Its own lines, the tenant's host and token, and behind them what would be the next request if the body were read
    /// as shorter than it is.
    pub fn bytes(&self, lane: &Lane) -> Vec<u8> {
        let mut bytes = latin1(&format!("{} {} {}\r\n", self.method, self.uri, self.version));
        let is_host = |header: &&Header| header.name.eq_ignore_ascii_case("host");
        if !self.headers.iter().any(|header| is_host(&header)) {
            bytes.extend_from_slice(format!("Host: {}\r\n", lane.host).as_bytes());
        }
        bytes.extend_from_slice(&[&b"Authorization: "[..], &[TOKEN], b"\r\n"].concat());
        for header in &self.headers {
            let value = match &header.value {
                _ if is_host(&header) => lane.host.clone(),
                serde_yaml::Value::String(text) => text.clone(),
                serde_yaml::Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            bytes.extend_from_slice(&latin1(&format!("{}: {value}\r\n", header.name)));
        }
        let next = format!("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {}\r\nAuthorization: ", lane.host);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(next.as_bytes());
        bytes.extend_from_slice(&[TOKEN]);
        bytes.extend_from_slice(b"\r\n\r\n");
        lane.with_token(&bytes)
    }
}

/// A character of the corpus is one byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}
