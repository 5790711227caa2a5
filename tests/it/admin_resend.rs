//! A message goes again as it was, or with changes, as a new one; the original stays as it is.

use axum::http::Method;
use serde_json::{Value, json};
use waybill::account::Role;

use crate::support::admin::{Answer, Gateway, MAIL};

async fn resend(gateway: &Gateway, token: &str, id: impl ToString, body: Option<Value>) -> Answer {
    gateway.post(token, &format!("/api/v1/messages/{}/resend", id.to_string()), body).await
}

async fn raw(gateway: &Gateway, token: &str, id: &str) -> String {
    let answer = gateway.get(token, &format!("/api/v1/messages/{id}/raw")).await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn wrong_wishes_send_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    for (field, body) in [
        ("to", json!({"to": ["kim"]})),
        ("to", json!({"to": ["kim@example.org\r\nBcc: x@example.org"]})),
        ("cc", json!({"cc": ["<>"]})),
        ("subject", json!({"subject": "a\r\nBcc: x@example.org"})),
        ("text", json!({"text": "a\u{0}"})),
    ] {
        let answer = resend(&gateway, &token, id, Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-body"), "{body}");
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    let nobody = resend(&gateway, &token, id, Some(json!({"to": []}))).await;
    assert_eq!(
        (nobody.status, nobody.problem().as_str()),
        (409, "conflict"),
        "it has no recipient"
    );
    let answer = resend(&gateway, &token, id, Some(json!({"attachments": {"keep": [7]}}))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "it has no eighth");
    assert_eq!(answer.json()["errors"][0]["field"], "attachments");
    let unknown = "01JD5VZ7Q4N7W4T6Y5M8R2K3B1";
    assert_eq!(resend(&gateway, &token, unknown, None).await.status, 404);
    let signed = MAIL.replace("multipart/mixed", "multipart/signed");
    let signed = gateway.submit("erp", &["kim@example.org"], &signed, true).await.id;
    let edited = resend(&gateway, &token, signed, Some(json!({"text": "x"}))).await;
    assert_eq!((edited.status, edited.problem().as_str()), (409, "conflict"));
    assert_eq!(resend(&gateway, &token, signed, None).await.status, 201, "as it is it may go");
    let gone = gateway.submit("gone", &["kim@example.org"], MAIL, true).await.id;
    let answer = resend(&gateway, &token, gone, None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"), "its app is gone");
    gateway.post(&token, &format!("/api/v1/messages/{id}/stop"), None).await;
    let path = format!("/api/v1/messages/{id}");
    let why = json!({"reason": "asked for by Kim"});
    let deleted = gateway.ask(Method::DELETE, &path, Some(&token), Some(why)).await;
    assert_eq!(deleted.status, 200);
    let answer = resend(&gateway, &token, id, None).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "conflict"),
        "its content is gone"
    );
    let extent = gateway.archive.extent().unwrap();
    assert_eq!(extent.messages, 4);
}

#[tokio::test]
async fn an_app_that_sends_as_much_as_it_may_is_told_when_to_come_back() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let id = gateway.submit("slow", &["kim@example.org"], MAIL, true).await.id;
    assert_eq!(resend(&gateway, &token, id, None).await.status, 201);
    let answer = resend(&gateway, &token, id, None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (429, "rate-limited"));
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert!(answer.json()["detail"].as_str().unwrap().contains("slow"));
    assert_eq!(gateway.archive.extent().unwrap().messages, 2);
}

#[tokio::test]
async fn the_exact_bytes_go_again_at_once() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mail = format!("X-Waybill-Hold: manual\r\n{MAIL}");
    let original = gateway.submit("erp", &["kim@example.org"], &mail, true).await;
    let answer = resend(&gateway, &token, original.id, None).await;
    let new = answer.json();
    let id = new["id"].as_str().unwrap();
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, &*format!("/api/v1/messages/{id}"))
    );
    assert_eq!((&new["resend_of"], &new["held"]), (&json!(original.id.to_string()), &json!(false)));
    assert_eq!(new["recipients"][0]["address"], "kim@example.org");
    assert_eq!(raw(&gateway, &token, id).await, mail);
    let after = gateway.message(original.id);
    assert_eq!((after.digest, after.status()), (original.digest, original.status()));
    let events = format!("/api/v1/messages/{}/events", original.id);
    let events = gateway.get(&token, &events).await.json();
    let told = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&told["event"], &told["detail"]), (&json!("resent"), &json!(format!("as {id}"))));
    assert!(told["by"].as_str().unwrap().starts_with("token 0"), "{told}");
}

