//! The bus lint: no service uses a bus, a topic or a subject that no contract declares.

use std::path::{Path, PathBuf};

use contracts::events::{Bus, EVENTS};
use contracts::services::SERVICES;

const CONTROL_CRATE: &str = "event-bus-control";
const DATA_CRATE: &str = "event-bus-data";
const SERVICES_FOLDER: &str = "cell-services";

/// Findings in words, each with the file it is about; empty when the tree keeps the contracts.
pub fn lint(root: &Path) -> std::io::Result<Vec<String>> {
    let folder = root.join(SERVICES_FOLDER);
    if !folder.is_dir() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!("{} holds no {SERVICES_FOLDER} folder", root.display()),
        ));
    }
    let mut findings = Vec::new();
    for service in SERVICES {
        let manifest = folder.join(service.name).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest)?;
        findings.extend(check_buses(service.name, &manifest, &text));
    }
    for file in rust_files(&folder)? {
        let text = std::fs::read_to_string(&file)?;
        findings.extend(check_names(&file, &text));
    }
    Ok(findings)
}

/// Whether the contracts say that `service` touches the control and the data bus.
fn declared_buses(service: &str) -> (bool, bool) {
    let touches = |event: &&contracts::events::EventDeclaration| {
        event.producers.contains(&service) || event.consumers.contains(&service)
    };
    let mine: Vec<_> = EVENTS.iter().filter(touches).collect();
    (mine.iter().any(|e| matches!(e.bus, Bus::Control { .. })), mine.iter().any(|e| matches!(e.bus, Bus::Data { .. })))
}

fn check_buses(service: &str, manifest: &Path, text: &str) -> Vec<String> {
    let depends = |name: &str| {
        text.lines()
            .map(str::trim_start)
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '='])))
    };
    let (control, data) = declared_buses(service);
    let mut findings = Vec::new();
    for (name, declared) in [(CONTROL_CRATE, control), (DATA_CRATE, data)] {
        match (depends(name), declared) {
            (true, false) => findings.push(format!(
                "{}: depends on {name}, but no contract names {service} on that bus",
                manifest.display()
            )),
            (false, true) => findings.push(format!(
                "{}: a contract names {service} on the bus of {name}, but it does not depend on it",
                manifest.display()
            )),
            _ => {}
        }
    }
    findings
}

fn check_names(file: &Path, text: &str) -> Vec<String> {
    let undeclared = |literal: &&str| {
        let topic = literal.strip_prefix("__dlq.").unwrap_or(literal);
        looks_like_an_event(topic) && contracts::events::find(topic).is_none() || literal.starts_with("of.")
    };
    let found = string_literals(text).into_iter().filter(|(_, literal)| undeclared(literal));
    found.map(|(line, literal)| format!("{}:{line}: \"{literal}\" is on no contract", file.display())).collect()
}

/// `<domain>.<entity>.<event>.v<N>`.
fn looks_like_an_event(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    parts.len() == 4
        && parts[..3].iter().all(word)
        && parts[3].strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Plain string literals with their line numbers; comments are skipped.
fn string_literals(text: &str) -> Vec<(usize, &str)> {
    let mut literals = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(open) = rest.find('"') {
            if rest[..open].contains("//") {
                break;
            }
            let after = &rest[open + 1..];
            let Some(close) = after.find('"') else { break };
            literals.push((number + 1, &after[..close]));
            rest = &after[close + 1..];
        }
    }
    literals
}

fn rust_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_keeps_its_contracts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(lint(root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_undeclared_topic_or_subject_is_found_with_its_line() {
        let text = "let a = 1;\nsend(\"invented.thing.happened.v1\"); // \"of.not.code\"\npublish(\"of.made.up\");\n";
        let findings = check_names(Path::new("x.rs"), text);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("x.rs:2:") && findings[1].starts_with("x.rs:3:"));
        let dead_letters = "\"__dlq.streaming.record.accepted.v1\" \"audit.entry.recorded.v1\"";
        assert!(check_names(Path::new("x.rs"), dead_letters).is_empty());
    }

    #[test]
    fn a_bus_without_a_contract_is_found() {
        let findings = check_buses(
            "sql-warehousing",
            Path::new("Cargo.toml"),
            "[dependencies]\nevent-bus-data.workspace = true\n",
        );
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
}
