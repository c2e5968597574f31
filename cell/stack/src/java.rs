//! Which Java runs Kafka.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Kafka 4 brokers need it.
const AT_LEAST: u32 = 17;
const REMEDY: &str = "apt-get install -y openjdk-17-jre-headless, or set JAVA_HOME to a newer one";

/// A `java` new enough, from `JAVA_HOME`, else from `PATH`.
pub fn find() -> Result<PathBuf> {
    find_with_version().map(|(program, _)| program)
}

pub(crate) fn find_with_version() -> Result<(PathBuf, String)> {
    let program =
        locate().ok_or_else(|| Error::Missing { what: "no Java is installed".into(), remedy: REMEDY.into() })?;
    let version = version_of(&program).unwrap_or_default();
    if major(&version) < AT_LEAST {
        return Err(Error::Missing {
            what: format!("{} is Java {version}, Kafka needs {AT_LEAST} or newer", program.display()),
            remedy: REMEDY.into(),
        });
    }
    Ok((program, version))
}

fn locate() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("JAVA_HOME").filter(|h| !h.is_empty()) {
        return Some(Path::new(&home).join("bin/java"));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("java")).find(|program| program.is_file())
}

/// From the `release` file beside it (starting a JVM to ask costs a second); else by asking.
fn version_of(program: &Path) -> Option<String> {
    let real = program.canonicalize().ok()?;
    if let Ok(text) = std::fs::read_to_string(real.parent()?.parent()?.join("release")) {
        return text.lines().find_map(|l| l.strip_prefix("JAVA_VERSION=")).map(|v| v.trim_matches('"').to_owned());
    }
    let output = std::process::Command::new(real).arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.split('"').nth(1).map(str::to_owned)
}

/// `1.8.0` is 8, `17.0.15` is 17.
fn major(version: &str) -> u32 {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    match numbers.next() {
        Some(1) => numbers.next().unwrap_or(1),
        other => other.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_version_schemes_are_read() {
        assert_eq!([major("1.8.0_402"), major("17.0.15"), major("25"), major("")], [8, 17, 25, 0]);
    }
}
