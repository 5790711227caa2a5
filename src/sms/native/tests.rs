//! What applications are promised of the dialect.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{
    Destination, Direction, FailureReason, Originator, Secret, Sequence, Sms, SmsBody,
};
use crate::sms::account::TokenAccount;
use crate::sms::call::{Draft, HoldWish, Refusal, SendAt, ShownState};
use crate::sms::signature::standard_webhook_headers;

fn post(target: &str, body: impl Into<String>) -> Request<Bytes> {
    Request::post(target).body(Bytes::from(body.into())).unwrap()
}

fn submitted(request: &Request<Bytes>) -> Result<Vec<Draft>, Refusal> {
    match NativePort.read(request).unwrap().operation {
        Operation::Submit(drafts) => drafts,
        other => panic!("{other:?}"),
    }
}

fn problem(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["status"], response.status().as_u16());
    assert!(body["type"].as_str().unwrap().starts_with("urn:waybill:problem:"));
    assert!(body["title"].is_string() && body["detail"].is_string());
    body
}

/// HTTP status, the field that is named, and the detail.
fn refused(request: &Request<Bytes>) -> (u16, String, String) {
    let call = NativePort.read(request).unwrap();
    let Operation::Submit(Err(refusal)) = &call.operation else { panic!("{request:?} is taken") };
    let response = NativePort.answer(&call, &Answer::Refused(refusal));
    let body = problem(&response);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (response.status().as_u16(), text(&body["errors"][0]["field"]), text(&body["detail"]))
}

