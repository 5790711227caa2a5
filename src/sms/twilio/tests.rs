//! The dialect from request to response, as the vendor's libraries write the one and read the other.

use std::time::Duration;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{
    Destination, Direction, FailureReason, MessageId, Originator, Secret, Sequence, Sms, SmsBody,
};
use crate::sms::account::{CallbackUrls, TwilioAccount};
use crate::sms::call::{Format, Handle, ListQuery, Operation, Probe, Refusal, SendAt, ShownState};

pub(super) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const MG: &str = "MG0123456789abcdef0123456789abcdef";
const SID: &str = "SM000000000000000000000000000000ff";
const TOKEN: &str = "s3cret:token";

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_321_671_000 + seconds * 1_000)
}

pub(super) fn account() -> TwilioAccount {
    TwilioAccount {
        account_sid: ACCOUNT.into(),
        auth_token: Secret::new(TOKEN.into()),
        callbacks: CallbackUrls::default(),
    }
}

pub(super) fn accounts() -> SmsAccounts {
    SmsAccounts { twilio: Some(account()), ..SmsAccounts::default() }
}

pub(super) fn sms(from: Option<&str>, to: &str, text: &str) -> Sms {
    Sms {
        originator: from.map(|from| Originator::parse(from).unwrap()),
        segments: 2,
        dialect: Dialect::Twilio,
        account: Some(ACCOUNT.into()),
        ..Sms::new(Destination::parse(to).unwrap(), SmsBody::Text(text.into()))
    }
}

pub(super) fn shown(state: ShownState) -> Shown {
    Shown {
        id: MessageId::from_u128(255),
        sequence: Sequence(7),
        direction: Direction::Outbound,
        sms: sms(Some("Example"), "+4512345678", "Hej æ"),
        state,
        failure: None,
        provider_code: None,
        accepted_at: at(0),
        updated_at: at(60),
        sent_at: None,
        done_at: None,
        parts: Vec::new(),
    }
}

