//! Names of namespaces and tables.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused. The text is not echoed: it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a namespace has 1 to 8 levels")]
    Levels,
    #[error("a name has 1 to 128 characters, none of them a control character, '/', '\\', '.', '%' or '?'")]
    Characters,
}

/// Names stand in object keys and URLs, and `.` separates them in SQL and in events.
fn check(name: &str) -> Result<(), NameError> {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | '.' | '%' | '?' | '#');
    if name.is_empty() || name.chars().count() > 128 || name.chars().any(forbidden) {
        Err(NameError::Characters)
    } else {
        Ok(())
    }
}

/// A namespace, level by level; printed with dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Namespace(Vec<String>);

impl Namespace {
    pub fn new(levels: Vec<String>) -> Result<Self, NameError> {
        if !(1..=8).contains(&levels.len()) {
            return Err(NameError::Levels);
        }
        levels.iter().try_for_each(|level| check(level))?;
        Ok(Self(levels))
    }

    pub fn levels(&self) -> &[String] {
        &self.0
    }

    pub fn parent(&self) -> Option<Namespace> {
        let (_, above) = self.0.split_last()?;
        (!above.is_empty()).then(|| Self(above.to_vec()))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl FromStr for Namespace {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text.split('.').map(str::to_owned).collect())
    }
}

impl TryFrom<Vec<String>> for Namespace {
    type Error = NameError;
    fn try_from(levels: Vec<String>) -> Result<Self, NameError> {
        Self::new(levels)
    }
}

impl From<Namespace> for Vec<String> {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

/// A table in its namespace; printed `<namespace>.<name>`. Serialised as Iceberg's table identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Identifier", into = "Identifier")]
pub struct TableName {
    namespace: Namespace,
    name: String,
}

impl TableName {
    pub fn new(namespace: Namespace, name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check(&name)?;
        Ok(Self { namespace, name })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl FromStr for TableName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.rsplit_once('.').ok_or(NameError::Levels)?;
        Self::new(namespace.parse()?, name)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Identifier {
    namespace: Namespace,
    name: String,
}

impl TryFrom<Identifier> for TableName {
    type Error = NameError;
    fn try_from(wire: Identifier) -> Result<Self, NameError> {
        Self::new(wire.namespace, wire.name)
    }
}

impl From<TableName> for Identifier {
    fn from(table: TableName) -> Self {
        Identifier { namespace: table.namespace, name: table.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_name_reads_back() {
        let name: TableName = "a.b.flights".parse().unwrap();
        assert_eq!((name.namespace().levels().len(), name.name()), (2, "flights"));
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        for bad in ["", "a/b", "..", "a.b", "a\0", "a%2Fb", "a\u{1f}b", &"x".repeat(129)] {
            let namespace = Namespace::new(vec!["ns".into()]).unwrap();
            assert!(TableName::new(namespace, bad).is_err(), "{bad:?}");
            assert!(Namespace::new(vec![bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(Namespace::new(vec![]).is_err());
    }
}
