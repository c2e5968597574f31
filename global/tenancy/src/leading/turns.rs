//! Whose turn it is to wait.

use std::collections::HashMap;
use std::sync::Arc;

use contracts::CellId;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Of the tenants on their way between the same two cells, one waits at a time: what its cells do while it is let in
/// nowhere, they do for it alone, and the others are in use meanwhile.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Way, Arc<Turn<()>>>>);

/// From one cell to another.
type Way = (CellId, CellId);

impl Turns {
    /// Over when dropped.
    pub async fn take(&self, from: &CellId, to: &CellId) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.0.lock().entry((from.clone(), to.clone())).or_default());
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_waits_between_two_cells_and_others_between_others() {
        let (turns, a, b) = (Turns::default(), CellId::new("one").unwrap(), CellId::new("two").unwrap());
        let first = turns.take(&a, &b).await;
        let mut second = Box::pin(turns.take(&a, &b));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(turns.take(&b, &a).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }
}