fn basic_of(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    let uri = format!("/2010-04-01/Accounts/{ACCOUNT}{path}");
    let builder = Request::builder().method(method).uri(uri);
    let media = "application/x-www-form-urlencoded";
    let builder = builder
        .header("Host", "127.0.0.1:8026")
        .header("Content-Type", media)
        .header("Authorization", basic_of(ACCOUNT, TOKEN));
    builder.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn read(method: &str, path: &str, body: &str) -> Call {
    TwilioPort.read(&request(method, path, body)).unwrap()
}

fn refused(method: &str, path: &str, body: &str) -> (u16, u64) {
    let response = TwilioPort.read(&request(method, path, body)).unwrap_err();
    let view: Value = serde_json::from_slice(response.body()).unwrap();
    (response.status().as_u16(), view["code"].as_u64().unwrap())
}

fn json(answer: &Answer<'_>) -> Value {
    let response = TwilioPort.answer(&read("GET", "/Messages.json", ""), answer);
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn paths_of_others_are_left_to_them() {
    for other in ["/", "/2010-04-01x/Accounts", "/sms/json", "/v1/sms", "/2010"] {
        let request = Request::get(other).body(Bytes::new()).unwrap();
        assert!(!TwilioPort.recognises(&request), "{other}");
    }
    assert!(TwilioPort.recognises(&request("GET", "/Messages.json", "")));
}

#[test]
fn unknown_paths_and_methods_are_told_in_our_words() {
    for path in ["/Calls.json", "/Messages/a/b/c.json", "/Messages/x/Media.json", "/.json"] {
        assert_eq!(refused("GET", path, ""), (404, 20404), "{path}");
    }
    assert_eq!(refused("PUT", "/Messages.json", ""), (405, 20004));
    assert_eq!(refused("DELETE", "/Messages.json", ""), (405, 20004));
    assert_eq!(refused("POST", "/Balance.json", ""), (405, 20004));
    let message = format!("/Messages/{SID}.json");
    assert_eq!(refused("POST", &message, ""), (400, 20001));
    assert_eq!(refused("POST", &message, "Status=sent"), (400, 20001));
    assert_eq!(refused("POST", &message, "Body=other"), (400, 20001));
    for query in ["PageSize=x", "Page=-1", "PageToken=PAx", "DateSent=soon", "DateSent%3E=x"] {
        assert_eq!(refused("GET", &format!("/Messages.json?{query}"), ""), (400, 20001), "{query}");
    }
    for uri in ["/2010-04-01", "/2010-04-01/Accounts.json", "/2010-04-01/Accounts/a%2Fb.json"] {
        let request = Request::get(uri).body(Bytes::new()).unwrap();
        assert_eq!(TwilioPort.read(&request).unwrap_err().status(), 404, "{uri}");
    }
}

#[test]
fn the_libraries_own_bytes_are_read() {
    let draft = |body: &str| match read("POST", "/Messages.json", body).operation {
        Operation::Submit(Ok(drafts)) => drafts.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    };
    let python = draft(
        "To=%2B4512345678&StatusCallback=https%3A%2F%2Fa.example%2Fs%3Fx%3D1&From=Example&Body=Hej+%C3%A6",
    );
    let node = draft(
        "To=%2B4512345678&StatusCallback=https%3A%2F%2Fa.example%2Fs%3Fx%3D1&From=Example&Body=Hej%20%C3%A6",
    );
    assert_eq!(python, node);
    assert_eq!(python.to, "+4512345678");
    assert_eq!(python.body, SmsBody::Text("Hej æ".into()));
    assert_eq!(python.receipt.unwrap().url, "https://a.example/s?x=1");
    let later = draft(&format!(
        "To=%2B4512345678&Body=x&ScheduleType=fixed&SendAt=2026-12-01T10%3A00%3A00Z&MessagingServiceSid={MG}"
    ));
    assert_eq!(later.from.as_deref(), Some(MG));
    assert!(matches!(later.send_at, Some(SendAt::Between { least, most, .. })
        if least == Duration::from_secs(900) && most == Duration::from_secs(35 * 86_400)));
}

#[test]
fn what_is_wanted_is_read_from_path_and_method() {
    let id = MessageId::from_u128(255);
    let check = |method: &str, path: &str, body: &str, expected: &str| {
        let call = read(method, path, body);
        assert_eq!(call.account.as_deref(), Some(ACCOUNT));
        assert_eq!(format!("{:?}", call.operation), expected, "{method} {path}");
    };
    let message = format!("/Messages/{SID}.json");
    let handle = format!("({:?})", Handle::Message(id));
    check("GET", "/Messages/nothing.json", "", "Fetch(Unknown)");
    check("GET", &message, "", &format!("Fetch{handle}"));
    check("GET", &format!("/SMS/Messages/{SID}"), "", &format!("Fetch{handle}"));
    check("POST", &message, "Status=canceled", &format!("Cancel{handle}"));
    check("POST", &message, "Body=", &format!("Redact{handle}"));
    check("DELETE", &message, "", &format!("Delete{handle}"));
    check("GET", ".json", "", &format!("Probe({:?})", Probe::Account));
    check("GET", "/Balance.json", "", &format!("Probe({:?})", Probe::Balance));
    check("GET", "/IncomingPhoneNumbers.json", "", &format!("Probe({:?})", Probe::Numbers));
    check("POST", "/Messages.json", "", "Submit(Err(NoDestination))");
    assert_eq!(read("GET", "/Messages.json", "").format, Format::Json);
    assert_eq!(read("GET", "/Messages", "").format, Format::Xml);
    let mut keyed = request("POST", "/Messages.json", "To=1");
    keyed.headers_mut().insert("Idempotency-Key", "k-1".parse().unwrap());
    assert_eq!(TwilioPort.read(&keyed).unwrap().idempotency_key.as_deref(), Some("k-1"));
}

#[test]
fn lists_are_asked_for_with_filters() {
    let of = |query: &str| match read("GET", &format!("/Messages.json?{query}"), "").operation {
        Operation::List(query) => query,
        other => panic!("{other:?}"),
    };
    let base = ListQuery { page_size: 50, ..ListQuery::default() };
    assert_eq!(of(""), base);
    assert_eq!(of("PageSize=0").page_size, 1);
    assert_eq!(of("PageSize=5000").page_size, 1_000);
    let found = of(&format!("To=%2B4512345678&From=4587654321&Page=3&PageToken=PA{SID}"));
    assert_eq!(found.to.as_deref(), Some("+4512345678"));
    assert_eq!(found.from.as_deref(), Some("+4587654321"));
    assert_eq!((found.page, found.after), (3, Some(MessageId::from_u128(255))));
    let day = of("DateSent=2026-11-22T10:00:00Z");
    assert_eq!(day.since.unwrap().to_string(), "2026-11-22T00:00:00.000Z");
    assert_eq!(day.until.unwrap().to_string(), "2026-11-22T23:59:59.999Z");
    let range = of("DateSent%3E=2026-11-01&DateSent%3C=2026-11-02");
    assert_eq!(range.since.unwrap().to_string(), "2026-11-01T00:00:00.000Z");
    assert_eq!(range.until.unwrap().to_string(), "2026-11-02T00:00:00.000Z");
}

#[test]
fn only_the_accounts_own_pair_proves_it() {
    let check = |user: &str, password: &str, expected: Verdict| {
        let mut request = request("GET", "/Messages.json", "");
        request.headers_mut().insert("authorization", basic_of(user, password).parse().unwrap());
        let found = TwilioPort.verify(&request, &accounts(), at(0));
        assert_eq!(found, expected, "{user}:{password}");
    };
    check(ACCOUNT, "", Verdict::WrongSecret);
    check(ACCOUNT, "s3cret:toke", Verdict::WrongSecret);
    check("SK1", "wrong", Verdict::WrongSecret);
    check("AC1", TOKEN, Verdict::Stranger);
    check("", TOKEN, Verdict::Stranger);
    check(ACCOUNT, TOKEN, Verdict::Proven);
    check("SK0123456789abcdef0123456789abcdef", TOKEN, Verdict::Proven);

    let verify = |request: &Request<Bytes>| TwilioPort.verify(request, &accounts(), at(0));
    let mut bare = request("GET", "/Messages.json", "");
    bare.headers_mut().remove("authorization");
    assert_eq!(verify(&bare), Verdict::Stranger);
    for bad in ["Basic", "Basic !", "Basic YWJj", "Bearer x", "Basic\tYTpi"] {
        bare.headers_mut().insert("authorization", bad.parse().unwrap());
        assert_eq!(verify(&bare), Verdict::Stranger, "{bad}");
    }
    let mut twice = request("GET", "/Messages.json", "");
    twice.headers_mut().append("authorization", basic_of("x", "y").parse().unwrap());
    assert_eq!(verify(&twice), Verdict::Stranger);
    let mut other = request("GET", "/Messages.json", "");
    *other.uri_mut() = "/2010-04-01/Accounts/AC1/Messages.json".parse().unwrap();
    assert_eq!(verify(&other), Verdict::Stranger);
    let none = TwilioPort.verify(&request("GET", ".json", ""), &SmsAccounts::default(), at(0));
    assert_eq!(none, Verdict::Stranger);
}

#[test]
fn the_archive_sees_no_secret() {
    let masked = TwilioPort.masked(&request("POST", "/Messages.json?a=1", "To=1&Body=x"));
    let expected = format!(
        "POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json?a=1 HTTP/1.1\r\nhost: 127.0.0.1:8026\r\n\
         content-type: application/x-www-form-urlencoded\r\nauthorization: Basic ***\r\n\r\nTo=1&Body=x"
    );
    assert_eq!(std::str::from_utf8(&masked).unwrap(), expected);
}

#[test]
fn a_message_has_all_keys_in_their_types() {
    let one = [shown(ShownState::Queued)];
    let view = json(&Answer::Found(&one));
    let expected = serde_json::json!({
        "account_sid": ACCOUNT, "api_version": "2010-04-01", "body": "Hej æ",
        "date_created": "Sun, 22 Nov 2026 04:27:51 +0000", "date_sent": null,
        "date_updated": "Sun, 22 Nov 2026 04:28:51 +0000", "direction": "outbound-api",
        "error_code": null, "error_message": null, "from": "Example",
        "messaging_service_sid": null, "num_media": "0", "num_segments": "2", "price": null,
        "price_unit": null, "sid": SID, "status": "queued",
        "subresource_uris": {
            "media": format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}/Media.json")
        },
        "to": "+4512345678",
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json"),
    });
    assert_eq!(view, expected);
}

#[test]
fn a_new_message_is_queued_accepted_or_scheduled() {
    let check = |shown: Shown, status: &str, segments: &str| {
        let one = [shown];
        let call = read("POST", "/Messages.json", "");
        let response = TwilioPort.answer(&call, &Answer::Submitted(&one));
        assert_eq!(response.status(), 201);
        let view: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            (view["status"].as_str(), view["num_segments"].as_str()),
            (Some(status), Some(segments))
        );
    };
    check(shown(ShownState::Held), "queued", "2");
    check(shown(ShownState::Queued), "queued", "2");
    check(shown(ShownState::NotSent), "queued", "2");
    check(shown(ShownState::Scheduled), "scheduled", "2");
    let pool = |state| Shown { sms: sms(Some(MG), "+4512345678", "x"), ..shown(state) };
    check(pool(ShownState::Held), "accepted", "0");
    check(pool(ShownState::Scheduled), "scheduled", "0");
    let one = [pool(ShownState::Sent)];
    let view = json(&Answer::Found(&one));
    assert_eq!((view["messaging_service_sid"].as_str(), view["from"].as_str()), (Some(MG), None));
    assert_eq!(view["num_segments"], "2");
}

