//! Names from the field; no drawer for things without a place.

use crate::tree::{files, members, none, relative};

const DRAWERS: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "misc", "types", "libs", "crates", "tools", "scripts"];

#[test]
fn nothing_is_called_after_a_drawer() {
    let mut findings = Vec::new();
    for path in files("", &["rs", "py", "ts", "toml"]) {
        let name = relative(&path);
        let stems = name.split('/').map(|part| part.split('.').next().unwrap_or(part));
        if stems.into_iter().any(|stem| DRAWERS.contains(&stem)) {
            findings.push(name);
        }
    }
    none("no utils, common, helpers, manager, misc or types", findings);
}

#[test]
fn a_crate_is_named_after_its_folder() {
    let expected = |folder: &str| {
        if folder == "global/cli" { "cyto".to_owned() } else { folder.rsplit('/').next().unwrap().to_owned() }
    };
    let findings = members()
        .into_iter()
        .filter(|m| m.name != expected(&m.folder))
        .map(|m| format!("{} in {}", m.name, m.folder))
        .collect();
    none("a crate bears its folder's name", findings);
}

#[test]
fn every_service_has_its_readme_and_keeps_the_workspace_lints() {
    let mut findings = Vec::new();
    for member in members() {
        let folder = crate::tree::root().join(&member.folder);
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        if !manifest.contains("[lints]\nworkspace = true") {
            findings.push(format!("{}: no workspace lints", member.folder));
        }
        if member.folder.starts_with("cell-services/") && !folder.join("README.md").is_file() {
            findings.push(format!("{}: no README.md", member.folder));
        }
    }
    none("every crate keeps the workspace's lints, every service its README", findings);
}

#[test]
fn no_path_of_a_machine_stands_in_the_tree() {
    // Written in parts, so that this file does not find itself.
    let marks = [["/ro", "ot/"].concat(), ["/ho", "me/"].concat(), ["/wo", "rk/"].concat()];
    let mut findings = Vec::new();
    for path in files("", &["rs", "md", "toml", "py", "sh", "sql", "json"]) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                findings.push(format!("{}:{}", relative(&path), number + 1));
            }
        }
    }
    none("no path of anybody's machine", findings);
}
