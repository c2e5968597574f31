//! Topics and access rules of the data bus, derived from [`crate::events`].

use serde::Serialize;

use crate::events::{Bus, Cleanup, EVENTS};

/// Dead letters keep twice as long as anybody needs to notice.
const DEAD_LETTER_RETENTION_MS: i64 = 14 * 24 * 3_600_000;

/// A topic as the broker must have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub retention_ms: i64,
    pub cleanup: Cleanup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Read,
    Write,
    Describe,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "resource", rename_all = "snake_case")]
pub enum Resource {
    /// The topic of exactly this name.
    Topic { name: String },
    /// Consumer groups whose name begins so.
    GroupPrefix { prefix: String },
    /// Transactional ids that begin so.
    TransactionalIdPrefix { prefix: String },
}

/// `principal` may do `operation` on `resource`. Everything not listed is denied by the broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Acl {
    /// Service name; the Kafka principal is `User:<name>`.
    pub principal: String,
    pub operation: Operation,
    #[serde(flatten)]
    pub resource: Resource,
}

/// `__dlq.<topic>`.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("__dlq.{topic}")
}

/// Consumer groups of a service begin with its name and a dot.
pub fn group(service: &str, purpose: &str) -> String {
    format!("{service}.{purpose}")
}

pub fn topics() -> Vec<Topic> {
    let mut topics = Vec::new();
    for event in EVENTS {
        let Bus::Data { partitions, retention_ms, cleanup, dead_letters } = event.bus else { continue };
        topics.push(Topic { name: event.name.to_owned(), partitions, retention_ms, cleanup });
        if dead_letters {
            topics.push(Topic {
                name: dead_letter_topic(event.name),
                partitions: 1,
                retention_ms: DEAD_LETTER_RETENTION_MS,
                cleanup: Cleanup::Delete,
            });
        }
    }
    topics
}

/// Sorted, without repeats.
pub fn acls() -> Vec<Acl> {
    let mut acls = Vec::new();
    let mut allow = |principal: &str, operation, resource: &Resource| {
        acls.push(Acl { principal: principal.to_owned(), operation, resource: resource.clone() });
    };
    for event in EVENTS {
        let Bus::Data { dead_letters, .. } = event.bus else { continue };
        let topic = Resource::Topic { name: event.name.to_owned() };
        for producer in event.producers {
            allow(producer, Operation::Write, &topic);
            allow(producer, Operation::Describe, &topic);
            let transactions = Resource::TransactionalIdPrefix { prefix: format!("{producer}.") };
            allow(producer, Operation::Write, &transactions);
            allow(producer, Operation::Describe, &transactions);
        }
        for consumer in event.consumers {
            allow(consumer, Operation::Read, &topic);
            allow(consumer, Operation::Describe, &topic);
            allow(consumer, Operation::Read, &Resource::GroupPrefix { prefix: format!("{consumer}.") });
            if dead_letters {
                let letters = Resource::Topic { name: dead_letter_topic(event.name) };
                allow(consumer, Operation::Write, &letters);
                allow(consumer, Operation::Describe, &letters);
            }
        }
    }
    acls.sort();
    acls.dedup();
    acls
}

/// Services that need a SCRAM principal, sorted.
pub fn principals() -> Vec<String> {
    let mut names: Vec<String> = acls().into_iter().map(|a| a.principal).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{AUDIT_ENTRY_RECORDED, STREAMING_RECORD_ACCEPTED};
    use crate::services::{AUDIT, STREAMING};

    fn may(principal: &str, operation: Operation, topic: &str) -> bool {
        acls().contains(&Acl {
            principal: principal.into(),
            operation,
            resource: Resource::Topic { name: topic.into() },
        })
    }

    #[test]
    fn a_service_writes_only_what_it_produces_and_reads_only_what_it_consumes() {
        assert!(may(STREAMING, Operation::Write, STREAMING_RECORD_ACCEPTED));
        assert!(!may(AUDIT, Operation::Write, STREAMING_RECORD_ACCEPTED));
        assert!(!may(AUDIT, Operation::Read, STREAMING_RECORD_ACCEPTED));
        assert!(may(AUDIT, Operation::Read, AUDIT_ENTRY_RECORDED));
        assert!(!may(STREAMING, Operation::Read, AUDIT_ENTRY_RECORDED));
    }

    #[test]
    fn every_topic_is_named_once() {
        let mut names: Vec<String> = topics().into_iter().map(|t| t.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