#[test]
fn every_state_has_its_word_and_code() {
    use FailureReason::{InvalidNumber, OptedOut, Unknown};
    use ShownState::*;
    for (state, failure, word, code) in [
        (Held, None, "queued", None),
        (Scheduled, None, "scheduled", None),
        (Queued, None, "queued", None),
        (Sending, None, "sending", None),
        (Sent, None, "sent", None),
        (Delivered, None, "delivered", None),
        (Undelivered, None, "undelivered", Some(30008)),
        (Undelivered, Some(InvalidNumber), "undelivered", Some(30005)),
        (Expired, None, "failed", Some(30036)),
        (Canceled, None, "canceled", None),
        (Stopped, None, "failed", Some(30004)),
        (Stopped, Some(OptedOut), "failed", Some(21610)),
        (Rejected, None, "failed", Some(30007)),
        (Rejected, Some(Unknown), "failed", Some(30007)),
        (NotSent, None, "failed", Some(21612)),
        (Received, None, "received", None),
    ] {
        let one = [Shown { failure, ..shown(state) }];
        let view = json(&Answer::Found(&one));
        assert_eq!(view["status"], word, "{state:?}");
        assert_eq!(view["error_code"].as_u64(), code, "{state:?}");
        assert_eq!(view["error_message"].is_null(), code.is_none(), "{state:?}");
    }
    let mut reply = shown(Sent);
    reply.sms.reply_to = Some(MessageId::from_u128(1));
    assert_eq!(json(&Answer::Redacted(&reply))["direction"], "outbound-reply");
    let inbound = [Shown { direction: Direction::Inbound, ..shown(Received) }];
    assert_eq!(json(&Answer::Canceled(&inbound))["direction"], "inbound");
}

