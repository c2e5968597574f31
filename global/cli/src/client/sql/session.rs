//! A connection to the SQL edge, through the router, as one tenant's bearer.

use arrow::record_batch::RecordBatch;
use flight_sql::{Client, CommandGetDbSchemas, CommandGetTables, Results, Tls};
use futures::StreamExt;

use super::super::credential::Credential;
use super::super::site::Site;

pub struct Session {
    client: Client,
    credential: Credential,
}

/// Rows of a statement, and whether there were more than wanted.
pub struct Rows {
    pub schema: arrow::datatypes::SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub more: bool,
}

impl Session {
    pub async fn connect(site: &Site, credential: Credential) -> anyhow::Result<Self> {
        let channel = flight_sql::connect(&format!("http://{}", site.flight), Tls::default()).await?;
        Ok(Self { client: Client::new(channel), credential })
    }

    /// The token may have been renewed since the last call.
    async fn client(&self) -> anyhow::Result<Client> {
        Ok(self.client.clone().with_bearer(&self.credential.token().await?)?)
    }

    pub async fn execute(&self, sql: &str) -> anyhow::Result<Results> {
        Ok(self.client().await?.execute(sql).await?)
    }

    /// At most `limit` rows; the server is told to stop when there are more.
    pub async fn rows(&self, sql: &str, limit: usize) -> anyhow::Result<Rows> {
        let client = self.client().await?;
        let mut results = client.execute(sql).await?;
        let (schema, info) = (results.schema().clone(), results.info().clone());
        let (mut batches, mut seen) = (Vec::new(), 0);
        while let Some(batch) = results.next().await.transpose()? {
            if seen + batch.num_rows() > limit {
                batches.push(batch.slice(0, limit - seen));
                // The answer does not matter: the rows wanted are here.
                let _status = client.cancel(info).await;
                return Ok(Rows { schema, batches, more: true });
            }
            seen += batch.num_rows();
            batches.push(batch);
        }
        Ok(Rows { schema, batches, more: false })
    }

    /// All rows of a small result.
    pub async fn all(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        Ok(self.execute(sql).await?.collect().await?)
    }

    pub async fn tables(&self, with_columns: bool) -> anyhow::Result<Vec<RecordBatch>> {
        let filter = CommandGetTables { include_schema: with_columns, ..Default::default() };
        Ok(self.client().await?.tables(filter).await?)
    }

    pub async fn schemas(&self) -> anyhow::Result<Vec<RecordBatch>> {
        Ok(self.client().await?.schemas(CommandGetDbSchemas::default()).await?)
    }
}

/// A refusal's source is the same refusal in gRPC's words: one of them is enough for a person.
pub fn told(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<flight_sql::Error>() {
        Some(refused) if refused.status().is_some() => anyhow::anyhow!("{refused}"),
        _ => error,
    }
}
