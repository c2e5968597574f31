//! One function per use case.

pub mod cells;
pub mod contracts;
pub mod draining;
pub mod feed;
pub mod groups;
pub mod moves;
pub mod organisations;
pub mod sharing;
pub mod spool;
pub mod tenants;
pub mod tiers;

use ::contracts::routing::Change;
use sqlx::PgTransaction;

use crate::domain::access::Caller;
use crate::{Tenancy, store};

impl Tenancy {
    /// Wakes the feed's readers if `head` is news.
    pub(crate) fn heard(&self, head: u64) {
        self.0.routing_head.send_if_modified(|known| {
            let moved = *known != head;
            *known = head;
            moved
        });
    }
}

/// Logs a change, commits it with everything before it in the transaction, and wakes the feed's readers.
/// `cells` are those in which its tenant lives or lived.
async fn log(
    tenancy: &Tenancy,
    caller: &Caller,
    mut db: PgTransaction<'static>,
    change: &Change,
    cells: &[String],
) -> Result<(), crate::Error> {
    let head = store::routing::append(&mut db, change, cells, &caller.subject).await?;
    db.commit().await?;
    tenancy.heard(head);
    Ok(())
}

const MAX_NAME: usize = 200;

fn check_name(name: &str) -> Result<&str, crate::Error> {
    let name = name.trim();
    let well_formed = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if well_formed {
        Ok(name)
    } else {
        Err(crate::Error::Invalid("a name has 1 to 200 characters, none of them a control character"))
    }
}

/// Of a region, and of what tenants are apart by.
fn check_word(word: &str) -> Result<(), crate::Error> {
    let is_named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let well_formed = (1..=63).contains(&word.len()) && word.chars().all(is_named);
    if well_formed {
        Ok(())
    } else {
        Err(crate::Error::Invalid("region and apart are 1 to 63 characters of a-z, 0-9 and '-'"))
    }
}
