//! Passwords, refresh tokens, devices.

use contracts::claims::{AUDIENCE_CELL, AUDIENCE_GLOBAL, MAX_TOKEN_SECONDS};

use super::*;
use crate::domain::access::State;
use crate::domain::access::SubjectKind;
use crate::domain::device::Poll;
use crate::ops::accounts::Edit;
use crate::ops::device::{self, Collected};
use crate::ops::sessions;

#[tokio::test]
async fn a_token_says_tenant_organisation_and_scopes_and_is_for_one_audience() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["sql:read", "datasets:read"]).await?;
    let grant = sign_in(&identity, &in_tenant("acme")).await?;
    let claims = verified(&identity, AUDIENCE_CELL, &grant.access_token)?;
    assert_eq!(
        (claims.sub, claims.tid, claims.org),
        (ada.id.to_string(), Some(tenant("acme")), Some("acme-corp".into()))
    );
    assert_eq!(claims.scp, "datasets:read sql:read");
    assert!(claims.exp - claims.iat <= MAX_TOKEN_SECONDS);
    assert!(verified(&identity, AUDIENCE_GLOBAL, &grant.access_token).is_err());

    let global = sign_in(&identity, &Wanted::default()).await?;
    let claims = verified(&identity, AUDIENCE_GLOBAL, &global.access_token)?;
    assert_eq!((claims.tid, claims.scp.as_str()), (None, ""));
    Ok(())
}

#[tokio::test]
async fn every_reason_to_refuse_looks_the_same() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["*"]).await?;
    let refused = |grant: Result<TokenGrant, Error>| matches!(grant, Err(Error::BadCredentials));
    let wrong = "a wrong password of length".to_owned();
    assert!(refused(tokens::by_password(&identity, "ada@acme.example", wrong.clone(), &Wanted::default(), HERE).await));
    assert!(refused(tokens::by_password(&identity, "nobody@acme.example", wrong, &Wanted::default(), HERE).await));
    assert!(refused(sign_in(&identity, &in_tenant("globex")).await), "not a member");
    assert!(refused(sign_in(&identity, &in_tenant("nowhere")).await), "no such tenant");
    let suspend = Edit { state: Some(State::Suspended), ..Edit::default() };
    accounts::edit(&identity, &platform(), SubjectKind::User, ada.id, suspend).await?;
    assert!(refused(sign_in(&identity, &Wanted::default()).await), "suspended");
    Ok(())
}

#[tokio::test]
async fn failures_block_the_account_at_that_address_only() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    for _ in 0..5 {
        let wrong = "a wrong password of length".to_owned();
        let refused = tokens::by_password(&identity, "ada@acme.example", wrong, &Wanted::default(), HERE).await;
        assert!(matches!(refused, Err(Error::BadCredentials)));
    }
    assert!(
        matches!(sign_in(&identity, &Wanted::default()).await, Err(Error::Throttled { .. })),
        "even with the right one"
    );
    let (wanted, elsewhere) = (Wanted::default(), "10.0.0.1");
    let grant = tokens::by_password(&identity, "ada@acme.example", PASSWORD.to_owned(), &wanted, elsewhere).await;
    assert!(grant.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_its_session_for_the_thief_and_the_owner() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    let first = sign_in(&identity, &in_tenant("acme")).await?.refresh_token.unwrap();
    let second = tokens::by_refresh(&identity, &first, Wanted::default()).await?;
    assert_eq!(second.tenant, Some(tenant("acme")), "the session remembers its tenant");
    let successor = second.refresh_token.unwrap();
    assert!(matches!(tokens::by_refresh(&identity, &first, Wanted::default()).await, Err(Error::BadCredentials)));
    assert!(matches!(tokens::by_refresh(&identity, &successor, Wanted::default()).await, Err(Error::BadCredentials)));
    let claims = verified(&identity, AUDIENCE_CELL, &second.access_token)?;
    assert_eq!(revoked(&identity).await?, [(1, claims.sid)]);
    Ok(())
}

