//! An arrow points only down: each crate uses only the floors below its own.

use crate::tree::{Member, members, none};

/// Floor of a crate by its folder; see docs/ARCHITECTURE.md.
fn floor(folder: &str) -> u8 {
    match folder {
        "global/contracts" | "global/trace" => 0,
        "cell" | "global" | "router" | "global/cli" => 3,
        "docs/laws" | "loadtest" => 4,
        _ if folder.starts_with("cell/") => 1,
        _ => 2,
    }
}

fn may_use(user: &Member, used: &Member) -> bool {
    let (from, to) = (floor(&user.folder), floor(&used.folder));
    match from {
        // Words know nothing; spans carry words.
        0 => user.name == "trace" && used.name == "contracts",
        // Mechanisms use words and the kit; the engine stands on the lakehouse and the Flight client.
        1 => to == 0 || used.name == "kit" || ENGINE_EXCEPTIONS.contains(&(&user.name, &used.name)),
        // Services never use each other.
        2 => to < 2,
        // The router knows words only.
        3 if user.name == "router" => to == 0,
        3 => to < 3,
        // Outside: words, and the client that any outsider could link.
        _ => to == 0 || used.name == "flight-sql",
    }
}

const ENGINE_EXCEPTIONS: &[(&str, &str)] =
    &[("query-engine", "lakehouse"), ("query-engine", "flight-sql"), ("testkit", "stack"), ("testkit", "flight-sql")];

#[test]
fn every_dependency_points_down() {
    let members = members();
    let mut findings = Vec::new();
    for user in &members {
        for used in members.iter().filter(|m| user.dependencies.contains(&m.name)) {
            if !may_use(user, used) {
                findings.push(format!("{} uses {}", user.folder, used.folder));
            }
        }
    }
    assert!(members.len() > 15, "the workspace was not read");
    none("a crate uses only the floors below its own", findings);
}

#[test]
fn words_know_no_runtime_and_no_transport() {
    let forbidden = ["tokio", "axum", "hyper", "sqlx", "reqwest", "rdkafka", "async-nats", "tonic", "arrow"];
    let contracts = members().into_iter().find(|m| m.name == "contracts").unwrap();
    let findings = contracts.dependencies.into_iter().filter(|d| forbidden.contains(&d.as_str())).collect();
    none("contracts knows no runtime, transport or database", findings);
}

#[test]
fn the_router_links_no_arrow() {
    let router = members().into_iter().find(|m| m.name == "router").unwrap();
    let findings = router.dependencies.into_iter().filter(|d| d.starts_with("arrow") || d == "parquet").collect();
    none("the router forwards Flight, it never parses it", findings);
}
