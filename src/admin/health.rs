//! The metrics port: `/metrics` for Prometheus, `/healthz` and `/readyz` for supervisors.
//!
//! `/healthz` says that the process answers. `/readyz` says that it does its work: everything that
//! was announced to `Readiness` has come up; until then, and once something is lost, it answers 503
//! with what is missing. No token is asked for: nothing here tells about messages, and the port is
//! for the machine's own network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::edge;
use crate::telemetry::Metrics;

/// What is not ready yet, and why; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// With everything that has to come up, such as `archive` and `smtp`.
    pub fn waiting_for(parts: &[&'static str]) -> Readiness {
        let readiness = Readiness::default();
        parts.iter().for_each(|part| readiness.lost(part, "starting"));
        readiness
    }

    /// The part does its work.
    pub fn ready(&self, part: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// The part does not, or no longer: `stopping`, `starting`, or what happened. The text is shown.
    pub fn lost(&self, part: &'static str, why: &str) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        missing.insert(part, why.to_owned());
    }

    /// `None` when everything is ready, else one line for each part that is not.
    pub fn missing(&self) -> Option<String> {
        let missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = missing.iter().map(|(part, why)| format!("{part}: {why}\n"));
        (!missing.is_empty()).then(|| lines.collect())
    }
}

/// The router of the metrics port.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(metrics)
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || show_readiness(&readiness)))
        .layer(axum::middleware::from_fn_with_state("metrics", edge::around))
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    // Prometheus' text format, version 0.0.4.
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

fn show_readiness(readiness: &Readiness) -> Response {
    match readiness.missing() {
        None => "ready\n".into_response(),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_nothing_is_missing() {
        let readiness = Readiness::waiting_for(&["archive", "smtp"]);
        assert_eq!(readiness.missing().as_deref(), Some("archive: starting\nsmtp: starting\n"));
        readiness.ready("smtp");
        readiness.ready("archive");
        assert_eq!(readiness.missing(), None);
        assert_eq!(show_readiness(&readiness).status(), 200);
        readiness.lost("archive", "closed for writing");
        assert_eq!(show_readiness(&readiness).status(), 503);
    }
}
