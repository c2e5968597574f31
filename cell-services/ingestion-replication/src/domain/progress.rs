//! How far a table has come: the next offset by partition, kept in the table itself.
//!
//! Invariant: every row of the table's stream that lies below the next offset of its partition is
//! in the table, exactly once. Rows and progress change in one commit, which asserts the snapshot
//! it was built on; so whoever commits on an old progress loses, and nothing is in twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Place;

/// Member of the property beside the topic: the id the broker gave the topic when it was made.
const TOPIC_ID: &str = "topic-id";
/// Member beside them: progress by topic id, of the topics of cells in which the table's tenant lived before.
const ELSEWHERE: &str = "elsewhere";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub topic_id: String,
    next: Next,
    /// On topics of other cells: a tenant that comes back goes on where it was.
    elsewhere: BTreeMap<String, Next>,
}

/// The next offset by partition.
type Next = BTreeMap<i32, i64>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgressError {
    #[error("the table's progress is not understood")]
    Malformed,
    /// Offsets of another topic mean nothing here.
    #[error("the table's progress belongs to topic id {0}, which nobody has given up")]
    OtherTopic(String),
}

/// The topic that is read, and those that were before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub id: String,
    /// Given up by an operator: progress on them is none.
    pub former: BTreeSet<String>,
}

impl Progress {
    pub fn start(topic_id: &str) -> Self {
        Self { topic_id: topic_id.to_owned(), ..Self::default() }
    }

    /// Reads the property of a table; a table without it has not begun, nor has one with progress on
    /// a topic that was given up. Any other topic is newer than ours, or an invention of the tenant's.
    pub fn of_table(property: Option<&str>, name: &str, topic: &Topic) -> Result<Self, ProgressError> {
        let Some(text) = property else { return Ok(Self::start(&topic.id)) };
        let read = Self::read(text, name)?;
        match &read.topic_id {
            id if *id == topic.id => Ok(read),
            id if topic.former.contains(id) => Ok(Self { elsewhere: read.elsewhere, ..Self::start(&topic.id) }),
            id => Err(ProgressError::OtherTopic(id.clone())),
        }
    }

    /// Reads the property of a table that came from another cell: what it says of that cell's topic is kept.
    pub fn of_arrived(property: &str, name: &str, topic: &Topic) -> Result<Self, ProgressError> {
        let Self { topic_id, next, mut elsewhere } = Self::read(property, name)?;
        elsewhere.insert(topic_id, next);
        let next = elsewhere.remove(&topic.id).unwrap_or_default();
        Ok(Self { topic_id: topic.id.clone(), next, elsewhere })
    }

    fn read(text: &str, name: &str) -> Result<Self, ProgressError> {
        let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| ProgressError::Malformed)?;
        let id = object.get(TOPIC_ID).and_then(Value::as_str).ok_or(ProgressError::Malformed)?;
        let mut elsewhere = BTreeMap::new();
        if let Some(others) = object.get(ELSEWHERE) {
            for (id, partitions) in others.as_object().ok_or(ProgressError::Malformed)? {
                elsewhere.insert(id.clone(), next(Some(partitions))?);
            }
        }
        Ok(Self { topic_id: id.to_owned(), next: next(object.get(name))?, elsewhere })
    }

    /// The property's text.
    pub fn to_property(&self, topic: &str) -> String {
        let written =
            |next: &Next| Value::Object(next.iter().map(|(p, o)| (p.to_string(), json!(o))).collect::<Map<_, _>>());
        let mut object = json!({ topic: written(&self.next), TOPIC_ID: self.topic_id });
        if !self.elsewhere.is_empty() {
            let others: Map<_, _> = self.elsewhere.iter().map(|(id, next)| (id.clone(), written(next))).collect();
            object[ELSEWHERE] = Value::Object(others);
        }
        object.to_string()
    }

    /// Whether the row is in the table already.
    pub fn covers(&self, place: Place) -> bool {
        self.next.get(&place.partition).is_some_and(|next| place.offset < *next)
    }

    fn advance(&mut self, place: Place) {
        let next = self.next.entry(place.partition).or_insert(0);
        *next = (*next).max(place.offset + 1);
    }
}