#[test]
fn pages_lead_on_until_the_last_one() {
    let query = ListQuery {
        to: Some("+4512345678".into()),
        since: Some(at(0)),
        page_size: 2,
        page: 1,
        after: Some(MessageId::from_u128(254)),
        ..ListQuery::default()
    };
    let page = [shown(ShownState::Sent), shown(ShownState::Sent)];
    let next = Some(MessageId::from_u128(255));
    let view = json(&Answer::Listed { page: &page, query: &query, next });
    assert_eq!((view["start"].as_u64(), view["end"].as_u64()), (Some(2), Some(3)));
    assert_eq!((view["page"].as_u64(), view["page_size"].as_u64()), (Some(1), Some(2)));
    let uri = view["next_page_uri"].as_str().unwrap();
    let Operation::List(again) =
        TwilioPort.read(&Request::get(uri).body(Bytes::new()).unwrap()).unwrap().operation
    else {
        panic!("{uri}")
    };
    assert_eq!(again, ListQuery { page: 2, after: next, ..query.clone() });
    let last = json(&Answer::Listed { page: &[], query: &query, next: None });
    assert!(last["next_page_uri"].is_null());
    assert_eq!(last["messages"].as_array().unwrap().len(), 0);
}

#[test]
fn probes_and_deletions_are_answered() {
    let deleted = TwilioPort.answer(&read("GET", ".json", ""), &Answer::Deleted);
    assert_eq!((deleted.status().as_u16(), deleted.body().len()), (204, 0));
    assert_eq!(json(&Answer::Probed(Probe::Account))["sid"], ACCOUNT);
    assert_eq!(json(&Answer::Probed(Probe::Balance))["account_sid"], ACCOUNT);
    let numbers = json(&Answer::Probed(Probe::Numbers));
    assert_eq!(numbers["incoming_phone_numbers"].as_array().unwrap().len(), 0);
    assert_eq!(json(&Answer::Refused(&Refusal::NoBody))["code"], 21602);
    assert_eq!(json(&Answer::Found(&[]))["code"], 20404);
}

