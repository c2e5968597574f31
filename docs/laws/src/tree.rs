//! Reads the source tree for the laws.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Path from the root with `/`, for messages.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Files below `folder` (from the root) with one of `endings`, outside build and state folders.
pub fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let skip = |name: &str| (name.starts_with('.') && name != ".ci") || name == "target" || name == "node_modules";
    WalkDir::new(root().join(folder))
        .into_iter()
        .filter_entry(|e| e.depth() == 0 || !skip(&e.file_name().to_string_lossy()))
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|p| p.extension().is_some_and(|e| endings.iter().any(|end| e == *end)))
        .collect()
}

/// A crate of the workspace.
pub struct Member {
    pub name: String,
    pub folder: String,
    pub dependencies: Vec<String>,
}

/// All crates of the workspace, with their normal dependencies.
pub fn members() -> Vec<Member> {
    files("", &["toml"])
        .into_iter()
        .filter(|p| p.file_name().is_some_and(|n| n == "Cargo.toml"))
        .filter_map(|path| {
            let manifest: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            let dependencies = manifest.get("dependencies").and_then(|d| d.as_table());
            let dependencies = dependencies.map(|d| d.keys().cloned().collect()).unwrap_or_default();
            Some(Member { name, folder: relative(path.parent().unwrap()), dependencies })
        })
        .collect()
}

/// Fails with one line per finding.
pub fn none(law: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{law}:\n  {}", findings.join("\n  "));
}
