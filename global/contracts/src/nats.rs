//! Streams, subjects and permissions of the control bus, derived from [`crate::events`].

use serde::Serialize;

use crate::TenantId;
use crate::events::{Bus, EVENTS, EventDeclaration};

/// A JetStream stream as the server must have it: one per domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// `OF_<DOMAIN>`.
    pub name: String,
    /// `of.<domain>.>`.
    pub subjects: Vec<String>,
    pub max_age_seconds: u64,
    pub max_messages: i64,
}

/// A durable consumer as the server must have it: one per event and consuming service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumer {
    pub stream: String,
    /// `<service>_<event>`.
    pub name: String,
    pub filter_subject: String,
    pub ack_wait_seconds: u64,
    pub max_deliver: i64,
}

/// What a service's user may publish and subscribe. Everything else is denied by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permissions {
    pub user: String,
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

/// Account of the services inside a cell.
pub const ACCOUNT: &str = "CELL";

/// Every reply inbox of a user begins so; nobody may read another's.
pub fn inbox_prefix(service: &str) -> String {
    format!("_INBOX_{}", service.replace('-', "_"))
}

/// `of.<domain>.<event>.<tenant>`.
pub fn subject(domain: &str, event: &str, tenant: &TenantId) -> String {
    format!("of.{domain}.{event}.{tenant}")
}

/// The subject of a declared control event, or `None` if `event` rides the data bus.
pub fn subject_of(event: &EventDeclaration, tenant: &TenantId) -> Option<String> {
    match event.bus {
        Bus::Control { domain, event, .. } => Some(subject(domain, event, tenant)),
        Bus::Data { .. } => None,
    }
}

pub fn stream_name(domain: &str) -> String {
    format!("OF_{}", domain.to_uppercase().replace('-', "_"))
}

pub fn consumer_name(service: &str, event: &str) -> String {
    format!("{}_{}", service.replace('-', "_"), event.replace('-', "_"))
}

pub fn streams() -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for event in EVENTS {
        let Bus::Control { domain, .. } = event.bus else { continue };
        let name = stream_name(domain);
        if streams.iter().all(|s| s.name != name) {
            streams.push(Stream {
                name,
                subjects: vec![format!("of.{domain}.>")],
                max_age_seconds: 7 * 24 * 3600,
                max_messages: 1_000_000,
            });
        }
    }
    streams
}

pub fn consumers() -> Vec<Consumer> {
    let mut consumers = Vec::new();
    for declaration in EVENTS {
        let Bus::Control { domain, event } = declaration.bus else { continue };
        for service in declaration.consumers {
            consumers.push(Consumer {
                stream: stream_name(domain),
                name: consumer_name(service, event),
                filter_subject: format!("of.{domain}.{event}.*"),
                ack_wait_seconds: 30,
                max_deliver: 20,
            });
        }
    }
    consumers
}

/// One entry for each service that publishes or consumes a control event.
pub fn permissions() -> Vec<Permissions> {
    let mut users: Vec<Permissions> = Vec::new();
    for declaration in EVENTS {
        let Bus::Control { domain, event } = declaration.bus else { continue };
        for service in declaration.producers {
            user(&mut users, service).publish.push(format!("of.{domain}.{event}.*"));
        }
        for service in declaration.consumers {
            let (stream, name) = (stream_name(domain), consumer_name(service, event));
            let publish = &mut user(&mut users, service).publish;
            publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{name}"));
            publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"));
            publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
            publish.push(format!("$JS.ACK.{stream}.{name}.>"));
        }
    }
    for user in &mut users {
        user.publish.sort();
        user.publish.dedup();
    }
    users
}

fn user<'a>(users: &'a mut Vec<Permissions>, service: &str) -> &'a mut Permissions {
    let at = users.iter().position(|u| u.user == service).unwrap_or_else(|| {
        users.push(Permissions {
            user: service.to_owned(),
            publish: Vec::new(),
            subscribe: vec![format!("{}.>", inbox_prefix(service))],
        });
        users.len() - 1
    });
    &mut users[at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{INGESTION_REPLICATION, STREAMING};

    #[test]
    fn a_user_publishes_only_its_own_events_and_acknowledges_only_its_own_consumers() {
        let users = permissions();
        let streaming = users.iter().find(|u| u.user == STREAMING).unwrap();
        assert!(streaming.publish.contains(&"of.streaming.stream-changed.*".to_owned()));
        assert!(!streaming.publish.iter().any(|s| s.starts_with("of.ingestion")));
        let sink = users.iter().find(|u| u.user == INGESTION_REPLICATION).unwrap();
        assert!(!sink.publish.iter().any(|s| s.starts_with("of.streaming")));
        assert_eq!(sink.subscribe, ["_INBOX_ingestion_replication.>"]);
    }

    #[test]
    fn every_consumer_reads_from_a_stream_that_exists() {
        let streams = streams();
        for consumer in consumers() {
            assert!(streams.iter().any(|s| s.name == consumer.stream), "{}", consumer.name);
        }
    }
}