#[test]
fn without_json_in_the_path_the_answer_is_xml() {
    let mut message = shown(ShownState::Undelivered);
    message.sms.body = SmsBody::Text("<&\u{1}".into());
    let one = [message];
    let call = read("GET", &format!("/Messages/{SID}"), "");
    let text = |answer: &Answer<'_>| {
        let response = TwilioPort.answer(&call, answer);
        assert_eq!(response.headers()["content-type"], "application/xml");
        String::from_utf8(response.body().to_vec()).unwrap()
    };
    let found = text(&Answer::Found(&one));
    for part in [
        "<TwilioResponse><Message><AccountSid>AC",
        "<Body>&lt;&amp;\u{fffd}</Body>",
        "<ErrorCode>30008</ErrorCode>",
        "<Price/>",
        "<NumSegments>2</NumSegments>",
        &format!("<Uri>/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}</Uri>"),
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    let query = ListQuery { page_size: 1, ..ListQuery::default() };
    let list = text(&Answer::Listed { page: &one, query: &query, next: None });
    assert!(list.contains("<Messages end=\"0\" firstpageuri=\"/2010-04-01/"), "{list}");
    assert!(list.contains("nextpageuri=\"\" page=\"0\" pagesize=\"1\""), "{list}");
    assert!(list.contains("PageSize=1&amp;Page=0"), "{list}");
    assert!(text(&Answer::Probed(Probe::Numbers)).contains("</IncomingPhoneNumbers>"));
}

