//! acme's bearer opens nothing of globex's: not by SQL, not by id, not at globex's host.

use anyhow::{bail, ensure};
use reqwest::StatusCode;
use serde_json::Value;

use super::door::Door;
use super::{TENANT_FILE, TENANT_STREAM};

/// The edge says that there is no such table; a broken edge proves nothing.
fn is_absence(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<flight_sql::Error>().and_then(flight_sql::Error::status).map(|s| s.code());
    code.is_some_and(|code| matches!(code as i32, INVALID_ARGUMENT | NOT_FOUND | PERMISSION_DENIED))
}

// gRPC status codes.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;

/// Proves it by trying; answers how many attempts were refused.
pub async fn prove(acme: &Door, globex: &Door) -> anyhow::Result<usize> {
    let statements = [
        format!("select count(*) from {TENANT_FILE}.datasets.flights"),
        format!("select * from \"{TENANT_FILE}\".\"datasets\".\"airlines\""),
        "select count(*) from datasets.flights".to_owned(),
    ];
    let mut refused = 0;
    for statement in &statements {
        let Err(error) = acme.sql.all(statement).await else { bail!("{TENANT_STREAM} could run: {statement}") };
        ensure!(is_absence(&error), "a foreign table was answered with: {error:#}");
        refused += 1;
    }
    let Some(foreign) = globex.api.dataset("flights").await? else { bail!("{TENANT_FILE} has no dataset flights") };
    let path = format!("/api/v1/datasets/{}", foreign.id);
    for (api, allowed) in [
        (acme.api.clone(), [StatusCode::NOT_FOUND].as_slice()),
        (acme.api.at(TENANT_FILE), [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].as_slice()),
    ] {
        let status = match api.get::<Value>("look at a foreign dataset", &path).await {
            Ok(_) => bail!("{TENANT_STREAM} could read {TENANT_FILE}'s dataset {}", foreign.id),
            Err(error) => error.status(),
        };
        ensure!(status.is_some_and(|s| allowed.contains(&s)), "a foreign dataset was answered with {status:?}");
        refused += 1;
    }
    Ok(refused)
}
