//! API keys, administrators, members: who may do what, and what ends when a right ends.

use contracts::claims::{AUDIENCE_CELL, AUDIENCE_GLOBAL};

use super::*;
use crate::domain::access::{State, SubjectKind};
use crate::ops::accounts::Edit;
use crate::ops::api_keys::{self, NewKey};
use crate::store::subjects::{self, Change};

async fn loader(identity: &Identity) -> Result<(Subject, String), Error> {
    let (admin, home) = (admin_of("acme-corp"), Some("acme-corp".to_owned()));
    let (subject, secret) = accounts::create_service_account(identity, &admin, "loader", home, Role::Member).await?;
    members::put(identity, &admin, &tenant("acme"), subject.id, vec!["*".into()]).await?;
    Ok((subject, secret))
}

async fn exchange(identity: &Identity, subject: Uuid, secret: &str, wanted: Wanted) -> Result<TokenGrant, Error> {
    tokens::by_client(identity, &subject.to_string(), secret, wanted, HERE).await
}

#[tokio::test]
async fn a_service_account_exchanges_its_secret_for_tokens_of_one_session() -> Done {
    let identity = identity().await?;
    let (loader, secret) = loader(&identity).await?;
    let first = exchange(&identity, loader.id, &secret, in_tenant("acme")).await?;
    let second = exchange(&identity, loader.id, &secret, in_tenant("acme")).await?;
    let sid = |grant: &TokenGrant| verified(&identity, AUDIENCE_CELL, &grant.access_token).map(|c| c.sid);
    assert_eq!(sid(&first)?, sid(&second)?, "a busy client does not fill the table");
    assert!(first.refresh_token.is_none());
    let other = Uuid::now_v7();
    assert!(exchange(&identity, other, &secret, in_tenant("acme")).await.is_err(), "the secret is the account's own");
    assert!(exchange(&identity, loader.id, &secret, in_tenant("globex")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_database_holds_no_secret() -> Done {
    let identity = identity().await?;
    let (_, secret) = loader(&identity).await?;
    ada(&identity, &["*"]).await?;
    let refresh = sign_in(&identity, &in_tenant("acme")).await?.refresh_token.unwrap();
    let stored: Vec<(String,)> = sqlx::query_as(
        "select k::text from api_keys k union all select r::text from refresh_tokens r
         union all select s::text from subjects s union all select g::text from signing_keys g",
    )
    .fetch_all(&identity.0.pool)
    .await?;
    for secret in [secret, refresh, PASSWORD.to_owned()] {
        let tail = &secret[secret.len().saturating_sub(20)..];
        assert!(stored.iter().all(|(row,)| !row.contains(tail)));
    }
    assert!(stored.iter().any(|(row,)| row.contains("$argon2id$")));
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_stops_with_its_tokens() -> Done {
    let identity = identity().await?;
    let (loader, secret) = loader(&identity).await?;
    let new = NewKey { name: "second".into(), days: Some(1), ..NewKey::unlimited(loader.id, "second") };
    let (key, second) = api_keys::create(&identity, &admin_of("acme-corp"), new).await?;
    let grant = exchange(&identity, loader.id, &second, in_tenant("acme")).await?;
    api_keys::revoke(&identity, &admin_of("acme-corp"), key.id).await?;
    assert!(exchange(&identity, loader.id, &second, in_tenant("acme")).await.is_err());
    assert!(exchange(&identity, loader.id, &secret, in_tenant("acme")).await.is_ok(), "the other key lives on");
    let sid = verified(&identity, AUDIENCE_CELL, &grant.access_token)?.sid;
    assert_eq!(revoked(&identity).await?, [(1, sid)]);
    Ok(())
}

#[tokio::test]
async fn a_narrow_key_cannot_make_a_wider_one() -> Done {
    let identity = identity().await?;
    let (loader, _) = loader(&identity).await?;
    let caller =
        Caller { subject: loader.id, organisation: Some("acme-corp".into()), role: Role::Member, ..platform() };
    let new = NewKey { scopes: Some(vec!["sql:read".into()]), ..NewKey::unlimited(loader.id, "narrow") };
    let (_, narrow) = api_keys::create(&identity, &caller, new).await?;
    assert_eq!(exchange(&identity, loader.id, &narrow, in_tenant("acme")).await?.scopes, "sql:read");
    assert!(matches!(exchange(&identity, loader.id, &narrow, Wanted::default()).await, Err(Error::Scope)));

    let new = NewKey { tenant: Some(tenant("acme")), ..NewKey::unlimited(loader.id, "bound") };
    let (_, bound) = api_keys::create(&identity, &caller, new).await?;
    let grant = exchange(&identity, loader.id, &bound, Wanted::default()).await?;
    assert_eq!(grant.tenant, Some(tenant("acme")), "a bound key has no token for the global plane");
    assert!(verified(&identity, AUDIENCE_GLOBAL, &grant.access_token).is_err());
    Ok(())
}

#[tokio::test]
async fn losing_a_scope_or_a_membership_ends_the_sessions() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["*"]).await?;
    let admin = admin_of("acme-corp");
    sign_in(&identity, &in_tenant("acme")).await?;
    members::put(&identity, &admin, &tenant("acme"), ada.id, vec!["*".into(), "sql:read".into()]).await?;
    assert_eq!(revoked(&identity).await?.len(), 0, "nothing was lost");
    members::put(&identity, &admin, &tenant("acme"), ada.id, vec!["sql:read".into()]).await?;
    assert_eq!(revoked(&identity).await?.len(), 1);
    sign_in(&identity, &in_tenant("acme")).await?;
    members::remove(&identity, &admin, &tenant("acme"), ada.id).await?;
    assert_eq!(revoked(&identity).await?.len(), 2);
    assert!(sign_in(&identity, &in_tenant("acme")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn another_organisations_administrator_is_a_stranger() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["*"]).await?;
    let (loader, _) = loader(&identity).await?;
    let stranger = admin_of("globex-corp");
    let unknown = |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
    unknown(accounts::find(&identity, &stranger, SubjectKind::User, ada.id).await.map(drop));
    unknown(accounts::edit(&identity, &stranger, SubjectKind::User, ada.id, Edit::default()).await.map(drop));
    unknown(accounts::delete(&identity, &stranger, SubjectKind::ServiceAccount, loader.id).await);
    unknown(api_keys::create(&identity, &stranger, NewKey::unlimited(loader.id, "x")).await.map(drop));
    unknown(api_keys::list(&identity, &stranger, loader.id, None, 10).await.map(drop));
    unknown(members::list(&identity, &stranger, &tenant("acme"), None, 10).await.map(drop));
    unknown(members::put(&identity, &stranger, &tenant("acme"), ada.id, vec!["*".into()]).await.map(drop));
    unknown(members::remove(&identity, &stranger, &tenant("acme"), ada.id).await);
    // Whoever could invite a stranger's account could read its name and, by taking a scope away, end its sessions.
    unknown(members::put(&identity, &stranger, &tenant("globex"), ada.id, vec!["*".into()]).await.map(drop));
    let own = accounts::list(&identity, &stranger, SubjectKind::User, None, 10).await?;
    assert!(own.is_empty());
    let foreign =
        accounts::create_service_account(&identity, &stranger, "x", Some("acme-corp".into()), Role::Member).await;
    assert!(matches!(foreign, Err(Error::Forbidden)));
    Ok(())
}

#[tokio::test]
async fn nobody_rises_by_an_account_with_more_rights() -> Done {
    let identity = identity().await?;
    let root = user(&identity, "root@acme.example", "acme-corp", Role::PlatformAdmin).await?;
    let admin = admin_of("acme-corp");
    let takeover = Edit { password: Some("another long secret".into()), ..Edit::default() };
    assert!(accounts::edit(&identity, &admin, SubjectKind::User, root.id, takeover).await.is_err());
    assert!(api_keys::create(&identity, &admin, NewKey::unlimited(root.id, "x")).await.is_err());
    let rise =
        accounts::create_service_account(&identity, &admin, "x", Some("acme-corp".into()), Role::PlatformAdmin).await;
    assert!(matches!(rise, Err(Error::Forbidden)));
    Ok(())
}

#[tokio::test]
async fn nobody_takes_over_an_account_that_rises_at_the_same_moment() -> Done {
    let identity = identity().await?;
    let ada = user(&identity, "ada@acme.example", "acme-corp", Role::Member).await?;
    let mut rising = kit::database::begin(&identity.0.pool).await?;
    let rise = Change { role: Some(Role::PlatformAdmin), ..Change::default() };
    subjects::update(&mut rising, ada.id, &rise).await?;
    let takeover = tokio::spawn({
        let (identity, edit) =
            (identity.clone(), Edit { password: Some("another long secret".into()), ..Edit::default() });
        async move { accounts::edit(&identity, &admin_of("acme-corp"), SubjectKind::User, ada.id, edit).await }
    });
    testkit::eventually("the takeover waits", || async {
        let (waiting,): (i64,) = sqlx::query_as(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&identity.0.pool)
        .await?;
        anyhow::ensure!(waiting > 0, "nobody waits");
        Ok(())
    })
    .await?;
    rising.commit().await?;
    assert!(matches!(takeover.await?, Err(Error::NotFound(_))));
    assert!(sign_in(&identity, &Wanted::default()).await.is_ok(), "the password is the old one");
    Ok(())
}

#[tokio::test]
async fn the_last_platform_administrator_stays() -> Done {
    let identity = identity().await?;
    let only = user(&identity, "root@acme.example", "acme-corp", Role::PlatformAdmin).await?;
    let suspend = || Edit { state: Some(State::Suspended), ..Edit::default() };
    let suspended = accounts::edit(&identity, &platform(), SubjectKind::User, only.id, suspend()).await;
    assert!(matches!(suspended, Err(Error::LastAdministrator)));
    assert!(matches!(
        accounts::delete(&identity, &platform(), SubjectKind::User, only.id).await,
        Err(Error::LastAdministrator)
    ));
    user(&identity, "second@acme.example", "acme-corp", Role::PlatformAdmin).await?;
    assert!(accounts::delete(&identity, &platform(), SubjectKind::User, only.id).await.is_ok());
    Ok(())
}