#[tokio::test]
async fn of_two_uses_at_the_same_time_one_is_first() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    let token = sign_in(&identity, &in_tenant("acme")).await?.refresh_token.unwrap();
    let (left, right) = tokio::join!(
        tokens::by_refresh(&identity, &token, Wanted::default()),
        tokens::by_refresh(&identity, &token, Wanted::default()),
    );
    assert_eq!(usize::from(left.is_ok()) + usize::from(right.is_ok()), 1);
    assert_eq!(revoked(&identity).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_refused_refresh_costs_nothing() -> Done {
    let identity = identity().await?;
    ada(&identity, &["sql:read"]).await?;
    let token = sign_in(&identity, &in_tenant("acme")).await?.refresh_token.unwrap();
    let wider = Wanted::new(Some(tenant("acme")), Some("streams:write"));
    assert!(matches!(tokens::by_refresh(&identity, &token, wider).await, Err(Error::Scope)));
    assert!(tokens::by_refresh(&identity, &token, Wanted::default()).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session_by_either_token() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    for by_refresh in [true, false] {
        let grant = sign_in(&identity, &in_tenant("acme")).await?;
        let refresh = grant.refresh_token.unwrap();
        sessions::revoke_token(&identity, if by_refresh { &refresh } else { &grant.access_token }).await?;
        assert!(tokens::by_refresh(&identity, &refresh, Wanted::default()).await.is_err());
    }
    sessions::revoke_token(&identity, "no token at all").await?;
    let seqs: Vec<u64> = revoked(&identity).await?.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [1, 2]);
    Ok(())
}

#[tokio::test]
async fn a_device_gets_its_token_once_and_only_after_a_person_agreed() -> Done {
    // A second poll within the interval is hasty, however slow the machine is.
    let identity = identity_with(Settings { device_interval_seconds: 300, ..Settings::default() }).await?;
    ada(&identity, &["*"]).await?;
    let started = device::start(&identity, "cyto", &in_tenant("acme"), HERE).await?;
    let pending = device::collect(&identity, &started.device_code).await?;
    assert!(matches!(pending, Collected::Wait(Poll::Pending)));
    let hasty = device::collect(&identity, &started.device_code).await?;
    assert!(matches!(hasty, Collected::Wait(Poll::SlowDown)));

    let decide = |code: String, approve| {
        let identity = identity.clone();
        async move { device::decide(&identity, &code, "ada@acme.example", PASSWORD.to_owned(), approve, HERE).await }
    };
    assert!(matches!(decide("BBBB-BBBB".into(), true).await, Err(Error::NotFound(_))));
    decide(started.user_code.to_lowercase(), true).await?;
    assert!(decide(started.user_code, false).await.is_err(), "a decision stands");
    let Collected::Grant(grant) = device::collect(&identity, &started.device_code).await? else {
        anyhow::bail!("no token")
    };
    assert!(verified(&identity, AUDIENCE_CELL, &grant.access_token).is_ok());
    let again = device::collect(&identity, &started.device_code).await?;
    assert!(matches!(again, Collected::Wait(Poll::Expired)));

    let refused = device::start(&identity, "cyto", &in_tenant("acme"), HERE).await?;
    decide(refused.user_code, false).await?;
    let denied = device::collect(&identity, &refused.device_code).await?;
    assert!(matches!(denied, Collected::Wait(Poll::Denied)));
    Ok(())
}

#[tokio::test]
async fn a_stranger_cannot_start_device_sign_ins_without_end() -> Done {
    let identity = identity_with(Settings { device_starts_per_address: 2, ..Settings::default() }).await?;
    for _ in 0..2 {
        device::start(&identity, "cyto", &in_tenant("acme"), HERE).await?;
    }
    let third = device::start(&identity, "cyto", &in_tenant("acme"), HERE).await;
    assert!(matches!(third, Err(Error::Throttled { .. })));
    assert!(device::start(&identity, "cyto", &in_tenant("acme"), "10.0.0.1").await.is_ok());
    Ok(())
}
