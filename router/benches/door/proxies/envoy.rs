//! Envoy: the hosts as domains of one virtual host for each cell.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::cells::Cell;
use crate::ground::Ground;

pub fn prepare(ground: &Ground, folder: &Path, address: SocketAddr) -> Vec<String> {
    let hosts: Vec<Value> = ground.cells.iter().map(|cell| virtual_host(ground, cell)).collect();
    let clusters: Vec<Value> = ground.cells.iter().map(cluster).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "door",
        "route_config": {"name": "tenants", "virtual_hosts": hosts},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
        }]
    });
    let listener = json!({
        "name": "door",
        "address": socket(address),
        "filter_chains": [{
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        }]
    });
    let config = json!({"static_resources": {"listeners": [listener], "clusters": clusters}});
    std::fs::write(folder.join("envoy.json"), config.to_string()).unwrap();
    let fixed = ["-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
    fixed.map(str::to_owned).to_vec()
}

fn virtual_host(ground: &Ground, cell: &Cell) -> Value {
    let domains: Vec<String> = ground.places().filter(|(_, name)| *name == cell.name).map(|(host, _)| host).collect();
    json!({
        "name": cell.name,
        "domains": domains,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cell.name}}]
    })
}

fn cluster(cell: &Cell) -> Value {
    json!({
        "name": cell.name,
        "type": "STATIC",
        "connect_timeout": "3s",
        "load_assignment": {
            "cluster_name": cell.name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(cell.plain)}}]}]
        }
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
