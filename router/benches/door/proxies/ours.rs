//! The router as it runs: every check, limit, header, trace and line of the log; its knowledge from its last run.

use std::net::SocketAddr;
use std::path::Path;

use router::shelf::{Kind, Shelf};
use router::table::View;

use crate::ground::{Ground, SUFFIX};
use crate::tokens::{jwks, signing_key};

pub fn prepare(ground: &Ground, folder: &Path, address: SocketAddr) -> Vec<String> {
    let data = folder.join("data");
    let view = View::of(1, ground.endpoints(), Ground::tiers().into_iter(), ground.routes()).unwrap();
    Shelf::new(&data, Kind::Routing).unwrap().put(1, view.bytes()).unwrap();
    let keys = jwks(&[("k1", &signing_key())]);
    Shelf::new(&data, Kind::Keys).unwrap().put(1, keys.as_bytes()).unwrap();
    // Nobody is at the global plane's address: nothing of it is needed. The rate is there, and is not reached.
    let config = format!(
        "data_dir = 'data'\nglobal_url = 'https://127.0.0.1:1'\nthreads = 1\ntenant_host_suffix = '{SUFFIX}'\n\
         [identity]\ndir = '{}'\n[listen]\nhttp = '{address}'\nhttps = ''\nflight = ''\nadmin = '127.0.0.1:0'\n\
         [limits]\nkeepalive_seconds = 600\n[limits.tenant]\nrequests_per_second = 1000000\nrequest_burst = 1000000\n\
         concurrent_requests = 10000\n",
        ground.path().join("identity").display(),
    );
    std::fs::write(folder.join("router.toml"), config).unwrap();
    vec!["--config".into(), "router.toml".into()]
}
