//! The Kannel dialect as an application and as another Kannel see it.

use http::HeaderName;
use proptest::prelude::*;

use super::super::account::{CallbackUrls, KannelAccount};
use super::super::call::{CloseConnection, Draft, Refusal, SendAt, ShownState, SmsReply};
use super::super::form::Fields;
use super::*;
use crate::model::{
    Destination, Direction, FailureReason, MessageId, Originator, ReceiptRequest, Secret, Sequence,
    Sms, SmsBody,
};

const ALL: &str = "username=u&password=p&from=100&to=4512345678&text=x";

fn get(query: &str) -> Request<Bytes> {
    Request::get(format!("/cgi-bin/sendsms?{query}"))
        .header("user-agent", "curl")
        .body(Bytes::new())
        .unwrap()
}

fn post(kind: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::post("/cgi-bin/sendsms").header("content-type", kind);
    for (name, value) in headers {
        request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), *value);
    }
    request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn drafts(request: &Request<Bytes>) -> Result<Vec<Draft>, Refusal> {
    match KannelPort.read(request).unwrap().operation {
        Operation::Submit(drafts) => drafts,
        other => panic!("{other:?}"),
    }
}

fn draft(request: &Request<Bytes>) -> Draft {
    drafts(request).unwrap().remove(0)
}

fn accounts() -> SmsAccounts {
    let kannel = KannelAccount {
        username: "u".into(),
        password: Secret::new("p".into()),
        callbacks: CallbackUrls::default(),
    };
    SmsAccounts { kannel: Some(kannel), ..SmsAccounts::default() }
}