/// A table that has read nothing has no member for it.
fn next(partitions: Option<&Value>) -> Result<Next, ProgressError> {
    let Some(partitions) = partitions else { return Ok(Next::new()) };
    let mut next = Next::new();
    for (partition, offset) in partitions.as_object().ok_or(ProgressError::Malformed)? {
        let partition = partition.parse().map_err(|_| ProgressError::Malformed)?;
        next.insert(partition, offset.as_i64().ok_or(ProgressError::Malformed)?);
    }
    Ok(next)
}

/// What is to be done with rows, given how far their table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Indexes of the rows that are not in the table yet.
    pub keep: Vec<usize>,
    /// The table's progress once they are.
    pub progress: Progress,
}

impl Plan {
    /// `rows` are in reading order within each partition.
    pub fn of(rows: &[Place], table: &Progress) -> Self {
        let mut progress = table.clone();
        let mut keep = Vec::with_capacity(rows.len());
        for (at, place) in rows.iter().enumerate() {
            // Against the growing progress: a row that stands in the round twice is kept once.
            if !progress.covers(*place) {
                keep.push(at);
                progress.advance(*place);
            }
        }
        Self { keep, progress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32, offset: i64) -> Place {
        Place { partition, offset }
    }

    fn topic(id: &str, former: &[&str]) -> Topic {
        Topic { id: id.to_owned(), former: former.iter().map(|id| (*id).to_owned()).collect() }
    }

    #[test]
    fn progress_survives_as_a_property() {
        let plan = Plan::of(&[place(0, 4), place(1, 0), place(0, 9)], &Progress::start("id"));
        let text = plan.progress.to_property("topic");
        assert_eq!(text, r#"{"topic":{"0":10,"1":1},"topic-id":"id"}"#);
        assert_eq!(Progress::of_table(Some(&text), "topic", &topic("id", &[])), Ok(plan.progress));
    }

    #[test]
    fn progress_on_a_topic_made_anew_is_an_operators_decision() {
        let text = r#"{"topic":{"0":10},"topic-id":"old"}"#;
        let read = |former: &[&str]| Progress::of_table(Some(text), "topic", &topic("new", former));
        assert_eq!(read(&[]), Err(ProgressError::OtherTopic("old".to_owned())));
        assert_eq!(read(&["other"]), Err(ProgressError::OtherTopic("old".to_owned())));
        assert_eq!(read(&["other", "old"]), Ok(Progress::start("new")));
        for bad in ["", "[]", "{}", r#"{"topic-id":1}"#, r#"{"topic":{"x":1},"topic-id":"new"}"#] {
            let read = Progress::of_table(Some(bad), "topic", &topic("new", &[]));
            assert_eq!(read, Err(ProgressError::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_table_that_comes_back_goes_on_where_it_was() {
        let (here, there) = (topic("here", &[]), topic("there", &[]));
        let at_home = r#"{"topic":{"0":10},"topic-id":"here"}"#;
        let arrived = Progress::of_arrived(at_home, "topic", &there).unwrap();
        assert!(!arrived.covers(place(0, 0)), "another topic's offsets mean nothing here");
        let away = Plan::of(&[place(0, 3)], &arrived).progress.to_property("topic");
        assert_eq!(away, r#"{"topic":{"0":4},"topic-id":"there","elsewhere":{"here":{"0":10}}}"#);
        assert_eq!(Progress::of_table(Some(&away), "topic", &there).unwrap().to_property("topic"), away);
        let back = Progress::of_arrived(&away, "topic", &here).unwrap();
        assert!(back.covers(place(0, 9)) && !back.covers(place(0, 10)));
        assert_eq!(back.to_property("topic"), r#"{"topic":{"0":10},"topic-id":"here","elsewhere":{"there":{"0":4}}}"#);
    }

    #[test]
    fn rows_below_the_progress_and_repeats_are_left_out() {
        let table = Plan::of(&[place(0, 4)], &Progress::start("id")).progress;
        let plan = Plan::of(&[place(0, 3), place(0, 4), place(0, 5), place(0, 5), place(1, 0)], &table);
        assert_eq!(plan.keep, [2, 4]);
    }
}
