//! Every error code a caller can meet has its paragraph in docs/errors.md.

use std::collections::BTreeSet;

use crate::tree::{files, none, root};

/// Literals of the form `"area/name"` in functions called `code` and in `Problem::new`.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in files("", &["rs"]) {
        let name = path.to_string_lossy().into_owned();
        if name.contains("/docs/laws/") || name.contains("/tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        codes.extend(product.split('"').skip(1).step_by(2).filter(|l| is_code(l)).map(str::to_owned));
    }
    codes
}

const AREAS: &[&str] = &[
    "request",
    "cell",
    "token",
    "gateway",
    "stream",
    "streaming",
    "sink",
    "dataset",
    "catalog",
    "sql",
    "lineage",
    "audit",
    "identity",
    "tenancy",
    "router",
    "contracts",
    "data-bus",
    "control-bus",
    "lakehouse",
];

fn is_code(literal: &str) -> bool {
    let Some((area, name)) = literal.split_once('/') else { return false };
    AREAS.contains(&area) && name.len() > 2 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

#[test]
fn every_error_code_has_its_paragraph() {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap_or_default();
    let codes = codes();
    assert!(codes.len() > 20, "the codes were not found");
    let findings = codes.into_iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    none("docs/errors.md explains every code", findings);
}
