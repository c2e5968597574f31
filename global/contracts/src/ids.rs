//! Typed names of tenants, cells and resources.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a name was refused. The refused text is never echoed: it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a name is 2 to 39 characters of a-z, 0-9 and '-', begins with a letter and does not end with '-'")]
    Slug,
    #[error("a resource name has the form ri.<service>.<cell>.<type>.<uuid>")]
    Rid,
}

fn check_slug(text: &str) -> Result<(), IdError> {
    let bytes = text.as_bytes();
    let well_formed = (2..=39).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if well_formed { Ok(()) } else { Err(IdError::Slug) }
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, example = "acme")]
        pub struct $name(String);

        impl $name {
            /// Accepts 2 to 39 characters of `a-z`, `0-9` and `-`, beginning with a letter.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check_slug(&text)?;
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

slug! {
    /// A tenant: globally unique and never renamed, because it stands in bucket prefixes,
    /// Iceberg warehouses, SQL catalogs, Kafka keys and NATS subjects.
    TenantId
}
slug! {
    /// A cell, for example `shared-1`.
    CellId
}
slug! {
    /// A tier: what a class of tenants may use, for example `standard`.
    TierId
}

slug! {
    /// A group of routers, for example `east-1`.
    GroupId
}

impl Default for TierId {
    /// The tier of whoever was given no other.
    fn default() -> Self {
        Self("standard".to_owned())
    }
}

/// Number of a tenant's placement. Issued only by tenancy's elected writer, inside one database
/// transaction; it only grows. 0 means "never placed".
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Generation {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A resource name as printed: `ri.<service>.<cell>.<type>.<uuid>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rid {
    pub service: String,
    pub cell: CellId,
    pub kind: String,
    pub id: Uuid,
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ri.{}.{}.{}.{}", self.service, self.cell, self.kind, self.id)
    }
}

impl FromStr for Rid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<&str> = text.split('.').collect();
        let ["ri", service, cell, kind, id] = parts.as_slice() else { return Err(IdError::Rid) };
        check_slug(service).and_then(|()| check_slug(kind)).map_err(|_| IdError::Rid)?;
        Ok(Self {
            service: (*service).to_owned(),
            cell: CellId::new(*cell).map_err(|_| IdError::Rid)?,
            kind: (*kind).to_owned(),
            id: Uuid::parse_str(id).map_err(|_| IdError::Rid)?,
        })
    }
}

impl TryFrom<String> for Rid {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Rid> for String {
    fn from(rid: Rid) -> String {
        rid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_refuse_what_would_escape_a_path_or_a_subject() {
        for bad in ["", "a", "A1", "a.b", "a/b", "a b", "-ab", "ab-", "a*", "a>", "../x", "é1", &"a".repeat(40)] {
            assert_eq!(TenantId::new(bad), Err(IdError::Slug), "{bad}");
        }
        for good in ["ab", "acme", "shared-1", &"a".repeat(39)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_resource_name_reads_back() {
        let rid = Rid {
            service: "dataset".into(),
            cell: CellId::new("shared-1").unwrap(),
            kind: "dataset".into(),
            id: Uuid::nil(),
        };
        assert_eq!(rid.to_string().parse(), Ok(rid));
        assert_eq!("ri.dataset.shared-1.dataset".parse::<Rid>(), Err(IdError::Rid));
    }
}
