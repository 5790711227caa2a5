//! A described provider as it sees us and as we see it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;

use super::super::form::Fields;
use super::super::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt,
};
use super::*;
use crate::model::{
    Destination, FailureReason, MessageId, Originator, ReceiptState, Sms, SmsBody, Timestamp,
};

fn described(url: &str, headers: &[(&str, &str)], body: Option<&str>) -> HttpProvider {
    let header =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new((*value).to_owned()));
    HttpProvider {
        url: url.parse().unwrap(),
        method: if body.is_some() { HttpMethod::Post } else { HttpMethod::Get },
        headers: headers.iter().map(header).collect(),
        body: body.map(str::to_owned),
        success: None,
        permanent: None,
        temporary: None,
    }
}

fn sms(text: &str) -> Sms {
    Sms {
        originator: Originator::parse("A&B 2"),
        segments: 2,
        client_reference: Some("ref".into()),
        ..Sms::new(Destination::parse("+4512345678").unwrap(), SmsBody::Text(text.into()))
    }
}

fn request(settings: HttpProvider, sms: &Sms) -> Result<Request<Bytes>, String> {
    let status_url = Some("https://w.example/s?a=1&b=2");
    let (id, now) = (MessageId::from_u128(1), Timestamp::EPOCH);
    let outbound = Outbound { id, sms, valid_for: None, status_url, now };
    HttpUpstream { settings }.request(&outbound)
}

fn body_of(kind: &str, template: &str, text: &str) -> Result<String, String> {
    let settings = described("http://p/", &[("Content-Type", kind)], Some(template));
    let request = request(settings, &sms(text))?;
    Ok(String::from_utf8(request.body().to_vec()).unwrap())
}

