//! Callbacks of the providers that are not Twilio, over the public port: forged ones change nothing,
//! honest ones change what they say; long messages come together in any order.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::support::gateway::{AUTH_TOKEN, CALLBACK_TOKEN, Gateway, app, form, text};
use super::support::queue::{get, kinds};

fn tag(secret: &str, signed: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes())
}

/// Vonage's: HMAC over the sorted fields.
fn vonage_query(gateway: &Gateway, fields: &[(&str, &str)], secret: &str) -> String {
    let seconds = (gateway.clock.now().as_millis() / 1000).to_string();
    let mut fields = [fields, &[("timestamp", seconds.as_str()), ("nonce", "n")]].concat();
    fields.sort_unstable();
    let signed: String = fields.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let hex: String =
        tag(secret, &signed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    fields.push(("sig", &hex));
    form(&fields)
}

async fn vonage(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> u16 {
    let query = vonage_query(gateway, fields, AUTH_TOKEN);
    get_from(gateway, &format!("/hooks/vonage/{path}?{query}")).await
}

async fn get_from(gateway: &Gateway, target: &str) -> u16 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    gateway.ask(&request).await.0
}

/// GatewayAPI's: the body once more in a signed token.
async fn gatewayapi(gateway: &Gateway, path: &str, body: &Value, secret: &str) -> u16 {
    let part = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
    let body = body.to_string();
    let signed = format!("{}.{}", part(br#"{"alg":"HS256","typ":"JWT"}"#), part(body.as_bytes()));
    let token = format!("{signed}.{}", part(tag(secret, &signed).as_ref()));
    let request = format!(
        "POST /hooks/gatewayapi/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Gwapi-Signature: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    gateway.ask(&request).await.0
}

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("erp", None)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn vonages_receipts_are_one_for_each_part() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let mut long = text(&"a".repeat(200));
    long.segments = 2;
    let id = gateway.sent_in_parts(long, "vonage", &["0A01", "0A02"]).await;
    let part = |id: &'static str, status: &'static str| {
        [("messageId", id), ("msisdn", "4512345678"), ("to", "4588888888"), ("status", status)]
    };
    let forged = vonage_query(&gateway, &part("0A01", "delivered"), "another secret");
    assert_eq!(get_from(&gateway, &format!("/hooks/vonage/status?{forged}")).await, 403);
    let honest = vonage_query(&gateway, &part("0A01", "delivered"), AUTH_TOKEN);
    let changed = honest.replace("delivered", "failed");
    assert_eq!(get_from(&gateway, &format!("/hooks/vonage/status?{changed}")).await, 403);
    let unsigned = form(&part("0A01", "delivered"));
    let proven = gateway.status_path_of(id, "vonage");
    assert_eq!(get_from(&gateway, &format!("{proven}&{unsigned}")).await, 403);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent"]);
    assert_eq!(vonage(&gateway, "status", &part("0A01", "delivered")).await, 200);
    assert!(get(&gateway.archive, id).recipients[0].delivered_at.is_none(), "half is not whole");
    assert_eq!(vonage(&gateway, "status", &part("0A02", "delivered")).await, 200);
    assert!(get(&gateway.archive, id).recipients[0].delivered_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn gatewayapis_callbacks_are_believed_by_their_signature_alone() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent_in_parts(text("hello"), "gatewayapi", &["421332671"]).await;
    let status = json!({
        "id": 421_332_671, "msisdn": 4_512_345_678_u64, "time": 1_700_000_000, "status": "DELIVERED",
    });
    assert_eq!(gatewayapi(&gateway, "status", &status, "another secret").await, 403);
    let plain = gateway.post("/hooks/gatewayapi/status", &status.to_string(), "").await;
    assert_eq!(plain.0, 403);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent"]);
    for _ in 0..2 {
        assert_eq!(gatewayapi(&gateway, "status", &status, AUTH_TOKEN).await, 200);
    }
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "delivered"]);
    let inbound = json!({
        "id": 9, "msisdn": 4_512_345_678_u64, "receiver": 4_588_888_888_u64, "message": "Hej æ😀",
        "senttime": 1_700_000_000, "webhook_label": "x", "encoding": "UCS2",
    });
    assert_eq!(gatewayapi(&gateway, "inbound", &inbound, "another secret").await, 403);
    assert!(gateway.inbound().is_empty());
    for _ in 0..2 {
        assert_eq!(gatewayapi(&gateway, "inbound", &inbound, AUTH_TOKEN).await, 200);
    }
    let [message] = &gateway.inbound()[..] else { panic!("{:?}", gateway.inbound()) };
    let sms = message.medium.sms().unwrap();
    assert_eq!((sms.text(), sms.reply_to), ("Hej æ😀", Some(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_described_provider_reports_at_the_url_that_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent_by(text("hello"), "described").await;
    let status = gateway.status_path_of(id, "described");
    let foreign = gateway.status_path_of(id, "kannel").replace("/kannel/", "/described/");
    for forged in
        [&foreign, "/hooks/described/status?", &format!("/hooks/described/status?message={id}")]
    {
        assert_eq!(get_from(&gateway, &format!("{forged}&state=delivered")).await, 403, "{forged}");
    }
    assert_eq!(get_from(&gateway, &format!("{status}&state=nonsense")).await, 400);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent"]);
    assert_eq!(get_from(&gateway, &format!("{status}&state=delivered")).await, 200);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "delivered"]);
    let inbound = "from=%2B4512345678&to=%2B4588888888&text=a%26b%3Dc%2B%C3%A6&id=7";
    let path = "/hooks/described/inbound";
    assert_eq!(get_from(&gateway, &format!("{path}?{inbound}")).await, 403);
    assert_eq!(get_from(&gateway, &format!("{path}?token=guess&{inbound}")).await, 403);
    for _ in 0..2 {
        let target = format!("{path}?token={CALLBACK_TOKEN}&{inbound}");
        assert_eq!(get_from(&gateway, &target).await, 200);
    }
    let [message] = &gateway.inbound()[..] else { panic!("{:?}", gateway.inbound()) };
    assert_eq!(message.medium.sms().unwrap().text(), "a&b=c+æ");
}

/// Part `part` of three of the long message `reference`.
async fn part(gateway: Arc<Gateway>, reference: &'static str, part: usize) -> u16 {
    let id = format!("{reference}{part}");
    let (number, said) = (part.to_string(), ["", "one ", "two ", "three"][part]);
    let fields = [
        ("msisdn", "4512345678"),
        ("to", "4588888888"),
        ("messageId", id.as_str()),
        ("text", said),
        ("type", "text"),
        ("concat", "true"),
        ("concat-ref", reference),
        ("concat-total", "3"),
        ("concat-part", number.as_str()),
    ];
    vonage(&gateway, "inbound", &fields).await
}

/// Lets everything happen that takes no time of its own.
async fn arrive() {
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

fn texts(gateway: &Gateway) -> Vec<String> {
    let came_in = gateway.inbound();
    came_in.iter().map(|message| message.medium.sms().unwrap().text().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_one_in_whatever_order_its_parts_come() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(gateway(&dir).await);
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for (order, reference) in orders.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        let mut waiting = Vec::new();
        for number in order {
            waiting.push(tokio::spawn(part(gateway.clone(), reference, *number)));
            // So that they come in this order; each waits for the others.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        for part in waiting {
            assert_eq!(part.await.unwrap(), 200, "{order:?}");
        }
        // All of them again, as after a lost answer.
        for number in order {
            assert_eq!(part(gateway.clone(), reference, *number).await, 200, "{order:?}");
        }
    }
    assert_eq!(texts(&gateway), ["one two three"; 6]);
}

#[tokio::test]
async fn a_part_that_never_comes_does_not_cost_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(gateway(&dir).await);
    // Time stands still while a blocking task runs, but for the steps below.
    let (release, held) = std::sync::mpsc::channel::<()>();
    tokio::time::pause();
    let still = tokio::task::spawn_blocking(move || held.recv());
    let first = tokio::spawn(part(gateway.clone(), "x", 1));
    let third = tokio::spawn(part(gateway.clone(), "x", 3));
    arrive().await;
    // The provider is told in time to come again, rather than that it was stored.
    for waiting in [first, third] {
        while !waiting.is_finished() {
            tokio::time::advance(Duration::from_millis(100)).await;
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(waiting.await.unwrap(), 503);
    }
    assert!(texts(&gateway).is_empty());
    for _ in 0..1_000 {
        if texts(&gateway).len() == 2 {
            break;
        }
        tokio::time::advance(Duration::from_millis(200)).await;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(texts(&gateway), ["one ", "three"], "what was there is kept, part by part");
    for number in [1, 3] {
        assert_eq!(part(gateway.clone(), "x", number).await, 200, "it is known");
    }
    assert_eq!(texts(&gateway).len(), 2);
    drop(release);
    assert!(still.await.unwrap().is_err());
}
