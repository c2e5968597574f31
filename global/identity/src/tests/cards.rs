//! Cards: what an API key may do at a door that asks nobody.

use contracts::key_cards::{AUDIENCE, ApiKey, Card, CardLine};

use super::*;
use crate::domain::access::State;
use crate::domain::access::SubjectKind;
use crate::ops::accounts::Edit;
use crate::ops::api_keys::{self, NewKey};
use crate::ops::key_cards;

/// A key of ada's that is bound to acme.
async fn key(identity: &Identity, ada: &Subject, scopes: Option<&[&str]>) -> anyhow::Result<(Uuid, String)> {
    let scopes = scopes.map(|scopes| scopes.iter().map(|s| (*s).to_owned()).collect());
    let new = NewKey { tenant: Some(tenant("acme")), scopes, ..NewKey::unlimited(ada.id, "door") };
    let caller = Caller { subject: ada.id, ..admin_of("acme-corp") };
    let (key, secret) = api_keys::create(identity, &caller, NewKey { days: Some(1), ..new }).await?;
    Ok((key.id, secret))
}

async fn cards(identity: &Identity, since: u64) -> anyhow::Result<Vec<CardLine>> {
    while key_cards::issue(identity).await? {}
    Ok(crate::store::key_cards::after(&mut *identity.0.pool.acquire().await?, since, 100).await?)
}

fn read(identity: &Identity, line: &CardLine) -> anyhow::Result<Card> {
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(identity.0.ring.jwks())?;
    let kid = jsonwebtoken::decode_header(&line.card)?.kid.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap())?;
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    rules.set_audience(&[AUDIENCE]);
    Ok(jsonwebtoken::decode::<Card>(&line.card, &key, &rules)?.claims)
}

#[tokio::test]
async fn a_key_of_a_tenant_gets_a_card_and_others_do_not() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["sql:read", "streams:read"]).await?;
    let caller = Caller { subject: ada.id, ..admin_of("acme-corp") };
    api_keys::create(&identity, &caller, NewKey { days: Some(1), ..NewKey::unlimited(ada.id, "wide") }).await?;
    let (id, secret) = key(&identity, &ada, Some(&["sql:read", "audit:read"])).await?;
    let lines = cards(&identity, 0).await?;
    assert_eq!(lines.len(), 1);
    let card = read(&identity, &lines[0])?;
    assert_eq!((card.key, lines[0].key, card.claims.tid), (id, id, Some(tenant("acme"))));
    assert_eq!((card.claims.scp.as_str(), card.claims.org.as_deref()), ("sql:read", Some("acme-corp")));
    assert!(ApiKey::parse(&secret).unwrap().is_of(&card.dig));
    // It is not a token, anywhere.
    assert!(verified(&identity, contracts::claims::AUDIENCE_CELL, &lines[0].card).is_err());
    assert!(verified(&identity, contracts::claims::AUDIENCE_GLOBAL, &lines[0].card).is_err());
    assert!(cards(&identity, lines[0].seq).await?.is_empty());
    Ok(())
}

/// What ends a session ends a card, and a key that is still good gets a new one that says what is true then.
#[tokio::test]
async fn a_card_follows_what_its_subject_may_do() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["sql:read"]).await?;
    let (id, _) = key(&identity, &ada, None).await?;
    let first = cards(&identity, 0).await?.pop().unwrap();
    let scopes = |scopes: &[&str]| scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    members::put(&identity, &platform(), &tenant("acme"), ada.id, scopes(&["sql:read", "streams:read"])).await?;
    let wider = cards(&identity, first.seq).await?.pop().unwrap();
    assert_eq!(read(&identity, &wider)?.claims.scp, "sql:read streams:read");
    assert!(revoked(&identity).await?.is_empty());
    members::put(&identity, &platform(), &tenant("acme"), ada.id, scopes(&["streams:read"])).await?;
    let narrower = cards(&identity, wider.seq).await?.pop().unwrap();
    assert_eq!(read(&identity, &narrower)?.claims.scp, "streams:read");
    let ended: Vec<String> = revoked(&identity).await?.into_iter().map(|(_, sid)| sid).collect();
    for line in [&first, &wider] {
        assert!(ended.contains(&read(&identity, line)?.claims.sid));
    }
    let state = |state| Edit { state: Some(state), ..Edit::default() };
    accounts::edit(&identity, &platform(), SubjectKind::User, ada.id, state(State::Suspended)).await?;
    assert!(cards(&identity, narrower.seq).await?.is_empty());
    accounts::edit(&identity, &platform(), SubjectKind::User, ada.id, state(State::Active)).await?;
    let back = cards(&identity, narrower.seq).await?.pop().unwrap();
    api_keys::revoke(&identity, &platform(), id).await?;
    assert!(cards(&identity, back.seq).await?.is_empty());
    let ended = revoked(&identity).await?;
    assert!(ended.iter().any(|(_, sid)| *sid == read(&identity, &back).unwrap().claims.sid));
    members::remove(&identity, &platform(), &tenant("acme"), ada.id).await?;
    assert!(cards(&identity, back.seq).await?.is_empty());
    Ok(())
}

/// The revocation of a card must be remembered for as long as the card would have lasted, not as long as a token.
#[tokio::test]
async fn an_ended_card_stays_ended_as_long_as_it_would_have_lasted() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["*"]).await?;
    let (id, _) = key(&identity, &ada, None).await?;
    let card = cards(&identity, 0).await?.pop().unwrap();
    api_keys::revoke(&identity, &platform(), id).await?;
    let mut db = identity.0.pool.acquire().await?;
    let list = crate::store::sessions::revocations_after(&mut db, 0, 100).await?;
    assert_eq!(list.iter().map(|revocation| revocation.until).collect::<Vec<_>>(), [card.until]);
    Ok(())
}

#[tokio::test]
async fn a_card_is_made_anew_before_it_ends_and_once() -> Done {
    let identity = identity_with(Settings { key_card_seconds: 2, ..Settings::default() }).await?;
    let ada = ada(&identity, &["*"]).await?;
    key(&identity, &ada, None).await?;
    let (left, right) = tokio::join!(key_cards::issue(&identity), key_cards::issue(&identity));
    assert!(!left? && !right?);
    let first = cards(&identity, 0).await?;
    assert_eq!((first.len(), first[0].seq), (1, 1), "two processes made two");
    let begun = std::time::Instant::now();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    let second = loop {
        ticks.tick().await;
        if let Some(second) = cards(&identity, first[0].seq).await?.pop() {
            break second;
        }
        anyhow::ensure!(begun.elapsed() < std::time::Duration::from_secs(60), "it is not made anew");
    };
    assert!(second.until > first[0].until);
    Ok(())
}

/// A key that was made before keys had cards gets one when its secret is seen.
#[tokio::test]
async fn an_old_key_gets_its_card_with_its_next_use() -> Done {
    let identity = identity().await?;
    let ada = ada(&identity, &["*"]).await?;
    let (_, secret) = key(&identity, &ada, None).await?;
    for statement in ["update api_keys set digest = null", "delete from key_cards"] {
        sqlx::query(statement).execute(&identity.0.pool).await?;
    }
    assert!(cards(&identity, 0).await?.is_empty());
    tokens::by_client(&identity, &ada.id.to_string(), &secret, in_tenant("acme"), HERE).await?;
    let card = read(&identity, &cards(&identity, 0).await?.pop().unwrap())?;
    assert!(ApiKey::parse(&secret).unwrap().is_of(&card.dig));
    Ok(())
}