fn callback<T>(
    request: Request<Bytes>,
    is_proven: bool,
    read: impl FnOnce(&Callback<'_>) -> T,
) -> T {
    read(&Callback {
        request: &request,
        public_url: "https://w.example",
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_proven,
        now: Timestamp::from_millis(1_000_000_000),
    })
}

fn upstream() -> HttpUpstream {
    HttpUpstream { settings: described("http://p/?{to}{text}", &[], None) }
}

fn get(query: &str) -> Request<Bytes> {
    Request::get(format!("/hooks/p/status?message=1&{query}")).body(Bytes::new()).unwrap()
}

fn post(kind: &str, body: &str) -> Request<Bytes> {
    let request = Request::post("/hooks/p/status?message=1").header("content-type", kind);
    request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn status(request: Request<Bytes>) -> Result<Receipt, CallbackRefusal> {
    let found = callback(request, true, |callback| upstream().status(callback));
    found.map(|mut receipts| receipts.remove(0))
}

fn inbound(request: Request<Bytes>) -> Result<Inbound, CallbackRefusal> {
    let found = callback(request, true, |callback| upstream().inbound(callback));
    found.map(|mut messages| messages.remove(0))
}

#[test]
fn a_wrong_description_says_what_to_change() {
    let check_bad = |settings: HttpProvider, expected: &str| {
        let error = check(&settings).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let json = [("Content-Type", "application/json")];
    check_bad(described("http://p/?a={txt}", &[], None), "unknown placeholder {txt}");
    check_bad(described("http://p/?to={to}", &[], None), "no {text}");
    check_bad(described("http://p/?t={text}", &[], None), "neither {to} nor {to_digits}");
    check_bad(described("http://p/{text}?{to}", &[], None), "may stand in the path");
    check_bad(described("http://p/{from}?{to}{text}", &[], None), "may stand in the path");
    check_bad(described("http://p/{to}?{text}", &[("A\n", "b")], None), "header A");
    check_bad(described("http://p/{to}?{text}", &[("A", "b\r\nC: d")], None), "header A");
    check_bad(described("http://p/{to}?{text}", &[("Host", "x")], None), "header Host");
    check_bad(described("http://p/", &json, Some("{\"to\":{to},\"t\":\"{text}\"}")), "no JSON");
    check_bad(described("http://p/", &json, Some("{\"to\":\"{to}\",\"t\":\"{text}\"")), "no JSON");
    let parts = [("content-type", "multipart/form-data")];
    check_bad(described("http://p/", &parts, Some("{to}{text}")), "Content-Type must be");
    let mut with_body = described("http://p/", &[], Some("{to}{text}"));
    with_body.method = HttpMethod::Get;
    check_bad(with_body, "no body");

    let good = "{\"to\":{to_digits},\"n\":{segments},\"t\":\"{text}\"}";
    assert_eq!(check(&described("http://p/{to}", &json, Some(good))), Ok(()));
    assert_eq!(check(&described("http://p/?to={to}&t={text}", &[], None)), Ok(()));
}

#[test]
fn every_place_has_its_encoder() {
    let text = "a&b=\"<é>\"\r\n{to}%41";
    let headers = [("Authorization", "Bearer s&{id}"), ("X-From", "{from}; {text}")];
    let url = "https://p.example/v1/{to}/x?to={to_digits}&text={text}&s={status_url}#no";
    let made = request(described(url, &headers, None), &sms(text)).unwrap();
    assert_eq!(
        made.uri().to_string(),
        "https://p.example/v1/%2B4512345678/x?to=4512345678\
         &text=a%26b%3D%22%3C%C3%A9%3E%22%0D%0A%7Bto%7D%2541\
         &s=https%3A%2F%2Fw.example%2Fs%3Fa%3D1%26b%3D2"
    );
    assert_eq!(made.headers()["authorization"], "Bearer s&00000000000000000000000001");
    assert_eq!(
        made.headers()["x-from"],
        "A%26B%202; a%26b%3D%22%3C%C3%A9%3E%22%0D%0A%7Bto%7D%2541"
    );
    assert!(!format!("{made:?}").contains("Bearer"));

    let check = |kind: &str, template: &str, expected: &str| {
        assert_eq!(body_of(kind, template, text).as_deref(), Ok(expected), "{kind}");
    };
    check(
        "application/x-www-form-urlencoded",
        "t={text}&f={from}&r={reference}",
        "t=a%26b%3D%22%3C%C3%A9%3E%22%0D%0A%7Bto%7D%2541&f=A%26B+2&r=ref",
    );
    check(
        "application/json",
        "{\"t\":\"{text}\",\"n\":{segments},\"e\":\"{encoding}\"}",
        "{\"t\":\"a&b=\\\"<é>\\\"\\r\\n{to}%41\",\"n\":2,\"e\":\"gsm7\"}",
    );
    check("text/xml", "<t>{text}</t>", "<t>a&amp;b=&quot;&lt;é&gt;&quot;&#13;&#10;{to}%41</t>");
    check("text/plain", "{to} {text}", "+4512345678 a&b=\"<é>\"  {to}%41");
    check("text/plain", "{text}", text);
    assert!(body_of("text/xml", "<t>{text}</t>", "\u{c}").is_err());
}

#[test]
fn the_form_of_a_body_is_guessed_by_how_it_begins() {
    let check = |template: &str, expected: &str| {
        let made = request(described("http://p/", &[], Some(template)), &sms("x")).unwrap();
        assert_eq!(made.headers()["content-type"], expected);
    };
    check("t={text}", "application/x-www-form-urlencoded");
    check("{\"t\":\"{text}\"}", "application/json");
    check("<t>{text}</t>", "application/xml");
}

#[test]
fn what_the_description_can_not_carry_is_refused() {
    let settings = || described("http://p/?{to}{text}", &[], None);
    let mut binary = sms("");
    binary.body = SmsBody::Binary(vec![1]);
    assert!(request(settings(), &binary).is_err());
    let mut with_header = sms("x");
    with_header.udh = vec![0];
    assert!(request(settings(), &with_header).is_err());
    let mut opaque = sms("x");
    opaque.destination = Destination::parse("telegram:name").unwrap();
    assert!(request(described("http://p/?{to_digits}{text}", &[], None), &opaque).is_err());
}

fn judged(settings: HttpProvider, status: u16, body: &str) -> Judgement {
    let response = Response::builder().status(status).header("retry-after", "7");
    let response = response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    HttpUpstream { settings }.judge(&response)
}

#[test]
fn the_patterns_judge_first() {
    let settings = HttpProvider {
        success: Regex::new(r#"(?m)^HTTP 20[01]$[\s\S]*"id": ?"(?P<id>[^"]*)""#).ok(),
        permanent: Regex::new("invalid number|HTTP 409").ok(),
        temporary: Regex::new("queue full").ok(),
        ..described("http://p/?{to}{text}", &[], None)
    };
    let check = |status: u16, body: &str, expected: &str| {
        let found = format!("{:?}", judged(settings.clone(), status, body));
        assert!(found.starts_with(expected), "{status} {body}: {found}");
    };
    check(200, "{\"id\":\"7\",\"error\":\"invalid number\"}", "Permanent");
    check(500, "invalid number", "Permanent");
    check(409, "", "Permanent");
    check(200, "queue full", "Temporary");
    check(200, "<html>hello</html>", "Unclear");
    check(202, "{\"id\":\"7\"}", "Unclear");
    check(500, "{\"id\":\"7\"}", "Unclear");
    check(201, "{\"id\": \"a\u{1}7\"}", "Accepted { ids: [\"a 7\"]");
    check(200, "{\"id\":\"\"}", "Accepted { ids: []");
}

#[test]
fn without_a_pattern_the_status_judges() {
    let check = |status: u16, expected: &str| {
        let found = format!("{:?}", judged(described("http://p/", &[], None), status, ""));
        assert!(found.starts_with(expected), "{status}: {found}");
    };
    for status in [400, 410, 413, 422] {
        check(status, "Permanent { reason: Unknown");
    }
    for status in [301, 401, 402, 403, 404, 405, 418] {
        check(status, "Upstream");
    }
    for status in [500, 502, 504] {
        check(status, "Unclear");
    }
    check(408, "Temporary");
    check(503, "Temporary");
    check(204, "Accepted");
    let text = "429".to_owned();
    let throttled = Judgement::Throttled { retry_after: Some(Duration::from_secs(7)), text };
    assert_eq!(judged(described("http://p/", &[], None), 429, ""), throttled);
}

#[test]
fn a_receipt_is_read_only_when_it_is_proven() {
    let forged = callback(get("state=delivered"), false, |c| upstream().status(c));
    assert_eq!(forged, Err(CallbackRefusal::Forged));
    for bad in [get(""), get("state=done"), post("application/json", "["), post("text/plain", "x")]
    {
        assert_eq!(status(bad), Err(CallbackRefusal::Malformed));
    }
    let check = |request: Request<Bytes>, state: ReceiptState, reason: Option<FailureReason>| {
        let found = status(request).unwrap();
        assert_eq!((found.state, found.reason), (state, reason));
    };
    check(get("state=delivered"), ReceiptState::Delivered, None);
    check(get("state=SENT&reason=barred"), ReceiptState::Underway, None);
    check(get("state=expired"), ReceiptState::Expired, Some(FailureReason::Expired));
    check(get("state=rejected"), ReceiptState::Rejected, Some(FailureReason::Unknown));
    let form = post("application/x-www-form-urlencoded", "state=failed&reason=barred");
    check(form, ReceiptState::Undelivered, Some(FailureReason::Barred));
    let found = status(post("application/json", r#"{"state":"failed","id":5,"code":"a\nb"}"#));
    let found = found.unwrap();
    assert_eq!((found.provider_id.as_deref(), found.code.as_deref()), (Some("5"), Some("a b")));
}

#[test]
fn inbound_messages_are_read_only_when_they_are_proven() {
    let query = "from=4512345678&to=123&text=H%C3%A6";
    let forged = callback(get(query), false, |c| upstream().inbound(c));
    assert_eq!(forged, Err(CallbackRefusal::Forged));
    for bad in ["", "from=1&to=123", "from=123&to=x&text=x", "from=&to=123&text=x"] {
        assert_eq!(inbound(get(bad)), Err(CallbackRefusal::Malformed), "{bad}");
    }
    let one = inbound(get(query)).unwrap();
    assert_eq!(one.originator.to_string(), "+4512345678");
    assert_eq!(one.body, SmsBody::Text("Hæ".into()));
    assert_eq!(one.provider_id, inbound(get(query)).unwrap().provider_id);
    assert_ne!(one.provider_id, inbound(get(&format!("{query}x"))).unwrap().provider_id);
    let json = post("application/json", r#"{"from":"+4512345678","to":123,"text":"x","id":"7"}"#);
    assert_eq!(inbound(json).unwrap().provider_id, "7");
}

proptest! {
    #[test]
    fn no_text_changes_the_request(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
        let url = "http://p/send?to={to}&text={text}&from={from}";
        let uri = request(described(url, &[], None), &sms(&text)).unwrap().uri().to_string();
        let fields = Fields::parse(uri.split_once('?').unwrap().1.as_bytes());
        prop_assert_eq!(fields.iter().count(), 3);
        prop_assert_eq!(fields.get("text").unwrap(), text.as_str());

        let template = "{\"to\":\"{to}\",\"text\":\"{text}\",\"from\":\"{from}\"}";
        let body = body_of("application/json", template, &text).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(body.as_object().unwrap().len(), 3);
        prop_assert_eq!(body["text"].as_str().unwrap(), text.as_str());

        let body = body_of("text/plain", "to={to}\ntext={text}\nfrom={from}", &text).unwrap();
        prop_assert_eq!(body.lines().count(), 3);
    }
}
