//! The Vonage dialect as a whole: who is let in, what is read, what goes back.

use bytes::Bytes;
use http::{Request, header};

use super::*;
use crate::model::{
    Destination, Direction, Msisdn, Originator, ReceiptState, Secret, Sequence, Sms, SmsBody,
};
use crate::sms::account::{CallbackUrls, SignatureMethod, VonageAccount, VonageSignature};
use crate::sms::call::{Draft, Refusal, ShownState};
use crate::sms::provider::{Callback, Judgement, Outbound, Provider};

/// A call to send, accepted in this form.
pub(super) fn call(format: Format) -> Call {
    Call {
        operation: Operation::Submit(Ok(Vec::new())),
        format,
        account: None,
        idempotency_key: None,
    }
}

/// A delivered message of one segment.
pub(super) fn shown() -> Shown {
    let sms = Sms {
        originator: Some(Originator::Alphanumeric("Example".into())),
        dialect: Dialect::Vonage,
        account: Some("abcd1234".into()),
        ..Sms::new(
            Destination::Number(Msisdn::from_digits("4512345678").unwrap()),
            SmsBody::Text("Hej".into()),
        )
    };
    Shown {
        id: MessageId::from_u128((7 << 64) | 0xab),
        sequence: Sequence(1),
        direction: Direction::Outbound,
        sms,
        state: ShownState::Delivered,
        failure: None,
        provider_code: None,
        accepted_at: Timestamp::from_millis(1_795_321_671_000),
        updated_at: Timestamp::from_millis(1_795_321_671_000),
        sent_at: None,
        done_at: None,
        parts: Vec::new(),
    }
}

/// An app whose Vonage account is `abcd1234`, `secret`.
pub(super) fn accounts(signature: Option<VonageSignature>) -> SmsAccounts {
    let account = VonageAccount {
        api_key: "abcd1234".into(),
        api_secret: Secret::new("secret".into()),
        signature,
        callbacks: CallbackUrls::default(),
    };
    SmsAccounts { vonage: Some(account), ..SmsAccounts::default() }
}

const FORM: &str = "application/x-www-form-urlencoded";
const NOW: i64 = 1_795_321_671_000;
/// `abcd1234:secret`
const BASIC: &str = "Basic YWJjZDEyMzQ6c2VjcmV0";

fn request(uri: &str, kind: &str, body: &str) -> Request<Bytes> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Request::post(uri).header(header::CONTENT_TYPE, kind).body(body).unwrap()
}

fn get(uri: &str) -> Request<Bytes> {
    Request::get(uri).body(Bytes::new()).unwrap()
}

fn basic(value: &str) -> Request<Bytes> {
    let request = Request::post("/sms/json").header(header::AUTHORIZATION, value);
    request.body(Bytes::new()).unwrap()
}

fn verified(request: &Request<Bytes>) -> Verdict {
    let signature = super::signature::tests::account(SignatureMethod::Md5Hash);
    let accounts = accounts(Some(signature));
    VonagePort.verify(request, &accounts, Timestamp::from_millis(NOW))
}

#[test]
fn who_names_nobody_or_another_is_a_stranger() {
    for uri in [
        "/sms/json",
        "/sms/json?api_secret=secret",
        "/sms/json?api_key=&api_secret=secret",
        "/sms/json?api_key=ABCD1234&api_secret=secret",
        "/sms/json?api_key=abcd12345&api_secret=secret",
        "/sms/json?api_key=x&sig=00",
    ] {
        assert_eq!(verified(&get(uri)), Verdict::Stranger, "{uri}");
    }
    assert_eq!(verified(&basic("Basic eDpzZWNyZXQ=")), Verdict::Stranger);
    assert_eq!(verified(&basic("Bearer abcd1234")), Verdict::Stranger);
    let nobody = SmsAccounts::default();
    let now = Timestamp::from_millis(NOW);
    assert_eq!(VonagePort.verify(&basic(BASIC), &nobody, now), Verdict::Stranger);
}

