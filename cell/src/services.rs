//! Every service of a cell: the one file that names them all.

use kit::service::Service;

/// In the order they start: what others need comes first.
pub fn all() -> Vec<Box<dyn Service>> {
    vec![
        iceberg_catalog::service(),
        streaming::service(),
        ingestion_replication::service(),
        dataset::service(),
        lineage::service(),
        audit::service(),
        sql_warehousing::service(),
        sql_bi_gateway::service(),
        gateway::service(),
        tenant_move::service(),
    ]
}

/// A word of `--services` that selects nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither `all`, a plane nor a service; `cell services` lists them")]
pub struct UnknownSelection(String);

/// The services that `selection` names: `all`, planes and service names, separated by commas.
/// A pure filter: it never changes the order or a service's behaviour.
pub fn select(selection: &str) -> Result<Vec<Box<dyn Service>>, UnknownSelection> {
    let words: Vec<&str> = selection.split(',').map(str::trim).collect();
    let chosen = |service: &dyn Service, word: &str| {
        let declaration = service.declaration();
        word == "all" || word == declaration.plane.name() || word == declaration.name
    };
    let services = all();
    if let Some(word) = words.iter().find(|word| !services.iter().any(|s| chosen(s.as_ref(), word))) {
        return Err(UnknownSelection((*word).to_owned()));
    }
    Ok(services.into_iter().filter(|s| words.iter().any(|word| chosen(s.as_ref(), word))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selection: &str) -> Vec<&'static str> {
        select(selection).unwrap().iter().map(|s| s.declaration().name).collect()
    }

    #[test]
    fn a_selection_is_a_filter() {
        assert_eq!(names("all").len(), contracts::services::SERVICES.len());
        assert_eq!(names("audit,lineage"), ["lineage", "audit"]);
        assert_eq!(names("storage"), ["iceberg-catalog", "dataset"]);
        assert_eq!(select("all,nothing").err(), Some(UnknownSelection("nothing".into())));
    }

    #[test]
    fn every_declared_service_is_hosted_once() {
        let mut hosted: Vec<&str> = all().iter().map(|s| s.declaration().name).collect();
        let mut declared: Vec<&str> = contracts::services::SERVICES.iter().map(|s| s.name).collect();
        hosted.sort_unstable();
        declared.sort_unstable();
        assert_eq!(hosted, declared);
    }
}
