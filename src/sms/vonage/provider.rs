//! Vonage as a provider: the request that sends one SMS, and what the response means.
//!
//! A form to `/sms/json` with key and secret, or signed when the account has a signature. Our own id goes
//! along as `client-ref`, so that receipts name the message even where its URL got lost. The
//! response has one element for each segment. What was taken in part was sent and paid for: it is
//! accepted, never sent again.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;

use super::super::account::VonageAccount;
use super::super::form::Fields;
use super::super::hex;
use super::super::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, MAX_RETRY_AFTER, Outbound, Provider, Receipt,
    retry_after, words,
};
use super::super::response;
use super::{report, signature};
use crate::model::{Destination, FailureReason, Originator, SmsBody, SmsEncoding};

/// What `ttl` may be: 20 seconds to 7 days.
const TTL: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(604_800));
/// Longest id of theirs that is kept; theirs have 16 to 36 characters.
const MAX_ID_BYTES: usize = 100;

/// One upstream.
pub struct VonageUpstream {
    pub url: url::Url,
    pub account: VonageAccount,
}

impl Provider for VonageUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let mut fields = Fields::default();
        fields.push("api_key", &self.account.api_key);
        message_fields(outbound, &mut fields)?;
        match &self.account.signature {
            Some(secret) => {
                fields.push("timestamp", &(outbound.now.as_millis() / 1000).to_string());
                let sig = signature::sign(fields.iter(), secret);
                fields.push("sig", &sig);
            }
            None => fields.push("api_secret", self.account.api_secret.expose()),
        }
        let base = self.url.as_str().trim_end_matches('/');
        Request::post(format!("{base}/sms/json"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(fields.encode()))
            .map_err(|_| "the URL of the upstream is none".to_owned())
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        let judgement = match serde_json::from_slice::<Submitted>(response.body()) {
            Ok(submitted) if !submitted.messages.is_empty() => judge_elements(&submitted.messages),
            Ok(_) | Err(_) => return judge_status(response),
        };
        match judgement {
            // Something on the way says that it failed, the API that it took the message.
            Judgement::Accepted { text, .. } if !response.status().is_success() => {
                Judgement::Unclear { text: format!("HTTP {}: {text}", response.status()) }
            }
            judgement => judgement,
        }
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        report::status(callback, self.account.signature.as_ref())
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        report::inbound(callback, self.account.signature.as_ref())
    }

    fn taken(&self) -> Response<Bytes> {
        response::empty(StatusCode::OK)
    }
}

fn message_fields(outbound: &Outbound<'_>, fields: &mut Fields) -> Result<(), String> {
    let sms = outbound.sms;
    match &sms.originator {
        Some(Originator::Number(number)) => fields.push("from", number.digits()),
        Some(Originator::ShortCode(text) | Originator::Alphanumeric(text)) => {
            fields.push("from", text);
        }
        Some(Originator::Service(_) | Originator::Opaque(_)) => {
            return Err("Vonage takes numbers, short codes and names as originators".into());
        }
        None => return Err("Vonage does not pick an originator itself".into()),
    }
    match &sms.destination {
        Destination::Number(number) => fields.push("to", number.digits()),
        Destination::ShortCode(code) => fields.push("to", code),
        Destination::Opaque(_) => return Err("Vonage takes numbers as destinations".into()),
    }
    match &sms.body {
        SmsBody::Text(_) if !sms.udh.is_empty() => {
            return Err("Vonage takes a user data header with binary messages only".into());
        }
        SmsBody::Text(text) => {
            let is_unicode = sms.encoding == SmsEncoding::Ucs2;
            fields.push("type", if is_unicode { "unicode" } else { "text" });
            fields.push("text", text);
        }
        SmsBody::Binary(bytes) => {
            fields.push("type", "binary");
            fields.push("body", &hex::digits(bytes));
            fields.push("udh", &hex::digits(&sms.udh));
        }
    }
    if let Some(class) = sms.class {
        fields.push("message-class", &class.to_string());
    }
    if let Some(left) = outbound.valid_for {
        fields.push("ttl", &left.clamp(TTL.0, TTL.1).as_millis().to_string());
    }
    fields.push("client-ref", &outbound.id.to_string());
    if let Some(url) = outbound.status_url {
        fields.push("status-report-req", "1");
        fields.push("callback", url);
    }
    Ok(())
}

/// The response to `/sms/json`.
#[derive(Deserialize)]
struct Submitted {
    messages: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    status: Status,
    #[serde(rename = "message-id")]
    id: Option<String>,
    #[serde(rename = "error-text")]
    error: Option<String>,
}

