//! What applications are promised of the dialect, and what a provider's words may do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{
    Destination, Direction, FailureReason, Originator, ReceiptRequest, Secret, Sms, SmsBatch,
    SmsBody,
};
use crate::sms::account::TokenAccount;
use crate::sms::call::{Draft, Refusal, SendAt, ShownState};
use crate::sms::signature::jwt_claims;

pub(super) fn post(target: &str, body: impl Into<String>) -> Request<Bytes> {
    Request::post(target).body(Bytes::from(body.into())).unwrap()
}

fn submitted(request: &Request<Bytes>) -> Result<Vec<Draft>, Refusal> {
    match GatewayApiPort.read(request).unwrap().operation {
        Operation::Submit(drafts) => drafts,
        other => panic!("{other:?}"),
    }
}

/// HTTP status and code of the answer to a request that is refused.
fn refused(target: &str, body: &str) -> (u16, String) {
    let request = post(target, body);
    let call = GatewayApiPort.read(&request).unwrap();
    let Operation::Submit(Err(refusal)) = &call.operation else { panic!("{body} is taken") };
    let response = GatewayApiPort.answer(&call, &Answer::Refused(refusal));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["incident_uuid"].as_str().unwrap().len(), 36);
    assert!(body["variables"].is_array() && body["message"].is_string());
    (response.status().as_u16(), body["code"].as_str().unwrap().to_owned())
}

fn with(fields: Value) -> String {
    let mut message = json!({"message": "Hej", "recipients": [{"msisdn": 4512345678_u64}]});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    message.to_string()
}

