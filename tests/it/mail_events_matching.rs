//! What a provider repeats of the mail that it took leads to the message: the return path that Waybill made, and
//! its `Received` field; and neither leads anywhere for who made it up or never had the message.

use serde_json::{Value, json};
use waybill::archive::Message;
use waybill::model::{EventKind, Mailbox, Sequence, Status};
use waybill::rewrite::{SEVERAL, VerpKeys};

use super::support::gateway::{Gateway, app};
use super::support::mail_providers::{
    call, claimed, judged_with, mailgun_with, return_paths, sent_by,
};
use super::support::queue::get;

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("erp", None)]).await
}

/// A message that this upstream took, and whose reply names nothing.
async fn sent(gateway: &Gateway, by: &str, message_id: &str) -> Message {
    let id = sent_by(gateway, by, message_id, "Ok").await;
    get(&gateway.archive, id)
}

fn path(keys: &VerpKeys, sequence: Sequence, recipient: u16) -> String {
    let (_, base) = return_paths();
    keys.return_path(&base, sequence, recipient).unwrap().to_string()
}

/// As Waybill writes it.
fn field(message: &Message, by: &str) -> String {
    format!(
        "from erp.example.com ([192.0.2.1])\r\n\tby {by} (Waybill) with ESMTP id {}\r\n\tfor <kim@example.org>; Mon, 1 Jan 2024",
        message.id
    )
}

/// Amazon says that a mail bounced, with an id that nobody knows.
fn bounced(mail: Value, to: &str) -> Value {
    let mut of = json!({"messageId": "0102018f2f7c5e1a-unknown-000000", "destination": [to]});
    of.as_object_mut().unwrap().extend(mail.as_object().unwrap().clone());
    json!({"eventType": "Bounce", "mail": of, "bounce": {"bounceType": "Permanent", "bounceSubType": "General",
        "timestamp": "2020-01-01T00:00:00.000Z", "bouncedRecipients": [{"emailAddress": to, "status": "5.1.1"}]}})
}

async fn tell(gateway: &Gateway, event: &Value) {
    let made = call("ses", event, gateway.clock.now());
    let path = format!("/hooks/ses/events{}", made.query);
    assert_eq!(gateway.post(&path, &made.body, &made.headers).await.0, 200);
}

fn is_failed(gateway: &Gateway, message: &Message) -> bool {
    get(&gateway.archive, message.id).status() == Status::Failed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_up_or_anothers_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let (keys, kim) = (return_paths().0, "kim@example.org");
    let ours = sent(&gateway, "ses", "1@app.example").await;
    let others = sent(&gateway, "mailgun", "2@app.example").await;
    let foreign = VerpKeys::new(&[6; 32], &[]);
    let header = |value: String| json!({"headers": [{"name": "Received", "value": value}]});
    for mail in [
        json!({"source": path(&foreign, ours.sequence, 0)}),
        json!({"source": path(&keys, others.sequence, 0)}),
        json!({"source": path(&keys, ours.sequence, 1)}),
        json!({"source": path(&keys, Sequence(4_711), 0)}),
        json!({"source": "bounce@bounces.example.com"}),
        header(field(&ours, "mx.example.net")),
        header(field(&others, "gateway.example.com")),
        header(field(&ours, "gateway.example.com").replace("(Waybill)", "(Postfix)")),
    ] {
        tell(&gateway, &bounced(mail, kim)).await;
    }
    // The field names no recipient, so that the address has to.
    let mail = header(field(&ours, "gateway.example.com"));
    tell(&gateway, &bounced(mail, "lee@example.org")).await;
    assert!(!is_failed(&gateway, &ours) && !is_failed(&gateway, &others));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_repeats_our_return_path_or_field_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let keys = return_paths().0;
    let (one, two) = (
        sent(&gateway, "ses", "1@app.example").await,
        sent(&gateway, "ses", "2@app.example").await,
    );
    let by_path = json!({"source": format!("Anna <{}>", path(&keys, one.sequence, 0))});
    // It goes before the Message-ID, which anybody may have used twice.
    let mut both = by_path.clone();
    both["commonHeaders"] = json!({"messageId": "<2@app.example>"});
    tell(&gateway, &bounced(both, "kim@example.org")).await;
    assert!(is_failed(&gateway, &one) && !is_failed(&gateway, &two));
    let values = [
        json!({"name": "Received", "value": "from x by y; date"}),
        json!({"name": "received", "value": field(&two, "Gateway.example.com")}),
    ];
    tell(&gateway, &bounced(json!({"headers": values}), "kim@example.org")).await;
    assert!(is_failed(&gateway, &two));

    // The return path of several names the message alone.
    let id = claimed(&gateway, &["kim@example.org", "lee@example.org"], "mailgun").await;
    judged_with(&gateway, id, 2, "Great success").await;
    let sequence = get(&gateway.archive, id).sequence;
    let sender = Mailbox::parse(&path(&keys, sequence, SEVERAL)).unwrap().to_string();
    let event = json!({"event": "complained", "id": "e1", "recipient": "lee@example.org",
        "timestamp": 1_577_836_800.5, "envelope": {"sender": sender, "transport": "smtp"}});
    let made = mailgun_with("token", &event, gateway.clock.now());
    assert_eq!(gateway.post("/hooks/mailgun/events", &made.body, &made.headers).await.0, 200);
    let events = gateway.archive.events(id, None, 100).unwrap().items;
    let told: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Complained).collect();
    assert_eq!((told.len(), told[0].recipient), (1, Some(1)));
}
