//! What Vonage reports: delivery receipts and inbound messages, as GET query, POST form or POST JSON,
//! whichever the account is set to.
//!
//! With a signature secret every report must be signed and fresh. Without one a report counts only when
//! its URL holds a proof. A field of the URL itself, such as the proof, may be part of what was
//! signed or not. Vonage: "Delivery receipts", "Inbound SMS".

use super::super::account::VonageSignature;
use super::super::hex;
use super::super::number::{self, Country, NumberStyle};
use super::super::provider::{Callback, CallbackRefusal, Concatenation, Inbound, Receipt};
use super::given::Given;
use super::{codes, signature};
use crate::model::{MessageId, ReceiptState, SmsBody, Timestamp};

/// Fields of the URLs that we hand out.
const OUR_FIELDS: [&str; 3] = ["message", "proof", "token"];
/// Longest id, reference or code that is kept.
const MAX_WORD_BYTES: usize = 100;

/// Reads a delivery receipt.
pub(super) fn status(
    callback: &Callback<'_>,
    secret: Option<&VonageSignature>,
) -> Result<Vec<Receipt>, CallbackRefusal> {
    let Some(given) = open(callback, secret)? else { return Ok(Vec::new()) };
    let status = word(&given, "status").ok_or(CallbackRefusal::Malformed)?;
    let state = codes::state(&status);
    let code = word(&given, "err-code");
    let number = code.as_deref().and_then(|code| code.parse().ok());
    let is_failure = match state {
        ReceiptState::Underway | ReceiptState::Delivered => false,
        ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => true,
    };
    Ok(vec![Receipt {
        provider_id: word(&given, "messageId"),
        message: word(&given, "client-ref").and_then(|text| MessageId::parse(&text)),
        state,
        reason: is_failure.then(|| codes::reason(number)),
        code: code.or(Some(status)),
        at: time(&given),
    }])
}

/// Reads an inbound message.
pub(super) fn inbound(
    callback: &Callback<'_>,
    secret: Option<&VonageSignature>,
) -> Result<Vec<Inbound>, CallbackRefusal> {
    let Some(given) = open(callback, secret)? else { return Ok(Vec::new()) };
    let read = || {
        let style = NumberStyle::International;
        let (body, udh) = content(&given)?;
        Some(Inbound {
            provider_id: word(&given, "messageId")?,
            originator: number::originator(&given.text("msisdn")?, style, &Country::NONE)?,
            destination: number::destination(&given.text("to")?, style, &Country::NONE)?,
            body,
            udh,
            concatenation: concatenation(&given)?,
            sent_at: time(&given),
        })
    };
    read().map(|message| vec![message]).ok_or(CallbackRefusal::Malformed)
}

/// The fields of a callback whose origin is proven; `None` for a call without any, by which Vonage tries
/// a URL when it is set.
fn open(
    callback: &Callback<'_>,
    secret: Option<&VonageSignature>,
) -> Result<Option<Given>, CallbackRefusal> {
    let given = Given::of(callback.request);
    if given.trouble.is_some() {
        return Err(CallbackRefusal::Malformed);
    }
    if given.all().keys().all(|name| OUR_FIELDS.contains(&name.as_str())) {
        return Ok(None);
    }
    let is_genuine = match secret {
        Some(secret) => signature::verify(&given, &OUR_FIELDS, secret, callback.now),
        None => callback.is_proven,
    };
    if is_genuine { Ok(Some(given)) } else { Err(CallbackRefusal::Forged) }
}

/// A short field in printable ASCII.
fn word(given: &Given, name: &str) -> Option<String> {
    let text = given.text(name)?;
    let is_word = text.len() <= MAX_WORD_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
    is_word.then(|| text.into_owned())
}

fn content(given: &Given) -> Option<(SmsBody, Vec<u8>)> {
    let octets = |name| hex::octets(given.bytes(name).unwrap_or_default());
    if given.text("type").as_deref() == Some("binary") {
        return Some((SmsBody::Binary(octets("data")?), octets("udh")?));
    }
    // An empty message is one; a call without the field is none.
    let text = given.text("text").map(|text| text.into_owned()).unwrap_or_default();
    given.has("text").then_some((SmsBody::Text(text), Vec::new()))
}

/// `Some(None)` for a whole message; `None` for a part that does not say which one it is.
fn concatenation(given: &Given) -> Option<Option<Concatenation>> {
    if !given.is_yes("concat") {
        return Some(None);
    }
    let number = |name| given.text(name)?.trim().parse::<u16>().ok();
    let (part, total) = (number("concat-part")?, number("concat-total")?);
    if part == 0 || part > total || total > 255 {
        return None;
    }
    let reference = word(given, "concat-ref")?;
    Some(Some(Concatenation { reference, part, total }))
}

