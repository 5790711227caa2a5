//! Stop, restart, release, pause and resume do what they say, answer the message, and say when it is too late.

use std::sync::Arc;

use serde_json::{Value, json};
use waybill::account::Role;
use waybill::admin::UpstreamHealth;
use waybill::model::{Timestamp, UpstreamName};

use crate::support::admin::{Gateway, MAIL, healthy, now, upstream};

fn statuses(message: &Value) -> Vec<String> {
    let recipients = message["recipients"].as_array().unwrap();
    recipients.iter().map(|r| r["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pending_message_is_stopped_and_restarted() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let to = ["kim@example.org", "bo@example.org", "eva@example.org"];
    let id = gateway.submit("erp", &to, MAIL, false).await.id;
    let path = |action: &str| format!("/api/v1/messages/{id}/{action}");
    let some = Some(json!({"recipients": [0, 2]}));
    let answer = gateway.post(&token, &path("stop"), some).await;
    assert_eq!(
        (answer.status, statuses(&answer.json())),
        (200, vec!["stopped".into(), "pending".into(), "stopped".into()])
    );
    let reason = answer.json()["recipients"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("stopped by token 0"), "{reason}");
    let answer = gateway.post(&token, &path("stop"), None).await;
    assert_eq!(answer.json()["status"], "stopped");
    let answer = gateway.post(&token, &path("stop"), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"));
    let answer = gateway.post(&token, &path("restart"), None).await;
    assert_eq!(answer.json()["status"], "pending");
    let events = gateway.get(&token, &path("events")).await.json();
    let by: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|e| &e["by"]).collect();
    assert!(by.iter().any(|by| by.as_str().is_some_and(|by| by.starts_with("token 0"))), "{by:?}");
}

#[tokio::test]
async fn a_held_message_is_released() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let answer = gateway.post(&token, &format!("/api/v1/messages/{id}/release"), None).await;
    assert_eq!((answer.status, &answer.json()["held"]), (200, &json!(false)));
    assert!(answer.json()["recipients"][0]["next_attempt_at"].is_string());
}

#[tokio::test]
async fn after_the_claim_it_is_too_late() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    assert_eq!(gateway.claim(id, 0).await, [0]);
    let path = format!("/api/v1/messages/{id}/stop");
    let answer = gateway.post(&token, &path, None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"));
    gateway.sent(id, 0, None).await;
    assert_eq!(gateway.post(&token, &path, None).await.status, 409);
    let stopped = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    let answer = gateway.post(&token, &format!("/api/v1/messages/{stopped}/stop"), None).await;
    assert_eq!(answer.status, 200);
    assert!(gateway.claim(stopped, 0).await.is_empty(), "a stopped recipient was claimed");
}

#[tokio::test]
async fn wrong_bodies_change_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    let path = format!("/api/v1/messages/{id}/stop");
    for body in [
        json!({"recipients": []}),
        json!({"recipients": [-1]}),
        json!({"recipients": "all"}),
        json!({"recipient": [0]}),
        json!([0]),
    ] {
        let answer = gateway.post(&token, &path, Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-body"), "{body}");
    }
    let answer = gateway.post(&token, &path, Some(json!({"recipients": [7]}))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    assert_eq!(gateway.message(id).status().as_str(), "pending");
    let unknown = "/api/v1/messages/01JD5VZ7Q4N7W4T6Y5M8R2K3B1/stop";
    let answer = gateway.post(&token, unknown, None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    let all = gateway.post(&token, &path, Some(json!({}))).await;
    assert_eq!(all.json()["status"], "stopped");
}

/// The upstream of these tests as the API shows it while it does well.
fn shown(paused: bool) -> Value {
    json!({
        "name": "provider", "paused": paused, "state": "up", "next_probe_at": null,
        "connections": 2, "idle_connections": 1, "max_connections": 10, "last_error": null,
    })
}

#[tokio::test]
async fn the_queue_is_shown() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let held = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let due = gateway.submit("erp", &["kim@example.org", "bo@example.org"], MAIL, false).await.id;
    gateway.claim(due, 1).await;
    let queue = gateway.get(&token, "/api/v1/queue").await.json();
    assert_eq!(
        queue["recipients"],
        json!({"not_sent": 0, "pending": 3, "sent": 0, "stopped": 0, "failed": 0})
    );
    assert_eq!((&queue["held"], &queue["claimed"]), (&json!(1), &json!(1)));
    assert_eq!(queue["oldest_pending"]["id"], due.to_string());
    assert!(queue["oldest_pending"]["age_seconds"].is_u64(), "{queue:#}");
    assert_eq!(queue["upstreams"], json!([shown(false)]));
    assert!(
        queue["next_attempts"].as_array().unwrap().iter().all(|n| n["message"] != held.to_string())
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_says_why_and_until_when() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let gone = UpstreamName::parse("gone").unwrap();
    gateway.archive.set_paused(gone, true, "user anna".into(), now()).await.unwrap();
    gateway.health.store(Arc::new(UpstreamHealth {
        connections: 0,
        idle_connections: 0,
        down_until: Some(Timestamp::from_millis(1_000)),
        last_error: Some("connection refused".into()),
        ..healthy()
    }));
    let queue = gateway.get(&token, "/api/v1/queue").await.json();
    let down = json!({
        "name": "provider", "paused": false, "state": "down",
        "next_probe_at": "1970-01-01T00:00:01.000Z", "connections": 0, "idle_connections": 0,
        "max_connections": 10, "last_error": "connection refused",
    });
    let gone = json!({
        "name": "gone", "paused": true, "state": null, "next_probe_at": null, "connections": 0,
        "idle_connections": 0, "max_connections": 0, "last_error": null,
    });
    assert_eq!(queue["upstreams"], json!([down, gone]));
}

#[tokio::test]
async fn upstreams_are_paused_and_resumed_by_name() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    for path in ["/api/v1/upstreams/nobody/pause", "/api/v1/upstreams/a%20b/resume"] {
        let answer = gateway.post(&token, path, None).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
    }
    let paused = gateway.post(&token, "/api/v1/upstreams/provider/pause", None).await;
    assert_eq!(paused.json(), shown(true));
    assert_eq!(gateway.archive.paused().unwrap(), [upstream()]);
    let queue = gateway.get(&token, "/api/v1/queue").await.json();
    assert_eq!(queue["upstreams"], json!([shown(true)]));
    let resumed = gateway.post(&token, "/api/v1/upstreams/provider/resume", None).await;
    assert_eq!(resumed.json(), shown(false));
    assert!(gateway.archive.paused().unwrap().is_empty());
}
