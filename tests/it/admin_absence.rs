//! An empty answer says why, and for an app and a period what the gateway knows of it.

use std::time::Duration;

use serde_json::{Value, json};
use waybill::account::Role;
use waybill::model::Timestamp;

use crate::support::admin::{Gateway, MAIL};
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

async fn ask(gateway: &Gateway, token: &str, query: &str) -> Value {
    let page = gateway.get(token, &format!("/api/v1/messages?{query}")).await.json();
    assert!(page["items"].is_array(), "{query}: {page}");
    page
}

#[tokio::test]
async fn an_empty_page_says_what_is_in_the_way() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    gateway.submit("crm", &["bo@example.org"], MAIL, true).await;
    for (query, expected) in [
        ("recipient=nobody@example.org", "No message at all fits recipient."),
        ("recipient=nobody@example.org&status=failed", "fits status or recipient."),
        (
            "recipient=kim@example.org&app=crm",
            "There would be some without recipient or without app.",
        ),
        (
            "status=pending&since=2100-01-01&until=2100-02-01",
            "No message at all fits since and until.",
        ),
        ("q=zebra", "No message has zebra."),
        ("q=invoice&status=failed", "No message at all fits status."),
        ("q=invoice%20to:kim&app=crm", "There would be some without app."),
        ("q=to:kim&recipient=bo@example.org&app=crm", "no message has all that was asked for."),
        ("q=invoice&read=opened", "No message at all fits read."),
    ] {
        let page = ask(&gateway, &token, query).await;
        assert_eq!(page["items"], json!([]), "{query}");
        let note = page["note"].as_str().unwrap_or_default();
        assert!(note.contains(expected), "{query}: {note}");
        assert_eq!(page["absence"], Value::Null, "{query}");
    }
    let found = ask(&gateway, &token, "q=invoice&app=erp&since=2020-01-01").await;
    assert_eq!((&found["note"], &found["absence"]), (&Value::Null, &Value::Null));
    let limited = gateway.token(Role::Viewer, &["crm"]).await;
    let hidden = ask(&gateway, &limited, "q=to:kim&since=2020-01-01").await;
    assert_eq!(hidden["note"], "No message has to:kim.", "another app's are nowhere");
}

#[tokio::test]
async fn a_proof_of_absence_stays_within_the_apps_of_who_asks() {
    let gateway = Gateway::start().await;
    let (all, limited) =
        (gateway.token(Role::Viewer, &[]).await, gateway.token(Role::Viewer, &["crm"]).await);
    let erp = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    let crm = gateway.submit("crm", &["kim@example.org"], MAIL, true).await.id.to_string();
    let ids = |page: &Value| -> Vec<Value> {
        let nearest = page["absence"]["nearest"].as_array().unwrap();
        nearest.iter().map(|near| json!([near["id"], near["without"]])).collect()
    };
    let query = "app=crm&since=2020-01-01&recipient=kim@example.org&status=failed";
    let page = ask(&gateway, &all, query).await;
    assert_eq!(ids(&page), [json!([crm, "status"])]);
    assert_eq!(page["absence"]["submissions"], 1);
    assert_eq!(page["absence"]["up"], false, "nobody said that this gateway runs");
    let query = "app=crm&since=2020-01-01&q=invoice&tag=x";
    assert_eq!(ids(&ask(&gateway, &limited, query).await), [json!([crm, "tag"])]);
    let query = "app=crm&until=2020-01-01&recipient=kim@example.org";
    let early = ask(&gateway, &limited, query).await;
    assert_eq!(ids(&early), [json!([crm, "period"])]);
    assert_eq!(early["absence"]["up"], false, "nothing is known of that time");
    let query = "app=crm&recipient=kim@example.org&reference=INV-9&since=2020-01-01";
    for token in [&all, &limited] {
        let page = ask(&gateway, token, query).await;
        assert!(!page.to_string().contains(&erp), "{page}");
    }
    let query = "app=erp&since=2020-01-01&recipient=nobody@example.org";
    assert_eq!(ask(&gateway, &all, query).await["absence"]["submissions"], 1);
    let hidden = ask(&gateway, &limited, query).await;
    assert_eq!(hidden["absence"], Value::Null, "{hidden}");
    assert!(!hidden.to_string().contains(&erp), "{hidden}");
    let next = ask(&gateway, &all, "app=erp&since=2100-01-01").await;
    assert_eq!(next["absence"], Value::Null, "a period that has not begun");
}

