//! Is a port free, and if not, who has it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Longer than Linux remembers a connection that is over (60 s).
const PASSAGE: Duration = Duration::from_secs(75);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits for a port on which nobody listens, but which is not free yet: the kernel gives connections of
/// clients ports out of a range in which some of ours lie too. Refuses at once where somebody listens.
pub(crate) async fn await_free(address: SocketAddr, wanted_by: &str) -> Result<()> {
    let until = Instant::now() + PASSAGE;
    loop {
        match require_free(address, wanted_by) {
            Err(Error::PortTaken { .. }) if listener(address).is_none() && Instant::now() < until => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

fn require_free(address: SocketAddr, wanted_by: &str) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Error::PortTaken {
            address,
            wanted_by: wanted_by.to_owned(),
            holder: holder(address).unwrap_or_else(|| "another user's process".to_owned()),
        }),
        Err(error) => Err(Error::refused(format!("{wanted_by} cannot listen on {address}"), error)),
    }
}

/// Inode of the socket that listens where `address` would.
fn listener(address: SocketAddr) -> Option<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| listening_inode(line, address))
    })
}

/// `pid 123 (java)`, if the kernel lets us see it.
fn holder(address: SocketAddr) -> Option<String> {
    let inode = listener(address)?;
    let socket = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let owns =
            |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(&socket));
        if descriptors.flatten().any(owns) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("pid {pid} ({})", name.trim()));
        }
    }
    None
}

/// The inode of a row of /proc/net/tcp or tcp6 if it is a listener that stands in the way of `address`.
fn listening_inode(line: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTEN || u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    let IpAddr::V4(wanted) = address.ip() else { return None };
    let everywhere = ip.bytes().all(|digit| digit == b'0');
    let bound = u32::from_str_radix(ip, 16).ok().map(u32::to_ne_bytes);
    (everywhere || bound == Some(wanted.octets())).then(|| fields.get(9)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = TcpListener::bind("127.77.7.7:0").unwrap();
        let error = require_free(listener.local_addr().unwrap(), "kafka").unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert!(error.contains("kafka"), "{error}");
    }

    #[test]
    fn a_listener_on_every_address_is_in_the_way_too() {
        let row = "  1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1";
        assert_eq!(listening_inode(row, "127.0.2.1:8080".parse().unwrap()), Some(4242));
        assert_eq!(listening_inode(row, "127.0.2.1:8081".parse().unwrap()), None);
        let row = "  0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A \
                   00000000:00000000 00:00000000 00000000 0 0 4343 1";
        assert_eq!(listening_inode(row, "127.0.2.1:8080".parse().unwrap()), Some(4343));
    }

    #[tokio::test]
    async fn a_port_that_a_clients_connection_sits_on_is_waited_for() {
        let server = TcpListener::bind("127.77.7.7:0").unwrap();
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (peer, _) = server.accept().unwrap();
        let address = client.local_addr().unwrap();
        let mut wait = Box::pin(await_free(address, "router"));
        assert!(futures::poll!(wait.as_mut()).is_pending());
        // Whoever closes first keeps the port for a minute: not the client.
        drop(peer);
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
        drop(client);
        wait.await.unwrap();
    }
}