#[test]
fn what_can_not_be_sent_is_refused_in_the_dialects_codes() {
    let check = |body: &str, status, code: &str| {
        assert_eq!(refused("/rest/mtsms", body), (status, code.to_owned()), "{body}");
    };
    for bad in ["{", "[", "[1]", "[[]]", r#"{"message":"a","message"#] {
        check(bad, 422, "0x0220");
    }
    for bad in ["", "[]", r#"{"message":"a"}"#, r#"{"message":"a","recipients":[]}"#, "message=a"] {
        check(bad, 400, "0x0222");
    }
    check(r#"{"message":"a","recipients":[{}]}"#, 400, "0x0222");
    check(r#"{"message":"a","recipients":[{"msisdn":""}]}"#, 400, "0x0222");
    for bad in [json!(-1), json!(1.5), json!(true), json!([1]), json!({})] {
        check(&with(json!({"recipients": [{"msisdn": bad}]})), 422, "0x0308");
    }
    check(&with(json!({"recipients": [4512345678_u64]})), 422, "0x0308");
    let twice = json!([{"msisdn": 4512345678_u64}, {"msisdn": "+45 12 34 56 78"}]);
    check(&with(json!({"recipients": twice})), 422, "0x0310");
    check(&with(json!({"message": ""})), 400, "0x0222");
    check(&with(json!({"message": null})), 400, "0x0222");
    check(&with(json!({"message": "x".repeat(39_016)})), 422, "0x0220");
    check(&with(json!({"class": "premium"})), 422, "0x0218");
    check(&with(json!({"class": "gold"})), 422, "0x0218");
    check(&with(json!({"recipients": [{"msisdn": 4512345678_u64, "charge": {}}]})), 422, "0x0218");
    for bad in [
        json!({"validity_period": 59}),
        json!({"validity_period": "soon"}),
        json!({"validity_period": 60.5}),
        json!({"max_parts": 0}),
        json!({"max_parts": 256}),
        json!({"encoding": "LATIN1"}),
        json!({"priority": "HIGH"}),
        json!({"destaddr": "HOME"}),
        json!({"payload": "aGVq"}),
        json!({"udh": "?"}),
        json!({"sender": ["a"]}),
        json!({"userref": "a\r\nb"}),
        json!({"userref": "x".repeat(256)}),
        json!({"label": "a\u{0}"}),
        json!({"tags": [{}]}),
        json!({"tags": ["%A%"], "message": "Hej %A%"}),
    ] {
        check(&with(bad), 400, "0x0220");
    }
    for bad in [
        json!({"callback_url": "gopher://a"}),
        json!({"callback_url": "https://a/ b"}),
        json!({"callback_url": "https://a/\r\nX: y"}),
        json!({"sendtime": 253_402_207_201_u64}),
    ] {
        check(&with(bad), 422, "0x0220");
    }
    let many: Vec<Value> = (0..10_001).map(|n| json!({"msisdn": 4_500_000_000_u64 + n})).collect();
    check(&with(json!({"recipients": many})), 422, "0x0220");
    // Copies of a long text for many would fill the memory.
    let many: Vec<Value> = (0..5_000).map(|n| json!({"msisdn": 4_500_000_000_u64 + n})).collect();
    check(&with(json!({"recipients": many, "message": "x".repeat(39_015)})), 422, "0x0220");
}

#[test]
fn a_message_is_the_same_in_every_form() {
    let body = r#"{"sender":"Example","message":"Hej æ","recipients":[{"msisdn":4512345678}],
        "userref":"INV-1","callback_url":"https://a.example/x?y=1","tags":null,"class":null}"#;
    let expected = submitted(&post("/rest/mtsms", body)).unwrap();
    let mut draft = Draft::new(
        "4512345678".into(),
        crate::sms::number::NumberStyle::International,
        SmsBody::Text("Hej æ".into()),
    );
    draft.from = Some("Example".into());
    draft.client_reference = Some("INV-1".into());
    draft.references = vec![crate::model::Reference::parse("INV-1").unwrap()];
    draft.receipt = Some(ReceiptRequest { url: "https://a.example/x?y=1".into(), mask: u8::MAX });
    assert_eq!(expected, [draft]);
    let form = "sender=Example&message=Hej+%C3%A6&recipients.0.msisdn=4512345678&userref=INV-1&callback_url=https%3A%2F%2Fa.example%2Fx%3Fy%3D1";
    assert_eq!(submitted(&post("/rest/mtsms", form)).unwrap(), expected);
    let query = format!("/rest/mtsms?token=s3&{form}");
    assert_eq!(submitted(&post(&query, "")).unwrap(), expected);
    let get = Request::get(&query).body(Bytes::new()).unwrap();
    assert_eq!(submitted(&get).unwrap(), expected);
    let listed = submitted(&post("/rest/mtsms", format!("[{body},{body}]"))).unwrap();
    assert_eq!(listed.iter().map(|draft| draft.group).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn every_field_has_its_meaning() {
    let of = |fields: Value| submitted(&post("/rest/mtsms", with(fields))).unwrap().remove(0);
    assert_eq!(of(json!({"destaddr": "DISPLAY"})).class, Some(0));
    assert_eq!(of(json!({"destaddr": "MOBILE"})).class, None);
    assert_eq!(of(json!({"validity_period": 60})).valid_for, Some(Duration::from_secs(60)));
    let at = crate::model::Timestamp::from_millis(1_700_000_000_000);
    for time in [json!(1_700_000_000), json!("1700000000"), json!(1_700_000_000.0)] {
        assert_eq!(of(json!({"sendtime": time})).send_at, Some(SendAt::At(at)));
    }
    assert_eq!(of(json!({"label": "news"})).tag.unwrap().as_str(), "news");
    assert_eq!(of(json!({"tags": ["a", "b"]})).tag.unwrap().as_str(), "a");
    assert_eq!(of(json!({"tags": ["%A%"]})).tag, None);
    for quiet in
        [json!({"class": "secret"}), json!({"priority": "bulk"}), json!({"encoding": "UCS2"})]
    {
        assert_eq!(of(quiet), of(json!({})));
    }
    let payload =
        json!({"message": null, "payload": "AAEC", "udh": "BQADAQIB", "encoding": "BINARY"});
    let binary = of(payload);
    assert_eq!((binary.body, binary.udh), (SmsBody::Binary(vec![0, 1, 2]), vec![5, 0, 3, 1, 2, 1]));
    let ucs2 = of(
        json!({"message": null, "payload": STANDARD.encode([0, 0x48, 4, 0x36]), "encoding": "UCS2"}),
    );
    assert_eq!(ucs2.body, SmsBody::Text("Hж".into()));
}

#[test]
fn placeholders_are_filled_for_each_recipient() {
    let body = with(json!({
            "message": "Hej %NAME%, %CODE%", "tags": ["%NAME%", "%CODE%"],
            "recipients": [
                {"msisdn": 4512345678_u64, "tagvalues": ["Anna", 1234]},
                {"msisdn": "4587654321", "tagvalues": ["%CODE%", "x"]},
            ],
    }));
    let drafts = submitted(&post("/rest/mtsms", body)).unwrap();
    let texts: Vec<&SmsBody> = drafts.iter().map(|draft| &draft.body).collect();
    assert_eq!(
        texts,
        [&SmsBody::Text("Hej Anna, 1234".into()), &SmsBody::Text("Hej %CODE%, x".into())]
    );
}

#[test]
fn a_text_is_cut_to_the_parts_that_are_paid_for() {
    let length = |text: String, parts: u16| {
        let body = with(json!({"message": text, "max_parts": parts}));
        match submitted(&post("/rest/mtsms", body)).unwrap().remove(0).body {
            SmsBody::Text(text) => text.chars().count(),
            SmsBody::Binary(_) => panic!(),
        }
    };
    assert_eq!(length("x".repeat(160), 1), 160);
    assert_eq!(length("x".repeat(161), 1), 160);
    assert_eq!(length("x".repeat(500), 2), 306);
    assert_eq!(length("ж".repeat(500), 1), 70);
    assert_eq!(length("😀".repeat(500), 1), 35);
    assert_eq!(length("€".repeat(500), 1), 80);
    assert_eq!(length("x".repeat(39_015), 255), 39_015);
    // What makes it dear lies behind the cut.
    assert_eq!(length(format!("{}ж", "x".repeat(160)), 1), 160);
}

#[test]
fn calls_are_told_by_method_and_path() {
    let read = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        assert!(GatewayApiPort.recognises(&request) || path.starts_with("/other"));
        GatewayApiPort.read(&request).map(|call| call.operation).map_err(|r| r.status().as_u16())
    };
    for (method, path, status) in [
        ("PUT", "/rest/mtsms", 405),
        ("DELETE", "/rest/mtsms", 405),
        ("POST", "/rest/me", 405),
        ("GET", "/mobile/single", 405),
        ("POST", "/rest/mtsms/1", 405),
        ("GET", "/other", 404),
    ] {
        assert_eq!(read(method, path).unwrap_err(), status, "{method} {path}");
    }
    for unknown in ["0", "x", "-1", "1.5", "99999999999999999999", "%31"] {
        let found = read("GET", &format!("/rest/mtsms/{unknown}"));
        assert!(matches!(found, Ok(Operation::Fetch(Handle::Unknown))), "{unknown}");
    }
    let seven = Handle::Batch(Sequence(7));
    assert!(matches!(read("GET", "/rest/mtsms/7"), Ok(Operation::Fetch(id)) if id == seven));
    assert!(matches!(read("DELETE", "/rest/mtsms/7"), Ok(Operation::Cancel(id)) if id == seven));
    assert!(matches!(read("GET", "/rest/me"), Ok(Operation::Probe(Probe::Account))));
    let other = Request::post("/rest/mosms").body(Bytes::new()).unwrap();
    assert!(!GatewayApiPort.recognises(&other));
}

#[test]
fn the_message_api_takes_single_messages() {
    let take = |body: Value| submitted(&post("/mobile/single", body.to_string()));
    for (bad, refusal) in [
        (json!([]), Refusal::Malformed("the body is no object".into())),
        (json!({"message": "a"}), Refusal::NoDestination),
        (json!({"recipient": 4512345678_u64}), Refusal::NoBody),
    ] {
        assert_eq!(take(bad), Err(refusal));
    }
    for bad in ["tomorrow", "P6D", "432001", "-P1D", "2026-11-22T08:00:00Z"] {
        let body = json!({"message": "a", "recipient": 4512345678_u64, "expiration": bad});
        assert!(matches!(take(body), Err(Refusal::Field { name: "expiration", .. })), "{bad}");
    }
    for (text, seconds) in [("60", 60), ("PT2H", 7_200), ("P1DT1M", 86_460)] {
        let body = json!({"message": "a", "recipient": 4512345678_u64, "expiration": text,
            "sender": "Example", "reference": "ref-1", "label": "l"});
        let draft = take(body).unwrap().remove(0);
        assert_eq!(draft.valid_for, Some(Duration::from_secs(seconds)));
        assert_eq!((draft.to.as_str(), draft.from.as_deref()), ("4512345678", Some("Example")));
        assert_eq!(draft.client_reference.as_deref(), Some("ref-1"));
    }
}

pub(super) fn sms(destination: &str) -> Sms {
    Sms {
        originator: Originator::parse("Example"),
        segments: 2,
        dialect: Dialect::GatewayApi,
        client_reference: Some("ref-1".into()),
        ..Sms::new(Destination::parse(destination).unwrap(), SmsBody::Text("Hej".into()))
    }
}

fn shown(sequence: u64, index: u32, destination: &str) -> Shown {
    let at = crate::model::Timestamp::from_millis(1_700_000_000_000);
    let mut sms = sms(destination);
    sms.batch = SmsBatch { index, count: 2 };
    Shown {
        id: MessageId::from_u128(u128::from(sequence)),
        sequence: Sequence(sequence),
        direction: Direction::Outbound,
        sms,
        state: ShownState::Undelivered,
        failure: Some(FailureReason::Unreachable),
        provider_code: None,
        accepted_at: at,
        updated_at: at,
        sent_at: Some(at),
        done_at: Some(at),
        parts: Vec::new(),
    }
}

fn call(request: &Request<Bytes>) -> Call {
    GatewayApiPort.read(request).unwrap()
}

#[test]
fn an_acceptance_has_one_id_for_each_message_object() {
    let messages =
        [shown(7, 0, "+4512345678"), shown(8, 1, "+447700900000"), shown(9, 0, "+4512345679")];
    let json = call(&post("/rest/mtsms", with(json!({}))));
    let answer = GatewayApiPort.answer(&json, &Answer::Submitted(&messages));
    assert_eq!(answer.status(), 200);
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.contains(r#""total_cost":0.0"#), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["ids"], json!([7, 9]));
    assert_eq!(body["usage"]["countries"], json!({"DK": 4, "GB": 2}));
    assert_eq!(body.get("details"), None);

    let detailed = call(&post("/rest/mtsms", with(json!({"extra_details": "recipients_usage"}))));
    let answer = GatewayApiPort.answer(&detailed, &Answer::Submitted(&messages));
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let first = json!({"country": "DK", "msisdn": 4512345678_u64, "parts": 2});
    assert_eq!(body["details"]["messages"][0]["recipients"][0], first);
    assert_eq!(body["details"]["messages"][1]["recipients"].as_array().unwrap().len(), 1);

    let single = call(&post("/mobile/single", r#"{"message":"a","recipient":1}"#));
    let answer = GatewayApiPort.answer(&single, &Answer::Submitted(&messages[..1]));
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let expected = json!({"msg_id": messages[0].id.to_string(), "recipient": 4512345678_u64, "reference": "ref-1"});
    assert_eq!((answer.status().as_u16(), body), (202, expected));
}

#[test]
fn a_state_is_told_by_id_and_number() {
    let messages = [shown(7, 0, "+4512345678"), shown(8, 1, "+4587654321")];
    let fetch = call(&Request::get("/rest/mtsms/7").body(Bytes::new()).unwrap());
    let answer = GatewayApiPort.answer(&fetch, &Answer::Found(&messages));
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body.as_array().unwrap().len(), 1);
    assert_eq!((&body[0]["id"], &body[0]["message"]), (&json!(7), &json!("Hej")));
    assert_eq!(body[0]["recipients"][1]["msisdn"], json!(4587654321_u64));
    assert_eq!(body[0]["recipients"][1]["dsnstatus"], json!("UNDELIVERABLE"));

    let status = |answer: Answer<'_>| GatewayApiPort.answer(&fetch, &answer).status().as_u16();
    assert_eq!(status(Answer::Canceled(&messages)), 204);
    assert_eq!(status(Answer::Refused(&Refusal::TooLate)), 410);
    assert_eq!(status(Answer::Refused(&Refusal::UnknownMessage)), 404);
    assert_eq!(status(Answer::Refused(&Refusal::Credentials)), 401);
    assert_eq!(status(Answer::Refused(&Refusal::NotNow)), 500);
    assert_eq!(status(Answer::Refused(&Refusal::OptedOut("+45".into()))), 403);
    let limited = Refusal::RateLimited { retry_after: Duration::from_millis(1_500) };
    let answer = GatewayApiPort.answer(&fetch, &Answer::Refused(&limited));
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
}

pub(super) fn account(callback_secret: Option<&str>) -> TokenAccount {
    TokenAccount {
        token: Secret::new("s3cret".into()),
        callback_secret: callback_secret.map(|secret| Secret::new(secret.into())),
        callbacks: Default::default(),
    }
}

#[test]
fn callbacks_are_signed_with_their_body() {
    let message = shown(8, 1, "+4512345678");
    let at = crate::model::Timestamp::from_millis(1_700_000_001_000);
    let notice = Notice { message: &message, event: Sequence(3), at, now: at };
    let none = SmsAccounts::default();
    // Known by its network alone, an app is told as well; there is nothing to sign with.
    let unsigned = GatewayApiPort.receipts(&notice, "https://a.example/", &none).remove(0);
    assert!(!unsigned.headers().contains_key("x-gwapi-signature"));
    for (secret, key) in [(None, "s3cret"), (Some("other"), "other")] {
        let accounts = SmsAccounts { gatewayapi: Some(account(secret)), ..SmsAccounts::default() };
        assert!(GatewayApiPort.receipts(&notice, "no url", &accounts).is_empty());
        let request = GatewayApiPort.receipts(&notice, "https://a.example/", &accounts).remove(0);
        let token = request.headers()["x-gwapi-signature"].to_str().unwrap();
        assert_eq!(jwt_claims(&Secret::new(key.into()), token).unwrap(), *request.body());
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            body,
            json!({"id": 7, "msisdn": 4512345678_u64, "time": 1_700_000_001, "status": "UNDELIVERABLE",
                "userref": "ref-1", "charge_status": null, "country_code": "DK", "country_prefix": 45,
                "error": "Absent subscriber", "code": "0x1B"})
        );
        let mut arrived = message.clone();
        arrived.sms.originator = Originator::parse("+4587654321");
        let request =
            GatewayApiPort.inbound(&arrived, "https://a.example/", &accounts, at).remove(0);
        let token = request.headers()["x-gwapi-signature"].to_str().unwrap();
        assert_eq!(jwt_claims(&Secret::new(key.into()), token).unwrap(), *request.body());
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            (&body["msisdn"], &body["receiver"]),
            (&json!(4587654321_u64), &json!(4512345678_u64))
        );
        assert_eq!((&body["message"], &body["webhook_label"]), (&json!("Hej"), &json!("waybill")));
    }
}

proptest! {
    /// Whatever one field says, in JSON as in a form, no other field and no other request comes of it.
    #[test]
    fn no_field_changes_another(
        text in "\\PC{1,40}|[a&=%+;\\r\\n\"{}.,\\\\]{1,40}",
        sender in "\\PC{1,11}|[a&=%+\\r\\n\"]{1,11}",
    ) {
        let json = json!({"message": &text, "sender": &sender, "recipients": [{"msisdn": "4512345678"}]});
        let mut form = crate::sms::form::Fields::default();
        form.push("message", &text);
        form.push("sender", &sender);
        form.push("recipients.0.msisdn", "4512345678");
        let from_json = submitted(&post("/rest/mtsms", json.to_string())).unwrap();
        let from_form = submitted(&post("/rest/mtsms", form.encode())).unwrap();
        let draft = &from_json[0];
        prop_assert_eq!(&draft.body, &SmsBody::Text(text));
        prop_assert_eq!(draft.from.as_ref(), Some(&sender));
        prop_assert_eq!(&Draft { ..Draft::new("4512345678".into(), draft.style, draft.body.clone()) },
            &Draft { from: None, ..draft.clone() });
        prop_assert_eq!(from_json, from_form);
    }

    /// Nothing that a stranger sends brings a panic.
    #[test]
    fn anything_may_be_sent(target in "/rest/mtsms[/?&=.a-z0-9%\\[\\]]{0,30}", body in any::<Vec<u8>>()) {
        if let Ok(request) = Request::post(target).body(Bytes::from(body)) {
            let _ = GatewayApiPort.read(&request);
            GatewayApiPort.masked(&request);
            let now = crate::model::Timestamp::from_millis(0);
            let accounts = SmsAccounts { gatewayapi: Some(account(None)), ..SmsAccounts::default() };
            prop_assert_eq!(GatewayApiPort.verify(&request, &accounts, now), Verdict::Stranger);
        }
    }
}