#[test]
fn both_sides_understand_each_other() {
    use crate::sms::provider::{Judgement, Outbound, Provider};
    let url = url::Url::parse("http://127.0.0.1:8026").unwrap();
    let upstream = TwilioUpstream { url, account: account() };
    for (from, text) in [("+4587654321", "a&Body=b\r\n\u{0}%00"), ("Ærø & co", "+"), (MG, "😀")]
    {
        let sms = sms(Some(from), "+4512345678", text);
        let outbound = Outbound {
            id: MessageId::from_u128(1),
            sms: &sms,
            valid_for: Some(Duration::from_secs(90)),
            status_url: Some("https://t.example/hooks/sms/status?message=1&proof=2"),
            now: at(0),
        };
        let request = upstream.request(&outbound).unwrap();
        assert_eq!(TwilioPort.verify(&request, &accounts(), at(0)), Verdict::Proven);
        let call = TwilioPort.read(&request).unwrap();
        let Operation::Submit(Ok(drafts)) = &call.operation else { panic!("{call:?}") };
        assert_eq!(drafts[0].to, "+4512345678");
        assert_eq!(drafts[0].from.as_deref(), Some(from));
        assert_eq!(drafts[0].body, SmsBody::Text(text.into()));
        assert_eq!(drafts[0].valid_for, outbound.valid_for);
        assert_eq!(drafts[0].receipt.as_ref().map(|r| r.url.as_str()), outbound.status_url);
        let one = [shown(ShownState::Queued)];
        let response = TwilioPort.answer(&call, &Answer::Submitted(&one));
        let expected = Judgement::Accepted { ids: vec![SID.into()], text: "201 queued".into() };
        assert_eq!(upstream.judge(&response), expected);
        let response = TwilioPort.answer(&call, &Answer::Refused(&Refusal::OptedOut("x".into())));
        let judged = upstream.judge(&response);
        assert!(matches!(judged, Judgement::Permanent { reason: FailureReason::OptedOut, .. }));
    }
}

proptest! {
    /// Whatever a stranger sends, there is an answer, and it is one that the libraries can read.
    #[test]
    fn strangers_get_an_answer_they_can_read(
        method in "GET|POST|DELETE|PUT",
        path in "(/Messages|/Balance|/SMS|/IncomingPhoneNumbers|/SM[0-9a-f]{32}|/[!-~&&[^?#<>\"`{}^|\\\\]]{0,9}){0,4}(\\.json)?",
        query in "((To|From|Body|DateSent|Page|PageSize|PageToken)(=|%3C=)?[!-~&&[^?#<>\"`{}^|\\\\]]{0,20}&?){0,4}",
        body in "(((To|From|Body|Status|SendAt|MediaUrl|StatusCallback|ValidityPeriod)=)|\\PC|[&%+\r\n]|%00|%c0%af){0,20}",
        is_json in any::<bool>(),
    ) {
        let uri = format!("/2010-04-01/Accounts/{ACCOUNT}{path}?{query}");
        let media = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
        let request = Request::builder().method(method.as_str()).uri(uri).header("Content-Type", media);
        let Ok(request) = request.body(Bytes::from(body)) else { return Ok(()) };
        TwilioPort.masked(&request);
        let response = match TwilioPort.read(&request) {
            Err(response) => *response,
            Ok(call) => TwilioPort.answer(&call, &Answer::Refused(&Refusal::Credentials)),
        };
        prop_assert!(response.status().is_client_error());
        if request.uri().path().ends_with(".json") {
            let view: Value = serde_json::from_slice(response.body()).unwrap();
            prop_assert_eq!(view["status"].as_u64(), Some(u64::from(response.status().as_u16())));
        }
    }

    /// Whatever an app answers, reading it ends, and bounds hold.
    #[test]
    fn answers_of_apps_are_bounded(
        body in "(<Response>|</Response>|<Message( to='a')?>|</Message>|<Body/?>|</Body>|<Sms/>|&amp;|&#65;|&x;|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<!DOCTYPE x>|<\\?xml|\\?>|\\PC){0,40}",
    ) {
        let length = body.len();
        let response = Response::new(Bytes::from(body));
        let Acknowledgement::Taken { replies } =
            TwilioPort.acknowledged(&response, CallbackKind::Inbound)
        else {
            panic!("2xx is an acknowledgement")
        };
        prop_assert!(replies.iter().map(|reply| reply.text.len()).sum::<usize>() <= length);
    }
}
