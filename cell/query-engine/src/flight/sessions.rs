//! Flight sessions. The session is in the client's cookie, sealed; the server keeps none.

use std::collections::HashMap;

use contracts::TenantId;
use http::HeaderMap;
use http::header::COOKIE;
use kit::Scope;
use serde::{Deserialize, Serialize};

use super::statement::Tickets;
use crate::{Result, SessionOptions};

const COOKIE_NAME: &str = "cyto_session";
const PURPOSE: &str = "sql-session";

#[derive(Serialize, Deserialize)]
struct Sealed {
    tenant: TenantId,
    actor: String,
    options: SessionOptions,
}

/// The caller's session options: the defaults when it has no session, or one that is not its own.
pub(super) fn read(tickets: &Tickets, scope: &Scope, headers: &HeaderMap) -> SessionOptions {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let sealed = pairs.find(|(name, _)| *name == COOKIE_NAME).and_then(|(_, value)| tickets.open_text(PURPOSE, value));
    let sealed = sealed.and_then(|text| serde_json::from_slice::<Sealed>(&text).ok());
    sealed
        .filter(|session| session.tenant == scope.tenant && session.actor == scope.actor.to_string())
        .map(|session| session.options)
        .unwrap_or_default()
}

/// The `set-cookie` that carries `options` from now on.
pub(super) fn write(tickets: &Tickets, scope: &Scope, options: SessionOptions) -> Result<String> {
    let session = Sealed { tenant: scope.tenant.clone(), actor: scope.actor.to_string(), options };
    let text = serde_json::to_vec(&session).map_err(|error| crate::Error::Engine(Box::new(error)))?;
    Ok(format!("{COOKIE_NAME}={}; Path=/", tickets.seal_text(PURPOSE, &text)?))
}

/// The `set-cookie` that ends a session.
pub(super) const CLOSED: &str = "cyto_session=; Path=/; Max-Age=0";

// The protocol's messages, which the library does not have.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub value: Option<OptionValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(StringList),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StringList {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, OptionError>,
}

/// 1: no such option, 2: no such value.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionError {
    #[prost(int32, tag = "1")]
    pub value: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// 1: closed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Applies what the client asks for; what it may not set is named in the result.
pub(super) fn apply(
    scope: &Scope,
    options: &mut SessionOptions,
    request: SetSessionOptionsRequest,
) -> SetSessionOptionsResult {
    let mut errors = HashMap::new();
    for (name, value) in request.session_options {
        let text = match value.value {
            None => String::new(),
            Some(OptionValue::Text(text)) => text,
            Some(_) => {
                errors.insert(name, OptionError { value: 2 });
                continue;
            }
        };
        if options.set(&scope.tenant, &name, &text).is_err() {
            let known = [SessionOptions::CATALOG, SessionOptions::SCHEMA].contains(&name.as_str());
            errors.insert(name, OptionError { value: if known { 2 } else { 1 } });
        }
    }
    SetSessionOptionsResult { errors }
}

pub(super) fn list(scope: &Scope, options: &SessionOptions) -> GetSessionOptionsResult {
    let text = |value: &str| SessionOptionValue { value: Some(OptionValue::Text(value.to_owned())) };
    let mut session_options = HashMap::from([(SessionOptions::CATALOG.to_owned(), text(scope.tenant.as_str()))]);
    if let Some(schema) = &options.schema {
        session_options.insert(SessionOptions::SCHEMA.to_owned(), text(schema));
    }
    GetSessionOptionsResult { session_options }
}
