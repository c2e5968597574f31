//! Children that cannot outlive us.
//!
//! The kernel's parent-death signal follows the *thread* that made the child, and tokio's threads come
//! and go. So one thread, which lives as long as the process, makes every child.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

struct Order {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

static SPAWNER: OnceLock<SyncSender<Order>> = OnceLock::new();

/// Starts `command` from the long-lived thread. The command must itself ask for the death signal
/// (see [`super::wrap`]).
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts processes is gone");
    let orders = SPAWNER.get_or_init(|| {
        let (orders, inbox) = sync_channel::<Order>(16);
        // A failure to start the thread shows as a closed channel below.
        let _thread = std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for mut order in inbox {
                let result = order.command.spawn();
                // A caller that stopped waiting still owns nothing: the child is ended here.
                if let Err(unheard) = order.answer.send(result)
                    && let Ok(mut child) = unheard.0
                {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        orders
    });
    let (answer, result) = sync_channel(1);
    orders.send(Order { command, answer }).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}