#[tokio::test]
async fn changes_make_a_new_mail_and_leave_the_rest() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mail = format!("In-Reply-To: <0@example.org>\r\nDKIM-Signature: v=1; b=x\r\n{MAIL}");
    let id = gateway.submit("erp", &["kim@example.org"], &mail, true).await.id;
    let edits = json!({
        "to": ["Bo Ågren <bo@example.org>"], "bcc": "eva@example.org",
        "subject": "Rettet: INV-12345 å", "text": "Here it is.", "attachments": {"keep": [0]},
    });
    let new = resend(&gateway, &token, id, Some(edits)).await.json();
    assert_eq!(new["subject"], "Rettet: INV-12345 å");
    assert_eq!(
        (&new["references"], &new["sender"]["address"]),
        (&json!(["INV-12345"]), &json!("anna@example.com"))
    );
    let to: Vec<&Value> =
        new["recipients"].as_array().unwrap().iter().map(|r| &r["address"]).collect();
    assert_eq!(to, ["bo@example.org", "eva@example.org"]);
    assert_eq!(new["recipients"][0]["name"], "Bo Ågren");
    assert_eq!(new["recipients"][1]["kind"], "bcc");
    assert_eq!(new["attachments"].as_array().unwrap().len(), 1);
    assert_eq!(new["attachments"][0]["filename"], "evil.html");
    assert_ne!(new["message_id"], "1@example.com");
    let raw = raw(&gateway, &token, new["id"].as_str().unwrap()).await;
    assert!(raw.contains("In-Reply-To: <0@example.org>\r\n"), "{raw}");
    assert!(raw.contains("From: Anna Berg <anna@example.com>\r\n"), "{raw}");
    assert!(raw.contains("Here it is."), "{raw}");
    for gone in
        ["DKIM-Signature", "kim@example.org", "eva@example.org", "Please find", "<1@example.com>"]
    {
        assert!(!raw.contains(gone), "{gone} in {raw}");
    }
    let plain = resend(&gateway, &token, id, Some(json!({"subject": "x"}))).await.json();
    assert_eq!(plain["recipients"][0]["address"], "kim@example.org", "nobody else was named");
    assert_eq!(plain["preview"], "Please find your invoice.");
    let none = json!({"attachments": {"keep": []}});
    let none = resend(&gateway, &token, id, Some(none)).await.json();
    assert_eq!(none["attachments"], json!([]));
}

