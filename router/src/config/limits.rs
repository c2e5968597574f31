//! What one request, one tenant and all of them may use.

use std::time::Duration;

use contracts::TierId;
use contracts::tiers::Tier;
use serde::Deserialize;

use crate::fairness::Allowance;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request header, in bytes.
    pub header_bytes: usize,
    /// Total time for one request header, first byte to last.
    pub header_seconds: u64,
    /// Largest request body on HTTP listeners, in bytes; 0 = no limit.
    pub body_bytes: u64,
    /// Largest request stream on Flight listeners, in bytes; 0 = no limit.
    pub flight_body_bytes: u64,
    /// Idle connections kept to all cells together.
    pub keepalive_pool: usize,
    /// Life of an idle connection, to clients and to cells.
    pub keepalive_seconds: u64,
    /// Connections of one client address (IPv6: one /64) to all listeners; 0 = no limit, for where a balancer hides
    /// the clients.
    pub connections_per_address: u32,
    /// Concurrent streams on one client connection.
    pub h2_streams: u32,
    /// A client's HTTP/2 connection without a stream is closed after this.
    pub h2_idle_seconds: u64,
    /// Concurrent streams on one connection to a cell.
    pub upstream_streams: usize,
    /// TCP and TLS to a cell.
    pub connect_seconds: u64,
    /// Longest wait for a cell that refuses connections, from its first refusal, in milliseconds; 0 = none.
    pub cell_wait_ms: u64,
    /// Longest wait for a placement that a cell has already heard of, in milliseconds.
    pub placement_ms: u64,
    /// Longest wait for a tenant that is between two cells, in milliseconds.
    pub arrival_ms: u64,
    /// Requests that wait for such a tenant at the same time; further ones are refused.
    pub held_requests: usize,
    /// Longest silence of a cell, or of a client that is sending its body.
    pub stream_idle_seconds: u64,
    /// Longest silence on a connection that is passed on to a cell's own door.
    pub passed_idle_seconds: u64,
    /// Requests under way, of all tenants together, above which each is held to its share.
    pub concurrent_requests: usize,
    /// What a tenant may use whose tier the table does not know.
    pub tenant: TenantLimits,
}

/// Limits of each tenant; 0 = none.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLimits {
    pub requests_per_second: u32,
    /// Requests that may come at once.
    pub request_burst: u32,
    /// Requests under way.
    pub concurrent_requests: u32,
    /// Bytes of bodies, both ways together.
    pub bytes_per_second: u64,
    /// Bytes that may come at once.
    pub byte_burst: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_seconds: 10,
            body_bytes: 5 * 1024 * 1024 * 1024,
            flight_body_bytes: 0,
            keepalive_pool: 512,
            keepalive_seconds: 60,
            connections_per_address: 10_000,
            h2_streams: 128,
            h2_idle_seconds: 300,
            upstream_streams: 256,
            connect_seconds: 3,
            cell_wait_ms: 5_000,
            placement_ms: 500,
            arrival_ms: 15_000,
            held_requests: 10_000,
            stream_idle_seconds: 300,
            passed_idle_seconds: 600,
            concurrent_requests: 10_000,
            tenant: TenantLimits::default(),
        }
    }
}

/// Above what a cell's gateway allows: the cell knows best what it can take.
impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 2_000,
            request_burst: 4_000,
            concurrent_requests: 512,
            bytes_per_second: 0,
            byte_burst: 0,
        }
    }
}

impl TenantLimits {
    fn tier(&self) -> Tier {
        Tier {
            tier: TierId::default(),
            requests_per_second: self.requests_per_second,
            request_burst: self.request_burst,
            concurrent_requests: self.concurrent_requests,
            bytes_per_second: self.bytes_per_second,
            byte_burst: self.byte_burst,
            ..Tier::unlimited(TierId::default())
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        self.tier().is_sound()
    }

    pub fn allowance(&self) -> Allowance {
        Allowance::of(&self.tier())
    }
}

impl Limits {
    pub fn header_time(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }
    pub fn keepalive(&self) -> Duration {
        Duration::from_secs(self.keepalive_seconds)
    }
    pub fn cell_wait(&self) -> Duration {
        Duration::from_millis(self.cell_wait_ms)
    }
    pub fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }
    pub fn placement(&self) -> Duration {
        Duration::from_millis(self.placement_ms)
    }
    pub fn arrival(&self) -> Duration {
        Duration::from_millis(self.arrival_ms)
    }
    pub fn passed_idle(&self) -> Duration {
        Duration::from_secs(self.passed_idle_seconds)
    }
    pub fn stream_idle(&self) -> Duration {
        Duration::from_secs(self.stream_idle_seconds)
    }

    /// Every number with the least and the most it may be.
    pub(super) fn ranges(&self) -> [(&'static str, u64, u64, u64); 15] {
        [
            ("limits.header_bytes", self.header_bytes as u64, 1024, 1024 * 1024),
            ("limits.header_seconds", self.header_seconds, 1, 300),
            ("limits.keepalive_pool", self.keepalive_pool as u64, 1, 1_000_000),
            ("limits.keepalive_seconds", self.keepalive_seconds, 1, 3600),
            ("limits.h2_streams", u64::from(self.h2_streams), 1, 10_000),
            ("limits.h2_idle_seconds", self.h2_idle_seconds, 1, 86_400),
            ("limits.upstream_streams", self.upstream_streams as u64, 1, 10_000),
            ("limits.connect_seconds", self.connect_seconds, 1, 60),
            ("limits.cell_wait_ms", self.cell_wait_ms, 0, 60_000),
            ("limits.placement_ms", self.placement_ms, 1, 60_000),
            ("limits.arrival_ms", self.arrival_ms, 1, 300_000),
            ("limits.held_requests", self.held_requests as u64, 1, 1_000_000),
            ("limits.stream_idle_seconds", self.stream_idle_seconds, 1, 86_400),
            ("limits.passed_idle_seconds", self.passed_idle_seconds, 1, 86_400),
            ("limits.concurrent_requests", self.concurrent_requests as u64, 1, 1_000_000),
        ]
    }
}
