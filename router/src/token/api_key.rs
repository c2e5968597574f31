//! API keys: known by their cards (docs/adr/0020-api-keys-at-the-door.md).

use std::sync::Arc;

use contracts::key_cards::{self, ApiKey};
use uuid::Uuid;

use super::{Check, Content, TokenError, judge, proven};
use crate::cards::Cards;

/// A key whose id is not older may have a card that has not arrived.
const NEW_SECONDS: i64 = 10;

/// The content of an API key's card, and the card itself, if the key is the one it was made for.
pub fn verify_key(key: &str, cards: &Cards, check: Check<'_>) -> Result<(Arc<Content>, Arc<str>), TokenError> {
    let key = ApiKey::parse(key).ok_or(TokenError::Malformed)?;
    let card = cards.of(key.id).ok_or(TokenError::UnknownApiKey { is_new: is_new(key.id, check.now) })?;
    let content = proven(&card, check.keys)?;
    // Before anything is said of the key that a wrong secret must not be told.
    if !content.digest.as_deref().is_some_and(|said| key.is_of(said)) {
        return Err(TokenError::UnknownApiKey { is_new: false });
    }
    judge(&content, key_cards::AUDIENCE, key_cards::MAX_SECONDS, check)?;
    Ok((content, card))
}

/// Whether an id of version 7 was made a moment ago.
fn is_new(id: Uuid, now: i64) -> bool {
    let made = id.get_timestamp().and_then(|made| i64::try_from(made.to_unix().0).ok());
    made.is_some_and(|made| (now - made).abs() <= NEW_SECONDS)
}

#[cfg(test)]
mod tests {
    use contracts::Claims;
    use contracts::claims::{AUDIENCE_CELL, Revocation};
    use contracts::key_cards::{Card, CardLine};

    use super::super::tests::{NOW, claims, keys, sign};
    use super::*;
    use crate::revoked::Revoked;
    use crate::token::verify;

    const SECRET: [u8; 32] = [5; 32];

    fn id() -> Uuid {
        Uuid::from_u128(11)
    }

    fn text(id: Uuid, secret: &[u8; 32]) -> String {
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ck_{}_{secret}", id.simple())
    }

    fn card_claims() -> Claims {
        Claims { aud: key_cards::AUDIENCE.into(), exp: NOW + 3_600, ..claims("acme") }
    }

    fn cards(claims: Claims) -> Cards {
        let until = claims.exp;
        let card = sign(&Card { claims, key: id(), dig: key_cards::digest(&SECRET) });
        let mut cards = Cards::default();
        cards.add(CardLine { seq: 1, key: id(), card, until });
        cards
    }

    fn outcome(key: &str, cards: &Cards, revoked: &Revoked) -> Result<Claims, TokenError> {
        let keys = keys();
        let check = Check { keys: &keys, revoked, audience: AUDIENCE_CELL, now: NOW, leeway: 5 };
        let (first, again) = (verify_key(key, cards, check), verify_key(key, cards, check));
        assert_eq!(first, again, "it was judged otherwise the second time");
        first.map(|(content, card)| {
            assert_eq!(Some(card.clone()), cards.of(id()));
            assert!(verify(&card, check).is_err(), "a card is taken for a token");
            content.claims.clone()
        })
    }

    #[test]
    fn a_key_is_what_its_card_says() {
        let (good, none) = (text(id(), &SECRET), Revoked::default());
        assert_eq!(outcome(&good, &cards(card_claims()), &none), Ok(card_claims()));
        let mut revoked = Revoked::default();
        revoked.add(Revocation { seq: 1, sid: "session-1".into(), until: NOW + 3_600 });
        assert_eq!(outcome(&good, &cards(card_claims()), &revoked), Err(TokenError::Revoked));
        let unknown = TokenError::UnknownApiKey { is_new: false };
        assert_eq!(outcome(&text(id(), &[6; 32]), &cards(card_claims()), &revoked), Err(unknown));
        assert_eq!(outcome(&text(Uuid::from_u128(12), &SECRET), &cards(card_claims()), &none), Err(unknown));
        for wrong in ["", "ck_", "ck_1_2", &good[..good.len() - 2], &format!("{good}00")] {
            assert_eq!(outcome(wrong, &cards(card_claims()), &none), Err(TokenError::Malformed), "{wrong}");
        }
        let with = |change: fn(&mut Claims)| {
            let mut claims = card_claims();
            change(&mut claims);
            outcome(&good, &cards(claims), &none)
        };
        assert_eq!(with(|c| c.exp = NOW - 6), Err(TokenError::Expired));
        assert_eq!(with(|c| c.exp = NOW + key_cards::MAX_SECONDS), Err(TokenError::TooLong));
        assert_eq!(with(|c| c.aud = AUDIENCE_CELL.into()), Err(TokenError::Audience));
    }

    #[test]
    fn a_key_that_was_made_just_now_is_told_from_an_invented_one() {
        let at = |second: u64| uuid::Builder::from_unix_timestamp_millis(second * 1_000, &[1; 10]).into_uuid();
        let unknown = |id| outcome(&text(id, &SECRET), &Cards::default(), &Revoked::default()).unwrap_err();
        let now = NOW.unsigned_abs();
        assert_eq!(unknown(at(now - 1)), TokenError::UnknownApiKey { is_new: true });
        assert_eq!(unknown(at(now - 60)), TokenError::UnknownApiKey { is_new: false });
        assert_eq!(unknown(Uuid::from_u128(3)), TokenError::UnknownApiKey { is_new: false });
    }
}