fn answer(format: Format, answer: &Answer<'_>) -> (u16, String) {
    let call = Call {
        operation: Operation::Probe(super::super::call::Probe::Account),
        format,
        account: None,
        idempotency_key: None,
    };
    let response = KannelPort.answer(&call, answer);
    assert_eq!(response.headers()["content-type"], "text/html");
    (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
}

fn shown(state: ShownState, body: SmsBody) -> Shown {
    let sms = Sms {
        originator: Originator::parse("+4587654321"),
        dialect: Dialect::Kannel,
        account: Some("u".into()),
        client_reference: Some("acc".into()),
        receipt: Some(ReceiptRequest { url: String::new(), mask: 31 }),
        ..Sms::new(Destination::parse("+4512345678").unwrap(), body)
    };
    let at = Timestamp::parse_rfc3339("2026-11-22T04:27:51Z").unwrap();
    Shown {
        id: MessageId::from_u128(1),
        sequence: Sequence(7),
        direction: Direction::Outbound,
        sms,
        state,
        failure: Some(FailureReason::Barred),
        provider_code: None,
        accepted_at: at,
        updated_at: at,
        sent_at: Some(at),
        done_at: Some(at),
        parts: Vec::new(),
    }
}

fn told(state: ShownState, mask: u8, url: &str) -> Vec<String> {
    let mut message = shown(state, SmsBody::Text("x".into()));
    message.sms.receipt = Some(ReceiptRequest { url: url.into(), mask });
    let at = message.accepted_at;
    let notice = Notice { message: &message, event: Sequence(9), at, now: at };
    let requests = KannelPort.receipts(&notice, url, &accounts());
    requests.iter().map(|request| request.uri().to_string()).collect()
}

fn handed(text: &str, url: &str) -> Vec<String> {
    let message = shown(ShownState::Received, SmsBody::Text(text.into()));
    let requests = KannelPort.inbound(&message, url, &accounts(), Timestamp::EPOCH);
    requests.iter().map(|request| request.uri().to_string()).collect()
}

#[test]
fn a_wrong_call_hears_kannels_own_words() {
    let check = |query: &str, expected: &str| {
        let refusal = drafts(&get(query)).unwrap_err();
        let (status, text) = answer(Format::Text, &Answer::Refused(&refusal));
        assert_eq!((status, text.as_str()), (400, expected), "{query}");
    };
    check("from=1&text=x", "Missing receiver number, rejected");
    check("from=1&to=+&text=x", "Empty receiver number not allowed, rejected");
    check("to=45&text=x", "Sender missing and no global set, rejected");
    check("from=&to=45&text=x", "Sender missing and no global set, rejected");
    for (field, name) in [
        ("udh=zz", "UDH"),
        ("udh=%05%00%03", "UDH"),
        ("coding=9", "Coding"),
        ("coding=abc", "Coding"),
        ("mclass=4", "MClass"),
        ("validity=-5", "Validity"),
        ("deferred=99999999999", "Deferred"),
        ("priority=7", "Priority"),
        ("dlr-mask=99", "DLR-Mask"),
    ] {
        check(&format!("{ALL}&{field}"), &format!("{name} field misformed, rejected"));
    }
    let account = "a".repeat(65);
    let too_long = "Account field misformed or too long, rejected";
    check(&format!("{ALL}&account={account}"), too_long);
    check(&format!("{ALL}&account=a%0ab"), too_long);
    check(&format!("{ALL}&charset=nonsense"), "Charset or body misformed, rejected");
    check("from=1&to=45&text=%ff", "Charset or body misformed, rejected");
    check("from=1&to=45&text=%00H%00&coding=2", "Charset or body misformed, rejected");
    let url = format!("{ALL}&dlr-mask=1&dlr-url=http://x/%0d%0aA:b");
    check(&url, "DLR-URL field misformed, rejected");
    let many = "1+".repeat(10_001);
    let denied = "Number(s) has/have been denied by white- and/or black-lists.";
    check(&format!("from=1&text=x&to={many}"), denied);
}

#[test]
fn a_long_text_to_many_is_refused() {
    let to = "1 ".repeat(1_000);
    let check = |length: usize, is_ok: bool| {
        let headers = [("x-kannel-from", "1"), ("x-kannel-to", to.as_str())];
        let request = post("text/plain", &headers, &"a".repeat(length));
        assert_eq!(drafts(&request).is_ok(), is_ok, "{length}");
    };
    check(40_000, false);
    check(30_000, true);
}

#[test]
fn every_refusal_has_its_text() {
    let check = |refusal: Refusal, status: u16, text: &str| {
        assert_eq!(answer(Format::Text, &Answer::Refused(&refusal)), (status, text.to_owned()));
    };
    check(Refusal::Credentials, 403, "Authorization failed for sendsms");
    check(Refusal::Unsupported("x"), 403, "Not routable. Do not try again.");
    check(Refusal::NotNow, 503, "Temporal failure, try again later.");
    let denied = "Number(s) has/have been denied by white- and/or black-lists.";
    check(Refusal::OptedOut("+45".into()), 400, denied);
    check(Refusal::BadDestination("abc".into()), 400, denied);
    check(Refusal::BadCallback("x".into()), 400, "DLR-URL field misformed, rejected");
    assert_eq!(
        answer(Format::Gateway, &Answer::Submitted(&[])),
        (202, "0: Accepted for delivery".to_owned())
    );
}

#[test]
fn what_is_no_call_is_unknown() {
    let check = |method: &str, path: &str, kind: &str, status: u16, text: &str| {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let response = *KannelPort.read(&request.body("x".into()).unwrap()).unwrap_err();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, text.as_bytes()));
    };
    check("GET", "/cgi-bin/sendota", "", 404, "Unknown request.");
    check("PUT", "/cgi-bin/sendsms", "", 404, "Unknown request.");
    check("POST", "/cgi-bin/sendsms", "image/png", 415, "Unsupported content-type, rejected");
    let misformed = "Charset or body misformed, rejected";
    check("POST", "/sendsms", "application/json", 400, misformed);
    check("POST", "/", "text/xml", 400, misformed);
    assert!(!KannelPort.recognises(&Request::get("/sendsms").body(Bytes::new()).unwrap()));
    assert!(KannelPort.recognises(&get(ALL)));
}

#[test]
fn another_kannel_gets_no_answer_when_it_must_try_again() {
    let as_kannel = Request::get(format!("/?{ALL}")).body(Bytes::new()).unwrap();
    let limited = Refusal::RateLimited { retry_after: std::time::Duration::from_secs(1) };
    for (request, refusal, is_closed) in [
        (&get(ALL), &Refusal::NotNow, false),
        (&as_kannel, &Refusal::Credentials, false),
        (&as_kannel, &Refusal::NotNow, true),
        (&as_kannel, &limited, true),
    ] {
        let call = KannelPort.read(request).unwrap();
        let response = KannelPort.answer(&call, &Answer::Refused(refusal));
        let closes = response.extensions().get::<CloseConnection>().is_some();
        assert_eq!(closes, is_closed, "{refusal:?}");
    }
}

