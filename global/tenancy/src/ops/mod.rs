//! One function per use case.

pub mod cells;
pub mod contracts;
pub mod organisations;
pub mod routing;
pub mod tenants;
pub mod tiers;

use crate::Tenancy;

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
