//! HAProxy: a map from host to the cell's backend; towards the cells as its users run it, and as the router does.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::ground::Ground;

pub fn prepare(ground: &Ground, folder: &Path, address: SocketAddr, secure: bool) -> Vec<String> {
    super::write_map(ground, &folder.join("hosts"), |host, cell| format!("{host} {cell}\n"));
    let identity = ground.path().join("identity");
    let read = |name: &str| std::fs::read_to_string(identity.join("router").join(name)).unwrap();
    std::fs::write(folder.join("own.pem"), read("cert.pem") + &read("key.pem")).unwrap();
    let ca = identity.join("ca.pem").display().to_string();
    let mut backends = String::new();
    for cell in &ground.cells {
        let (to, how) = if secure {
            let name = cell.certified();
            let checked = format!("ca-file {ca} verify required verifyhost {name} sni str({name})");
            (cell.secure, format!("ssl crt own.pem {checked} alpn h2"))
        } else {
            (cell.plain, String::new())
        };
        let _ = writeln!(backends, "backend {}\n  server cell {to} {how}", cell.name);
    }
    let config = format!(
        "global\n  nbthread 1\n  maxconn 9000\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 600s\n  timeout server 600s\n  \
         timeout http-keep-alive 600s\n  http-reuse always\n\
         frontend door\n  bind {address}\n  use_backend %[req.hdr(host),lower,map(hosts,nowhere)]\n\
         backend nowhere\n  http-request deny deny_status 404\n{backends}"
    );
    std::fs::write(folder.join("haproxy.cfg"), config).unwrap();
    vec!["-f".into(), "haproxy.cfg".into(), "-db".into()]
}
