//! Reconciles a broker with the declared contracts, and says where it differs.
//!
//! Topics nobody declared are reported and never deleted: they may hold somebody's rows. Access
//! rules nobody declared are removed: every one of them is a hole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use contracts::kafka::{self, Topic};
use kit::service::KafkaEndpoint;
use rdkafka::error::KafkaError;

use crate::acl::{self, Rule};
use crate::connection::client_config;
use crate::topic_admin::{Administration, TopicState, cleanup_name};
use crate::{BusError, topic_admin};

/// Copies of each record in production; a cluster with fewer brokers takes what it has.
const REPLICAS: usize = 3;
/// A broker follows its controller within milliseconds; one that starts, within seconds.
const IN_FORCE_DEADLINE: Duration = Duration::from_secs(30);
const IN_FORCE_PAUSE: Duration = Duration::from_millis(50);

/// Makes the broker match the contracts. `admin` is a super user. Returns what was changed, in words.
pub async fn apply(admin: &KafkaEndpoint) -> Result<Vec<String>, BusError> {
    let administration = connect(admin).await?;
    let mut changes = Vec::new();
    let (existing, replicas) = observe(&administration).await?;
    for topic in kafka::topics() {
        match existing.get(&topic.name) {
            None => {
                administration.create(&topic, replicas).await?;
                changes.push(format!("topic {} created with {} partitions", topic.name, topic.partitions));
            }
            Some(state) => changes.extend(mend(&administration, &topic, state).await?),
        }
    }
    let (missing, extra, administration) = blocking(administration, |a| {
        let (missing, extra) = rule_differences(a)?;
        if !missing.is_empty() {
            acl::create(a.native().inner(), &missing)?;
        }
        if !extra.is_empty() {
            acl::delete(a.native().inner(), &extra)?;
        }
        Ok((missing, extra))
    })
    .await
    .map(|((missing, extra), a)| (missing, extra, a))?;
    changes.extend(missing.iter().map(|rule| format!("access rule created: {rule}")));
    changes.extend(extra.iter().map(|rule| format!("access rule removed: {rule}")));
    // Without a change the broker itself has just said that it goes by them.
    let administration = if changes.is_empty() { administration } else { in_force(administration).await? };
    release(administration).await;
    Ok(changes)
}

/// Waits until the broker itself goes by the contracts. It hears of a change from its controller, a
/// little after the controller called it made: a service started in between would be refused.
async fn in_force(mut administration: Administration) -> Result<Administration, BusError> {
    let until = Instant::now() + IN_FORCE_DEADLINE;
    loop {
        let (existing, _) = observe(&administration).await?;
        let topics: Vec<Topic> = kafka::topics().into_iter().filter(|t| !is_met(t, existing.get(&t.name))).collect();
        let ((missing, extra), given_back) = blocking(administration, rule_differences).await?;
        administration = given_back;
        let open = topics.len() + missing.len() + extra.len();
        if open == 0 {
            return Ok(administration);
        }
        if Instant::now() > until {
            return Err(BusError::Administration {
                what: "contracts of the data bus".to_owned(),
                detail: format!("{open} topics and access rules are not in force after {IN_FORCE_DEADLINE:?}"),
            });
        }
        tokio::time::sleep(IN_FORCE_PAUSE).await;
    }
}

/// Differences between the broker and the contracts, in words; empty when there are none.
pub async fn drift(admin: &KafkaEndpoint) -> Result<Vec<String>, BusError> {
    let administration = connect(admin).await?;
    let (existing, _) = observe(&administration).await?;
    let mut differences = topic_differences(&kafka::topics(), &existing);
    let ((missing, extra), administration) = blocking(administration, rule_differences).await?;
    release(administration).await;
    differences.extend(missing.iter().map(|rule| format!("access rule missing: {rule}")));
    differences.extend(extra.iter().map(|rule| format!("access rule not declared: {rule}")));
    Ok(differences)
}

async fn connect(admin: &KafkaEndpoint) -> Result<Administration, BusError> {
    let config = client_config(admin, "cell-contracts");
    tokio::task::spawn_blocking(move || Administration::connect(&config))
        .await
        .unwrap_or(Err(BusError::Unavailable(KafkaError::Canceled)))
}

async fn observe(administration: &Administration) -> Result<(BTreeMap<String, TopicState>, i32), BusError> {
    let topics = administration.topics().await?;
    let replicas = administration.broker_count()?.clamp(1, REPLICAS);
    Ok((topics, i32::try_from(replicas).unwrap_or(1)))
}

