//! The services of a cell: where each listens, who may call it, which paths lead to it.

/// One of the five planes a service belongs to, or the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plane {
    Entry,
    Storage,
    Ingestion,
    Compute,
    Control,
}

impl Plane {
    pub fn name(self) -> &'static str {
        match self {
            Plane::Entry => "entry",
            Plane::Storage => "storage",
            Plane::Ingestion => "ingestion",
            Plane::Compute => "compute",
            Plane::Control => "control",
        }
    }
}

/// What the platform knows of a service without linking it.
#[derive(Debug, Clone, Copy)]
pub struct ServiceDeclaration {
    pub name: &'static str,
    pub plane: Plane,
    /// HTTP over mTLS.
    pub http_port: u16,
    /// Arrow Flight over mTLS.
    pub flight_port: Option<u16>,
    /// Whether it owns a Postgres database (named by [`database_name`]).
    pub database: bool,
    /// Services of the same cell that may open a connection to it. `router` is the router, `global` the global plane,
    /// and the service's own name stands for the same service of every other cell.
    pub callers: &'static [&'static str],
    /// Path prefixes of the cell's HTTP surface that lead to it; the longest match wins.
    pub paths: &'static [&'static str],
}

pub const ROUTER: &str = "router";
pub const GLOBAL: &str = "global";
pub const GATEWAY: &str = "gateway";
pub const STREAMING: &str = "streaming";
pub const INGESTION_REPLICATION: &str = "ingestion-replication";
pub const DATASET: &str = "dataset";
pub const ICEBERG_CATALOG: &str = "iceberg-catalog";
pub const SQL_WAREHOUSING: &str = "sql-warehousing";
pub const SQL_BI_GATEWAY: &str = "sql-bi-gateway";
pub const LINEAGE: &str = "lineage";
pub const AUDIT: &str = "audit";
pub const TENANT_MOVE: &str = "tenant-move";

pub const SERVICES: &[ServiceDeclaration] = &[
    ServiceDeclaration {
        name: GATEWAY,
        plane: Plane::Entry,
        http_port: 8080,
        flight_port: None,
        database: true,
        callers: &[ROUTER, TENANT_MOVE],
        paths: &[],
    },
    ServiceDeclaration {
        name: STREAMING,
        plane: Plane::Ingestion,
        http_port: 50121,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, INGESTION_REPLICATION, TENANT_MOVE],
        paths: &["/api/v1/streams"],
    },
    ServiceDeclaration {
        name: INGESTION_REPLICATION,
        plane: Plane::Ingestion,
        http_port: 50090,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, TENANT_MOVE],
        paths: &["/api/v1/sinks"],
    },
    ServiceDeclaration {
        name: DATASET,
        plane: Plane::Storage,
        http_port: 50078,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, TENANT_MOVE],
        paths: &["/api/v1/datasets"],
    },
    ServiceDeclaration {
        name: ICEBERG_CATALOG,
        plane: Plane::Storage,
        http_port: 50118,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, INGESTION_REPLICATION, DATASET, SQL_WAREHOUSING, SQL_BI_GATEWAY, TENANT_MOVE],
        paths: &["/iceberg"],
    },
    ServiceDeclaration {
        name: SQL_WAREHOUSING,
        plane: Plane::Compute,
        http_port: 50124,
        flight_port: Some(50123),
        database: false,
        callers: &[SQL_BI_GATEWAY, DATASET, TENANT_MOVE],
        paths: &[],
    },
    ServiceDeclaration {
        name: SQL_BI_GATEWAY,
        plane: Plane::Compute,
        http_port: 50134,
        flight_port: Some(50133),
        database: true,
        callers: &[ROUTER, GATEWAY, TENANT_MOVE],
        paths: &["/api/v1/sql"],
    },
    ServiceDeclaration {
        name: LINEAGE,
        plane: Plane::Compute,
        http_port: 50083,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, TENANT_MOVE],
        paths: &["/api/v1/lineage"],
    },
    ServiceDeclaration {
        name: AUDIT,
        plane: Plane::Control,
        http_port: 50070,
        flight_port: None,
        database: true,
        callers: &[GATEWAY, TENANT_MOVE],
        paths: &["/api/v1/audit"],
    },
    ServiceDeclaration {
        name: TENANT_MOVE,
        plane: Plane::Control,
        http_port: 50060,
        flight_port: None,
        database: false,
        callers: &[GLOBAL, TENANT_MOVE],
        paths: &[],
    },
];

/// Plain HTTP of a process for its operators: health, readiness, metrics. Loopback or pod network only.
pub const ADMIN_PORT: u16 = 9100;

pub fn find(name: &str) -> Option<&'static ServiceDeclaration> {
    SERVICES.iter().find(|s| s.name == name)
}

/// As [`find`], for a name of this file: an unknown one does not compile when this is evaluated in
/// a `const`.
#[allow(clippy::panic, reason = "evaluated by the compiler")]
pub const fn declared(name: &str) -> &'static ServiceDeclaration {
    let mut at = 0;
    while at < SERVICES.len() {
        if same(SERVICES[at].name.as_bytes(), name.as_bytes()) {
            return &SERVICES[at];
        }
        at += 1;
    }
    panic!("no service of this name is declared")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The service behind a path of the cell, by the longest declared prefix.
pub fn for_path(path: &str) -> Option<&'static ServiceDeclaration> {
    let under = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    SERVICES
        .iter()
        .flat_map(|s| s.paths.iter().map(move |p| (s, *p)))
        .filter(|(_, prefix)| under(prefix))
        .max_by_key(|(_, prefix)| prefix.len())
        .map(|(service, _)| service)
}

/// Database and role of a service: Postgres names take no `-`.
pub fn database_name(service: &str) -> String {
    service.replace('-', "_")
}

/// `spiffe://cytoplane/<part>/<service>`: the URI in a certificate that says who a process is.
/// `part` is a cell's name, `router` or `global`.
pub fn spiffe_id(part: &str, service: &str) -> String {
    format!("{SPIFFE}{part}/{service}")
}

const SPIFFE: &str = "spiffe://cytoplane/";

/// Part and service of such an id.
pub fn named_by(spiffe_id: &str) -> Option<(&str, &str)> {
    spiffe_id.strip_prefix(SPIFFE)?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        assert_eq!(for_path("/api/v1/streams").map(|s| s.name), Some(STREAMING));
        assert_eq!(for_path("/api/v1/streams/x/records").map(|s| s.name), Some(STREAMING));
        assert_eq!(for_path("/api/v1/streamsx").map(|s| s.name), None);
        assert_eq!(for_path("/iceberg/v1/config").map(|s| s.name), Some(ICEBERG_CATALOG));
    }

    #[test]
    fn no_two_services_share_a_port_or_a_path() {
        let mut ports: Vec<u16> = SERVICES.iter().flat_map(|s| [Some(s.http_port), s.flight_port]).flatten().collect();
        let mut paths: Vec<&str> = SERVICES.iter().flat_map(|s| s.paths).copied().collect();
        for list in [ports.len(), paths.len()] {
            assert!(list > 0);
        }
        let (port_count, path_count) = (ports.len(), paths.len());
        ports.sort_unstable();
        ports.dedup();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!((ports.len(), paths.len()), (port_count, path_count));
    }

    #[test]
    fn callers_are_services_that_exist() {
        for service in SERVICES {
            for caller in service.callers {
                let known = [ROUTER, GLOBAL].contains(caller) || find(caller).is_some();
                assert!(known, "{} is called by unknown {caller}", service.name);
            }
        }
    }
}
