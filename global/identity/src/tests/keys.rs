//! Signing keys and the first administrator.

use std::os::unix::fs::PermissionsExt as _;

use contracts::claims::AUDIENCE_CELL;

use super::*;
use crate::jobs;
use crate::store::keys;

/// Makes every stored time older, as if `seconds` had passed.
async fn age(identity: &Identity, seconds: i32) -> Done {
    sqlx::query(
        "update signing_keys set created_at = created_at - make_interval(secs => $1),
         retired_at = retired_at - make_interval(secs => $1), signs_since = signs_since - make_interval(secs => $1)",
    )
    .bind(f64::from(seconds))
    .execute(&identity.0.pool)
    .await?;
    Ok(())
}

fn kids(identity: &Identity) -> Vec<String> {
    let set = identity.0.ring.jwks();
    set["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rotation_is_announced_before_and_remembered_after() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    let before = kids(&identity);
    assert_eq!(before.len(), 2, "current and next");
    let old = sign_in(&identity, &in_tenant("acme")).await?;
    age(&identity, 8 * 24 * 3600).await?;
    jobs::rotate(&identity).await?;
    let new = sign_in(&identity, &in_tenant("acme")).await?;
    let kid = jsonwebtoken::decode_header(&new.access_token)?.kid.unwrap();
    assert!(before.contains(&kid), "a reader of the old set knows the new key already");
    assert_eq!(kids(&identity).len(), 3);
    assert!(verified(&identity, AUDIENCE_CELL, &old.access_token).is_ok());
    assert!(verified(&identity, AUDIENCE_CELL, &new.access_token).is_ok());

    age(&identity, 26 * 3600).await?;
    jobs::rotate(&identity).await?;
    assert_eq!(kids(&identity).len(), 2, "nothing the old key signed can be alive");
    let newer = sign_in(&identity, &in_tenant("acme")).await?;
    let still = jsonwebtoken::decode_header(&newer.access_token)?.kid.unwrap();
    assert_eq!(still, kid, "it signs as long as it should, also when the one before is forgotten");
    Ok(())
}

#[tokio::test]
async fn processes_that_start_together_agree_on_the_keys() -> Done {
    let identity = identity().await?;
    sqlx::query("delete from signing_keys").execute(&identity.0.pool).await?;
    let (left, right) = tokio::join!(jobs::rotate(&identity), jobs::rotate(&identity));
    left?;
    right?;
    assert_eq!(keys::all(&mut *identity.0.pool.acquire().await?).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn keys_open_only_with_the_seal_key_they_were_sealed_with() -> Done {
    let identity = identity().await?;
    let directory = identity.0.directory.clone();
    let other = Secret::new("cd".repeat(32));
    let stranger = Identity::new(identity.0.pool.clone(), Settings::default(), &other, directory)?;
    assert!(matches!(jobs::rotate(&stranger).await, Err(Error::Sealed(_))));
    assert!(!stranger.ready());
    Ok(())
}

#[tokio::test]
async fn the_first_administrator_is_made_once_and_can_be_let_in_again() -> Done {
    let identity = identity().await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("bootstrap-admin");
    assert!(identity.bootstrap(&file, false).await?);
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let read = || -> anyhow::Result<serde_json::Value> { Ok(serde_json::from_str(&std::fs::read_to_string(&file)?)?) };
    let first = read()?;
    assert!(!identity.bootstrap(&file, false).await?);
    assert_eq!(read()?, first);
    assert!(identity.bootstrap(&file, true).await?);
    let second = read()?;
    assert_eq!(first["client_id"], second["client_id"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (id, secret) = (text(&second["client_id"]), text(&second["client_secret"]));
    let grant = tokens::by_client(&identity, &id, &secret, Wanted::default(), HERE).await?;
    assert_eq!(grant.scopes, "platform:admin");
    Ok(())
}
