//! SMS through the whole daemon: out, receipts back, an answer in, the application told, and the admin
//! API over all of it.

use crate::support::daemon::{Daemon, Setup};
use crate::support::sms_app::{callback, port, tables};
use crate::support::sms_provider::{AUTH_TOKEN, SmsProvider};

#[test]
fn an_sms_goes_out_and_its_receipt_and_its_answer_come_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (erp, api) = (port(&daemon), daemon.api("admin"));
    let body = r#"{"to": "+45 12 34 56 78", "from": "+4521000000", "text": "Order ORD-777: come today?", "tag": "pick-up"}"#;
    let answer = erp.post("/v1/sms", body).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.json());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    api.wait_for_status(&id, "sent");
    let sid = provider.record().ids[0].clone();

    let receipt = [("MessageSid", &*sid), ("MessageStatus", "delivered"), ("ErrorCode", "")];
    assert_eq!(callback(&daemon, "/hooks/provider/status", &receipt, "another token"), 403);
    assert_eq!(api.message(&id)["recipients"][0]["delivered_at"], serde_json::Value::Null);
    assert_eq!(callback(&daemon, "/hooks/provider/status", &receipt, AUTH_TOKEN), 200);
    assert!(api.message(&id)["recipients"][0]["delivered_at"].is_string());
    let late = [("MessageSid", &*sid), ("MessageStatus", "undelivered"), ("ErrorCode", "30003")];
    assert_eq!(callback(&daemon, "/hooks/provider/status", &late, AUTH_TOKEN), 200);
    assert_eq!(api.message(&id)["status"], "sent", "a final state was left");

    let inbound = [
        ("MessageSid", "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("From", "+4512345678"),
        ("To", "+4521000000"),
        ("Body", "Yes, at five"),
        ("NumMedia", "0"),
    ];
    for _ in 0..2 {
        assert_eq!(callback(&daemon, "/hooks/provider/inbound", &inbound, AUTH_TOKEN), 200);
    }
    let answers = api.all_messages("&direction=inbound");
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer["text"], "Yes, at five");
    assert_eq!(answer["sender"]["address"], "+4512345678");
    assert_eq!(answer["recipients"][0]["address"], "+4521000000");
    assert_eq!(answer["references"], serde_json::json!(["ORD-777"]), "it joins the thread");
    assert_eq!(answer["reply_to"], *id);
    let events: Vec<String> =
        api.events(&id).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["accepted", "sent", "delivered", "replied"]);
}

#[test]
fn who_says_stop_gets_nothing_more_until_somebody_takes_it_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let sms = "stop_reply = \"You will get no more messages.\"".to_owned();
    let daemon = Daemon::start(&Setup { sms, ..Setup::for_sms(tables(&provider)) });
    let (erp, api) = (port(&daemon), daemon.api("operator"));
    let send = || {
        let body =
            r#"{"to": "+4512345678", "from": "+4521000000", "text": "News", "hold": "manual"}"#;
        erp.post("/v1/sms", body).unwrap()
    };
    let held = send().json()["id"].as_str().unwrap().to_owned();
    let inbound = [
        ("MessageSid", "SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ("From", "+4512345678"),
        ("To", "+4521000000"),
        ("Body", " stop "),
    ];
    assert_eq!(callback(&daemon, "/hooks/provider/inbound", &inbound, AUTH_TOKEN), 200);
    assert_eq!(api.message(&held)["status"], "stopped");
    let refused = send();
    assert!((400..500).contains(&refused.status), "{}", refused.json());
    let listed = api.read("/api/v1/suppressions?recipient=%2B4512345678");
    assert_eq!(listed["items"][0]["channel"], "sms");
    assert_eq!(listed["items"][0]["originator"], "+4521000000");
    let confirmation = api.all_messages("&direction=outbound&status=sent");
    let confirmed = || api.all_messages("&direction=outbound&status=sent");
    let began = std::time::Instant::now();
    let mut sent = confirmation;
    while sent.is_empty() {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "no confirmation");
        std::thread::sleep(std::time::Duration::from_millis(20));
        sent = confirmed();
    }
    assert_eq!(sent[0]["text"], "You will get no more messages.");
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(api.delete(&format!("/api/v1/suppressions/{id}")).unwrap().status, 204);
    assert_eq!(api.delete(&format!("/api/v1/suppressions/{id}")).unwrap().status, 404);
    assert_eq!(send().status, 201);
}

#[test]
fn what_is_deleted_leaves_who_when_and_why() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (erp, api) = (port(&daemon), daemon.api("admin"));
    let body = r#"{"to": "+4512345678", "from": "Example", "text": "A secret word"}"#;
    let id = erp.post("/v1/sms", body).unwrap().json()["id"].as_str().unwrap().to_owned();
    api.wait_for_status(&id, "sent");
    assert_eq!(api.get(&format!("/api/v1/messages/{id}/text")).unwrap().body, b"A secret word");
    let raw = String::from_utf8(api.raw(&id)).unwrap();
    assert!(raw.contains("A secret word") && !raw.contains("token-of-the-erp"), "{raw}");
    let path = format!("/api/v1/messages/{id}");
    assert_eq!(api.delete(&path).unwrap().status, 400, "it must say why");
    assert_eq!(api.request("DELETE", &path, r#"{"reason": " "}"#).unwrap().status, 400);
    let why = r#"{"reason": "asked for by its recipient"}"#;
    assert_eq!(api.request("DELETE", &path, why).unwrap().status, 200);
    let left = api.message(&id);
    assert!(left["deleted_at"].is_string(), "{left}");
    assert!(!left.to_string().contains("secret"), "{left}");
    for path in ["raw", "text", "html"] {
        let answer = api.get(&format!("/api/v1/messages/{id}/{path}")).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(told.contains("The content was taken away at"), "{path}: {told}");
    }
    let events = api.events(&id);
    let deleted = events.iter().find(|event| event["event"] == "deleted").unwrap();
    assert!(deleted["by"].as_str().unwrap().starts_with("token "), "{deleted}");
}
