//! The numbers are those of a count over all messages, also after stops, deletes and a restart.

use serde_json::{Value, json};
use waybill::account::Role;

use crate::support::admin::{Gateway, MAIL};
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

async fn rows(gateway: &Gateway, token: &str, query: &str) -> Vec<(Value, u64, u64, u64, u64)> {
    let answer = gateway.get(token, &format!("/api/v1/statistics?{query}")).await.json();
    assert_eq!(answer["complete"], true, "{answer}");
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let rows = answer["items"].as_array().unwrap().iter();
    rows.map(|row| {
        assert_eq!((&row["opened"], &row["clicked"]), (&json!(0), &json!(0)));
        let of = |name: &str| number(row, name);
        (row["value"].clone(), of("messages"), of("sent"), of("stopped"), of("pending"))
    })
    .collect()
}

#[tokio::test]
async fn wrong_questions_are_told() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    for query in
        ["", "?by=colour", "?by=day&status=sended", "?by=day&order=newest", "?by=day&cursor=x"]
    {
        let answer = gateway.get(&token, &format!("/api/v1/statistics{query}")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "invalid-parameter"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn numbers_follow_every_change() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let mut ids = Vec::new();
    for (app, subject) in [("erp", "A"), ("erp", "B"), ("crm", "A")] {
        let mail = MAIL.replace("Invoice INV-12345", subject);
        let to = ["kim@example.org", "bo@example.org"];
        ids.push(gateway.submit(app, &to, &mail, false).await.id);
    }
    let by = |query: &'static str| rows(&gateway, &token, query);
    assert_eq!(by("by=subject").await, [(json!("A"), 2, 0, 0, 4), (json!("B"), 1, 0, 0, 2)]);
    gateway.claim(ids[0], 0).await;
    gateway.sent(ids[0], 0, None).await;
    gateway.post(&token, &format!("/api/v1/messages/{}/stop", ids[1]), None).await;
    assert_eq!(by("by=subject").await, [(json!("A"), 2, 1, 0, 3), (json!("B"), 1, 0, 2, 0)]);
    assert_eq!(by("by=app").await, [(json!("erp"), 2, 1, 2, 1), (json!("crm"), 1, 0, 0, 2)]);
    assert_eq!(by("by=sender").await, [(json!("anna@example.com"), 3, 1, 2, 3)]);
    assert_eq!(by("by=tag").await, [(Value::Null, 3, 1, 2, 3)]);
    assert_eq!(by("by=day").await.len(), 1);
    assert_eq!(by("by=day&channel=sms").await.len(), 0);
    assert_eq!(by("by=day&until=2020-01-01").await.len(), 0);
    assert_eq!(by("by=subject&status=stopped").await, [(json!("B"), 1, 0, 2, 0)], "looked up");
    let path = format!("/api/v1/messages/{}", ids[1]);
    let why = Some(json!({"reason": "asked for by Kim"}));
    let deleted = gateway.ask(axum::http::Method::DELETE, &path, Some(&token), why).await;
    assert_eq!(deleted.status, 200);
    let rest = [(json!("A"), 2, 1, 0, 3), (Value::Null, 1, 0, 2, 0)];
    assert_eq!(by("by=subject").await, rest, "its subject is gone");
    let limited = gateway.token(Role::Viewer, &["crm"]).await;
    assert_eq!(rows(&gateway, &limited, "by=app").await, [(json!("crm"), 1, 0, 0, 2)]);
    assert_eq!(rows(&gateway, &limited, "by=app&app=erp").await, []);
    let page = gateway.get(&token, "/api/v1/statistics?by=subject&limit=1").await.json();
    let next = page["next"].as_str().unwrap();
    let path = format!("/api/v1/statistics?by=subject&limit=1&cursor={next}");
    let page = gateway.get(&token, &path).await.json();
    assert_eq!((&page["items"][0]["value"], &page["next"]), (&Value::Null, &Value::Null));
    assert_eq!(page["total"]["messages"], 3);
}

#[test]
fn numbers_are_right_after_kills() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let api = daemon.api("viewer");
    for round in 0..3 {
        let mut session = Submitter::connect(daemon.smtp()).unwrap();
        for number in 0..10 {
            let to = format!("{round}.{number}@example.org");
            let text = format!("From: a@example.com\r\nSubject: s{}\r\n\r\nx\r\n", number % 3);
            session.submit("a@example.com", &[&to], text.as_bytes()).unwrap();
        }
        api.read("/api/v1/statistics?by=subject");
        daemon.kill();
        daemon.start_again();
    }
    api.wait_until_nothing_is_pending();
    let kept = api.read("/api/v1/statistics?by=subject");
    // The same by a look at each message.
    let counted = api.read("/api/v1/statistics?by=subject&since=1970-01-01T00:00:00.001Z");
    assert_eq!(kept, counted);
    let of = |name: &str| kept["total"][name].as_u64().unwrap();
    assert_eq!((of("messages"), of("sent"), of("pending")), (30, 30, 0));
}
