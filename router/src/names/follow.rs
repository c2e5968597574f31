//! Asks the name service for the names of cells, each again when its answer has run out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::task::JoinSet;

use super::Names;
use crate::config::Discovery;
use crate::feed::{Complaint, keep};
use crate::knowledge::{Knowledge, now};
use crate::metrics::FeedLabel;

const NAME: &str = "names";
/// How often it is looked whether there is a name to ask for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// An answer is good for as long as it says, within these.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Resolving {
    knowledge: Arc<Knowledge>,
    resolver: Arc<TokioResolver>,
}

/// What came of asking for a name.
struct Answered {
    name: Arc<str>,
    outcome: Result<Answer, String>,
}

struct Answer {
    addresses: Vec<std::net::IpAddr>,
    until: Instant,
}

impl Resolving {
    pub fn new(knowledge: Arc<Knowledge>, discovery: &Discovery) -> std::io::Result<Self> {
        let provider = TokioRuntimeProvider::default();
        let nobody = || ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let mut builder = if discovery.servers.is_empty() {
            // A router whose cells have addresses needs none.
            TokioResolver::builder(provider.clone()).unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no name server");
                TokioResolver::builder_with_config(nobody(), provider)
            })
        } else {
            let server = |address: &std::net::SocketAddr| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = address.port();
                    connection
                };
                let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                NameServerConfig::new(address.ip(), true, connections)
            };
            let servers = discovery.servers.iter().map(server).collect();
            TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
        };
        let options = builder.options_mut();
        (options.timeout, options.attempts) = (PATIENCE, 1);
        // Each name is asked for when its answer has run out: a second memory would only be older.
        options.cache_size = 0;
        let resolver = builder.build().map_err(std::io::Error::other)?;
        Ok(Self { knowledge, resolver: Arc::new(resolver) })
    }

    pub async fn follow(self) {
        let mut due: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut complaint = Complaint::default();
        loop {
            let used: HashSet<Arc<str>> = self.knowledge.view().names().cloned().collect();
            due.retain(|name, _| used.contains(name));
            let at = Instant::now();
            let asked = used.iter().filter(|name| due.get(*name).is_none_or(|due| *due <= at)).cloned().collect();
            self.ask(asked, &used, &mut due, &mut complaint).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn ask(
        &self,
        asked: Vec<Arc<str>>,
        used: &HashSet<Arc<str>>,
        due: &mut HashMap<Arc<str>, Instant>,
        complaint: &mut Complaint,
    ) {
        let mut asking = JoinSet::new();
        for name in asked {
            asking.spawn(resolve(self.resolver.clone(), name));
        }
        if asking.is_empty() {
            return;
        }
        let mut names = Names::clone(&self.knowledge.names());
        let (mut is_news, mut unanswered) = (false, BTreeSet::new());
        while let Some(answered) = asking.join_next().await {
            let Ok(Answered { name, outcome }) = answered else { continue };
            match outcome {
                Ok(Answer { addresses, until }) => {
                    is_news |= names.set(&name, addresses);
                    due.insert(name, until);
                }
                Err(error) => {
                    self.knowledge.metrics.feed_failures.get_or_create(&FeedLabel { feed: NAME }).inc();
                    unanswered.insert(format!("{name}: {error}"));
                    due.insert(name, Instant::now() + SHORTEST);
                }
            }
        }
        match unanswered.first() {
            Some(first) => complaint.about(NAME, format!("{} names, the first: {first}", unanswered.len())),
            None => complaint.over(NAME),
        }
        if is_news {
            names.keep(|name| used.contains(name));
            self.serve(names).await;
        }
    }

    async fn serve(&self, names: Names) {
        let payload = names.payload();
        self.knowledge.replace_names(names);
        match payload {
            Ok(payload) => keep(&self.knowledge.shelves.names, now().unsigned_abs(), payload).await,
            Err(error) => tracing::error!(%error, "names have no JSON form"),
        }
    }
}

async fn resolve(resolver: Arc<TokioResolver>, name: Arc<str>) -> Answered {
    // Whole as it is: no domain of the machine's is tried behind it.
    let found = tokio::time::timeout(2 * PATIENCE, resolver.lookup_ip(format!("{name}."))).await;
    let outcome = match found {
        Ok(Ok(found)) => {
            let (asked_at, addresses) = (Instant::now(), found.iter().collect());
            let until = found.valid_until().clamp(asked_at + SHORTEST, asked_at + LONGEST);
            Ok(Answer { addresses, until })
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    Answered { name, outcome }
}
