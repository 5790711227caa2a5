//! What every request passes: a deadline, the wall around bugs, the header fields that every answer
//! carries, the metric.

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
    let mut response = answer(request, next).await.unwrap_or_else(IntoResponse::into_response);
    add_fields(&mut response);
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    record::http_request(listener, route, response.status().as_u16(), started.elapsed());
    response
}

/// In a task of its own: a handler that meets a bug of ours ends its request and nothing else, and
/// one that changes something is not stopped half way because its client went away.
async fn answer(request: Request, next: Next) -> Result<Response, Problem> {
    let handled = tokio::spawn(tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)));
    match handled.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => {
            let detail = "The request was given up after 30 seconds.";
            Err(Problem::new(ProblemKind::Timeout, detail))
        }
        Err(bug) => Err(Problem::internal("handle a request", &bug)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    async fn bug() -> &'static str {
        panic!("the test wants it")
    }

    async fn ask(path: &str) -> Response {
        let router = Router::new()
            .route("/bug", get(bug))
            .route("/never", get(std::future::pending::<&'static str>))
            .layer(from_fn_with_state("test", around));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        TowerToHyperService::new(router).call(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_bug_is_a_problem() {
        let response = ask("/bug").await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_takes_for_ever() {
        assert_eq!(ask("/never").await.status(), 503);
    }
}
