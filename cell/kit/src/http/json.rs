//! JSON bodies that answer a bad body with a problem document.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{Kind, Problem};

/// As `axum::Json`, but a body that cannot be read is `request/body` with the reason.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(rejection))
                if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Err(Problem::new(Kind::TooLarge, "request/too-large", "the body is larger than this operation takes"))
            }
            Err(rejection) => Err(Problem::new(Kind::Invalid, "request/body", rejection.body_text())),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