#[test]
fn wrong_secrets_and_signatures_are_told_apart() {
    for uri in [
        "/sms/json?api_key=abcd1234",
        "/sms/json?api_key=abcd1234&api_secret=",
        "/sms/json?api_key=abcd1234&api_secret=Secret",
        "/sms/json?api_key=abcd1234&api_secret=secret2",
        "/sms/json?api_key=abcd1234&api_secret=secret&api_secret=x",
    ] {
        assert_eq!(verified(&get(uri)), Verdict::WrongSecret, "{uri}");
    }
    assert_eq!(verified(&basic("Basic YWJjZDEyMzQ6")), Verdict::WrongSecret);
    let uri = "/sms/json?api_key=abcd1234&api_secret=secret&timestamp=1795321671&sig=00";
    assert_eq!(verified(&get(uri)), Verdict::WrongSignature, "a signature is not passed over");
    let without = accounts(None);
    let now = Timestamp::from_millis(NOW);
    assert_eq!(VonagePort.verify(&get(uri), &without, now), Verdict::WrongSignature);
}

#[test]
fn every_way_to_prove_an_account_is_taken() {
    let fields = "api_key=abcd1234&api_secret=secret";
    let json = r#"{"api_key":"abcd1234","api_secret":"secret","to":45}"#;
    for request in [
        get(&format!("/sms/json?{fields}")),
        request("/sms/json", FORM, fields),
        request(&format!("/sms/xml?{fields}"), FORM, ""),
        request("/sms/json", "application/json", json),
        request("/sms/json?api_key=abcd1234", FORM, "api_secret=secret"),
        basic(BASIC),
        get(&format!("/account/get-balance?{fields}")),
    ] {
        assert_eq!(verified(&request), Verdict::Proven, "{request:?}");
    }
    // md5("&api_key=abcd1234&text=a_b&timestamp=1795321671sigsecret")
    let sig = "0d54d5aaa15196c0754703f6d01330f2";
    let uri = format!("/sms/json?text=a%26b&api_key=abcd1234&timestamp=1795321671&sig={sig}");
    assert_eq!(verified(&get(&uri)), Verdict::Proven);
}

#[test]
fn other_paths_and_methods_are_no_calls() {
    for uri in ["/", "/sms", "/sms/json/", "/sms/jsonp", "/SMS/JSON", "/account/get-balance/1"] {
        assert!(!VonagePort.recognises(&get(uri)), "{uri}");
        let response = VonagePort.read(&get(uri)).unwrap_err();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{uri}");
    }
    let delete = Request::delete("/sms/json").body(Bytes::new()).unwrap();
    assert!(!VonagePort.recognises(&delete));
    assert_eq!(VonagePort.read(&delete).unwrap_err().status(), StatusCode::METHOD_NOT_ALLOWED);
    for uri in ["/sms/json?a=b", "/sms/xml", "/account/get-balance"] {
        assert!(VonagePort.recognises(&get(uri)), "{uri}");
        assert!(VonagePort.recognises(&request(uri, FORM, "")), "{uri}");
    }
}

