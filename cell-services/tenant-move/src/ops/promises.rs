//! Which tenant may be taken by which cell. Forgotten with the process: whoever leads the move says it again.

use std::collections::HashMap;

use contracts::{CellId, TenantId};
use parking_lot::Mutex;

use crate::error::Error;

#[derive(Debug, Default)]
pub struct Promises(Mutex<HashMap<TenantId, CellId>>);

impl Promises {
    pub fn give(&self, tenant: TenantId, to: CellId) {
        self.0.lock().insert(tenant, to);
    }

    pub fn take_back(&self, tenant: &TenantId) {
        self.0.lock().remove(tenant);
    }

    /// Refuses every cell but the one that was named.
    pub fn check(&self, tenant: &TenantId, asks: &CellId) -> Result<(), Error> {
        if self.0.lock().get(tenant) == Some(asks) { Ok(()) } else { Err(Error::NotPromised) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_given_to_the_cell_that_was_named_and_until_it_is_taken_back() {
        let promises = Promises::default();
        let (acme, there, elsewhere) =
            (TenantId::new("acme").unwrap(), CellId::new("there").unwrap(), CellId::new("elsewhere").unwrap());
        assert!(promises.check(&acme, &there).is_err());
        promises.give(acme.clone(), there.clone());
        assert!(promises.check(&acme, &there).is_ok() && promises.check(&acme, &elsewhere).is_err());
        promises.take_back(&acme);
        assert!(promises.check(&acme, &there).is_err());
    }
}