/// `message-timestamp` in UTC: `2026-11-22 04:27:51`; without one the minute of `scts`.
fn time(given: &Given) -> Option<Timestamp> {
    let read = |name, form| {
        let text = given.text(name)?;
        let civil = jiff::civil::DateTime::strptime(form, text.trim()).ok()?;
        let at = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Timestamp::from_millis(at.as_millisecond()))
    };
    read("message-timestamp", "%Y-%m-%d %H:%M:%S").or_else(|| read("scts", "%y%m%d%H%M"))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use http::{Request, header};

    use super::super::signature::tests::account;
    use super::*;
    use crate::model::FailureReason;
    use crate::sms::account::SignatureMethod;

    const NOW: i64 = 1_795_321_671_000;

    fn callback(request: &Request<Bytes>, is_proven: bool) -> Callback<'_> {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let now = Timestamp::from_millis(NOW);
        Callback { request, public_url: "https://t.example", peer, is_proven, now }
    }

    fn get(query: &str) -> Request<Bytes> {
        Request::get(format!("/hooks/v/status?{query}")).body(Bytes::new()).unwrap()
    }

    fn post(kind: &str, body: &str) -> Request<Bytes> {
        let request = Request::post("/hooks/v/status?message=1&proof=2");
        let body = Bytes::copy_from_slice(body.as_bytes());
        request.header(header::CONTENT_TYPE, kind).body(body).unwrap()
    }

    fn receipt(query: &str) -> Receipt {
        status(&callback(&get(query), true), None).unwrap().remove(0)
    }

    fn signed(query: &str) -> String {
        let request = get(query);
        let given = Given::of(&request);
        let fields = given.all().iter().map(|(name, value)| (name.as_str(), &value[..]));
        format!("{query}&sig={}", signature::sign(fields, &account(SignatureMethod::HmacSha256)))
    }

    #[test]
    fn what_nobody_proves_is_forged() {
        let secret = account(SignatureMethod::HmacSha256);
        let query = format!("messageId=1&status=delivered&timestamp={}", NOW / 1000);
        let of = |query: &str, is_proven, secret| {
            let found = status(&callback(&get(query), is_proven), secret).map(|found| found.len());
            let other = inbound(&callback(&get(query), is_proven), secret).map(|found| found.len());
            (found, other.err() == Some(CallbackRefusal::Forged))
        };
        let forged = (Err(CallbackRefusal::Forged), true);
        assert_eq!(of(&query, false, None), forged);
        assert_eq!(of(&signed(&query), false, None), forged);
        assert_eq!(of(&query, true, Some(&secret)), forged);
        assert_eq!(of(&format!("{query}&sig=00"), true, Some(&secret)), forged);
        let stale = format!("messageId=1&status=delivered&timestamp={}", NOW / 1000 - 301);
        assert_eq!(of(&signed(&stale), true, Some(&secret)), forged);
        let changed = signed(&query).replace("delivered", "failed");
        assert_eq!(of(&changed, true, Some(&secret)), forged);
        assert_eq!(of(&signed(&query), false, Some(&secret)), (Ok(1), false));
        let at_our_url = format!("message=1&proof=2&{}", signed(&query));
        assert_eq!(of(&at_our_url, false, Some(&secret)), (Ok(1), false));
    }

    #[test]
    fn what_can_not_be_read_is_malformed() {
        let malformed = |request: Request<Bytes>| {
            let callback = callback(&request, true);
            assert_eq!(status(&callback, None), Err(CallbackRefusal::Malformed), "{request:?}");
            assert_eq!(inbound(&callback, None), Err(CallbackRefusal::Malformed), "{request:?}");
        };
        malformed(get("messageId=1"));
        malformed(get("messageId=1&status="));
        malformed(get("messageId=1&status=a%0Ab"));
        malformed(post("application/json", "{"));
        malformed(post("application/json", r#"{"status":["delivered"]}"#));
        for query in [
            "msisdn=4512345678&to=1234&text=a",
            "messageId=1&to=1234&text=a",
            "messageId=1&msisdn=4512345678&text=a",
            "messageId=1&msisdn=4512345678&to=1234",
            "messageId=1&msisdn=4512345678&to=Example&text=a",
            "messageId=1&msisdn=45&to=1234&type=binary&data=0",
            "messageId=1&msisdn=4512345678&to=1234&text=a&concat=true",
            "messageId=1&msisdn=4512345678&to=1234&text=a&concat=true&concat-ref=1&concat-total=2&concat-part=3",
            "messageId=1&msisdn=4512345678&to=1234&text=a&concat=true&concat-ref=1&concat-total=2&concat-part=0",
        ] {
            let found = inbound(&callback(&get(query), true), None);
            assert_eq!(found, Err(CallbackRefusal::Malformed), "{query}");
        }
    }

    #[test]
    fn a_call_that_only_tries_the_url_changes_nothing() {
        let secret = account(SignatureMethod::HmacSha256);
        for request in [get(""), get("message=1&proof=2"), get("token=1")] {
            assert_eq!(status(&callback(&request, false), Some(&secret)), Ok(Vec::new()));
            assert_eq!(inbound(&callback(&request, false), None), Ok(Vec::new()));
        }
    }

    #[test]
    fn receipts_are_read_in_every_form() {
        let id = MessageId::from_u128(7 << 64);
        let fields = [
            ("msisdn", "4512345678"),
            ("to", "Example"),
            ("network-code", "23801"),
            ("messageId", "0A0000000123ABCD1"),
            ("price", "0.0333"),
            ("status", "failed"),
            ("scts", "2611220427"),
            ("err-code", "9"),
            ("api-key", "abcd1234"),
            ("client-ref", &id.to_string()),
            ("message-timestamp", "2026-11-22 04:27:51"),
        ];
        let expected = Receipt {
            provider_id: Some("0A0000000123ABCD1".into()),
            message: Some(id),
            state: ReceiptState::Undelivered,
            reason: Some(FailureReason::InvalidNumber),
            code: Some("9".into()),
            at: Some(Timestamp::from_millis(NOW)),
        };
        let mut form = crate::sms::form::Fields::default();
        let mut json = serde_json::Map::new();
        for (name, value) in fields {
            form.push(name, value);
            json.insert(name.into(), value.into());
        }
        json.insert("err-code".into(), 9.into());
        json.insert("nonce".into(), serde_json::Value::Null);
        let form = form.encode();
        for request in [
            get(&form),
            post("application/x-www-form-urlencoded", &form),
            post("application/json", &serde_json::Value::Object(json).to_string()),
        ] {
            let found = status(&callback(&request, true), None).unwrap();
            assert_eq!(found, std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn the_less_is_said_the_less_is_known() {
        let found = receipt("status=delivered&client-ref=mine&scts=2611220427");
        let at = Timestamp::from_millis(NOW - 51_000);
        let expected = Receipt {
            provider_id: None,
            message: None,
            state: ReceiptState::Delivered,
            reason: None,
            code: Some("delivered".into()),
            at: Some(at),
        };
        assert_eq!(found, expected);
        assert_eq!(receipt("status=expired").reason, Some(FailureReason::Unknown));
        assert_eq!(receipt("status=accepted&err-code=1").reason, None);
        assert_eq!(receipt("status=accepted&message-timestamp=soon").at, None);
    }

    #[test]
    fn inbound_messages_are_read() {
        let read = |query: &str| inbound(&callback(&get(query), true), None).unwrap().remove(0);
        let head = "msisdn=4512345678&to=4587654321&messageId=0B1&message-timestamp=2026-11-22+04%3A27%3A51";
        let message = read(&format!("{head}&text=Hej+%C3%A6&type=text&keyword=HEJ"));
        assert_eq!(message.originator.to_string(), "+4512345678");
        assert_eq!(message.destination.to_string(), "+4587654321");
        assert_eq!(message.body, SmsBody::Text("Hej æ".into()));
        assert_eq!((message.provider_id.as_str(), message.concatenation), ("0B1", None));
        assert_eq!(message.sent_at, Some(Timestamp::from_millis(NOW)));
        let part =
            read(&format!("{head}&text=a&concat=true&concat-ref=9&concat-total=3&concat-part=2"));
        let expected = Concatenation { reference: "9".into(), part: 2, total: 3 };
        assert_eq!(part.concatenation, Some(expected));
        assert_eq!(read(&format!("{head}&text=a&concat=false")).concatenation, None);
        let binary = read(&format!("{head}&type=binary&data=48656A&udh=0605040B8423F0"));
        assert_eq!(binary.body, SmsBody::Binary(b"Hej".to_vec()));
        assert_eq!(binary.udh.len(), 7);
        assert_eq!(read(&format!("{head}&text=")).body, SmsBody::Text(String::new()));
    }
}
