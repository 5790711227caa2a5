//! Whole HTTP responses, as every dialect and every provider's callback is given them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// A body of this media type.
pub(super) fn document(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A JSON document (RFC 8259).
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Bytes> {
    document(status, "application/json", value.to_string())
}

/// No body, and so no media type.
pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
