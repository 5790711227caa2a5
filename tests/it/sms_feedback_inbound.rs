//! What people write comes in once, in the thread that it answers, and STOP is obeyed.

use waybill::archive::{Action, ActionKind, Suppression};
use waybill::intake::KeywordSettings;
use waybill::model::{Channel, Dialect, Direction, Originator, Status};

use super::support::gateway::{
    CALLBACK_TOKEN, Gateway, app, form, inbound_fields, sending_as, text, twilio_app,
};
use super::support::queue::{get, has_event, kinds};
use super::support::sms::{DESTINATION, ORIGINATOR, sms_to};
use waybill::model::EventKind;

const INBOUND: &str = "/hooks/provider/inbound";

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("crm", None), app("erp", None)]).await
}

fn suppressed(gateway: &Gateway, originator: Option<&str>) -> Option<Suppression> {
    gateway.archive.suppressed(Channel::Sms, DESTINATION, originator, gateway.clock.now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_stolen_callbacks_bring_nothing_in() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), "SM1").await;
    let body = form(&inbound_fields("SM2", DESTINATION, "STOP"));
    let kannel = "/hooks/kannel/inbound?from=%2B4512345678&to=%2B4588888888&text=STOP&id=1";
    // The proof of a status URL is none for what comes in.
    let proof = gateway.status_path(id).replace("/status", "/inbound");
    for path in [INBOUND, &proof, kannel, &format!("{kannel}&token=")] {
        assert_eq!(gateway.post(path, &body, "").await.0, 403, "{path}");
    }
    assert!(gateway.inbound().is_empty());
    assert!(suppressed(&gateway, Some(ORIGINATOR)).is_none());
    let path = format!("{kannel}&token={CALLBACK_TOKEN}");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(gateway.ask(&request).await.0, 200);
    let raw = gateway.archive.raw(gateway.inbound()[0].id).unwrap().unwrap();
    let raw = String::from_utf8(raw.to_vec()).unwrap();
    assert!(!raw.contains(CALLBACK_TOKEN) && raw.contains("text=STOP"), "{raw}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_joins_the_thread_of_the_last_message_between_the_two_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    gateway.sent(text("an older one"), "SM1").await;
    let last = gateway.sent(text("the last one"), "SM2").await;
    let mut from_another = text("from another number of ours");
    from_another.originator = Originator::parse("+4577777777");
    gateway.sent(from_another, "SM3").await;
    let message = gateway.comes_in("SM4", "Thanks, and ORD-999 too").await;
    let sms = message.medium.sms().unwrap();
    assert_eq!(sms.reply_to, Some(last));
    assert_eq!((sms.text(), sms.dialect), ("Thanks, and ORD-999 too", Dialect::Waybill));
    assert_eq!(message.direction, Direction::Inbound);
    assert_eq!(message.medium.sender().as_deref(), Some(DESTINATION));
    assert_eq!(message.medium.recipients(), [ORIGINATOR]);
    assert_eq!(message.app.as_str(), "erp");
    let references: Vec<_> = message.references.iter().map(|r| r.as_str()).collect();
    assert_eq!(references, ["INV-12345", "ORD-999"]);
    assert_eq!(message.status(), Status::Sent);
    assert_eq!(kinds(&gateway.archive, message.id), ["received"]);
    assert!(has_event(&gateway.archive, last, EventKind::Replied));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_name_finds_its_thread_and_what_answers_nothing_finds_an_app() {
    let dir = tempfile::tempdir().unwrap();
    let apps = vec![app("crm", None), sending_as(app("erp", None), ORIGINATOR)];
    let gateway = Gateway::start(&dir, apps).await;
    let message = gateway.comes_in("SM1", "Hello?").await;
    assert_eq!((message.app.as_str(), message.medium.sms().unwrap().reply_to), ("erp", None));
    let mut named = text("from a name");
    named.originator = Originator::parse("Example");
    let named = gateway.sent(named, "SM2").await;
    let message = gateway.comes_in("SM3", "Hello again").await;
    assert_eq!(message.medium.sms().unwrap().reply_to, Some(named));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_again_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    for _ in 0..3 {
        gateway.comes_in("SM1", "Hello").await;
    }
    assert_eq!(gateway.inbound().len(), 1);
    gateway.comes_in("SM2", "Hello").await;
    assert_eq!(gateway.inbound().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_stops_what_is_pending_and_start_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let pending = gateway.accepted(text("one more")).await;
    let mut other_number = text("from another number");
    other_number.originator = Originator::parse("+4577777777");
    let other_number = gateway.accepted(other_number).await;
    let other_person = gateway.accepted(sms_to("+4522222222", "to somebody else")).await;
    // The last message between the two is what they see.
    let claimed = gateway.accepted(text("on its way")).await;
    gateway.claim(claimed).await;

    let message = gateway.comes_in("SM1", " stop ").await;
    assert_eq!(message.medium.sms().unwrap().text().trim(), "stop", "it is archived all the same");
    assert_eq!(get(&gateway.archive, pending).status(), Status::Stopped);
    assert_eq!(kinds(&gateway.archive, pending), ["accepted", "stopped", "suppressed"]);
    for untouched in [other_number, other_person, claimed] {
        assert_eq!(get(&gateway.archive, untouched).status(), Status::Pending);
    }
    assert!(suppressed(&gateway, Some("+4577777777")).is_none());
    let entry = suppressed(&gateway, Some(ORIGINATOR)).unwrap();
    assert_eq!((entry.by.as_str(), entry.recipient.as_str()), ("sms", DESTINATION));

    gateway.comes_in("SM2", "Start").await;
    assert!(suppressed(&gateway, Some(ORIGINATOR)).is_none());
    // The old callback again, from whoever kept it.
    gateway.comes_in("SM1", " stop ").await;
    assert!(suppressed(&gateway, Some(ORIGINATOR)).is_none());
    assert_eq!(gateway.outbound().len(), 4, "nothing is answered unless it is configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_a_person_made_is_not_taken_away_by_start() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let entry = Suppression {
        channel: Channel::Sms,
        recipient: DESTINATION.into(),
        originator: None,
        reason: "asked by telephone".into(),
        by: "user anna".into(),
        at: gateway.clock.now(),
        expires_at: None,
    };
    gateway.archive.suppress(entry).await.unwrap();
    gateway.comes_in("SM1", "START").await;
    assert!(suppressed(&gateway, Some(ORIGINATOR)).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn keywords_are_answered_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let keywords = KeywordSettings {
        stop_reply: Some("You get no more".into()),
        start_reply: Some("Welcome back".into()),
        help_reply: Some("Call us".into()),
        ..KeywordSettings::default()
    };
    let gateway = Gateway::start_with(&dir, vec![app("erp", None)], keywords).await;
    let texts = |gateway: &Gateway| -> Vec<String> {
        let out = gateway.outbound();
        out.iter().map(|m| m.medium.sms().unwrap().text().to_owned()).collect()
    };
    gateway.comes_in("SM0", "START").await;
    assert!(texts(&gateway).is_empty(), "who was not out is not welcomed back");
    let stop = gateway.comes_in("SM1", "STOP").await;
    let confirmation = gateway.outbound().pop().unwrap();
    let sms = confirmation.medium.sms().unwrap();
    assert_eq!((sms.text(), sms.reply_to), ("You get no more", Some(stop.id)));
    assert_eq!(sms.destination.to_string(), DESTINATION);
    assert_eq!(confirmation.medium.sender().as_deref(), Some(ORIGINATOR));
    assert_eq!(confirmation.status(), Status::Pending, "the confirmation itself is not stopped");
    for (id, word) in [("SM1", "STOP"), ("SM2", "STOP"), ("SM3", "HELP")] {
        gateway.comes_in(id, word).await;
    }
    assert_eq!(texts(&gateway), ["You get no more"], "and nothing more to who is out");
    gateway.comes_in("SM4", "START").await;
    gateway.comes_in("SM5", "help").await;
    assert_eq!(texts(&gateway), ["You get no more", "Welcome back", "Call us"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_never_answered_or_suppressed() {
    let dir = tempfile::tempdir().unwrap();
    let keywords =
        KeywordSettings { help_reply: Some("Call us".into()), ..KeywordSettings::default() };
    let gateway = Gateway::start_with(&dir, vec![app("erp", None)], keywords).await;
    for (id, word) in [("SM1", "HELP"), ("SM2", "STOP")] {
        let fields = inbound_fields(id, "Bank", word);
        assert_eq!(gateway.signed(INBOUND, &fields).await, 200);
    }
    assert_eq!(gateway.inbound().len(), 2);
    assert!(gateway.outbound().is_empty());
    let now = gateway.clock.now();
    let entry = gateway.archive.suppressed(Channel::Sms, "Bank", Some(ORIGINATOR), now).unwrap();
    assert!(entry.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_in_the_dialect_of_what_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir, vec![twilio_app("erp", "https://erp.example.com/")]).await;
    let first = gateway.comes_in("SM1", "Hello").await;
    assert_eq!(first.medium.sms().unwrap().dialect, Dialect::Twilio, "in which the app takes it");
    gateway.sent(text("from Waybill's own"), "SM2").await;
    let second = gateway.comes_in("SM3", "Hello").await;
    assert_eq!(second.medium.sms().unwrap().dialect, Dialect::Waybill);
    let by = "user anna".to_owned();
    let at = gateway.clock.now();
    let action = Action {
        kind: ActionKind::Stop,
        message: second.id,
        recipients: None,
        by,
        reason: None,
        at,
    };
    assert!(gateway.archive.act(action).await.unwrap().is_err(), "what came in can not be stopped");
}