fn submitted(request: &Request<Bytes>) -> Result<Draft, Refusal> {
    match VonagePort.read(request).unwrap().operation {
        Operation::Submit(Ok(mut drafts)) => {
            assert_eq!(drafts.len(), 1);
            Ok(drafts.remove(0))
        }
        Operation::Submit(Err(refusal)) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_body_that_can_not_be_read_is_said_to_be_so() {
    for body in ["{", "[]", r#"{"to":{"a":1}}"#] {
        let found = submitted(&request("/sms/json?to=45", "application/json", body));
        assert!(matches!(found, Err(Refusal::Malformed(_))), "{body}");
    }
    let mut broken = request("/sms/json", "application/json", "{");
    broken.headers_mut().insert(header::AUTHORIZATION, BASIC.parse().unwrap());
    assert_eq!(verified(&broken), Verdict::Proven);
}

/// The requests of the vendor's own libraries, as they were captured.
#[test]
fn the_requests_of_the_libraries_mean_the_same() {
    let python = "to=4512345678&from=Example&text=Hej+%C3%A6";
    let node = r#"{"from":"Example","text":"Hej æ","to":"4512345678"}"#;
    let old_node =
        "/sms/json?from=Example&to=4512345678&text=Hej%20%C3%A6&api_key=abcd1234&api_secret=secret";
    let old_python =
        "from=Example&to=4512345678&text=Hej+%C3%A6&api_key=abcd1234&api_secret=secret";
    let drafts: Vec<_> = [
        request("/sms/json", FORM, python),
        request("/sms/json", "application/json", node),
        request(old_node, FORM, ""),
        request("/sms/json", FORM, old_python),
        get(&format!("/sms/xml?{old_python}")),
    ]
    .iter()
    .map(|request| submitted(request).unwrap())
    .collect();
    assert!(drafts.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(drafts[0].body, SmsBody::Text("Hej æ".into()));
    let call = VonagePort.read(&request(old_node, FORM, "")).unwrap();
    assert_eq!((call.account.as_deref(), call.format), (Some("abcd1234"), Format::Json));
    assert_eq!(VonagePort.read(&get("/sms/xml")).unwrap().format, Format::Xml);
}

#[test]
fn ids_of_parts_are_never_shared() {
    let mut seen = std::collections::HashSet::new();
    for low in [0_u128, 1, 0x11, 0xab, u128::from(u64::MAX)] {
        for total in [1, 2, 11, 255] {
            for part in 1..=total {
                seen.insert((low, part_id(MessageId::from_u128((9 << 64) | low), part, total)));
            }
        }
    }
    let ids: std::collections::HashSet<_> = seen.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(ids.len(), seen.len());
}

proptest::proptest! {
    /// Whatever a field holds, the others stay as they are, in every form of request.
    #[test]
    fn no_value_changes_another_field(text in ".{1,40}", reference in "[^\\p{Cc}]{1,40}") {
        proptest::prop_assume!(!text.contains('\0'));
        let mut fields = crate::sms::form::Fields::default();
        let mut json = serde_json::Map::new();
        for (name, value) in [("from", "Example"), ("to", "4512345678"), ("text", &text), ("client-ref", &reference)] {
            fields.push(name, value);
            json.insert(name.to_owned(), value.into());
        }
        let form = fields.encode();
        let json = serde_json::Value::Object(json).to_string();
        for request in [
            get(&format!("/sms/json?{form}")),
            request("/sms/json", FORM, &form),
            request("/sms/xml", "application/json", &json),
        ] {
            let draft = submitted(&request).unwrap();
            proptest::prop_assert_eq!(&draft.to, "4512345678");
            proptest::prop_assert_eq!(draft.from.as_deref(), Some("Example"));
            proptest::prop_assert_eq!(draft.body, SmsBody::Text(text.clone()));
            proptest::prop_assert_eq!(draft.client_reference.as_deref(), Some(reference.as_str()));
            proptest::prop_assert_eq!(draft.receipt, None);
        }
    }

    /// Anything at all is answered, and nothing of it proves an account.
    #[test]
    fn noise_is_survived(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200), json: bool) {
        let kind = if json { "application/json" } else { FORM };
        let request = Request::post("/sms/json").header(header::CONTENT_TYPE, kind);
        let request = request.body(Bytes::from(body)).unwrap();
        proptest::prop_assert!(VonagePort.read(&request).is_ok());
        proptest::prop_assert_ne!(verified(&request), Verdict::Proven);
        VonagePort.masked(&request);
    }
}

fn upstream(signature: Option<VonageSignature>) -> VonageUpstream {
    let account = accounts(signature).vonage.unwrap();
    VonageUpstream { url: "https://rest.example.com".parse().unwrap(), account }
}

fn signatures() -> Vec<Option<VonageSignature>> {
    let signed = super::signature::tests::METHODS.map(super::signature::tests::account).map(Some);
    signed.into_iter().chain([None]).collect()
}

/// As the provider's callback arrives at the public port.
fn callback(request: &Request<Bytes>, is_proven: bool) -> Callback<'_> {
    let peer = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let now = Timestamp::from_millis(NOW);
    Callback { request, public_url: "https://t.example", peer, is_proven, now }
}

#[test]
fn both_sides_understand_each_other() {
    for signature in signatures() {
        let (there, here) = (upstream(signature.clone()), accounts(signature.clone()));
        let message = shown();
        let now = Timestamp::from_millis(NOW);
        let status_url = "https://t.example/hooks/v/status?message=1&proof=2";
        let outbound = Outbound {
            id: message.id,
            sms: &message.sms,
            valid_for: None,
            status_url: Some(status_url),
            now,
        };
        let sent = there.request(&outbound).unwrap();
        assert_eq!(VonagePort.verify(&sent, &here, now), Verdict::Proven, "{signature:?}");
        let draft = submitted(&sent).unwrap();
        assert_eq!(draft.receipt.map(|receipt| receipt.url).as_deref(), Some(status_url));
        assert_eq!(draft.client_reference, Some(message.id.to_string()));

        let call = VonagePort.read(&sent).unwrap();
        let mut taken = message.clone();
        taken.sms.segments = 2;
        taken.sms.client_reference = draft.client_reference;
        let response = VonagePort.answer(&call, &Answer::Submitted(std::slice::from_ref(&taken)));
        let ids = vec!["00000000000000AB1".to_owned(), "00000000000000AB2".to_owned()];
        let text = "accepted in 2 parts".to_owned();
        assert_eq!(there.judge(&response), Judgement::Accepted { ids: ids.clone(), text });

        let notice = Notice { message: &taken, event: Sequence(3), at: now, now };
        let told = VonagePort.receipts(&notice, status_url, &here);
        let read = |request| there.status(&callback(request, signature.is_none())).unwrap();
        let receipts: Vec<_> = told.iter().flat_map(read).collect();
        assert_eq!(receipts.len(), 2);
        for (receipt, id) in receipts.iter().zip(ids) {
            assert_eq!(receipt.provider_id, Some(id));
            assert_eq!(receipt.message, Some(message.id));
            assert_eq!(receipt.state, ReceiptState::Delivered);
        }
    }
}

#[test]
fn an_inbound_message_is_handed_on_as_it_came() {
    for signature in signatures() {
        let mut message = shown();
        message.sms.originator = Originator::parse("+4587654321");
        message.sms.body = SmsBody::Text("Hej æ & ж\n😀".into());
        let now = Timestamp::from_millis(NOW);
        let url = "https://t.example/hooks/v/inbound?token=1";
        let told = VonagePort.inbound(&message, url, &accounts(signature.clone()), now);
        let there = upstream(signature.clone());
        let found = there.inbound(&callback(&told[0], signature.is_none())).unwrap();
        assert_eq!(Some(&found[0].originator), message.sms.originator.as_ref());
        assert_eq!(found[0].destination, message.sms.destination);
        assert_eq!(found[0].body, message.sms.body);
        assert_eq!(found[0].sent_at, Some(now));
    }
}

proptest::proptest! {
    /// Whatever a message says, the request to the provider has the same fields, each of them once.
    #[test]
    fn no_text_changes_the_request_to_the_provider(text in "(?s).{0,60}") {
        let mut message = shown();
        message.sms.body = SmsBody::Text(text.clone());
        let outbound = Outbound {
            id: message.id,
            sms: &message.sms,
            valid_for: None,
            status_url: None,
            now: Timestamp::from_millis(NOW),
        };
        let sent = upstream(None).request(&outbound).unwrap();
        let fields: Vec<_> = url::form_urlencoded::parse(sent.body()).into_owned().collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["api_key", "from", "to", "type", "text", "client-ref", "api_secret"];
        proptest::prop_assert_eq!(names, expected);
        proptest::prop_assert_eq!(&fields[4].1, &text);
        proptest::prop_assert_eq!(&fields[2].1, "4512345678");
    }
}

#[test]
fn no_proof_is_archived() {
    let request = Request::post("/sms/json?api%5Fsecret=hunter2&api_key=k&sig=hunter2")
        .header(header::AUTHORIZATION, "Basic aHVudGVyMg==")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(r#"{"API_SECRET":"hunter2","to":"45"}"#))
        .unwrap();
    let expected = "POST /sms/json?api%5Fsecret=***&api_key=k&sig=*** HTTP/1.1\r\n\
                    content-type: application/json\r\nauthorization: Basic ***\r\n\r\n\
                    {\"API_SECRET\":\"***\",\"to\":\"45\"}";
    assert_eq!(VonagePort.masked(&request), expected.as_bytes());
}
