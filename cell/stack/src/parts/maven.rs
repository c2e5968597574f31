//! Java archives, resolved and checked by Maven.

use std::path::Path;

use super::declaration::Maven;
use crate::error::{At, Error, Result};
use crate::process::{run, wrap};

pub(super) async fn fetch(recipe: &Maven, fresh: &Path) -> Result<()> {
    if !on_path("mvn") {
        return Err(Error::Missing {
            what: "Maven (mvn) is not installed, Kafka's archives come through it".into(),
            remedy: "apt-get install -y maven".into(),
        });
    }
    let pom_path = fresh.join("pom.xml");
    std::fs::write(&pom_path, pom(&recipe.artifacts)).at("cannot write", &pom_path)?;
    let mut command = wrap(Path::new("mvn"), false);
    // --strict-checksums: an archive whose checksum is wrong ends the fetch.
    command.args(["--batch-mode", "--quiet", "--strict-checksums", "-f"]).arg(&pom_path);
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", fresh.join("lib").display()));
    for name in ["JAVA_HOME", "MAVEN_OPTS", "http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    run("mvn dependency:copy-dependencies", command).await.map(|_| ())
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn pom(artifacts: &[String]) -> String {
    let dependency = |coordinates: &String| {
        let mut words = coordinates.split(':');
        let mut tag = |name: &str| format!("<{name}>{}</{name}>", words.next().unwrap_or_default());
        format!("<dependency>{}{}{}</dependency>\n", tag("groupId"), tag("artifactId"), tag("version"))
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>cytoplane</groupId><artifactId>part</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{dependencies}</dependencies></project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pom_names_every_artifact_with_its_version() {
        let pom = pom(&["org.apache.kafka:kafka_2.13:4.4.0".into(), "a:b:1".into()]);
        assert!(pom.contains(
            "<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version>"
        ));
        assert_eq!(pom.matches("<dependency>").count(), 2);
    }
}
