//! One function per use case: authorise, load, decide, save, tell.

mod access;
mod commit;
mod credentials;
mod files;
mod namespaces;
mod orphans;
mod tables;

pub use access::Need;
pub use commit::{Key, NamedChange};
pub use credentials::Delegation;
pub use files::MetadataFile;
pub use namespaces::{PropertiesChange, PropertiesChanged};
pub use tables::Loaded;

use kit::database::Database;
use kit::metrics::Metrics;
use lakehouse::Bucket;
use lakehouse::credentials::Vendor;
use prometheus_client::metrics::counter::Counter;

use crate::config::Settings;

/// The catalog of one cell.
pub struct Catalog {
    database: Database,
    bucket: Bucket,
    files: files::MetadataFiles,
    vendor: Option<Vendor>,
    /// What a client outside the cell needs to know about the bucket.
    client: credentials::ClientEndpoint,
    settings: Settings,
    counters: Counters,
}

struct Counters {
    commits: Counter,
    races: Counter,
    reports: Counter,
    orphans: Counter,
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        Self {
            commits: metrics.counter("catalog_commits", "Table commits that moved a pointer"),
            races: metrics.counter("catalog_commit_races", "Commits prepared again because another came first"),
            reports: metrics.counter("catalog_metrics_reports", "Scan and commit reports taken from clients"),
            orphans: metrics.counter("catalog_orphans_deleted", "Files deleted that no table knew"),
        }
    }
}

impl Catalog {
    pub fn new(
        database: Database,
        bucket: Bucket,
        endpoint: &kit::service::BucketEndpoint,
        settings: Settings,
        metrics: &Metrics,
    ) -> lakehouse::Result<Self> {
        Ok(Self {
            database,
            bucket,
            files: files::MetadataFiles::new(settings.metadata_cache_bytes, settings.max_metadata_bytes),
            vendor: Vendor::new(endpoint)?,
            client: credentials::ClientEndpoint::new(endpoint, settings.public_bucket_endpoint.clone()),
            settings,
            counters: Counters::new(metrics),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A client reported how a scan or a commit went.
    pub fn count_report(&self) {
        self.counters.reports.inc();
    }
}
