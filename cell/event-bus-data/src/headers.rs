//! OpenLineage headers: every record says which job and run it comes from.

use std::collections::BTreeMap;

use contracts::headers as names;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::BusError;

/// The required OpenLineage headers of a record, and the optional schema URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLineage {
    pub namespace: String,
    pub job_name: String,
    pub run_id: String,
    /// RFC 3339.
    pub event_time: String,
    pub producer: String,
    /// Schema of the payload, not of the lineage event.
    pub schema_url: Option<String>,
}

impl OpenLineage {
    /// A run of `job_name` in `namespace`, happening now.
    pub fn now(
        namespace: impl Into<String>,
        job_name: impl Into<String>,
        run_id: Uuid,
        producer: impl Into<String>,
    ) -> Self {
        let event_time =
            OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned());
        Self {
            namespace: namespace.into(),
            job_name: job_name.into(),
            run_id: run_id.to_string(),
            event_time,
            producer: producer.into(),
            schema_url: None,
        }
    }

    /// All five or an error that names the first one missing.
    pub fn parse<'a>(lookup: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, BusError> {
        let required = |name: &'static str| lookup(name).map(str::to_owned).ok_or(BusError::HeaderMissing(name));
        Ok(Self {
            namespace: required(names::OL_NAMESPACE)?,
            job_name: required(names::OL_JOB_NAME)?,
            run_id: required(names::OL_RUN_ID)?,
            event_time: required(names::OL_EVENT_TIME)?,
            producer: required(names::OL_PRODUCER)?,
            schema_url: lookup(names::OL_SCHEMA_URL).map(str::to_owned),
        })
    }
}

/// Headers of a record. There is no way to make them without the lineage.
#[derive(Debug, Clone)]
pub struct RecordHeaders(OwnedHeaders);

impl RecordHeaders {
    pub fn new(lineage: &OpenLineage) -> Self {
        let mut headers = Self(OwnedHeaders::new_with_capacity(12))
            .with(names::OL_NAMESPACE, &lineage.namespace)
            .with(names::OL_JOB_NAME, &lineage.job_name)
            .with(names::OL_RUN_ID, &lineage.run_id)
            .with(names::OL_EVENT_TIME, &lineage.event_time)
            .with(names::OL_PRODUCER, &lineage.producer);
        if let Some(url) = &lineage.schema_url {
            headers = headers.with(names::OL_SCHEMA_URL, url);
        }
        headers
    }

    /// Headers that travelled as text, as an outbox keeps them; refused without the five.
    pub fn from_map(map: &BTreeMap<String, String>) -> Result<Self, BusError> {
        let lineage = OpenLineage::parse(|name| map.get(name).map(String::as_str))?;
        let mut headers = Self::new(&lineage);
        for (name, value) in map {
            if !is_lineage(name) {
                headers = headers.with(name, value);
            }
        }
        Ok(headers)
    }

    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        Self(self.0.insert(Header { key: name, value: Some(value) }))
    }

    pub(crate) fn to_owned_headers(&self) -> OwnedHeaders {
        self.0.clone()
    }

    /// Names and values as text; a value that is no UTF-8 is left out.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        (self.0.iter())
            .filter_map(|h| Some((h.key.to_owned(), std::str::from_utf8(h.value?).ok()?.to_owned())))
            .collect()
    }
}

fn is_lineage(name: &str) -> bool {
    [
        names::OL_NAMESPACE,
        names::OL_JOB_NAME,
        names::OL_RUN_ID,
        names::OL_EVENT_TIME,
        names::OL_PRODUCER,
        names::OL_SCHEMA_URL,
    ]
    .contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage() -> OpenLineage {
        OpenLineage::now("cytoplane://shared-1/acme", "stream/flights", Uuid::nil(), "https://cytoplane.dev/streaming")
    }

    #[test]
    fn lineage_survives_the_way_through_an_outbox() {
        let map = RecordHeaders::new(&lineage()).with("tenant", "acme").to_map();
        assert_eq!(map.len(), 6);
        let again = RecordHeaders::from_map(&map).unwrap().to_map();
        assert_eq!(again, map);
        assert_eq!(OpenLineage::parse(|n| again.get(n).map(String::as_str)).unwrap(), lineage_at(&map));
    }

    fn lineage_at(map: &BTreeMap<String, String>) -> OpenLineage {
        OpenLineage { event_time: map[names::OL_EVENT_TIME].clone(), ..lineage() }
    }

    #[test]
    fn each_of_the_five_is_required() {
        let full = RecordHeaders::new(&lineage()).to_map();
        for name in full.keys() {
            let mut map = full.clone();
            map.remove(name);
            assert!(matches!(RecordHeaders::from_map(&map), Err(BusError::HeaderMissing(n)) if n == name), "{name}");
        }
    }
}
