//! What every request passes: a deadline, the header fields that every answer carries, the metric.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemKind};
use crate::telemetry::record;

/// From a request's header to its answer's: nothing that a handler does takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The metric's word for paths that no route has: a path of a stranger is never a label.
const NO_ROUTE: &str = "none";

/// Runs around the whole router. `listener` is the metric's label.
pub(super) async fn around(
    State(listener): State<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        Problem::new(ProblemKind::Timeout, "The request was given up after 30 seconds.")
            .into_response()
    });
    add_fields(&mut response);
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    record::http_request(listener, route, response.status().as_u16(), started.elapsed());
    response
}

/// What a handler did not set itself.
fn add_fields(response: &mut Response) {
    let fields: [(HeaderName, &str); 3] = [
        // Answers hold mail; no cache on the way or in the browser may keep it.
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}
