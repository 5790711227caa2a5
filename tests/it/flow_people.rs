//! Who waits for opens and clicks hears who was there, and of people or machines alone if it asks for them.

use serde_json::{Value, json};
use url::Url;
use waybill::flow::{Flow, FlowAction, FlowMatcher};
use waybill::model::{Channel, EventKind, MessageId, Secret};

use super::support::gateway::{Gateway, app};
use super::support::mail_providers::{call, sent_by};
use super::support::sms_provider::{Asked, SmsProvider};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A webhook at this path of the application.
fn hook(event: EventKind, automated: Option<bool>, application: &Url, path: &str) -> Flow {
    Flow {
        channel: Some(Channel::Email),
        event,
        matcher: FlowMatcher { automated, ..FlowMatcher::default() },
        action: FlowAction::Webhook {
            url: application.join(path).unwrap(),
            secret: Some(Secret::new("whsec_c2VjcmV0".into())),
        },
    }
}

/// Brevo tells of an open or a click.
async fn tell(gateway: &Gateway, event: &str, ago_ms: i64) {
    let at = gateway.clock.now().as_millis() - ago_ms;
    let body = json!({"event": event, "email": "kim@example.org", "message-id": "<a@app.example>",
        "ts_epoch": at, "user_agent": CHROME, "link": "https://shop.example/"});
    let made = call("brevo", &body, gateway.clock.now());
    let path = format!("/hooks/brevo/events{}", made.query);
    assert_eq!(gateway.post(&path, &made.body, &made.headers).await.0, 200);
}

async fn sent(gateway: &Gateway) -> MessageId {
    sent_by(gateway, "brevo", "a@app.example", "Ok").await
}

/// The path that was called, and what the event says of who was there.
fn said(asked: &Asked) -> (String, Value) {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let event = &body["data"]["event"];
    assert_eq!(body["type"], format!("email.{}", event["type"].as_str().unwrap()));
    (asked.line().to_owned(), event["automated"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_on_opens_hears_who_was_there_and_of_people_alone_if_it_asks_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    let gateway = Gateway::start(&dir, vec![app("erp", None)]).await;
    let url = application.url();
    let news = gateway.flows(vec![
        hook(EventKind::Opened, None, &url, "all"),
        hook(EventKind::Opened, Some(false), &url, "people"),
        hook(EventKind::Opened, Some(true), &url, "machines"),
        hook(EventKind::Clicked, None, &url, "clicks"),
        hook(EventKind::Sent, None, &url, "sent"),
    ]);
    let id = sent(&gateway).await;
    tell(&gateway, "proxy_open", 30_000).await;
    tell(&gateway, "opened", 20_000).await;
    tell(&gateway, "click", 10_000).await;
    application.wait_for(|record| record.requests.len() >= 6).await;
    news.stop().await;
    let mut asked: Vec<_> = application.requests().iter().map(said).collect();
    asked.sort_by_key(|(line, automated)| (line.clone(), automated.to_string()));
    let expected = [
        ("POST /all", json!(false)),
        ("POST /all", json!(true)),
        ("POST /clicks", json!(false)),
        ("POST /machines", json!(true)),
        ("POST /people", json!(false)),
        ("POST /sent", Value::Null),
    ];
    assert_eq!(asked, expected.map(|(line, automated)| (line.to_owned(), automated)));
    let events = gateway.archive.events(id, None, 100).unwrap().items;
    let told: Vec<_> = events.iter().filter_map(|event| event.automated).collect();
    assert_eq!(told, [true, false, false]);
}
