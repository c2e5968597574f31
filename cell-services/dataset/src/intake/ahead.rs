//! Rows made while those before them are written: reading a file and encoding it take a core each.

use futures::stream::{StreamExt, poll_fn};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Rows;

/// Batches that wait for the writer: more would only be memory.
const AHEAD: usize = 2;

/// The same rows, made on a thread of their own. It ends with the last row, with the first error, or
/// when nobody reads any more.
pub fn ahead(mut rows: Rows) -> Rows {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    let making = runtime.clone();
    let make = async move {
        while let Some(row) = rows.next().await {
            let failed = row.is_err();
            if sender.send(row).await.is_err() || failed {
                return;
            }
        }
    };
    // Its end shows in the channel; a panic inside has been made an error before.
    drop(runtime.spawn_blocking(move || making.block_on(make)));
    poll_fn(move |context| receiver.poll_recv(context)).boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ::arrow::array::RecordBatch;
    use ::arrow::datatypes::Schema;
    use futures::stream;

    use super::*;
    use crate::error::Error;

    fn batch() -> RecordBatch {
        RecordBatch::new_empty(Arc::new(Schema::empty()))
    }

    #[tokio::test]
    async fn every_row_comes_and_an_error_is_the_last() {
        let given = vec![Ok(batch()), Ok(batch()), Err(Error::Empty), Ok(batch())];
        let came: Vec<bool> = ahead(stream::iter(given).boxed()).map(|row| row.is_ok()).collect().await;
        assert_eq!(came, [true, true, false]);
    }

    #[tokio::test]
    async fn nobody_makes_more_than_is_wanted() {
        let (made, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        /// Says when the maker lets go of its input.
        struct Gone(Arc<tokio::sync::Notify>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (count, gone) = (Arc::clone(&made), Gone(Arc::clone(&ended)));
        let endless = stream::repeat_with(move || {
            let _alive = &gone;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(batch())
        });
        let mut rows = ahead(endless.boxed());
        assert!(rows.next().await.is_some_and(|row| row.is_ok()));
        drop(rows);
        ended.notified().await;
        assert!(made.load(Ordering::Relaxed) <= AHEAD + 3, "{made:?}");
    }
}
