//! A new router takes the listening sockets of the one that runs, so that no connection is refused meanwhile.
//!
//! Every router answers on `handover.sock` in its data folder. One that starts on the same folder asks there for the
//! sockets, opens its doors once it knows where requests lead, and says so; only then does the old one drain. A
//! successor that ends before that changes nothing.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::knowledge::Knowledge;

/// Longest wait for the other side's next word.
const PATIENCE: Duration = Duration::from_secs(60);
/// A router has five doors.
const MOST_SOCKETS: usize = 16;
const MOST_BYTES: usize = 4096;
/// What a successor says when it serves.
const SERVING: u8 = b'S';

#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("the router that runs on {path} does not give its sockets: {source}")]
    Ask { path: PathBuf, source: std::io::Error },
    #[error("the router that runs gave what is no list of sockets")]
    Shape,
}

/// A listening socket's name: its door, and the address it was configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    door: String,
    address: SocketAddr,
}

/// The sockets of one router, by name.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(Name, TcpListener)>);

impl Sockets {
    pub fn add(&mut self, door: &str, address: SocketAddr, socket: TcpListener) {
        self.0.push((Name { door: door.to_owned(), address }, socket));
    }

    /// Takes the socket of a door that is still configured as it was.
    pub fn take(&mut self, door: &str, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|(name, _)| name.door == door && name.address == address)?;
        Some(self.0.swap_remove(at).1)
    }

    fn send(&self, to: &UnixStream) -> std::io::Result<()> {
        let names: Vec<&Name> = self.0.iter().map(|(name, _)| name).collect();
        let text = serde_json::to_vec(&names)?;
        let fds: Vec<RawFd> = self.0.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&text)], &rights, MsgFlags::empty(), None)?;
        Ok(())
    }

    /// `None` if the other side ended without a word.
    fn receive(from: &UnixStream) -> Result<Option<Self>, ReceiveError> {
        let mut text = [0; MOST_BYTES];
        let mut space = nix::cmsg_space!([RawFd; MOST_SOCKETS]);
        let mut into = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(from.as_raw_fd(), &mut into, Some(&mut space), flags)?;
        let length = message.bytes;
        let mut sockets = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part {
                sockets.extend(fds.into_iter().map(own));
            }
        }
        if length == 0 {
            return Ok(None);
        }
        let names: Vec<Name> =
            text.get(..length).and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
        if names.is_empty() || names.len() != sockets.len() {
            return Err(ReceiveError::Shape);
        }
        Ok(Some(Self(names.into_iter().zip(sockets).collect())))
    }
}

#[derive(Debug)]
enum ReceiveError {
    Io(std::io::Error),
    Shape,
}

impl From<nix::Error> for ReceiveError {
    fn from(error: nix::Error) -> Self {
        Self::Io(error.into())
    }
}

#[allow(unsafe_code)]
fn own(fd: RawFd) -> TcpListener {
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns or closes it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fd.into()
}

/// The router before this one, waiting to hear that this one serves.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// The router that runs on this folder, and its sockets, if there is one.
    pub fn ask(data_dir: &Path) -> Result<Option<(Self, Sockets)>, HandoverError> {
        let path = socket_of(data_dir);
        // No socket, or nobody behind it: nothing runs here.
        let Ok(stream) = UnixStream::connect(&path) else { return Ok(None) };
        let asked = stream.set_read_timeout(Some(PATIENCE)).map_err(ReceiveError::Io);
        match asked.and_then(|()| Sockets::receive(&stream)) {
            Ok(sockets) => Ok(sockets.map(|sockets| (Self(stream), sockets))),
            Err(ReceiveError::Shape) => Err(HandoverError::Shape),
            Err(ReceiveError::Io(source)) => Err(HandoverError::Ask { path, source }),
        }
    }

    fn let_go(mut self) {
        match self.0.write_all(&[SERVING]) {
            Ok(()) => tracing::info!("the doors are open; the router before this one drains"),
            Err(error) => tracing::warn!(%error, "the router before this one has ended by itself"),
        }
    }
}

fn socket_of(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}

/// Both ends of the hand-over, as a background service.
pub struct Handover {
    pub data_dir: PathBuf,
    pub knowledge: Arc<Knowledge>,
    pub predecessor: Mutex<Option<Predecessor>>,
    /// Copies of the sockets that the doors listen on.
    pub sockets: Mutex<Sockets>,
    /// Opens the doors.
    pub open: watch::Sender<bool>,
    /// Said once a successor serves.
    pub taken: watch::Sender<bool>,
    pub closing: watch::Receiver<bool>,
}

#[async_trait]
impl BackgroundService for Handover {
    async fn start(&self, _shutdown: ShutdownWatch) {
        // Held here alone: with the doors closed, no copy may keep the sockets listening.
        let sockets = Arc::new(std::mem::take(&mut *self.sockets.lock()));
        let predecessor = self.predecessor.lock().take();
        let mut closing = self.closing.clone();
        tokio::select! {
            () = self.serve(predecessor, sockets) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}

impl Handover {
    async fn serve(&self, predecessor: Option<Predecessor>, sockets: Arc<Sockets>) {
        if let Some(predecessor) = predecessor {
            self.knowledge.ready().await;
            self.open.send_replace(true);
            predecessor.let_go();
        }
        let listener = match listen(&socket_of(&self.data_dir)) {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "no successor will be able to take the sockets over"),
        };
        loop {
            let successor = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return tracing::warn!(%error, "no successor will be able to take the sockets over"),
            };
            let sockets = Arc::clone(&sockets);
            let given = tokio::task::spawn_blocking(move || give(successor.into_std()?, &sockets));
            match given.await {
                Ok(Ok(())) => {
                    self.taken.send_replace(true);
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the successor did not come to serve; serving on"),
                Err(error) => tracing::error!(%error, "handing over failed; serving on"),
            }
        }
    }
}

/// Gives the sockets and waits for the word.
fn give(mut successor: UnixStream, sockets: &Sockets) -> std::io::Result<()> {
    successor.set_nonblocking(false)?;
    successor.set_read_timeout(Some(PATIENCE))?;
    successor.set_write_timeout(Some(PATIENCE))?;
    sockets.send(&successor)?;
    let mut word = [0];
    successor.read_exact(&mut word)?;
    match word[0] {
        SERVING => Ok(()),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not the word that it serves")),
    }
}

/// Listens for a successor in the place of whoever listened there before, for this user alone.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    #[test]
    fn a_socket_arrives_under_its_name_and_is_taken_by_no_other() {
        let (here, there) = pair();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let mut sockets = Sockets::default();
        sockets.add("http", at, socket);
        sockets.send(&here).unwrap();
        let mut got = Sockets::receive(&there).unwrap().unwrap();
        assert!(got.take("https", at).is_none());
        assert!(got.take("http", "127.0.0.1:1".parse().unwrap()).is_none());
        assert_eq!(got.take("http", at).unwrap().local_addr().unwrap(), at);
        assert!(got.take("http", at).is_none());
    }

    #[test]
    fn silence_is_no_predecessor_and_nonsense_is_refused() {
        let (here, there) = pair();
        drop(here);
        assert!(Sockets::receive(&there).unwrap().is_none());
        let (mut here, there) = pair();
        here.write_all(b"hello").unwrap();
        assert!(matches!(Sockets::receive(&there), Err(ReceiveError::Shape)));
    }

    #[test]
    fn a_successor_that_ends_early_takes_nothing() {
        let (here, there) = pair();
        drop(there);
        assert!(give(here, &Sockets::default()).is_err());
    }
}