#[test]
fn all_forms_say_the_same() {
    let plain = get(
        "user=u&pass=p&from=100&to=4512345678+46&text=H%C3%A6&dlr-mask=3&dlr-url=http%3A%2F%2Fa%2F%3Fd%3D%25d&validity=5&deferred=2&mclass=0&account=acc",
    );
    let headers = [
        ("x-kannel-username", "u"),
        ("x-kannel-password", "p"),
        ("x-kannel-from", "100"),
        ("x-kannel-to", "4512345678 46"),
        ("x-kannel-dlr-mask", "3"),
        ("x-kannel-dlr-url", "http://a/?d=%d"),
        ("x-kannel-validity", "5"),
        ("x-kannel-deferred", "2"),
        ("x-kannel-mclass", "0"),
        ("x-kannel-account", "acc"),
    ];
    let form = plain.uri().query().unwrap();
    let json = r#"{"username":"u","password":"p","from":100,"to":["4512345678",46],"text":"Hæ",
        "dlr-mask":3,"dlr-url":"http://a/?d=%d","validity":5,"deferred":"2","mclass":0,
        "account":"acc","smsc":null}"#;
    let xml = "<?xml version=\"1.0\"?><message><submit><da><number>4512345678</number></da>\
        <da><number>46</number></da><oa><number>100</number></oa><ud>H&#230;</ud>\
        <from><user>u</user><pass>p</pass><account>acc</account></from><dcs><mclass>0</mclass></dcs>\
        <vp><delay>5</delay></vp><timing><delay>2</delay></timing><statusrequest>\
        <dlr-mask>3</dlr-mask><dlr-url>http://a/?d=%d</dlr-url></statusrequest></submit></message>";
    let expected = drafts(&plain).unwrap();
    assert_eq!(expected.len(), 2);
    assert_eq!(expected[0].send_at, Some(SendAt::After(std::time::Duration::from_secs(120))));
    assert_eq!(expected[0].valid_for, Some(std::time::Duration::from_secs(300)));
    let receipt = ReceiptRequest { url: "http://a/?d=%d".into(), mask: 3 };
    assert_eq!(expected[0].receipt, Some(receipt));
    assert_eq!(expected[1].to, "46");
    for request in [
        post("text/plain; charset=UTF-8", &headers, "Hæ"),
        post("text/html", &headers, "<p>H&aelig;</p>"),
        post("application/x-www-form-urlencoded", &[], form),
        post("application/json", &[], json),
        post("text/xml", &[], xml),
    ] {
        assert_eq!(drafts(&request).unwrap(), expected, "{request:?}");
        let verdict = KannelPort.verify(&request, &accounts(), Timestamp::EPOCH);
        assert_eq!(verdict, Verdict::Proven);
    }
}

#[test]
fn a_body_is_what_coding_and_charset_say() {
    let check = |fields: &str, expected: SmsBody| {
        let request = get(&format!("from=1&to=45&{fields}"));
        assert_eq!(draft(&request).body, expected, "{fields}");
    };
    let text = |text: &str| SmsBody::Text(text.into());
    check("text=", text(""));
    check("coding=", text(""));
    check("text=Hej+%F0%9F%98%80&coding=0", text("Hej 😀"));
    check("text=%E6&charset=iso-8859-1", text("æ"));
    check("text=%00H%D8%3D%DE%00&coding=2", text("H😀"));
    check("text=%00H&coding=2&charset=UTF-16BE", text("H"));
    check("text=%F0%9F%98%80&coding=2&charset=UTF-8", text("😀"));
    check("text=%01%FF&coding=1", SmsBody::Binary(vec![1, 0xff]));
    check("text=%01%02&udh=%02%70%00", SmsBody::Binary(vec![1, 2]));
    check("text=x&udh=%05%00%03%07%02%01&coding=0", text("x"));
    // Kannel cuts between the halves of a character.
    check("text=%00H%D8%3D&udh=050003070201&coding=2", text("H\u{fffd}"));
    let octets = post("application/octet-stream", &[("x-kannel-to", "45")], "\u{1}");
    let with_from = Request::post("/?from=1").header("content-type", "application/octet-stream");
    let with_from = with_from.header("x-kannel-to", "45").body(octets.body().clone()).unwrap();
    assert_eq!(draft(&with_from).body, SmsBody::Binary(vec![1]));
}