/// Runs librdkafka's blocking calls off the runtime's workers and gives the client back.
async fn blocking<T: Send + 'static>(
    administration: Administration,
    work: impl FnOnce(&Administration) -> Result<T, BusError> + Send + 'static,
) -> Result<(T, Administration), BusError> {
    tokio::task::spawn_blocking(move || work(&administration).map(|done| (done, administration)))
        .await
        .unwrap_or(Err(BusError::Unavailable(KafkaError::Canceled)))
}

/// Closing joins a thread.
async fn release(administration: Administration) {
    if tokio::task::spawn_blocking(move || drop(administration)).await.is_err() {
        tracing::debug!("the admin client's thread ended badly");
    }
}

async fn mend(administration: &Administration, topic: &Topic, state: &TopicState) -> Result<Vec<String>, BusError> {
    let mut changes = Vec::new();
    if state.partitions < topic.partitions {
        administration.grow(topic).await?;
        changes
            .push(format!("topic {} grown from {} to {} partitions", topic.name, state.partitions, topic.partitions));
    }
    if !settings_match(topic, state) {
        administration.configure(topic).await?;
        changes.push(format!("topic {} set to its declared retention and cleanup", topic.name));
    }
    Ok(changes)
}

/// Whether [`mend`] would have nothing to do. Kafka takes no partition back, so more than declared is drift
/// that stays.
fn is_met(topic: &Topic, state: Option<&TopicState>) -> bool {
    state.is_some_and(|state| state.partitions >= topic.partitions && settings_match(topic, state))
}

fn settings_match(topic: &Topic, state: &TopicState) -> bool {
    state.retention_ms == Some(topic.retention_ms) && state.cleanup.as_deref() == Some(cleanup_name(topic.cleanup))
}

fn topic_differences(declared: &[Topic], existing: &BTreeMap<String, TopicState>) -> Vec<String> {
    let mut differences = Vec::new();
    for topic in declared {
        let name = &topic.name;
        let Some(state) = existing.get(name) else {
            differences.push(format!("topic {name} is missing"));
            continue;
        };
        if state.partitions != topic.partitions {
            differences
                .push(format!("topic {name} has {} partitions, declared {}", state.partitions, topic.partitions));
        }
        if state.retention_ms != Some(topic.retention_ms) {
            differences
                .push(format!("topic {name} keeps {:?} ms, declared {}", state.retention_ms, topic.retention_ms));
        }
        let cleanup = topic_admin::cleanup_name(topic.cleanup);
        if state.cleanup.as_deref() != Some(cleanup) {
            differences.push(format!("topic {name} cleans up by {:?}, declared {cleanup}", state.cleanup));
        }
    }
    let known: BTreeSet<&str> = declared.iter().map(|t| t.name.as_str()).collect();
    let unknown = existing.keys().filter(|name| !known.contains(name.as_str()));
    differences.extend(unknown.map(|name| format!("topic {name} is not declared")));
    differences
}

/// Missing and undeclared rules.
fn rule_differences(administration: &Administration) -> Result<(Vec<Rule>, Vec<Rule>), BusError> {
    let existing = acl::describe(administration.native().inner())?;
    let declared: BTreeSet<Rule> = kafka::acls().iter().map(Rule::declared).collect();
    Ok((declared.difference(&existing).cloned().collect(), existing.difference(&declared).cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::events::Cleanup;

    fn topic(name: &str) -> Topic {
        Topic { name: name.to_owned(), partitions: 3, retention_ms: 1000, cleanup: Cleanup::Delete }
    }

    fn state(partitions: i32, retention_ms: i64, cleanup: &str) -> TopicState {
        TopicState { partitions, retention_ms: Some(retention_ms), cleanup: Some(cleanup.to_owned()) }
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let declared = [topic("a"), topic("b"), topic("c")];
        let existing = BTreeMap::from([
            ("b".to_owned(), state(1, 2000, "compact")),
            ("c".to_owned(), state(3, 1000, "delete")),
            ("x".to_owned(), state(1, 1, "delete")),
        ]);
        let differences = topic_differences(&declared, &existing);
        assert_eq!(differences.len(), 5, "{differences:?}");
        assert_eq!(differences[0], "topic a is missing");
        assert_eq!(differences[4], "topic x is not declared");
    }

    #[test]
    fn a_topic_with_more_partitions_than_declared_keeps_nobody_waiting() {
        assert!(is_met(&topic("a"), Some(&state(4, 1000, "delete"))));
        assert!(!is_met(&topic("a"), Some(&state(2, 1000, "delete"))));
        assert!(!is_met(&topic("a"), Some(&state(3, 1000, "compact"))));
        assert!(!is_met(&topic("a"), None));
    }

    #[test]
    fn every_declared_rule_has_a_form_the_broker_knows() {
        for declared in kafka::acls() {
            let rule = Rule::declared(&declared);
            assert_eq!(rule.permission, "allow");
            assert!(!rule.name.is_empty(), "{rule}");
        }
    }
}