#[tokio::test]
async fn an_sms_goes_again_to_its_number_or_another_one() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let text = "About INV-12345";
    let id = gateway.submit_sms("erp", "+4512345678", text).await.id;
    for (field, body) in [
        ("subject", json!({"subject": "x"})),
        ("to", json!({"to": ["+4512345678", "+4587654321"]})),
        ("to", json!({"to": "kim"})),
        ("text", json!({"text": ""})),
    ] {
        let answer = resend(&gateway, &token, id, Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"), "{body}");
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    let same = resend(&gateway, &token, id, None).await.json();
    assert_eq!((&same["text"], &same["held"]), (&json!(text), &json!(false)));
    assert_eq!(same["recipients"][0]["address"], "+4512345678");
    assert_eq!(
        (&same["resend_of"], &same["sender"]["address"]),
        (&json!(id.to_string()), &json!("Shop"))
    );
    let edits = json!({"to": "+4587654321", "text": "About INV-12345, again"});
    let other = resend(&gateway, &token, id, Some(edits)).await.json();
    assert_eq!(other["recipients"][0]["address"], "+4587654321");
    assert_eq!(other["text"], "About INV-12345, again");
    gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    let thread = gateway.get(&token, "/api/v1/threads/INV-12345").await.json();
    let channels: Vec<&Value> =
        thread["items"].as_array().unwrap().iter().map(|item| &item["channel"]).collect();
    assert_eq!(channels, ["sms", "sms", "sms", "email"], "one thread of both");
    let contact = gateway.get(&token, "/api/v1/contacts/+45%2012%2034%2056%2078").await.json();
    assert_eq!(contact["items"].as_array().unwrap().len(), 2);
}

/// Text, HTML with a picture, an invitation, and three documents, as a mail program sends them.
fn invitation() -> String {
    let picture = "Content-Type: image/png; name=p.png\r\nContent-ID: <pic@x>\r\nContent-Disposition: inline; filename=p.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n";
    let calendar = "Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n";
    let latin = "Content-Type: text/plain; charset=iso-8859-1; name=latin.txt\r\nContent-Disposition: attachment; filename=latin.txt\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nbl=E5b=E6r\r\n";
    let inner = "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\nSubject: inner\r\n\r\nwithin\r\n";
    format!(
        "From: Anna <anna@example.com>\r\nTo: Kim <kim@example.org>\r\nSubject: Invitation\r\nMessage-ID: <1@example.com>\r\nX-Waybill-Reference: INV-77\r\nX-Waybill-Tag: invitation\r\nX-Waybill-Hold: manual\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\nbefore\r\n\
         --m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
         --a\r\nContent-Type: text/plain\r\n\r\nCome\r\n--a\r\nContent-Type: text/html\r\n\r\n<img src=\"cid:pic@x\">\r\n--a\r\n{calendar}--a--\r\n\
         --r\r\n{picture}--r--\r\n--m\r\n{latin}--m\r\n{inner}--m--\r\n"
    )
}

#[tokio::test]
async fn other_recipients_and_another_subject_leave_the_body_as_it_is() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let signed = "Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nsigned  \r\n--s\r\nContent-Type: application/pkcs7-signature\r\n\r\nAAAA\r\n--s--\r\n";
    for mail in [&*invitation(), signed] {
        let id = gateway.submit("erp", &["kim@example.org"], mail, true).await.id;
        let edits =
            json!({"subject": "Mødet er flyttet – 会议", "to": "\"Berg, Bo\" <bo@example.org>"});
        let new = resend(&gateway, &token, id, Some(edits)).await.json();
        assert_eq!(new["subject"], "Mødet er flyttet – 会议");
        assert_eq!(new["recipients"][0]["name"], "Berg, Bo");
        let text = raw(&gateway, &token, new["id"].as_str().unwrap()).await;
        let body = |text: &str| text.split_once("\r\n\r\n").unwrap().1.to_owned();
        assert_eq!(body(&text), body(mail));
        assert!(text.is_ascii() && text.contains("\r\nTo: \"Berg, Bo\" <bo@example.org>\r\n"));
        assert_eq!(gateway.archive.raw(id).unwrap().unwrap(), mail, "the original is untouched");
    }
}

#[tokio::test]
async fn another_text_keeps_the_other_parts_as_they_stood() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mail = invitation();
    let id = gateway.submit("erp", &["kim@example.org"], &mail, true).await.id;
    let edits = json!({"text": "Kom\nnu å", "html": "<b>Kom</b><img src=\"cid:pic@x\">"});
    let new = resend(&gateway, &token, id, Some(edits)).await.json();
    assert_eq!((&new["references"], &new["tag"]), (&json!(["INV-77"]), &json!("invitation")));
    assert_eq!(new["held"], false);
    let text = raw(&gateway, &token, new["id"].as_str().unwrap()).await;
    let mut places = Vec::new();
    for part in [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain; charset=",
        "multipart/related",
        "text/html",
        "image/png; name=p.png\r\nContent-ID: <pic@x>\r\n",
        "text/calendar; method=REQUEST; charset=utf-8\r\n",
        "text/plain; charset=iso-8859-1; name=latin.txt\r\n",
        "message/rfc822\r\nContent-Disposition: attachment\r\n\r\nSubject: inner\r\n\r\nwithin\r\n",
    ] {
        let place = text.find(&format!("Content-Type: {part}"));
        places.push(place.unwrap_or_else(|| panic!("{part} in {text}")));
    }
    assert!(places.is_sorted(), "{places:?} in {text}");
    assert!(text.contains("bl=E5b=E6r") && !text.contains("Come") && !text.contains("Hold"));
    let keep = json!({"attachments": {"keep": [2, 2, 2, 1]}});
    let new = resend(&gateway, &token, id, Some(keep)).await.json();
    let names: Vec<&Value> =
        new["attachments"].as_array().unwrap().iter().map(|one| &one["filename"]).collect();
    assert_eq!(names, ["p.png", "latin.txt"], "each once, as they stood");
    assert_eq!(new["preview"], "Come");
}
