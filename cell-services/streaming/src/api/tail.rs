//! `/api/v1/streams/{stream}/tail`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use event_bus_data::TailStart;
use futures::{Stream, StreamExt};
use kit::http::Query;
use kit::{Problem, Scope};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_stream::wrappers::ReceiverStream;

use crate::ops::App;
use crate::ops::tail::{Passing, Window, open};

const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FromParameter {
    #[default]
    Latest,
    Earliest,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    #[serde(default)]
    #[param(inline)]
    pub from: FromParameter,
    /// Ends after so many rows; with `from=earliest` also at the end of what was there.
    #[param(minimum = 1, maximum = 10_000)]
    pub limit: Option<u64>,
}

/// Data of one `record` event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordView<'a> {
    partition: i32,
    offset: i64,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    schema_version: i32,
    value: &'a RawValue,
}

/// Watch rows go by, as server-sent events
///
/// Asked for as a WebSocket, the data of each event is one text message. A browser gives its token as a protocol:
/// `cyto, bearer.<token>`.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/tail", tag = "records",
    params(("stream" = String, Path, description = "Id or name"), TailQuery),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 403), (status = 404), (status = 422), (status = 429)),
    extensions(("x-cyto-scope" = json!("streams:read"))),
)]
pub async fn tail(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<TailQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let start = match query.from {
        FromParameter::Latest => TailStart::Latest,
        FromParameter::Earliest => TailStart::Earliest,
    };
    let passing = open(&app, scope, &reference, Window { start, limit: query.limit }).await?;
    let events = ReceiverStream::new(passing).filter_map(|passing| async move { event(&passing).map(Ok) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// `None` for a record whose value is no JSON: it is not ours to show.
fn event(passing: &Passing) -> Option<Event> {
    let view = RecordView {
        partition: passing.partition,
        offset: passing.offset,
        timestamp: passing.timestamp_ms,
        schema_version: passing.schema_version,
        value: serde_json::from_str(&passing.value).ok()?,
    };
    let data = serde_json::to_string(&view).ok()?;
    Some(Event::default().event("record").id(format!("{}-{}", passing.partition, passing.offset)).data(data))
}
