//! The catalog of one statement: the tables it names, already loaded, of one tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::sql::TableReference;
use futures::future::try_join_all;
use kit::Scope;

use crate::source::{Pin, Resolved, TableName, TableSource};
use crate::{Error, Result, SessionOptions};

/// Schema under which unqualified names are found. Not a namespace, and never listed.
pub(crate) const SEARCH_PATH: &str = "search_path";
const INFORMATION_SCHEMA: &str = "information_schema";

#[derive(Debug, Default)]
struct Schema(BTreeMap<String, Arc<dyn TableProvider>>);

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// The one catalog a statement sees, named after its tenant.
#[derive(Debug)]
pub(crate) struct StatementCatalog {
    tenant: String,
    catalog: Arc<Namespaces>,
}

#[derive(Debug, Default)]
struct Namespaces {
    named: HashMap<String, Arc<Schema>>,
    unqualified: Arc<Schema>,
}

impl CatalogProvider for Namespaces {
    fn schema_names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let found = if name == SEARCH_PATH { Some(&self.unqualified) } else { self.named.get(name) };
        found.map(|schema| Arc::clone(schema) as Arc<dyn SchemaProvider>)
    }
}

impl CatalogProviderList for StatementCatalog {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.tenant.clone()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == self.tenant).then(|| Arc::clone(&self.catalog) as Arc<dyn CatalogProvider>)
    }
}

/// What a statement's names came to.
#[derive(Debug)]
pub(crate) struct Names {
    pub catalog: Arc<StatementCatalog>,
    /// One per table read.
    pub pins: Vec<Pin>,
    /// Names as written that no table answers to.
    pub missing: Vec<String>,
    /// What its tables cost to keep in memory, in units of about 100 bytes.
    pub weight: u32,
    /// Whether the pins tell everything that is read: `information_schema` shows what is there at the moment.
    pub is_pinned: bool,
}

/// Loads the tables behind `references`. With pins, only pinned tables exist: the statement was
/// bound before and must not see anything newer.
pub(crate) async fn resolve(
    source: &dyn TableSource,
    scope: &Scope,
    session: &SessionOptions,
    references: &[TableReference],
    pins: Option<&[Pin]>,
) -> Result<Names> {
    if let Some(foreign) = references.iter().find(|reference| is_elsewhere(scope, reference)) {
        return Err(Error::TableNotFound(format!("table {foreign} does not exist")));
    }
    let lookup = Lookup { source, scope, session, pins };
    let found = try_join_all(references.iter().map(|reference| lookup.find(reference))).await?;
    let mut named: HashMap<String, Schema> = HashMap::new();
    let mut unqualified = Schema::default();
    let (mut read, mut missing, mut weight) = (Vec::new(), Vec::new(), 0_u32);
    for (reference, resolved) in references.iter().zip(found) {
        let Some(Resolved { provider, pin, weight: own }) = resolved else {
            if reference.schema() != Some(INFORMATION_SCHEMA) {
                missing.push(reference.to_string());
            }
            continue;
        };
        match reference.schema() {
            None => unqualified.0.insert(pin.name.table.clone(), provider),
            Some(_) => named.entry(pin.name.namespace.clone()).or_default().0.insert(pin.name.table.clone(), provider),
        };
        if !read.contains(&pin) {
            read.push(pin);
            weight = weight.saturating_add(own);
        }
    }
    let is_pinned = references.iter().all(|r| r.schema() != Some(INFORMATION_SCHEMA));
    if !is_pinned {
        lookup.list_all(&mut named).await?;
    }
    let named = named.into_iter().map(|(name, schema)| (name, Arc::new(schema))).collect();
    let catalog = Arc::new(Namespaces { named, unqualified: Arc::new(unqualified) });
    let catalog = Arc::new(StatementCatalog { tenant: scope.tenant.to_string(), catalog });
    Ok(Names { catalog, pins: read, missing, weight, is_pinned })
}

/// Another tenant's catalog is not forbidden, it does not exist.
fn is_elsewhere(scope: &Scope, reference: &TableReference) -> bool {
    reference.catalog().is_some_and(|catalog| catalog != scope.tenant.as_str())
}

/// The view of the process's settings, which are no business of a tenant.
pub(crate) fn is_settings(name: &TableReference) -> bool {
    name.schema() == Some(INFORMATION_SCHEMA) && name.table() == "df_settings"
}

struct Lookup<'a> {
    source: &'a dyn TableSource,
    scope: &'a Scope,
    session: &'a SessionOptions,
    pins: Option<&'a [Pin]>,
}

impl Lookup<'_> {
    async fn find(&self, reference: &TableReference) -> Result<Option<Resolved>> {
        match reference {
            TableReference::Bare { table } => {
                for namespace in self.session.search_path() {
                    if let Some(found) = self.load(&TableName::new(namespace, table.as_ref())).await? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            TableReference::Partial { schema, table } => {
                self.load(&TableName::new(schema.as_ref(), table.as_ref())).await
            }
            TableReference::Full { schema, table, .. } => {
                self.load(&TableName::new(schema.as_ref(), table.as_ref())).await
            }
        }
    }

    async fn load(&self, name: &TableName) -> Result<Option<Resolved>> {
        if name.namespace == INFORMATION_SCHEMA {
            return Ok(None);
        }
        match self.pins {
            None => self.source.table(self.scope, name).await,
            Some(pins) => match pins.iter().find(|pin| pin.name == *name) {
                Some(pin) => self.source.pinned(self.scope, pin).await,
                None => Ok(None),
            },
        }
    }

    /// `information_schema` describes every table, named by the statement or not.
    async fn list_all(&self, named: &mut HashMap<String, Schema>) -> Result<()> {
        for namespace in self.source.namespaces(self.scope).await? {
            let tables = self.source.tables(self.scope, &namespace).await?;
            let names: Vec<TableName> = tables.into_iter().map(|table| TableName::new(&namespace, table)).collect();
            let loaded = try_join_all(names.iter().map(|name| self.source.table(self.scope, name))).await?;
            let schema = named.entry(namespace).or_default();
            for resolved in loaded.into_iter().flatten() {
                schema.0.insert(resolved.pin.name.table.clone(), resolved.provider);
            }
        }
        Ok(())
    }
}
