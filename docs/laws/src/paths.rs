//! What the documents name is there: every path in backticks, every link.

use std::path::Path;

use crate::tree::{files, members, none, relative, root};

const SOURCES: &[&str] = &[".rs", ".md", ".toml", ".sql", ".py", ".sha256"];

/// A word without blanks and placeholders that ends as a source does or begins with a folder of ours. What
/// begins with a dot is made, not written.
fn is_path(word: &str) -> bool {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if !plain || word.starts_with(['/', '.']) {
        return false;
    }
    let Some((first, _)) = word.split_once('/') else { return word.ends_with(".md") };
    SOURCES.iter().any(|end| word.ends_with(end)) || first == "src" || root().join(first).is_dir()
}

/// From the root, from the document's own folder or its `src`, or (`src/lib.rs`) in some crate.
fn exists(document: &Path, word: &str, crates: &[String]) -> bool {
    let below = |folder: &Path| folder.join(word).exists() || folder.join("src").join(word).exists();
    document.parent().is_some_and(below)
        || root().join(word).exists()
        || crates.iter().any(|folder| root().join(folder).join(word).exists())
}

/// The line's words in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Targets of the line's links, without those that lead out of the tree.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains(':'))
}

#[test]
fn every_path_in_the_documents_exists() {
    let codes = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let is_code = |word: &str| codes.contains(&format!("`{word}`"));
    let crates: Vec<String> = members().into_iter().map(|member| member.folder).collect();
    let (mut findings, mut checked) = (Vec::new(), 0);
    for document in files("", &["md"]) {
        let text = std::fs::read_to_string(&document).unwrap();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            in_code ^= line.starts_with("```");
            if in_code {
                continue;
            }
            let paths = quoted(line).filter(|word| is_path(word) && !is_code(word)).chain(links(line));
            for path in paths {
                checked += 1;
                if !exists(&document, path, &crates) {
                    findings.push(format!("{}:{} {path}", relative(&document), number + 1));
                }
            }
        }
    }
    assert!(checked > 30, "only {checked} paths were found");
    none("every path in the documents exists", findings);
}

#[test]
fn a_path_is_told_from_other_words() {
    for path in ["router/src/decision.rs", "docs/laws", "cell/", "nowhere/at/all.rs", "src/ops", "errors.md"] {
        assert!(is_path(path), "{path}");
    }
    for other in [
        "/api/v1/streams",
        "application/json",
        "t/acme/",
        ".cyto/demo.json",
        "./cyto",
        "data/",
        "cell-services/<name>",
        "acks=all",
        "metadata.json",
    ] {
        assert!(!is_path(other), "{other}");
    }
}
