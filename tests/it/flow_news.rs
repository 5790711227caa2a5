//! Applications hear what becomes of their messages: once, in order, signed, and whatever else hangs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::Url;
use waybill::archive::Delivery;
use waybill::flow::{Flow, FlowAction, FlowMatcher};
use waybill::model::{Channel, Dialect, EventKind, Originator, Secret};

use super::support::gateway::{
    Gateway, Silence, app, calling_home, status_fields, text, twilio_app, with_receipts,
};
use super::support::sms::{DESTINATION, ORIGINATOR, sms_to};
use super::support::sms_provider::{Answer, Asked, SmsProvider};

const STATUS: &str = "/hooks/provider/status";

/// The outbox, without what was given up or only that.
fn outbox(gateway: &Gateway, given_up: bool) -> Vec<Delivery> {
    gateway.archive.deliveries(Some(given_up), None, 1_000).unwrap().items
}

/// Waits until the outbox is as `condition` says; it is no part of the journal.
async fn until(gateway: &Gateway, what: &str, condition: impl Fn(&Gateway) -> bool) {
    for _ in 0..3_000 {
        if condition(gateway) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to this: {what}; {:?}", gateway.archive.deliveries(None, None, 50));
}

fn json(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

fn hook(event: EventKind, url: &Url) -> Flow {
    Flow {
        channel: Some(Channel::Sms),
        event,
        matcher: FlowMatcher::default(),
        action: FlowAction::Webhook {
            url: url.join("flow").unwrap(),
            secret: Some(Secret::new("whsec_c2VjcmV0".into())),
        },
    }
}

fn reply(text: &str) -> Flow {
    Flow {
        channel: Some(Channel::Sms),
        event: EventKind::Received,
        matcher: FlowMatcher::default(),
        action: FlowAction::Reply { text: text.into() },
    }
}

/// HMAC-SHA-256 over id, time and body, as Standard Webhooks 1.0.0 says.
fn is_signed(asked: &Asked) -> bool {
    let field = |name| asked.header(name).unwrap_or_default();
    let mut signed =
        format!("{}.{}.", field("webhook-id"), field("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&asked.body);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let tag = aws_lc_rs::hmac::sign(&key, &signed);
    field("webhook-signature") == format!("v1,{}", STANDARD.encode(tag))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_says_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    let gateway = Gateway::start(&dir, vec![app("erp", None)]).await;
    let news = gateway.flows(vec![hook(EventKind::Received, &application.url())]);
    let message = gateway.comes_in("SM1", "Yes, please").await;
    application.wait_for(|record| !record.requests.is_empty()).await;
    let asked = application.requests().remove(0);
    assert_eq!(asked.line(), "POST /flow");
    assert!(is_signed(&asked), "{}", asked.head);
    let body = json(&asked);
    assert_eq!(body["type"], "sms.received");
    assert_eq!(body["data"]["event"]["type"], "received");
    let said = &body["data"]["message"];
    assert_eq!(said["id"], message.id.to_string());
    assert_eq!((&said["from"], &said["to"][0]), (&DESTINATION.into(), &ORIGINATOR.into()));
    assert_eq!((&said["text"], &said["direction"]), (&"Yes, please".into(), &"inbound".into()));
    until(&gateway, "an empty outbox", |g| outbox(g, false).is_empty()).await;
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_in_the_order_of_their_events_although_one_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    application.answers([Answer::Say(503, "")]);
    let gateway = Gateway::start(&dir, vec![calling_home(app("erp", None))]).await;
    let news = gateway.flows(Vec::new());
    let url = application.url().join("status?token=hush").unwrap();
    let id = gateway.sent(with_receipts(text("hello"), url.as_str()), "SM1").await;
    until(&gateway, "a delivery that waits", |g| {
        outbox(g, false).iter().any(|delivery| delivery.attempts == 1)
    })
    .await;
    assert_eq!(gateway.signed(STATUS, &status_fields("SM1", "delivered")).await, 200);
    until(&gateway, "two that wait", |g| {
        let waiting = outbox(g, false);
        waiting.len() == 2 && waiting.iter().all(|delivery| delivery.attempts == 1)
    })
    .await;
    assert_eq!(application.requests().len(), 1, "the later one waits for the earlier one");
    gateway.clock.by(61);
    application.wait_for(|record| record.requests.len() >= 3).await;
    until(&gateway, "an empty outbox", |g| outbox(g, false).is_empty()).await;
    let told: Vec<Value> = application.requests().iter().map(json).collect();
    let types: Vec<_> = told.iter().map(|told| told["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["sms.sent", "sms.sent", "sms.delivered"]);
    assert!(told.iter().all(|told| told["data"]["id"] == id.to_string()));
    assert_eq!(told[1]["data"]["state"], "sent", "as it stood then, although it has gone on");
    assert_eq!(application.requests().len(), 3);
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_told_survives_a_restart_and_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    let url = application.url().join("status").unwrap();
    let apps = || vec![calling_home(app("erp", None))];
    {
        // Nobody tells anything before the end of this process.
        let gateway = Gateway::start(&dir, apps()).await;
        gateway.sent(with_receipts(text("hello"), url.as_str()), "SM1").await;
        gateway.stop().await;
    }
    for _ in 0..2 {
        let gateway = Gateway::start(&dir, apps()).await;
        let news = gateway.flows(Vec::new());
        application.wait_for(|record| record.requests.len() == 1).await;
        until(&gateway, "an empty outbox", |g| outbox(g, false).is_empty()).await;
        news.stop().await;
        gateway.stop().await;
    }
    assert_eq!(application.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_does_not_delay_another() {
    let dir = tempfile::tempdir().unwrap();
    let (silence, application) = (Silence::start().await, SmsProvider::start().await);
    let gateway = Gateway::start(&dir, vec![calling_home(app("erp", None))]).await;
    let dead = format!("http://{}/status", silence.address);
    for number in 0..60 {
        let sms = with_receipts(sms_to(&format!("+45111111{number:02}"), "x"), &dead);
        gateway.sent(sms, &format!("SMdead{number}")).await;
    }
    let alive = application.url().join("status").unwrap();
    for number in 0..5 {
        let sms = with_receipts(text("x"), alive.as_str());
        gateway.sent(sms, &format!("SMalive{number}")).await;
    }
    let news = gateway.flows(Vec::new());
    application.wait_for(|record| record.requests.len() == 5).await;
    assert!(silence.connections() <= 2, "a host has two places");
    assert_eq!(outbox(&gateway, false).iter().filter(|d| d.what.url == dead).count(), 60);
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_rests_and_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, application) = (SmsProvider::start().await, SmsProvider::start().await);
    dead.always(Answer::CloseAfterReading);
    let gateway = Gateway::start(&dir, vec![calling_home(app("erp", None))]).await;
    let at = |host: &SmsProvider| host.url().join("status").unwrap().to_string();
    for number in 0..60 {
        let sms = with_receipts(sms_to(&format!("+45111111{number:02}"), "x"), &at(&dead));
        gateway.sent(sms, &format!("SMdead{number}")).await;
    }
    let news = gateway.flows(Vec::new());
    // Time stands still, so the rest does not end by itself.
    until(&gateway, "all of the dead host's are put off", |g| {
        let left = outbox(g, false);
        left.len() == 60 && left.iter().all(|delivery| delivery.attempts == 1)
    })
    .await;
    let called = dead.requests().len();
    assert!((3..=4).contains(&called), "{called} calls before the rest, and none in it");
    let put_off = outbox(&gateway, false);
    let rested = |delivery: &&Delivery| {
        delivery.last_error.as_deref() == Some("its host gave no response a moment ago")
    };
    assert_eq!(put_off.iter().filter(rested).count(), 60 - called);
    for number in 0..5 {
        gateway.sent(with_receipts(text("x"), &at(&application)), &format!("SM{number}")).await;
    }
    application.wait_for(|record| record.requests.len() == 5).await;
    assert_eq!(dead.requests().len(), called, "it rests");

    // It is back when its rest is over, and nothing was given up.
    dead.always(Answer::Say(200, ""));
    gateway.clock.by(200);
    until(&gateway, "an empty outbox", |g| outbox(g, false).is_empty()).await;
    assert_eq!(dead.requests().len(), called + 60);
    assert!(outbox(&gateway, true).is_empty());
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_not_be_called_where_it_does_not_belong() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    // Nothing is allowed for its callbacks, so only public addresses are.
    let gateway = Gateway::start(&dir, vec![app("erp", None)]).await;
    let news = gateway.flows(Vec::new());
    let url = application.url().join("status").unwrap();
    gateway.sent(with_receipts(text("hello"), url.as_str()), "SM1").await;
    until(&gateway, "a dead letter", |g| outbox(g, true).len() == 1).await;
    assert!(application.requests().is_empty());
    let error = outbox(&gateway, true)[0].last_error.clone().unwrap();
    assert!(!error.contains("127.0.0.1"), "{error}");
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_given_up_and_can_be_sent_again_by_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    application.always(Answer::Say(500, ""));
    let gateway = Gateway::start(&dir, vec![app("erp", None)]).await;
    let news = gateway.flows(vec![hook(EventKind::Received, &application.url())]);
    gateway.comes_in("SM1", "Hello").await;
    for attempt in 1..=7 {
        application.wait_for(|record| record.requests.len() == attempt).await;
        until(&gateway, "the attempt is settled", |g| {
            let left = outbox(g, false);
            left.is_empty() || left[0].attempts as usize == attempt
        })
        .await;
        gateway.clock.by(13 * 3600);
    }
    until(&gateway, "a dead letter", |g| outbox(g, true).len() == 1).await;
    let requests = application.requests();
    let ids: Vec<_> = requests.iter().map(|asked| asked.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "all attempts have one id: {ids:?}");
    assert!(requests.iter().all(is_signed), "each has the signature of its own time");
    application.always(Answer::Say(204, ""));
    let id = outbox(&gateway, true)[0].id;
    assert!(gateway.archive.deliver_again(id, gateway.clock.now()).await.unwrap());
    application.wait_for(|record| record.requests.len() == 8).await;
    until(&gateway, "nothing left", |g| outbox(g, true).is_empty() && outbox(g, false).is_empty())
        .await;
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inbound_goes_to_the_application_and_its_answer_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let application = SmsProvider::start().await;
    let twiml = "<?xml version=\"1.0\"?><Response><Message>Thanks</Message></Response>";
    application.always(Answer::Say(200, twiml));
    let apps = vec![twilio_app("erp", application.url().as_str())];
    let gateway = Gateway::start(&dir, apps).await;
    let news = gateway.flows(Vec::new());
    let message = gateway.comes_in("SM1", "Hello").await;
    application.wait_for(|record| record.requests.len() == 1).await;
    let asked = application.requests().remove(0);
    assert_eq!(asked.line(), "POST /twilio/inbound");
    assert_eq!(asked.field("Body").as_deref(), Some("Hello"));
    assert!(asked.header("x-twilio-signature").is_some());
    until(&gateway, "an empty outbox", |g| outbox(g, false).is_empty()).await;
    let out = gateway.outbound();
    let sms = out[0].medium.sms().unwrap();
    assert_eq!((out.len(), sms.text(), sms.reply_to), (1, "Thanks", Some(message.id)));
    assert_eq!(sms.destination.to_string(), DESTINATION);
    assert_eq!(sms.dialect, Dialect::Twilio);
    news.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_answers_a_person_once_an_hour_and_never_a_name_or_itself() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir, vec![app("erp", None)]).await;
    let news = gateway.flows(vec![reply("We are closed")]);
    let name = super::support::gateway::inbound_fields("SM0", "Bank", "Hello");
    assert_eq!(gateway.signed("/hooks/provider/inbound", &name).await, 200);
    gateway.comes_in("SM1", "We are closed").await;
    gateway.comes_in("SM2", "Hello").await;
    gateway.comes_in("SM3", "Hello?").await;
    until(&gateway, "an answer", |g| !g.outbound().is_empty()).await;
    // The planner goes in order: when the answer to the last one is there, all were looked at.
    gateway.clock.by(3_700);
    gateway.comes_in("SM4", "Still there?").await;
    until(&gateway, "the second answer", |g| g.outbound().len() >= 2).await;
    let out = gateway.outbound();
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|m| m.medium.sms().unwrap().text() == "We are closed"));
    let originator = out[0].medium.sms().unwrap().originator.clone();
    assert_eq!(originator, Originator::parse(ORIGINATOR));
    assert_eq!(out[0].tag.as_ref().map(|tag| tag.as_str()), Some("auto-reply"));
    news.stop().await;
}
