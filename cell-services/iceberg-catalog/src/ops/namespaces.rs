//! Namespaces.

use std::collections::HashMap;

use kit::Scope;
use kit::database::Tx;
use lakehouse::Namespace;
use serde::{Deserialize, Serialize};

use super::{Catalog, Need};
use crate::error::{Error, Result};
use crate::events::{self, Outcome};
use crate::store::{self, Properties};

/// What to change, and then what was changed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PropertiesChange {
    #[serde(default)]
    pub removals: Vec<String>,
    #[serde(default)]
    pub updates: Properties,
}

#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct PropertiesChanged {
    pub updated: Vec<String>,
    pub removed: Vec<String>,
    pub missing: Vec<String>,
}

pub(super) async fn must_exist(tx: &mut Tx, scope: &Scope, namespace: &Namespace) -> Result<store::NamespaceRow> {
    store::namespace(tx, scope, namespace).await?.ok_or(Error::NoSuchNamespace)
}

impl Catalog {
    pub async fn create_namespace(
        &self,
        scope: &Scope,
        warehouse: &str,
        namespace: &Namespace,
        properties: &Properties,
    ) -> Result<()> {
        self.allow(scope, warehouse, Need::Write, "catalog.namespace.create", &namespace.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        if store::count_namespaces(&mut tx, scope).await? >= i64::from(self.settings.max_namespaces_per_tenant) {
            return Err(Error::Limit { what: "namespaces", limit: self.settings.max_namespaces_per_tenant });
        }
        let parent = match namespace.parent() {
            Some(parent) => Some(must_exist(&mut tx, scope, &parent).await?.id),
            None => None,
        };
        store::insert_namespace(&mut tx, scope, namespace, parent, properties).await?;
        events::audited(&mut tx, scope, "catalog.namespace.create", &namespace.to_string(), Outcome::Allowed(200))
            .await?;
        Ok(tx.commit().await?)
    }

    /// Names of one level in order. `page` is the name before the page and its size; without it, all.
    pub async fn namespaces(
        &self,
        scope: &Scope,
        warehouse: &str,
        parent: Option<&Namespace>,
        page: Option<(String, usize)>,
    ) -> Result<Vec<Namespace>> {
        self.allow(scope, warehouse, Need::Read, "catalog.namespace.list", "namespaces").await?;
        let mut tx = self.database.begin(scope).await?;
        let parent = match parent {
            Some(parent) => Some(must_exist(&mut tx, scope, parent).await?.id),
            None => None,
        };
        let (after, limit) = super::tables::window(page);
        let names = store::namespaces(&mut tx, scope, parent, &after, limit).await?;
        names.iter().map(|name| name.parse().map_err(|_| Error::Damaged("a namespace's name"))).collect()
    }

    pub async fn namespace(&self, scope: &Scope, warehouse: &str, namespace: &Namespace) -> Result<Properties> {
        self.allow(scope, warehouse, Need::Read, "catalog.namespace.load", &namespace.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        Ok(must_exist(&mut tx, scope, namespace).await?.properties)
    }

    pub async fn drop_namespace(&self, scope: &Scope, warehouse: &str, namespace: &Namespace) -> Result<()> {
        self.allow(scope, warehouse, Need::Write, "catalog.namespace.drop", &namespace.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        store::delete_namespace(&mut tx, scope, namespace).await?;
        events::audited(&mut tx, scope, "catalog.namespace.drop", &namespace.to_string(), Outcome::Allowed(204))
            .await?;
        Ok(tx.commit().await?)
    }

    pub async fn change_properties(
        &self,
        scope: &Scope,
        warehouse: &str,
        namespace: &Namespace,
        change: PropertiesChange,
    ) -> Result<PropertiesChanged> {
        self.allow(scope, warehouse, Need::Write, "catalog.namespace.update", &namespace.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        let row = store::namespace_for_update(&mut tx, scope, namespace).await?.ok_or(Error::NoSuchNamespace)?;
        let (properties, changed) = changed(row.properties, change)?;
        store::set_properties(&mut tx, scope, row.id, &properties).await?;
        events::audited(&mut tx, scope, "catalog.namespace.update", &namespace.to_string(), Outcome::Allowed(200))
            .await?;
        tx.commit().await?;
        Ok(changed)
    }
}

fn changed(
    mut properties: HashMap<String, String>,
    change: PropertiesChange,
) -> Result<(Properties, PropertiesChanged)> {
    if change.removals.iter().any(|key| change.updates.contains_key(key)) {
        return Err(Error::Unprocessable("a property cannot be both removed and updated".to_owned()));
    }
    let mut report = PropertiesChanged::default();
    for key in change.removals {
        match properties.remove(&key) {
            Some(_) => report.removed.push(key),
            None => report.missing.push(key),
        }
    }
    for (key, value) in change.updates {
        report.updated.push(key.clone());
        properties.insert(key, value);
    }
    Ok((properties, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_report_what_happened_to_each_key() {
        let before = HashMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let change = PropertiesChange {
            removals: vec!["a".into(), "x".into()],
            updates: HashMap::from([("b".into(), "3".into())]),
        };
        let (after, report) = changed(before.clone(), change).unwrap();
        assert_eq!(after, HashMap::from([("b".to_owned(), "3".to_owned())]));
        assert_eq!(
            (report.removed, report.missing, report.updated),
            (vec!["a".to_owned()], vec!["x".to_owned()], vec!["b".to_owned()])
        );
        let both = PropertiesChange { removals: vec!["b".into()], updates: HashMap::from([("b".into(), "3".into())]) };
        assert!(matches!(changed(before, both), Err(Error::Unprocessable(_))));
    }
}
