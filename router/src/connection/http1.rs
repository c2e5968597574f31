//! HTTP/1: one request after another on a connection, and next to nothing held between two.

use std::sync::Arc;

use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::proxy::Proxy;

/// Serves a connection to its end. pingora's state of one request takes tens of KiB and is made before the request's
/// first byte: here it is made after it.
pub async fn serve(proxy: &Arc<HttpProxy<Proxy>>, stream: Stream, shutdown: &ShutdownWatch) {
    let mut waiting = Some((stream, None));
    while let Some((mut stream, settings)) = waiting {
        if !has_next(&mut stream, shutdown).await {
            return;
        }
        let session = session(proxy, stream, settings, shutdown);
        waiting = proxy.process_new_http(session, shutdown).await.map(|reused| reused.consume());
    }
}

/// Waits for the next request's first byte; `false`: there will be none.
async fn has_next(stream: &mut Stream, shutdown: &ShutdownWatch) -> bool {
    let mut shutdown = shutdown.clone();
    let mut byte = [0];
    tokio::select! {
        biased;
        peeked = stream.try_peek(&mut byte) => peeked.is_ok(),
        _ = shutdown.wait_for(|ending| *ending) => false,
    }
}

fn session(
    proxy: &HttpProxy<Proxy>,
    stream: Stream,
    settings: Option<HttpPersistentSettings>,
    shutdown: &ShutdownWatch,
) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    match settings {
        Some(settings) => settings.apply_to_session(&mut session),
        None => {
            // Any time: that of the guard holds.
            session.set_keepalive((!*shutdown.borrow()).then_some(60));
            let options = proxy.server_options.as_ref();
            session.set_keepalive_reuses_remaining(options.and_then(|options| options.keepalive_request_limit));
        }
    }
    session
}
