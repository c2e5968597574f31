//! nginx: a map from host to the cell's upstream.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::ground::Ground;

pub fn prepare(ground: &Ground, folder: &Path, address: SocketAddr) -> Vec<String> {
    super::write_map(ground, &folder.join("hosts"), |host, cell| format!("{host} {cell};\n"));
    let mut upstreams = String::new();
    for cell in &ground.cells {
        let _ = writeln!(
            upstreams,
            "upstream {} {{ server {}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}",
            cell.name, cell.plain
        );
    }
    let own_folders: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n")).concat();
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; worker_rlimit_nofile 20000;
         events {{ worker_connections 10000; }}
         http {{
           access_log off; {own_folders}
           map_hash_max_size 4194304; map_hash_bucket_size 128;
           map $host $cell {{ default nowhere; include hosts; }}
           {upstreams}
           upstream nowhere {{ server 127.0.0.1:1; }}
           keepalive_requests 1000000000; keepalive_timeout 600s;
           server {{
             listen {address};
             location / {{
               proxy_pass http://$cell; proxy_http_version 1.1;
               proxy_set_header Connection \"\"; proxy_set_header Host $host;
             }}
           }}
         }}"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let folder = folder.display();
    vec!["-p".into(), folder.to_string(), "-c".into(), format!("{folder}/nginx.conf"), "-e".into(), "stderr".into()]
}
