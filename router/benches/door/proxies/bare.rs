//! pingora with nothing of ours: every request goes to one cell. This program starts itself as it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pingora::Result;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::HttpPeer;
use router::tls::Identity;

use crate::ground::Ground;

pub const MODE: &str = "bare";

pub fn prepare(ground: &Ground, address: SocketAddr, secure: bool) -> Vec<String> {
    let cell = &ground.cells[0];
    let mut arguments = vec![MODE.to_owned(), address.to_string()];
    if secure {
        let identity = ground.path().join("identity").display().to_string();
        arguments.extend([cell.secure.to_string(), identity, cell.certified()]);
    } else {
        arguments.push(cell.plain.to_string());
    }
    arguments
}

struct ToOne(HttpPeer);

#[async_trait]
impl ProxyHttp for ToOne {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// Arguments: where to listen, the cell, and for mTLS the identity's folder and the cell's name.
pub fn run(arguments: &[String]) {
    let cell: SocketAddr = arguments[1].parse().unwrap();
    let mut conf =
        ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let peer = match arguments.get(2).zip(arguments.get(3)) {
        Some((folder, name)) => {
            let folder = PathBuf::from(folder);
            conf.ca_file = Some(folder.join("ca.pem").display().to_string());
            secured(&folder, cell, name)
        }
        None => HttpPeer::new(cell, false, String::new()),
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = http_proxy_service(&server.configuration, ToOne(peer));
    service.add_tcp(&arguments[0]);
    server.add_service(service);
    server.run(RunArgs::default());
}

fn secured(folder: &Path, cell: SocketAddr, name: &str) -> HttpPeer {
    let identity = Identity::load(folder).unwrap();
    let mut peer = HttpPeer::new(cell, true, name.to_owned());
    peer.client_cert_key = Some(identity.cell_key());
    peer.options.set_http_version(2, 2);
    peer.options.max_h2_streams = 256;
    peer
}
