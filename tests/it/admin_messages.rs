//! What the archive holds is shown as it is: the fields of the contract, the bytes as submitted and as relayed, and
//! nothing of a stranger's that a browser would run.

use serde_json::{Value, json};
use waybill::account::Role;
use waybill::evidence;
use waybill::model::Digest;

use crate::support::admin::{Gateway, MAIL};

/// The fields that the contract names, and where they are.
const MESSAGE_FIELDS: [&str; 20] = [
    "id",
    "channel",
    "direction",
    "status",
    "app",
    "sender",
    "envelope_from",
    "subject",
    "preview",
    "recipients",
    "references",
    "tag",
    "size",
    "attachments",
    "accepted_at",
    "hold_until",
    "held",
    "resend_of",
    "deleted_at",
    "digest",
];
const RECIPIENT_FIELDS: [&str; 17] = [
    "index",
    "address",
    "name",
    "kind",
    "status",
    "attempts",
    "next_attempt_at",
    "upstream",
    "reply",
    "sent_at",
    "delivered_at",
    "bounced_at",
    "opened_at",
    "opens",
    "clicked_at",
    "clicks",
    "device",
];

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.'
}

#[tokio::test]
async fn a_message_has_every_field_of_the_contract() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let to = ["kim@example.org", "blind@example.org"];
    let id = gateway.submit("erp", &to, MAIL, false).await.id;
    gateway.claim(id, 0).await;
    gateway.sent(id, 0, None).await;
    let json = gateway.get(&token, &format!("/api/v1/messages/{id}")).await.json();
    for field in MESSAGE_FIELDS {
        assert!(json.get(field).is_some(), "{field} is missing in {json:#}");
    }
    for field in RECIPIENT_FIELDS {
        assert!(json["recipients"][0].get(field).is_some(), "{field} is missing in {json:#}");
    }
    assert_eq!(json["id"], id.to_string());
    assert_eq!(json["status"], "pending");
    assert_eq!(json["app"], "erp");
    assert_eq!(json["sender"], json!({"name": "Anna Berg", "address": "anna@example.com"}));
    assert_eq!(json["envelope_from"], "bounce@example.com");
    assert_eq!(json["subject"], "Invoice INV-12345");
    assert_eq!(json["preview"], "Please find your invoice.");
    assert_eq!(json["references"], json!(["INV-12345"]));
    assert_eq!(json["size"], MAIL.len());
    assert_eq!(json["held"], false);
    assert!(is_time(&json["accepted_at"]), "{json:#}");
    let kim = &json["recipients"][0];
    assert_eq!((&kim["address"], &kim["name"]), (&json!("kim@example.org"), &json!("Kim")));
    assert_eq!(
        (&kim["kind"], &kim["status"], &kim["attempts"]),
        (&json!("to"), &json!("sent"), &json!(1))
    );
    assert_eq!((&kim["upstream"], &kim["opens"]), (&json!("provider"), &json!(0)));
    assert_eq!(kim["reply"], "250 2.0.0 queued as 4X");
    assert!(is_time(&kim["sent_at"]), "{kim:#}");
    let blind = &json["recipients"][1];
    assert_eq!((&blind["kind"], &blind["status"]), (&json!("bcc"), &json!("pending")));
    assert!(is_time(&blind["next_attempt_at"]), "{blind:#}");
    let attachment = &json["attachments"][0];
    assert_eq!((&attachment["index"], &attachment["inline"]), (&json!(0), &json!(false)));
    assert_eq!(attachment["content_type"], "text/html");
    assert_eq!(attachment["sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_hold_is_shown() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let json = gateway.get(&token, &format!("/api/v1/messages/{id}")).await.json();
    assert_eq!((&json["held"], &json["hold_until"]), (&json!(true), &Value::Null));
    assert_eq!(json["recipients"][0]["reason"], "held until somebody releases it");
    let until = MAIL.replacen("To: ", "X-Waybill-Hold: 1h\r\nTo: ", 1);
    let id = gateway.submit("erp", &["kim@example.org"], &until, false).await.id;
    let json = gateway.get(&token, &format!("/api/v1/messages/{id}")).await.json();
    assert!(is_time(&json["hold_until"]), "{json:#}");
}

#[tokio::test]
async fn pages_show_every_message_once_in_both_orders() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let mut ids = Vec::new();
    for n in 0..23 {
        let app = if n % 2 == 0 { "erp" } else { "crm" };
        ids.push(gateway.submit(app, &["kim@example.org"], MAIL, false).await.id.to_string());
    }
    for (query, expected) in [
        ("?limit=4", ids.iter().rev().cloned().collect::<Vec<_>>()),
        ("?limit=4&order=oldest", ids.clone()),
        ("?limit=5&app=crm&order=oldest", ids.iter().skip(1).step_by(2).cloned().collect()),
    ] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page =
                gateway.get(&token, &format!("/api/v1/messages{query}{cursor}")).await.json();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            pages += 1;
            assert!(pages < 30, "{query} never ends");
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{query}");
    }
    let page = gateway.get(&token, "/api/v1/messages?limit=2").await.json();
    let next = page["next"].as_str().unwrap();
    let answer = gateway.get(&token, &format!("/api/v1/messages?app=erp&cursor={next}")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-parameter"));
    assert_eq!(answer.json()["errors"][0]["field"], "cursor");
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let tagged = MAIL.replacen("To: ", "X-Waybill-Tag: reminder\r\nTo: ", 1);
    gateway.submit("erp", &["kim@example.org"], MAIL, false).await;
    gateway.submit("crm", &["bo@example.org"], &tagged.replace("INV-12345", "INV-777"), true).await;
    let count = |query: &str| {
        let (gateway, token) = (&gateway, &token);
        let path = format!("/api/v1/messages?{query}");
        async move {
            let answer = gateway.get(token, &path).await;
            answer.json()["items"].as_array().unwrap_or_else(|| panic!("{path}")).len()
        }
    };
    for (query, expected) in [
        ("channel=email", 2),
        ("channel=sms", 0),
        ("direction=inbound", 0),
        ("status=pending", 2),
        ("status=sent", 0),
        ("app=crm", 1),
        ("sender=ANNA@example.com", 2),
        ("sender=bounce@example.com", 2),
        ("recipient=bo@example.org", 1),
        ("recipient=nobody@example.org", 0),
        ("reference=inv-777", 1),
        ("tag=reminder", 1),
        ("attachment=evil", 2),
        ("since=2020-01-01", 2),
        ("until=2020-01-01", 0),
        ("app=erp&reference=INV-777", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    for (query, field) in
        [("statsu=sent", "statsu"), ("limit=1000", "limit"), ("since=x", "since"), ("q=%22a", "q")]
    {
        let answer = gateway.get(&token, &format!("/api/v1/messages?{query}")).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-parameter"));
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    for (query, expected) in
        [("q=tag:reminder", 1), ("q=zebra", 0), ("read=unread", 2), ("read=opened", 0)]
    {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let nothing = gateway.get(&token, "/api/v1/messages?q=zebra%20tag:reminder").await;
    assert_eq!(nothing.json()["note"], "No message has zebra.");
}

#[tokio::test]
async fn bytes_are_given_as_submitted_and_as_relayed() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let to = ["kim@example.org", "bo@example.org", "eva@example.org"];
    let message = gateway.submit("erp", &to, MAIL, false).await;
    let id = message.id;
    let path = format!("/api/v1/messages/{id}/raw");
    let raw = gateway.get(&token, &path).await;
    assert_eq!((raw.status, &raw.body[..]), (200, MAIL.as_bytes()));
    assert_eq!(raw.header("content-type"), "message/rfc822");
    assert_eq!(raw.header("content-disposition"), format!("attachment; filename=\"{id}.eml\""));
    assert_eq!(raw.header("content-security-policy"), "sandbox; default-src 'none'");
    gateway.claim(id, 0).await;
    let digest = gateway.sent(id, 0, None).await;
    let relayed = gateway.get(&token, &format!("{path}?sent_to=0")).await;
    assert_eq!((relayed.status, Digest::of(&relayed.body)), (200, digest));
    let expected = evidence::untouched(&message, &raw.body).segments.concat();
    assert_eq!(relayed.body, expected);
    assert!(relayed.body.starts_with(b"Received: "), "nothing was added");
    let answer = gateway.get(&token, &format!("{path}?sent_to=1")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"));
    let answer = gateway.get(&token, &format!("{path}?sent_to=3")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    let answer = gateway.get(&token, &format!("{path}?sent_to=kim")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-parameter"));
    // What the digest does not prove is not shown.
    gateway.claim(id, 2).await;
    gateway.sent(id, 2, Some(Digest::of(b"something else"))).await;
    let answer = gateway.get(&token, &format!("{path}?sent_to=2")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"));
}

#[tokio::test]
async fn previews_and_attachments_do_nothing_in_a_browser() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    let get = |rest: &str| {
        let (gateway, token, path) = (&gateway, &token, format!("/api/v1/messages/{id}/{rest}"));
        async move { gateway.get(token, &path).await }
    };
    let html = get("html").await;
    let text = String::from_utf8_lossy(&html.body);
    assert!(text.contains("<b>your</b>"), "{text}");
    for danger in ["<script", "onclick", " src=\"https://tracker.example"] {
        assert!(!text.contains(danger), "{danger} in {text}");
    }
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(
        html.header("content-security-policy"),
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    );
    assert_eq!(html.header("x-content-type-options"), "nosniff");
    assert_eq!(html.header("referrer-policy"), "no-referrer");
    assert_eq!(html.header("cache-control"), "no-store");
    let plain = get("text").await;
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert!(String::from_utf8_lossy(&plain.body).starts_with("Please find your invoice."));
    let attachment = get("attachments/0").await;
    assert_eq!(attachment.status, 200);
    assert_eq!(attachment.header("content-type"), "application/octet-stream");
    assert_eq!(attachment.header("content-disposition"), "attachment; filename=\"evil.html\"");
    assert_eq!(attachment.header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(attachment.header("x-content-type-options"), "nosniff");
    for missing in ["attachments/1", "attachments/65536", "attachments/-1", "attachments/x"] {
        let answer = get(missing).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{missing}");
    }
    for bad in ["html?images=1", "text?x=1", "attachments/0?inline=1"] {
        assert_eq!(get(bad).await.problem(), "invalid-parameter", "{bad}");
    }
}

#[tokio::test]
async fn the_history_is_told_in_order() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    gateway.claim(id, 0).await;
    let digest = gateway.sent(id, 0, None).await;
    let path = format!("/api/v1/messages/{id}/events");
    let events = gateway.get(&token, &path).await.json();
    let items = events["items"].as_array().unwrap();
    let words: Vec<&str> = items.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((words.first(), words.last()), (Some(&"accepted"), Some(&"sent")), "{words:?}");
    let sent = items.last().unwrap();
    for field in ["sequence", "at", "recipient", "by", "upstream", "reply", "detail", "digest"] {
        assert!(sent.get(field).is_some(), "{field} is missing in {sent:#}");
    }
    assert_eq!(sent["digest"], digest.to_string());
    assert_eq!((&sent["recipient"], &sent["upstream"]), (&json!(0), &json!("provider")));
    let first = gateway.get(&token, &format!("{path}?limit=1")).await.json();
    let next = first["next"].as_str().unwrap();
    let second = gateway.get(&token, &format!("{path}?limit=1&cursor={next}")).await.json();
    assert_eq!(second["items"][0], items[1]);
    let other = gateway.submit("erp", &["kim@example.org"], MAIL, false).await.id;
    let wrong = format!("/api/v1/messages/{other}/events?cursor={next}");
    assert_eq!(gateway.get(&token, &wrong).await.problem(), "invalid-parameter");
}