/// A number, which the API writes as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Text(String),
    Number(u64),
}

impl Status {
    fn number(&self) -> Option<u64> {
        match self {
            Status::Text(text) => text.trim().parse().ok(),
            Status::Number(number) => Some(*number),
        }
    }
}

fn judge_elements(elements: &[Element]) -> Judgement {
    let is_taken = |element: &&Element| element.status.number() == Some(0);
    let taken = elements.iter().filter(is_taken).count();
    let Some(refused) = elements.iter().find(|element| !is_taken(element)) else {
        return Judgement::Accepted { ids: ids(elements), text: parts_taken(taken) };
    };
    let text = words(&format!(
        "status {}: {}",
        refused.status.number().map_or_else(|| "?".to_owned(), |number| number.to_string()),
        refused.error.as_deref().unwrap_or("no text")
    ));
    if taken > 0 {
        let text = format!("{taken} of {} parts accepted; {text}", elements.len());
        return Judgement::Accepted { ids: ids(elements), text };
    }
    judge_number(refused.status.number(), text)
}

fn parts_taken(parts: usize) -> String {
    if parts == 1 { "accepted".into() } else { format!("accepted in {parts} parts") }
}

fn ids(elements: &[Element]) -> Vec<String> {
    let is_id = |id: &&String| {
        !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic())
    };
    elements.iter().filter_map(|element| element.id.as_ref()).filter(is_id).cloned().collect()
}

/// What a status means that is not 0, when nothing was taken.
fn judge_number(status: Option<u64>, text: String) -> Judgement {
    let permanent = |reason, text| Judgement::Permanent { reason, text };
    match status {
        Some(1) => Judgement::Throttled { retry_after: wait_of(&text), text },
        // Missing and invalid fields: the text says which one.
        Some(2 | 3) => permanent(reason_of(&text), text),
        Some(6 | 22) => permanent(FailureReason::NoRoute, text),
        // Barred is how its account's own opt-out list answers.
        Some(7) => permanent(FailureReason::OptedOut, text),
        Some(12) => permanent(FailureReason::BadContent, text),
        Some(15) => permanent(FailureReason::BadOriginator, text),
        // A trial account sends only to numbers that it was told of.
        Some(29) => permanent(FailureReason::Barred, text),
        // The account: credentials, barred, no money, not for HTTP, signature, our callback URL,
        // signature beside a secret, deactivated.
        Some(4 | 8 | 9 | 11 | 14 | 23 | 32 | 33) => Judgement::Upstream { text },
        // 5 and 10 are its own trouble. What we do not know was not taken, so trying again costs nothing.
        Some(_) | None => Judgement::Temporary { text },
    }
}

/// The wait in `Throughput Rate Exceeded - please wait [ 250 ] and retry`, in milliseconds.
fn wait_of(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once('[')?;
    let (ms, _) = rest.split_once(']')?;
    Some(Duration::from_millis(ms.trim().parse().ok()?).min(MAX_RETRY_AFTER))
}

/// The field that `Missing to param` or `Invalid from param` names.
fn reason_of(text: &str) -> FailureReason {
    let words: Vec<String> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let named = words
        .iter()
        .zip(words.iter().skip(1))
        .find(|(word, _)| matches!(word.as_str(), "missing" | "invalid"))
        .map(|(_, field)| field.as_str());
    match named {
        Some("from" | "sender") => FailureReason::BadOriginator,
        Some("to") => FailureReason::InvalidNumber,
        Some("text" | "body" | "udh") => FailureReason::BadContent,
        Some(_) | None => FailureReason::Unknown,
    }
}

