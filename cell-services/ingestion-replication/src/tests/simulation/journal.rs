//! The journal: remembers what it was told, when it works.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use kit::Scope;
use kit::database::DatabaseError;
use uuid::Uuid;

use super::fault::Step;
use super::world::{Broken, World};
use crate::domain::progress::Topic;
use crate::error::Error;
use crate::ops::commit::Outcome;
use crate::ops::record::{Journal, succeeding};

pub struct Diary(pub Arc<World>);

fn broken(_: Broken) -> Error {
    Error::Database(DatabaseError::Unavailable(sqlx::Error::PoolTimedOut))
}

#[async_trait]
impl Journal for Diary {
    async fn accept(&self, topic_id: &str, forsaken: Option<&str>) -> Result<Topic, Error> {
        let accepted = async {
            let mut topics = self.0.topics.lock();
            let topic = succeeding(topics.clone(), topic_id, forsaken)?;
            if !topics.iter().any(|id| id == topic_id) {
                topics.push(topic_id.to_owned());
            }
            Ok(topic)
        };
        self.0.pass(Step::Journal, &format!("accepts topic {topic_id}"), accepted).await.map_err(broken)?
    }

    async fn committed(&self, _: &Scope, stream: Uuid, outcome: &Outcome) -> Result<(), Error> {
        let told = async {
            if let Some(snapshot) = outcome.snapshot_id {
                self.0.told.lock().insert((stream, snapshot));
            }
        };
        let what = format!("tells of {} rows in {}", outcome.added, outcome.table);
        self.0.pass(Step::Journal, &what, told).await.map_err(broken)
    }

    async fn has_come_with(&self, _: &TenantId, _: Uuid, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn given_up(&self, _: &Scope, stream: Uuid, rows: u64) -> Result<(), Error> {
        self.0
            .pass(Step::Journal, &format!("tells of {rows} rows of {stream} given up"), async {})
            .await
            .map_err(broken)
    }
}