fn with(fields: Value) -> String {
    let mut message = json!({"to": "+4512345678", "text": "Hej"});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    message.to_string()
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let check = |body: &str, field: &str| {
        let (status, named, detail) = refused(&post("/v1/sms", body));
        assert_eq!((status, named.as_str()), (400, field), "{body}: {detail}");
        assert!(!detail.is_empty() && !detail.contains(char::is_control), "{detail:?}");
    };
    for bad in ["{", "[]", r#"[{"to":"+4512345678"}]"#, "to=%ff", "text=a&text=b&to=1"] {
        check(bad, "");
    }
    check("", "to");
    check(r#"{"text":"a","to":null}"#, "to");
    check(r#"{"to":"+4512345678"}"#, "text");
    for (field, values) in [
        ("to", json!(["", " ", [], [""], true, 1.5, {}, [["+45"]], ["+45", "+45"]])),
        ("text", json!(["", null, 1, [], "x".repeat(39_016)])),
        ("from", json!([1, "a\r\nb", []])),
        ("reference", json!(["a\u{0}b", "x".repeat(65), 1])),
        ("tag", json!(["x".repeat(129), ["a"]])),
        ("send_at", json!(["tomorrow", "2026-11-22", 1_700_000_000, "2026-11-22T08:00:00"])),
        ("hold", json!(["later", "30", 30, "-1s", true])),
        ("callback", json!(["a.example", "ftp://a.example", "https://a b", "https://a\r\nb", 1])),
        ("validity", json!(["0s", "2", "soon", 7_200])),
    ] {
        for value in values.as_array().unwrap() {
            check(&with(json!({field: value})), field);
        }
    }
    let many: Vec<String> = (0..10_001).map(|n| format!("+45{n:08}")).collect();
    check(&with(json!({"to": many})), "to");
    let many: Vec<String> = (0..9_000).map(|n| format!("+45{n:08}")).collect();
    check(&with(json!({"to": many, "text": "x".repeat(39_015)})), "to");
}

#[test]
fn a_misspelt_field_is_an_error_with_a_suggestion() {
    for (field, hint) in [
        ("hodl", "did you mean \"hold\"?"),
        ("sendAt", "did you mean \"send_at\"?"),
        ("callback_url", "did you mean \"callback\"?"),
        ("Text", "did you mean \"text\"?"),
        ("zzz", "there are to, from, text"),
    ] {
        let requests = [
            post("/v1/sms", with(json!({field: "1"}))),
            post("/v1/sms", format!("to=%2B4512345678&text=a&{field}=1")),
            post(&format!("/v1/sms?{field}=1"), with(json!({}))),
        ];
        for request in requests {
            let (status, named, detail) = refused(&request);
            assert_eq!((status, named.as_str()), (400, field));
            assert!(detail.contains(hint), "{detail}");
        }
    }
}

#[test]
fn a_message_is_the_same_in_every_form() {
    let mut draft = Draft::new(
        "+4512345678".into(),
        crate::sms::number::NumberStyle::International,
        SmsBody::Text(" Hej æ\n".into()),
    );
    draft.from = Some("Example".into());
    draft.client_reference = Some("INV-1".into());
    draft.references = vec![crate::model::Reference::parse("INV-1").unwrap()];
    draft.hold = Some(HoldWish::For(Duration::from_secs(30)));
    let json = json!({"to": "+4512345678", "text": " Hej æ\n", "from": "Example", "reference": "INV-1",
        "hold": "30s", "tag": null, "send_at": null});
    assert_eq!(submitted(&post("/v1/sms", json.to_string())).unwrap(), [draft.clone()]);
    let form = "to=%2B4512345678&text=+Hej+%C3%A6%0A&from=Example&reference=INV-1&hold=30s";
    assert_eq!(submitted(&post("/v1/sms", form)).unwrap(), [draft.clone()]);
    assert_eq!(submitted(&post(&format!("/v1/sms?{form}"), "")).unwrap(), [draft.clone()]);
    let both = submitted(&post("/v1/sms?hold=30s", r#"{"to":"+4512345678","text":"a"}"#)).unwrap();
    assert_eq!(both[0].hold, draft.hold);
    let twice = submitted(&post("/v1/sms", format!("{form}&to=%2B4587654321"))).unwrap();
    assert_eq!(
        twice.iter().map(|draft| draft.to.as_str()).collect::<Vec<_>>(),
        ["+4512345678", "+4587654321"]
    );
}

#[test]
fn every_field_has_its_meaning() {
    let of = |fields: Value| submitted(&post("/v1/sms", with(fields))).unwrap().remove(0);
    assert_eq!(of(json!({"hold": "manual"})).hold, Some(HoldWish::Manual));
    assert_eq!(of(json!({"hold": "0s"})).hold, Some(HoldWish::None));
    assert_eq!(of(json!({})).hold, None);
    assert_eq!(of(json!({"validity": "2h"})).valid_for, Some(Duration::from_secs(7_200)));
    let at = Timestamp::from_millis(1_795_334_400_000);
    assert_eq!(of(json!({"send_at": "2026-11-22T09:00:00+01:00"})).send_at, Some(SendAt::At(at)));
    assert_eq!(of(json!({"tag": "news"})).tag.unwrap().as_str(), "news");
    assert_eq!(
        of(json!({"callback": "https://a.example/x"})).receipt.unwrap().url,
        "https://a.example/x"
    );
    assert_eq!(of(json!({"to": 4512345678_u64})).to, "4512345678");
}

#[test]
fn calls_are_told_by_method_and_path() {
    let read = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        NativePort.read(&request).map(|call| call.operation)
    };
    for (method, path, status) in [
        ("GET", "/v1/sms", 405),
        ("PUT", "/v1/sms/x", 405),
        ("GET", "/v1/sms/x/stop", 405),
        ("POST", "/v2", 404),
    ] {
        let response = *read(method, path).unwrap_err();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        problem(&response);
    }
    let id = MessageId::from_u128(7);
    let known = Handle::Message(id);
    let path = format!("/v1/sms/{id}");
    assert!(matches!(read("GET", &path), Ok(Operation::Fetch(found)) if found == known));
    assert!(matches!(read("DELETE", &path), Ok(Operation::Cancel(found)) if found == known));
    assert!(
        matches!(read("POST", &format!("{path}/stop")), Ok(Operation::Cancel(found)) if found == known)
    );
    assert!(matches!(read("GET", "/v1/sms/7"), Ok(Operation::Fetch(Handle::Unknown))));
    for (path, expected) in
        [("/v1/sms", true), ("/v1/sms/x", true), ("/v1/smsx", false), ("/v1", false)]
    {
        assert_eq!(NativePort.recognises(&post(path, "")), expected, "{path}");
    }
}

#[test]
fn only_the_token_proves_the_app() {
    let account = TokenAccount {
        token: Secret::new("s3cret".into()),
        callback_secret: None,
        callbacks: Default::default(),
    };
    let accounts = SmsAccounts { waybill: Some(account), ..SmsAccounts::default() };
    let check = |authorization: &str, expected| {
        let request = Request::post("/v1/sms?token=s3cret").header("authorization", authorization);
        let request = request.body(Bytes::from_static(b"token=s3cret")).unwrap();
        let now = Timestamp::from_millis(0);
        assert_eq!(NativePort.verify(&request, &accounts, now), expected, "{authorization}");
        assert_eq!(NativePort.verify(&request, &SmsAccounts::default(), now), Verdict::Stranger);
    };
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cretx",
        "Token s3cret",
        "Basic !",
        "s3cret",
    ] {
        check(bad, Verdict::Stranger);
    }
    check(&format!("Basic {}", STANDARD.encode("s3cret:x")), Verdict::Stranger);
    check("Bearer s3cret", Verdict::Proven);
    check("bearer s3cret", Verdict::Proven);
    check(&format!("Basic {}", STANDARD.encode("app:s3cret")), Verdict::Proven);
    check(&format!("Basic {}", STANDARD.encode("s3cret:")), Verdict::Proven);
}

#[test]
fn a_call_may_bring_a_key() {
    let read = |key: &str| {
        let request = Request::post("/v1/sms").header("Idempotency-Key", key);
        NativePort.read(&request.body(Bytes::from(with(json!({})))).unwrap()).unwrap()
    };
    for bad in ["", " ", &"x".repeat(256), "é"] {
        let call = read(bad);
        assert_eq!(call.idempotency_key, None);
        assert!(matches!(
            call.operation,
            Operation::Submit(Err(Refusal::Field { name: "Idempotency-Key", .. }))
        ));
    }
    let call = read(" order-1 ");
    assert_eq!(call.idempotency_key.as_deref(), Some("order-1"));
    assert!(matches!(call.operation, Operation::Submit(Ok(_))));
}

fn shown(state: ShownState) -> Shown {
    let at = Timestamp::from_millis(1_700_000_000_000);
    Shown {
        id: MessageId::from_u128(7),
        sequence: Sequence(7),
        direction: Direction::Outbound,
        sms: Sms {
            originator: Originator::parse("Example"),
            client_reference: Some("INV-1".into()),
            ..Sms::new(Destination::parse("+4512345678").unwrap(), SmsBody::Text("Hej".into()))
        },
        state,
        failure: None,
        provider_code: None,
        accepted_at: at,
        updated_at: at,
        sent_at: None,
        done_at: Some(at),
        parts: Vec::new(),
    }
}

#[test]
fn a_list_is_answered_by_a_list() {
    let id = MessageId::from_u128(7).to_string();
    let accepted = json!({"id": id, "status": "pending", "segments": 1});
    let messages = [shown(ShownState::Held)];
    for (body, expected) in [
        (with(json!({})), accepted.clone()),
        (with(json!({"to": ["+4512345678"]})), json!([accepted])),
        ("to=%2B4512345678&text=a".to_owned(), accepted),
    ] {
        let call = NativePort.read(&post("/v1/sms", body)).unwrap();
        let answer = NativePort.answer(&call, &Answer::Submitted(&messages));
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((answer.status().as_u16(), body), (201, expected));
    }
    let call = NativePort.read(&Request::get("/v1/sms/x").body(Bytes::new()).unwrap()).unwrap();
    let answer = NativePort.answer(&call, &Answer::Found(&messages));
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(
        (&body["id"], &body["state"], &body["to"]),
        (&json!(id), &json!("held"), &json!("+4512345678"))
    );
}

#[test]
fn the_five_words_and_what_lies_behind_them() {
    let call = NativePort.read(&Request::get("/v1/sms/x").body(Bytes::new()).unwrap()).unwrap();
    let status = |message: Shown| {
        let messages = [message];
        let answer = NativePort.answer(&call, &Answer::Found(&messages));
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        body["status"].as_str().unwrap().to_owned()
    };
    for (state, expected) in [
        (ShownState::Sending, "pending"),
        (ShownState::Delivered, "sent"),
        (ShownState::Expired, "failed"),
        (ShownState::Stopped, "stopped"),
        (ShownState::NotSent, "not_sent"),
    ] {
        assert_eq!(status(shown(state)), expected);
    }
    let undelivered =
        Shown { sent_at: Some(Timestamp::from_millis(1)), ..shown(ShownState::Undelivered) };
    assert_eq!(status(undelivered), "sent");
}

#[test]
fn refusals_are_problems_with_the_right_status() {
    let call = NativePort.read(&Request::get("/v1/sms/x").body(Bytes::new()).unwrap()).unwrap();
    let wait = Duration::from_millis(1_500);
    for (refusal, status, header) in [
        (Refusal::Credentials, 401, Some(("www-authenticate", "Bearer realm=\"waybill\""))),
        (Refusal::BadSignature, 401, Some(("www-authenticate", "Bearer realm=\"waybill\""))),
        (Refusal::OptedOut("+4512345678".into()), 403, None),
        (Refusal::OriginatorNotAllowed("x".into()), 403, None),
        (Refusal::UnknownMessage, 404, None),
        (Refusal::KeyReused, 409, None),
        (Refusal::TooLate, 409, None),
        (Refusal::NotFinished, 409, None),
        (Refusal::RateLimited { retry_after: wait }, 429, Some(("retry-after", "2"))),
        (Refusal::NotNow, 503, Some(("retry-after", "10"))),
        (Refusal::Unsupported("media"), 400, None),
    ] {
        let response = NativePort.answer(&call, &Answer::Refused(&refusal));
        problem(&response);
        assert_eq!(response.status().as_u16(), status, "{refusal:?}");
        if let Some((name, value)) = header {
            assert_eq!(response.headers()[name], value);
        }
    }
}

#[test]
fn callbacks_are_standard_webhooks() {
    let now = Timestamp::from_millis(1_700_000_060_000);
    let at = Timestamp::from_millis(1_700_000_000_000);
    let failed = Shown {
        failure: Some(FailureReason::Unreachable),
        provider_code: Some("0x1B".into()),
        ..shown(ShownState::Undelivered)
    };
    for (secret, key) in [(None, "s3cret"), (Some("whsec_AAEC"), "whsec_AAEC")] {
        let account = TokenAccount {
            token: Secret::new("s3cret".into()),
            callback_secret: secret.map(|secret| Secret::new(secret.into())),
            callbacks: Default::default(),
        };
        let accounts = SmsAccounts { waybill: Some(account), ..SmsAccounts::default() };
        let notice = Notice { message: &failed, event: Sequence(12), at, now };
        assert!(NativePort.receipts(&notice, "no url", &accounts).is_empty());
        // Known by its network alone, an app is told as well; there is nothing to sign with.
        let unsigned =
            NativePort.receipts(&notice, "https://a/", &SmsAccounts::default()).remove(0);
        assert!(unsigned.headers().contains_key("webhook-id"));
        assert!(!unsigned.headers().contains_key("webhook-signature"));
        let request = NativePort.receipts(&notice, "https://a.example/x", &accounts).remove(0);
        let id = format!("msg_{}_12", failed.id);
        for (name, value) in
            standard_webhook_headers(Some(&Secret::new(key.into())), &id, now, request.body())
        {
            assert_eq!(request.headers()[&name], value);
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            (&body["type"], &body["timestamp"]),
            (&json!("sms.failed"), &json!("2023-11-14T22:13:20.000Z"))
        );
        assert_eq!(body["data"]["failure"], json!({"reason": "unreachable", "code": "0x1B"}));

        let arrived = Shown { direction: Direction::Inbound, ..shown(ShownState::Received) };
        let request = NativePort.inbound(&arrived, "https://a.example/x", &accounts, now).remove(0);
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            (&body["type"], &body["data"]["direction"]),
            (&json!("sms.received"), &json!("inbound"))
        );
    }
    let answered = |status: u16| {
        let response = Response::builder().status(status).body(Bytes::new()).unwrap();
        NativePort.acknowledged(&response, CallbackKind::Receipt)
    };
    for status in [199, 301, 400, 404, 500] {
        assert_eq!(answered(status), Acknowledgement::NotTaken);
    }
    assert_eq!(answered(204), Acknowledgement::Taken { replies: Vec::new() });
}

#[test]
fn the_archive_keeps_no_token() {
    let request = Request::post("/v1/sms?token=s3cret").header("authorization", "Bearer s3cret");
    let request =
        request.header("idempotency-key", "k").body(Bytes::from_static(b"{\"a\": 1}")).unwrap();
    let masked = String::from_utf8(NativePort.masked(&request).to_vec()).unwrap();
    assert_eq!(
        masked,
        "POST /v1/sms?token=*** HTTP/1.1\r\nidempotency-key: k\r\nauthorization: Bearer ***\r\n\r\n{\"a\": 1}"
    );
}

proptest! {
    #[test]
    fn no_field_changes_another(text in "[^\\x00]{1,60}", from in "\\PC{1,11}") {
        let from = from.trim().to_owned();
        prop_assume!(!from.is_empty());
        let json = json!({"to": "+4512345678", "text": &text, "from": &from});
        let mut form = crate::sms::form::Fields::default();
        for (name, value) in [("to", "+4512345678"), ("text", text.as_str()), ("from", from.as_str())] {
            form.push(name, value);
        }
        let from_json = submitted(&post("/v1/sms", json.to_string())).unwrap();
        prop_assert_eq!(&from_json[0].body, &SmsBody::Text(text));
        prop_assert_eq!(&Draft { from: None, ..from_json[0].clone() },
            &Draft::new("+4512345678".into(), from_json[0].style, from_json[0].body.clone()));
        prop_assert_eq!(submitted(&post("/v1/sms", form.encode())).unwrap(), from_json);
    }

    /// Nothing that a stranger sends brings a panic, and what is refused says so in a problem.
    #[test]
    fn anything_may_be_sent(target in "/v1/sms[/?&=.a-z0-9%]{0,30}", body in any::<Vec<u8>>()) {
        if let Ok(request) = Request::post(target).body(Bytes::from(body)) {
            NativePort.masked(&request);
            if let Ok(call) = NativePort.read(&request)
                && let Operation::Submit(Err(refusal)) = &call.operation
            {
                problem(&NativePort.answer(&call, &Answer::Refused(refusal)));
            }
        }
    }
}