/// A response that is none of this API.
fn judge_status(response: &Response<Bytes>) -> Judgement {
    let status = response.status();
    let text = words(&format!("HTTP {status} without an answer of the API"));
    match status {
        // It may have been taken and paid for.
        status if status.is_success() => Judgement::Unclear { text },
        // A gateway on the way gave up waiting: what stands behind it may have taken the message.
        StatusCode::GATEWAY_TIMEOUT => Judgement::Unclear { text },
        StatusCode::TOO_MANY_REQUESTS => {
            Judgement::Throttled { retry_after: retry_after(response), text }
        }
        StatusCode::REQUEST_TIMEOUT => Judgement::Temporary { text },
        status if status.is_server_error() => Judgement::Temporary { text },
        // The API answers 200 whatever it thinks of a message, so the rest is about the account or the
        // URL: 401, 402, 403, 404, redirections.
        _ => Judgement::Upstream { text },
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::tests::{METHODS, account};
    use super::super::tests::shown;
    use super::*;
    use crate::model::{MessageId, Secret, Sms, Timestamp};
    use crate::sms::account::{CallbackUrls, VonageSignature};

    fn upstream(signature: Option<VonageSignature>) -> VonageUpstream {
        let account = VonageAccount {
            api_key: "abcd1234".into(),
            api_secret: Secret::new("s&=cret".into()),
            signature,
            callbacks: CallbackUrls::default(),
        };
        VonageUpstream { url: "https://rest.example.com/v/".parse().unwrap(), account }
    }

    fn outbound(sms: &Sms) -> Outbound<'_> {
        Outbound {
            id: MessageId::from_u128(7 << 64),
            sms,
            valid_for: None,
            status_url: None,
            now: Timestamp::from_millis(1_795_321_671_000),
        }
    }

    fn body(upstream: &VonageUpstream, outbound: &Outbound<'_>) -> String {
        let request = upstream.request(outbound).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://rest.example.com/v/sms/json");
        let kind = &request.headers()[header::CONTENT_TYPE];
        assert_eq!(kind, "application/x-www-form-urlencoded");
        String::from_utf8(request.body().to_vec()).unwrap()
    }

    #[test]
    fn what_this_provider_can_not_carry_is_said() {
        let check = |change: fn(&mut Sms)| {
            let mut sms = shown().sms;
            change(&mut sms);
            let refused = upstream(None).request(&outbound(&sms)).unwrap_err();
            assert!(refused.starts_with("Vonage "), "{refused}");
        };
        check(|sms| sms.originator = None);
        check(|sms| sms.originator = Originator::parse(&format!("MG{}", "0".repeat(32))));
        check(|sms| sms.originator = Originator::parse("whatsapp:+4512345678"));
        check(|sms| sms.destination = Destination::parse("whatsapp:+4512345678").unwrap());
        check(|sms| sms.udh = vec![5, 0, 3, 1, 2, 1]);
    }

    #[test]
    fn a_request_is_written_to_the_byte() {
        let mut sms = shown().sms;
        let id = MessageId::from_u128(7 << 64);
        let expected = format!(
            "api_key=abcd1234&from=Example&to=4512345678&type=text&text=Hej&client-ref={id}\
             &api_secret=s%26%3Dcret"
        );
        assert_eq!(body(&upstream(None), &outbound(&sms)), expected);
        sms.originator = Originator::parse("+4587654321");
        sms.body = SmsBody::Text("ж&to=1\r\n+%😀".into());
        sms.encoding = SmsEncoding::Ucs2;
        sms.class = Some(0);
        let full = Outbound {
            valid_for: Some(Duration::from_secs(1)),
            status_url: Some("https://t.example/hooks/v/status?message=1&proof=2"),
            ..outbound(&sms)
        };
        let expected = format!(
            "api_key=abcd1234&from=4587654321&to=4512345678&type=unicode\
             &text=%D0%B6%26to%3D1%0D%0A%2B%25%F0%9F%98%80&message-class=0&ttl=20000&client-ref={id}\
             &status-report-req=1\
             &callback=https%3A%2F%2Ft.example%2Fhooks%2Fv%2Fstatus%3Fmessage%3D1%26proof%3D2\
             &api_secret=s%26%3Dcret"
        );
        assert_eq!(body(&upstream(None), &full), expected);
        sms.body = SmsBody::Binary(b"Hej".to_vec());
        sms.udh = vec![6, 5, 4, 11, 0x84, 0x23, 0xf0];
        sms.class = None;
        let expected = format!(
            "api_key=abcd1234&from=4587654321&to=4512345678&type=binary&body=48656a\
             &udh=0605040b8423f0&client-ref={id}&api_secret=s%26%3Dcret"
        );
        assert_eq!(body(&upstream(None), &outbound(&sms)), expected);
    }

    #[test]
    fn a_signed_request_proves_itself_without_the_secret() {
        let sms = Sms { body: SmsBody::Text("a&b=c".into()), ..shown().sms };
        for method in METHODS {
            let form = body(&upstream(Some(account(method))), &outbound(&sms));
            assert!(!form.contains("api_secret"), "{form}");
            let request = Request::post("/sms/json").body(Bytes::from(form)).unwrap();
            let given = super::super::given::Given::of(&request);
            let now = Timestamp::from_millis(1_795_321_671_000);
            assert!(signature::verify(&given, &[], &account(method), now), "{method:?}");
        }
    }

    fn judged(status: u16, body: &str) -> Judgement {
        let response =
            Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes()));
        upstream(None).judge(&response.unwrap())
    }

    fn refused(status: &str, text: &str) -> Judgement {
        let body = format!(
            r#"{{"message-count":"1","messages":[{{"status":"{status}","error-text":"{text}"}}]}}"#
        );
        judged(200, &body)
    }

    #[test]
    fn a_success_that_can_not_be_read_is_unclear() {
        for body in ["", "{}", "<html>", r#"{"messages":[]}"#, r#"{"messages":[{"to":"45"}]}"#] {
            assert!(matches!(judged(200, body), Judgement::Unclear { .. }), "{body}");
        }
        assert!(matches!(judged(504, ""), Judgement::Unclear { .. }));
        let taken = r#"{"messages": [{"status": "0", "message-id": "0A"}]}"#;
        assert!(matches!(judged(200, taken), Judgement::Accepted { .. }));
        for status in [302, 404, 500, 502] {
            assert!(matches!(judged(status, taken), Judgement::Unclear { .. }), "{status}");
        }
    }

    #[test]
    fn other_statuses_of_http_are_not_about_the_message() {
        for status in [301, 400, 401, 403, 404] {
            assert!(matches!(judged(status, ""), Judgement::Upstream { .. }), "{status}");
        }
        for status in [408, 500, 502, 503] {
            assert!(matches!(judged(status, "{"), Judgement::Temporary { .. }), "{status}");
        }
        let limited = Response::builder().status(429).header("retry-after", "7");
        let judged = upstream(None).judge(&limited.body(Bytes::new()).unwrap());
        let wait = Some(Duration::from_secs(7));
        assert!(matches!(judged, Judgement::Throttled { retry_after, .. } if retry_after == wait));
    }

    #[test]
    fn each_status_has_its_meaning() {
        let wait = |text| match refused("1", text) {
            Judgement::Throttled { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        let throttled = "Throughput Rate Exceeded - please wait [ 250 ] and retry";
        assert_eq!(wait(throttled), Some(Duration::from_millis(250)));
        assert_eq!(wait("wait [ 99999999999 ]"), Some(MAX_RETRY_AFTER));
        for text in ["", "wait", "[", "[ soon ]", "[ -1 ]"] {
            assert_eq!(wait(text), None, "{text}");
        }
        for status in ["4", "8", "9", "11", "14", "23", "32", "33"] {
            assert!(matches!(refused(status, "x"), Judgement::Upstream { .. }), "{status}");
        }
        for status in ["5", "10", "77", "-1", "", "x"] {
            assert!(matches!(refused(status, "x"), Judgement::Temporary { .. }), "{status}");
        }
        let permanent = |status, text, expected| match refused(status, text) {
            Judgement::Permanent { reason, .. } => assert_eq!(reason, expected, "{status} {text}"),
            other => panic!("{other:?}"),
        };
        permanent("2", "Missing to param", FailureReason::InvalidNumber);
        permanent("3", "Invalid from param", FailureReason::BadOriginator);
        permanent("3", "Invalid value for one or more parameters", FailureReason::Unknown);
        permanent("6", "Unroutable message - rejected", FailureReason::NoRoute);
        permanent("7", "Number barred", FailureReason::OptedOut);
        permanent("12", "Message too long", FailureReason::BadContent);
        permanent("15", "Invalid sender address", FailureReason::BadOriginator);
        permanent("22", "Invalid network code", FailureReason::NoRoute);
        permanent("29", "Non White-listed Destination - rejected", FailureReason::Barred);
    }

    #[test]
    fn what_was_taken_even_in_part_is_accepted() {
        let one = r#"{"message-count":"1","messages":[{"status":"0","message-id":"0A1"}]}"#;
        let accepted = Judgement::Accepted { ids: vec!["0A1".into()], text: "accepted".into() };
        assert_eq!(judged(200, one), accepted);
        assert_eq!(judged(200, &one.replace("\"0\"", "0")), accepted);
        let two =
            r#"{"messages":[{"status":"0","message-id":"0A1"},{"status":"0","message-id":"0A2"}]}"#;
        let text = "accepted in 2 parts".into();
        let both = Judgement::Accepted { ids: vec!["0A1".into(), "0A2".into()], text };
        assert_eq!(judged(200, two), both);
        let part = r#"{"messages":[{"status":"0","message-id":"0A1"},{"status":"5","error-text":"a\nb"}]}"#;
        let text = "1 of 2 parts accepted; status 5: a b".into();
        assert_eq!(judged(200, part), Judgement::Accepted { ids: vec!["0A1".into()], text });
        let odd = r#"{"messages":[{"status":"0","message-id":"a\nb"}]}"#;
        assert_eq!(
            judged(200, odd),
            Judgement::Accepted { ids: Vec::new(), text: "accepted".into() }
        );
    }
}
