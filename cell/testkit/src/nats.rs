//! A real nats-server for service tests: users and permissions of the contracts, one per test process.

use anyhow::Context;
use kit::service::NatsEndpoint;
use stack::alone::{self, Alone};
use stack::nats::{CONTRACTS_USER, Nats as Server};
use stack::report::Reporter;
use tokio::sync::OnceCell;

use crate::folder;

pub struct Nats(Alone<Server>);

static SERVER: OnceCell<Nats> = OnceCell::const_new();

/// Streams and consumers are not there yet: whoever needs them applies the contracts, as a cell does,
/// with [`Nats::contracts_endpoint`].
pub async fn nats() -> anyhow::Result<&'static Nats> {
    SERVER
        .get_or_try_init(|| async {
            let users = Server::users_of_a_cell();
            let server = alone::nats(&folder::fresh("nats")?, users, &Reporter::plain()).await;
            Ok(Nats(server.context("nats-server does not start")?))
        })
        .await
}

impl Nats {
    /// The server as the service `user` reaches it.
    pub fn endpoint(&self, user: &str) -> anyhow::Result<NatsEndpoint> {
        let password = self.0.secrets.get_or_make(&format!("{user}.nats"))?;
        Ok(NatsEndpoint { url: self.0.driver.url(), username: user.to_owned(), password })
    }

    /// As the user that may create streams and consumers.
    pub fn contracts_endpoint(&self) -> anyhow::Result<NatsEndpoint> {
        self.endpoint(CONTRACTS_USER)
    }
}
