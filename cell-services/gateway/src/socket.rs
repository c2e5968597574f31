//! Server-sent events, passed on over a WebSocket: one text message for the data of each event.

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, Request, StatusCode, header};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

/// The protocol that is spoken, for clients that must name one beside their token.
const PROTOCOL: &str = "cyto";
const EVENTS: &str = "text/event-stream";
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest line of an event; a record on the bus is below 1 MB.
const MOST_LINE: usize = 2 << 20;

/// Takes a WebSocket's request apart: the upgrade, and the request for events that is left. `None`: it asks for none.
pub async fn asked_for(request: Request<Body>) -> (Request<Body>, Option<WebSocketUpgrade>) {
    if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        return (request, None);
    }
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    if upgrade.is_some() {
        for name in [
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::SEC_WEBSOCKET_PROTOCOL,
        ] {
            parts.headers.remove(name);
        }
        parts.headers.insert(header::ACCEPT, HeaderValue::from_static(EVENTS));
    }
    (Request::from_parts(parts, body), upgrade)
}

/// Accepts the WebSocket if the service answers with events; any other answer is the caller's.
pub fn accept(upgrade: WebSocketUpgrade, answer: Response) -> Response {
    let content_type = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if answer.status() != StatusCode::OK || content_type.is_none_or(|kind| !kind.starts_with(EVENTS.as_bytes())) {
        return answer;
    }
    upgrade.protocols([PROTOCOL]).on_upgrade(|socket| pass(answer.into_body(), socket))
}

/// Until either side ends. A slow client slows the service down: nothing is held but one event.
async fn pass(events: Body, mut socket: WebSocket) {
    let events = StreamReader::new(events.into_data_stream().map_err(std::io::Error::other));
    let mut lines = FramedRead::new(events, LinesCodec::new_with_max_length(MOST_LINE));
    let mut event = Event::default();
    let farewell = loop {
        tokio::select! {
            line = lines.next() => {
                let message = match event.take(line) {
                    Ok(message) => message,
                    Err(farewell) => break farewell,
                };
                if let Some(message) = message
                    && socket.send(message).await.is_err()
                {
                    return;
                }
            }
            heard = socket.recv() => match heard {
                // Pings are answered, and a close too, by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    break CloseFrame { code: close_code::UNSUPPORTED, reason: "nothing is taken here".into() };
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            }
        }
    };
    let farewell = async {
        socket.send(Message::Close(Some(farewell))).await?;
        // Its own close comes back; a connection that is closed before could take ours away.
        while socket.recv().await.is_some() {}
        Ok::<_, axum::Error>(())
    };
    // Whoever has gone needs none.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// The event that is being read (HTML, 9.2.6).
#[derive(Default)]
struct Event {
    data: Option<String>,
}

impl Event {
    /// What the client is sent for a line, or told when there are no more.
    fn take(&mut self, line: Option<Result<String, LinesCodecError>>) -> Result<Option<Message>, CloseFrame> {
        let line = match line {
            Some(Ok(line)) => line,
            Some(Err(_)) => {
                return Err(CloseFrame { code: close_code::ERROR, reason: "the events broke off".into() });
            }
            None => return Err(CloseFrame { code: close_code::NORMAL, reason: "there are no more events".into() }),
        };
        if line.is_empty() {
            return Ok(self.data.take().map(|data| Message::Text(data.into())));
        }
        if line.starts_with(':') {
            // A word to keep the connection alive.
            return Ok(Some(Message::Ping(Vec::new().into())));
        }
        if let Some(data) = line.strip_prefix("data:") {
            let data = data.strip_prefix(' ').unwrap_or(data);
            match &mut self.data {
                Some(before) => {
                    before.push('\n');
                    before.push_str(data);
                }
                None => self.data = Some(data.to_owned()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_data_is_one_message_whatever_else_it_says() {
        let mut event = Event::default();
        let mut told = Vec::new();
        for line in ["event: record", "id: 0-1", "data: {\"a\":1}", "", ": alive", "", "data:one", "data:  two", ""] {
            told.extend(event.take(Some(Ok(line.to_owned()))).unwrap());
        }
        let text = |text: &str| Message::Text(text.into());
        assert_eq!(told, [text("{\"a\":1}"), Message::Ping(Vec::new().into()), text("one\n two")]);
        assert_eq!(event.take(None).unwrap_err().code, close_code::NORMAL);
        let long = Some(Err(LinesCodecError::MaxLineLengthExceeded));
        assert_eq!(event.take(long).unwrap_err().code, close_code::ERROR);
    }
}
