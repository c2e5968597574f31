//! SQL to Postgres stands in `store` alone.

use crate::tree::{files, none, relative};

/// The kit's own tables and the drivers that make databases.
const ELSEWHERE: &[&str] = &["cell/kit/src/", "cell/stack/", "cell/testkit/"];

#[test]
fn services_write_sql_only_in_their_store() {
    let calls = ["sqlx::query", "sqlx::raw_sql", "query_as(", "query_scalar(", "QueryBuilder"];
    let mut findings = Vec::new();
    for path in files("", &["rs"]) {
        let name = relative(&path);
        let is_store = name.ends_with("/store.rs") || name.contains("/store/") || name.contains("/tests");
        if is_store || name.starts_with("docs/laws/") || ELSEWHERE.iter().any(|p| name.starts_with(p)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if calls.iter().any(|call| line.contains(call)) {
                findings.push(format!("{name}:{}", number + 1));
            }
        }
    }
    none("SQL stands only in store.rs", findings);
}

#[test]
fn a_transaction_is_begun_by_the_kit() {
    let mut findings = Vec::new();
    for path in files("", &["rs"]) {
        let name = relative(&path);
        if name == "cell/kit/src/database.rs" || name.starts_with("docs/laws/") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let begins = |line: &str| line.contains("pool.begin()") || line.contains("pool().begin()");
        findings.extend(
            text.lines().enumerate().filter(|(_, line)| begins(line)).map(|(n, _)| format!("{name}:{}", n + 1)),
        );
    }
    none("kit::database::begin begins transactions: sqlx's own leaves one open when its caller is cancelled", findings);
}

#[test]
fn every_tenant_table_is_under_forced_row_security() {
    let mut findings = Vec::new();
    let mut tables = 0;
    for path in files("cell-services", &["sql"]) {
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        for statement in text.split(';') {
            let Some(at) = statement.find("create table") else { continue };
            if !statement.contains("tenant_id") {
                continue;
            }
            tables += 1;
            let words =
                statement[at + "create table".len()..].trim_start().trim_start_matches("if not exists").trim_start();
            let table: String = words.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !text.contains(&format!("cyto_tenant_table('{table}')")) {
                findings.push(format!("{}: {table}", relative(&path)));
            }
        }
    }
    assert!(tables > 0, "no tenant table was found");
    none("every table with a tenant_id calls cyto_tenant_table", findings);
}
