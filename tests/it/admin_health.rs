//! The metrics port says whether the process lives, whether it works, and how much it did.

use axum::http::{Method, Request};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waybill::account::Role;
use waybill::admin::{Readiness, health};
use waybill::net::http::{self, HttpLimits};
use waybill::telemetry::Metrics;

use crate::support::admin::{Answer, Gateway, MAIL, ask};

struct Port {
    address: std::net::SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Port {
    async fn start() -> Port {
        let readiness = Readiness::waiting_for(&["archive", "smtp"]);
        let router = health::router(Metrics::install().unwrap(), readiness.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, router, HttpLimits::default(), stop.clone()));
        Port { address, readiness, stop }
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "x").body(Default::default()).unwrap();
        ask(self.address, request).await
    }
}

#[tokio::test]
async fn readiness_follows_what_is_missing() {
    let port = Port::start().await;
    assert_eq!(&port.get("/healthz").await.body[..], b"ok\n");
    let answer = port.get("/readyz").await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (503, &b"archive: starting\nsmtp: starting\n"[..])
    );
    port.readiness.ready("archive");
    port.readiness.ready("smtp");
    assert_eq!(port.get("/readyz").await.status, 200);
    port.readiness.lost("smtp", "stopping");
    assert_eq!(port.get("/readyz").await.status, 503);
    assert_eq!(port.get("/nothing").await.status, 404);
}

#[tokio::test]
async fn requests_are_measured_by_route_and_never_by_path() {
    let port = Port::start().await;
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    gateway.get(&token, &format!("/api/v1/messages/{id}")).await;
    gateway.get(&token, "/some-strangers-path").await;
    gateway.ask(Method::GET, "/api/v1/queue", None, None).await;
    let answer = port.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for labels in [
        "{listener=\"admin\",route=\"/api/v1/messages/{id}\",status=\"200\"}",
        "{listener=\"admin\",route=\"none\",status=\"404\"}",
        "{listener=\"admin\",route=\"/api/v1/queue\",status=\"401\"}",
    ] {
        let sample = format!("{}_count{labels} ", "waybill_http_request_duration_seconds");
        assert!(text.contains(&sample), "{sample} is missing in\n{text}");
    }
    assert!(!text.contains("strangers") && !text.contains(&id.to_string()));
    assert!(text.contains("waybill_build_info{version=\""), "{text}");
    // The archive's own measurements arrive under the same names.
    assert!(text.contains("# TYPE waybill_commit_duration_seconds histogram"), "{text}");
}
