//! A real nats-server for service tests: users and permissions of the contracts, one per test process.

use anyhow::Context;
use kit::service::NatsEndpoint;
use stack::driver::Driver;
use tokio::sync::OnceCell;

use crate::ground::{ground, part};

pub struct Nats {
    url: String,
}

static SERVER: OnceCell<Nats> = OnceCell::const_new();

/// Streams and consumers are not there yet: whoever needs them applies the contracts, as a cell does,
/// with [`Nats::contracts_endpoint`].
pub async fn nats() -> anyhow::Result<&'static Nats> {
    SERVER
        .get_or_try_init(|| async {
            let ground = ground().await?;
            let users = stack::nats::Nats::users_of_a_cell();
            let (dir, address, tree) = (ground.dir.join("nats"), ground.addresses.global(), part("nats").await?);
            let server = stack::nats::Nats::new("test", &dir, address, users, ground.secrets.clone(), tree);
            server.apply(&ground.supervisor).await.context("nats-server does not start")?;
            Ok(Nats { url: server.url() })
        })
        .await
}

impl Nats {
    /// The server as the service `user` reaches it.
    pub async fn endpoint(&self, user: &str) -> anyhow::Result<NatsEndpoint> {
        let password = ground().await?.secrets.get_or_make(&format!("{user}.nats"))?;
        Ok(NatsEndpoint { url: self.url.clone(), username: user.to_owned(), password })
    }

    /// As the user that may create streams and consumers.
    pub async fn contracts_endpoint(&self) -> anyhow::Result<NatsEndpoint> {
        self.endpoint(stack::nats::CONTRACTS_USER).await
    }
}