#[tokio::test]
async fn submissions_are_counted_to_the_millisecond() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let mut times = Vec::new();
    for number in 0..6 {
        let app = ["erp", "crm"][number % 2];
        times.push(gateway.submit(app, &["kim@example.org"], MAIL, true).await.accepted_at);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let erp: Vec<Timestamp> = times.iter().copied().step_by(2).collect();
    let day = times[0].to_string()[..10].to_owned();
    for since in times.iter().map(ToString::to_string).chain([day, "1970-01-01".into()]) {
        for until in times.iter().map(ToString::to_string).chain(["2100-01-01".into()]) {
            let query = format!("app=erp&since={since}&until={until}&recipient=x@example.org");
            let told = ask(&gateway, &token, &query).await;
            let begin = Timestamp::parse_rfc3339(&since);
            let end = Timestamp::parse_rfc3339(&until);
            let is_in = |at: &&Timestamp| {
                begin.is_none_or(|begin| **at >= begin) && end.is_none_or(|end| **at < end)
            };
            let expected = erp.iter().filter(is_in).count();
            match begin.zip(end).is_some_and(|(begin, end)| begin > end) {
                true => assert_eq!(told["absence"], Value::Null, "{query}"),
                false => assert_eq!(told["absence"]["submissions"], expected, "{query}"),
            }
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

fn time(text: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_str().unwrap()).unwrap()
}

/// Submits through a daemon that is stopped in order, killed, and started again each time.
#[test]
fn a_gateway_knows_when_it_was_down() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let api = daemon.api("viewer");
    let submit = |daemon: &Daemon, to: &str| {
        let mut session = Submitter::connect(daemon.smtp()).unwrap();
        let text = format!("From: a@example.com\r\nSubject: to {to}\r\n\r\nx\r\n");
        session.submit("a@example.com", &[to], text.as_bytes()).unwrap();
    };
    let ready = now();
    submit(&daemon, "kim@example.org");
    api.wait_until_nothing_is_pending();
    let app = api.message_to("kim@example.org")["app"].as_str().unwrap().to_owned();
    let absence = |since: Timestamp, until: Option<Timestamp>, more: &str| {
        let until = until.map(|until| format!("&until={until}")).unwrap_or_default();
        let page = api.read(&format!("/api/v1/messages?app={app}&since={since}{until}&{more}"));
        assert_eq!(page["items"], json!([]), "{page}");
        page["absence"].clone()
    };
    let nobody = "recipient=nobody@example.org";
    let told = absence(ready, None, nobody);
    assert_eq!((&told["up"], &told["gaps"]), (&json!(true), &json!([])), "{told}");
    assert_eq!((&told["submissions"], &told["app"]), (&json!(1), &json!(app)));
    assert!(time(&told["until"]) <= now(), "{told}");
    let before_stop = now();
    assert!(daemon.stop().success());
    let after_stop = now();
    daemon.start_again();
    let again = now();
    submit(&daemon, "bo@example.org");
    api.wait_until_nothing_is_pending();
    let bo = api.message_to("bo@example.org");
    daemon.kill();
    let after_kill = now();
    daemon.start_again();
    let last = now();
    let told = absence(ready, None, nobody);
    assert_eq!((&told["up"], &told["submissions"]), (&json!(false), &json!(2)), "{told}");
    assert_eq!(told["more_gaps"], false);
    let gaps = told["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 2, "{told}");
    let (stop, crash) = (&gaps[0], &gaps[1]);
    assert!(time(&stop["from"]) >= before_stop && time(&stop["from"]) <= after_stop, "{stop}");
    assert!(time(&stop["to"]) >= after_stop && time(&stop["to"]) <= again, "{stop}");
    // What it had made durable proves how long it lived.
    assert!(time(&crash["from"]) >= time(&bo["accepted_at"]), "{crash} {bo}");
    assert!(time(&crash["from"]) <= after_kill && time(&crash["to"]) <= last, "{crash}");
    let told = absence(last, None, nobody);
    assert_eq!((&told["up"], &told["submissions"]), (&json!(true), &json!(0)), "{told}");
    // Between the two messages to kim and bo: the same recipient before and after.
    submit(&daemon, "kim@example.org");
    let told = absence(again, Some(after_kill), "recipient=kim@example.org");
    let nearest = told["nearest"].as_array().unwrap();
    let subjects: Vec<&Value> = nearest.iter().map(|near| &near["subject"]).collect();
    let kim = json!("to kim@example.org");
    assert_eq!(subjects, [&kim, &kim, &json!("to bo@example.org")], "{told}");
    assert_eq!(nearest[2]["without"], "recipient");
    let early = absence(Timestamp::from_millis(0), Some(ready), "");
    assert_eq!(early["up"], false, "before the first run nothing is known: {early}");
}