#[test]
fn a_secret_is_compared_and_never_kept() {
    let check = |request: &Request<Bytes>, expected: Verdict| {
        let found = KannelPort.verify(request, &accounts(), Timestamp::EPOCH);
        assert_eq!(found, expected, "{request:?}");
    };
    check(&get("to=1"), Verdict::Stranger);
    check(&get("username=v&password=p"), Verdict::Stranger);
    check(&get("username=u"), Verdict::WrongSecret);
    check(&get("username=u&password=x"), Verdict::WrongSecret);
    check(&get("user=u&pass=p"), Verdict::Proven);
    let basic = Request::get("/").header("authorization", "Basic dTpw").body(Bytes::new()).unwrap();
    check(&basic, Verdict::Proven);

    let url = "http%3A%2F%2Fk%2F%3Fpassword%3Dhunter2%26dlr-mid%3D1";
    let secret = format!("username=u&p%61ssword=hunter2&to=45&dlr-url={url}");
    let xml = "<message><submit><from><user>u</user><pass>hunter2</pass></from>\
        <statusrequest><dlr-url>http://k/?password=hunter2&amp;x=1</dlr-url></statusrequest>\
        </submit></message>";
    for request in [
        get(&secret),
        post("application/x-www-form-urlencoded", &[], &secret),
        post("application/json", &[], r#"{"password":"hunter2","to":"45"}"#),
        post("application/json", &[], r#"{"password":"hunter2"#),
        post("text/xml", &[], xml),
        post("text/xml", &[], "<pass>hunter2"),
        post("text/plain", &[("x-kannel-password", "hunter2")], "text"),
        post("text/plain", &[("authorization", "Basic hunter2")], "text"),
        post("multipart/form-data", &[], "hunter2"),
    ] {
        let kept = KannelPort.masked(&request);
        let kept = String::from_utf8(kept.to_vec()).unwrap();
        assert!(!kept.contains("hunter2"), "{kept}");
    }
    let kept = KannelPort.masked(&get("username=u&password=p&to=45&text=a+b"));
    let kept = String::from_utf8(kept.to_vec()).unwrap();
    let line = "GET /cgi-bin/sendsms?username=u&password=***&to=45&text=a+b HTTP/1.1\r\n";
    assert!(kept.starts_with(line), "{kept}");
}

#[test]
fn receipts_follow_the_mask() {
    let url = "http://a/?d=%d";
    for (state, bit) in [
        (ShownState::Delivered, 1),
        (ShownState::Undelivered, 2),
        (ShownState::Expired, 2),
        (ShownState::Sent, 8),
        (ShownState::Rejected, 16),
        (ShownState::Stopped, 16),
        (ShownState::Canceled, 16),
    ] {
        assert!(told(state, 31 - bit, url).is_empty(), "{state:?}");
        assert_eq!(told(state, bit, url), [format!("http://a/?d={bit}")], "{state:?}");
    }
    for state in [ShownState::Held, ShownState::Queued, ShownState::Scheduled] {
        assert!(told(state, 31, url).is_empty(), "{state:?}");
    }
}

#[test]
fn templates_are_filled_as_kannel_fills_them() {
    let check = |template: &str, expected: &str| {
        assert_eq!(told(ShownState::Rejected, 31, template), [expected], "{template}");
    };
    for bad in ["", "x", "ftp://a/?%d", "http://", "//a/%d", "javascript:%d"] {
        assert!(told(ShownState::Sent, 31, bad).is_empty(), "{bad}");
    }
    check("http://a/?x=%d?y=%d#%d", "http://a/?x=16?y=16");
    check("http://a/x&d=%d", "http://a/x&d=16");
    check("http://a/?p=%p&P=%P&q=%q", "http://a/?p=%2B4512345678&P=%2B4587654321&q=%2B4512345678");
    check("http://a/?A=%A&n=%n&o=%o&i=%i", "http://a/?A=NACK%2Fbarred&n=u&o=acc&i=waybill");
    check("http://a/?t=%t&T=%T", "http://a/?t=2026-11-22+04%3A27%3A51&T=1795321671");
    check("http://a/?x=%2F%%%Z%", "http://a/?x=%2F%25%Z%");
    check("http://a/æ {x}?%d", "http://a/%C3%A6%20%7Bx%7D?16");
    let text = &told(ShownState::Delivered, 31, "http://a/?%A")[0];
    let expected = "http://a/?id%3A00000000000000000000000001+sub%3A001+dlvrd%3A001+submit+\
        date%3A2611220427+done+date%3A2611220427+stat%3ADELIVRD+err%3A000+text%3A";
    assert_eq!(text, expected);
}

#[test]
fn a_template_makes_no_endless_url() {
    let url = format!("http://a/?{}", "%A".repeat(2_000));
    assert!(told(ShownState::Delivered, 31, &url).is_empty());
}

#[test]
fn another_kannel_hears_what_it_asks_for() {
    let url = "http://k:1/?username=u&password=p&dlr-url=http://a/?x=1#f&dlr-mask=%d&dlr-mid=7";
    assert!(told(ShownState::Sent, 31, url).is_empty());
    let found = &told(ShownState::Delivered, 31, url)[0];
    let head = "http://k:1/?username=u&password=p&dlr-url=http://a/?x=1%23f&dlr-mask=1&dlr-mid=7\
        &to=%2B4512345678&text=id%3A";
    assert!(found.starts_with(head), "{found}");
}

#[test]
fn inbound_messages_fill_the_apps_template() {
    let check = |text: &str, url: &str, expected: &str| {
        assert_eq!(handed(text, url), [expected], "{url}");
    };
    check(
        "a&to=1#%b 😀",
        "http://a/?from=%p&to=%P&text=%b",
        "http://a/?from=%2B4587654321&to=%2B4512345678&text=a%26to%3D1%23%25b+%F0%9F%98%80",
    );
    check("one two  three four", "http://a/?%k&%s&%r", "http://a/?one&two&three+four");
    check("one two", "http://a/?%s&%s&%r&%a", "http://a/?two&&&one+two");
    let usual = "from=%2B4587654321&to=%2B4512345678&text=x&ts=1795321671\
        &id=00000000000000000000000001&charset=UTF-8&coding=0&udh=";
    check("x", "http://a/in", &format!("http://a/in?{usual}"));
    check("x", "http://a/in?k=1", &format!("http://a/in?k=1&{usual}"));
    let message = shown(ShownState::Received, SmsBody::Binary(vec![0, 0xff]));
    let url = "http://a/?%b&%c&%C";
    let requests = KannelPort.inbound(&message, url, &accounts(), Timestamp::EPOCH);
    assert_eq!(requests[0].uri().to_string(), "http://a/?%00%FF&1&8-BIT");
}

#[test]
fn only_a_text_is_a_reply() {
    let check = |status: u16, kind: &str, body: &str, expected: Option<Vec<&str>>| {
        let response = Response::builder().status(status).header("content-type", kind);
        let response = response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let reply =
            |text: &str| SmsReply { to: None, from: None, text: text.into(), status_url: None };
        let expected = match expected {
            Some(texts) => {
                Acknowledgement::Taken { replies: texts.into_iter().map(reply).collect() }
            }
            None => Acknowledgement::NotTaken,
        };
        let found = KannelPort.acknowledged(&response, CallbackKind::Inbound);
        assert_eq!(found, expected, "{status} {kind} {body}");
    };
    check(500, "text/plain", "Hej", None);
    check(302, "text/plain", "Hej", None);
    check(202, "text/html", "Authorization failed for sendsms", None);
    check(202, "text/html", "Not accepted", None);
    for silent in ["", " \r\n", "ACK", "ok", "Sent.", "0: Accepted for delivery"] {
        check(202, "text/plain", silent, Some(vec![]));
    }
    check(204, "text/plain", "Hej", Some(vec![]));
    check(200, "application/json", "{}", Some(vec![]));
    check(200, "text/plain; charset=utf-8", "Hæ\n", Some(vec!["Hæ"]));
    check(200, "text/html", "<p>Tak &amp; hej</p>", Some(vec!["Tak & hej"]));
    let response = Response::new(Bytes::from_static(b"Hej"));
    let receipt = KannelPort.acknowledged(&response, CallbackKind::Receipt);
    assert_eq!(receipt, Acknowledgement::Taken { replies: Vec::new() });
}

proptest! {
    #[test]
    fn no_text_changes_the_url_it_is_written_into(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
        let url = &handed(&text, "http://a/?first=%p&text=%b&last=%P")[0];
        let fields = Fields::parse(url.split_once('?').unwrap().1.as_bytes());
        prop_assert_eq!(fields.iter().count(), 3);
        prop_assert_eq!(fields.get("text").unwrap(), text);
        prop_assert_eq!(fields.get("last").unwrap(), "+4512345678");
    }

    #[test]
    fn no_request_makes_it_panic(
        query in "[a-z0-9%&=+-]{0,80}",
        kind in prop::sample::select(vec!["text/xml", "application/json", "text/html", "text/plain"]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let request = Request::post(format!("/?{query}")).header("content-type", kind);
        let request = request.body(Bytes::from(body)).unwrap();
        let _ = KannelPort.read(&request);
        let _ = KannelPort.verify(&request, &accounts(), Timestamp::EPOCH);
        let _ = KannelPort.masked(&request);
    }
}
