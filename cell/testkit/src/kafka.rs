//! A real Kafka for service tests: the contracts' principals, one broker per test process.

use anyhow::Context;
use kit::service::KafkaEndpoint;
use stack::alone::{self, Alone};
use stack::kafka::{ADMIN, Kafka as Broker};
use stack::report::Reporter;
use tokio::sync::OnceCell;

use crate::folder;

pub struct Kafka(Alone<Broker>);

static SERVER: OnceCell<Kafka> = OnceCell::const_new();

/// Topics and access rules are not there yet: whoever needs them applies the contracts, as a cell does,
/// with [`Kafka::admin_endpoint`].
pub async fn kafka() -> anyhow::Result<&'static Kafka> {
    SERVER
        .get_or_try_init(|| async {
            let principals = Broker::principals_of_a_cell();
            let server = alone::kafka(&folder::fresh("kafka")?, principals, &Reporter::plain()).await;
            Ok(Kafka(server.context("Kafka does not start")?))
        })
        .await
}

impl Kafka {
    /// The broker as the service `user` reaches it.
    pub fn endpoint(&self, user: &str) -> anyhow::Result<KafkaEndpoint> {
        let password = self.0.secrets.get_or_make(&format!("{user}.kafka"))?;
        Ok(KafkaEndpoint { bootstrap: self.0.driver.bootstrap(), username: user.to_owned(), password })
    }

    /// As the super user.
    pub fn admin_endpoint(&self) -> anyhow::Result<KafkaEndpoint> {
        self.endpoint(ADMIN)
    }
}
