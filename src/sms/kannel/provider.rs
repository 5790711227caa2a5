//! A Kannel that we submit to: `GET /cgi-bin/sendsms`, its receipts, and what its SMS services
//! hand us.
//!
//! Kannel gives no message id; our own is in the receipt URL. It signs nothing either: receipts are
//! proven by their URL, inbound messages by a token in theirs. Its `sendsms-user` cuts a text to one
//! message unless `max-messages` says more, and between the halves of a surrogate pair.
//!
//! An SMS service is set up as `get-url = "<public URL>/hooks/<upstream>/inbound?token=…&from=%p&to=%P&
//! text=%b&charset=%C&coding=%c&udh=%u&ts=%T&id=%I"`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::account::KannelAccount;
use super::super::form::Fields;
use super::super::number::{self, Country, NumberStyle};
use super::super::provider::{
    Callback, CallbackRefusal, Concatenation, Inbound, Judgement, Outbound, Provider, Receipt,
    words,
};
use super::super::response;
use super::charset::{self, Fault};
use super::draft::{self, Coding};
use super::request;
use crate::model::{
    Destination, FailureReason, Originator, ReceiptState, SmsBody, SmsEncoding, Timestamp,
};

/// All of Kannel's receipts: delivered, failed, buffered, accepted, rejected.
const DLR_MASK: &str = "31";
/// What Kannel replaces in our receipt URL. It percent-encodes the values itself.
const DLR_CODES: &str = "&type=%d&answer=%A&smsc-id=%F";
/// The fields of our own URL, which are no part of the message.
const OUR_FIELDS: [&str; 2] = ["token", "proof"];
/// A message without an id and a time is the same as another one only within this.
const SAME_WITHIN_MS: i64 = 10 * 60 * 1_000;

/// One upstream.
pub struct KannelUpstream {
    pub url: url::Url,
    pub account: KannelAccount,
}

impl Provider for KannelUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let sms = outbound.sms;
        let mut fields = Fields::default();
        fields.push("username", &self.account.username);
        fields.push("password", self.account.password.expose());
        match &sms.destination {
            to @ (Destination::Number(_) | Destination::ShortCode(_)) => {
                fields.push("to", &to.to_string());
            }
            Destination::Opaque(_) => return Err("Kannel sends to numbers only".to_owned()),
        }
        match &sms.originator {
            Some(Originator::Service(_) | Originator::Opaque(_)) => {
                return Err("Kannel sends from numbers and names only".to_owned());
            }
            Some(from) => fields.push("from", &from.to_string()),
            None => {}
        }
        let coding = match &sms.body {
            SmsBody::Text(text) => {
                fields.push("text", text);
                fields.push("charset", "UTF-8");
                if sms.encoding == SmsEncoding::Ucs2 { "2" } else { "0" }
            }
            SmsBody::Binary(octets) => {
                fields.push_bytes("text", octets);
                "1"
            }
        };
        fields.push("coding", coding);
        if !sms.udh.is_empty() {
            fields.push_bytes("udh", &sms.udh);
        }
        if let Some(class) = sms.class {
            fields.push("mclass", &class.to_string());
        }
        if let Some(left) = outbound.valid_for {
            fields.push("validity", &minutes(left).to_string());
        }
        if let Some(url) = outbound.status_url {
            fields.push("dlr-mask", DLR_MASK);
            // A percent sign of ours is none of Kannel's codes.
            fields.push("dlr-url", &(url.replace('%', "%%") + DLR_CODES));
        }
        let mut url = self.url.clone();
        if url.path() == "/" {
            url.set_path(super::SENDSMS);
        }
        url.set_fragment(None);
        let base = url.as_str();
        let joint = if url.query().is_some() { '&' } else { '?' };
        let uri = format!("{base}{joint}{}", fields.encode());
        // The reason would hold the password.
        Request::get(uri).body(Bytes::new()).map_err(|_| "the URL is too long".to_owned())
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        let status = response.status();
        let text = words(&String::from_utf8_lossy(response.body()));
        let lower = text.to_ascii_lowercase();
        let text = if text.is_empty() { status.to_string() } else { text };
        match status {
            StatusCode::OK | StatusCode::ACCEPTED if is_success(&lower) => {
                Judgement::Accepted { ids: Vec::new(), text }
            }
            StatusCode::BAD_REQUEST => match refused(&lower) {
                Some(reason) => Judgement::Permanent { reason, text },
                // The request as such: nothing that another message would do better.
                None => Judgement::Upstream { text },
            },
            StatusCode::FORBIDDEN if lower.starts_with("not routable") => {
                Judgement::Permanent { reason: FailureReason::NoRoute, text }
            }
            StatusCode::TOO_MANY_REQUESTS => Judgement::Throttled { retry_after: None, text },
            StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => {
                Judgement::Temporary { text }
            }
            status if status.is_client_error() || status.is_redirection() => {
                Judgement::Upstream { text }
            }
            // A proxy before Kannel, or words that nobody knows.
            _ => Judgement::Unclear { text },
        }
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        if !callback.is_proven {
            return Err(CallbackRefusal::Forged);
        }
        let fields = Fields::parse(callback.request.uri().query().unwrap_or_default().as_bytes());
        let bits = fields.get("type").and_then(|bits| bits.parse::<u8>().ok());
        let answer = words(&fields.get("answer").unwrap_or_default());
        let word = |name: &str| word_behind(&answer, name);
        let (state, reason) = match bits.ok_or(CallbackRefusal::Malformed)? {
            1 => (ReceiptState::Delivered, None),
            2 if word("stat:") == Some("EXPIRED") => {
                (ReceiptState::Expired, Some(FailureReason::Expired))
            }
            2 => (ReceiptState::Undelivered, Some(FailureReason::Unknown)),
            4 | 8 => (ReceiptState::Underway, None),
            16 => (ReceiptState::Rejected, Some(FailureReason::Unknown)),
            _ => return Err(CallbackRefusal::Malformed),
        };
        let rejection = answer.strip_prefix("NACK/").filter(|rest| !rest.is_empty());
        let code = word("err:").or(rejection).map(str::to_owned);
        let code = code.filter(|_| reason.is_some());
        Ok(vec![Receipt { provider_id: None, message: None, state, reason, code, at: None }])
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        if !callback.is_proven {
            return Err(CallbackRefusal::Forged);
        }
        let fields = request::fields(callback.request).map_err(|_| CallbackRefusal::Malformed)?;
        read_inbound(&fields, callback.now).map(|one| vec![one]).ok_or(CallbackRefusal::Malformed)
    }

    /// Empty: Kannel sends the body to whoever wrote.
    fn taken(&self) -> Response<Bytes> {
        response::document(StatusCode::OK, "text/plain", Bytes::new())
    }
}

/// Rounded up: a message that is valid for a moment is not valid for ever.
fn minutes(left: Duration) -> u64 {
    left.as_secs().div_ceil(60).max(1)
}

/// What Kannel itself takes for success from such a server, but for an empty body.
fn is_success(lower: &str) -> bool {
    lower.starts_with("0: accepted")
        || lower.starts_with("3: queued")
        || lower.starts_with("result: ok")
        || matches!(lower, "sent." | "ok.")
}

/// Kannel's refusals that are about this message.
fn refused(lower: &str) -> Option<FailureReason> {
    if lower.contains("black-list") || lower.contains("white-list") {
        return Some(FailureReason::Barred);
    }
    if !lower.contains("rejected") {
        return None;
    }
    Some(match lower {
        _ if lower.contains("receiver") => FailureReason::InvalidNumber,
        _ if lower.contains("sender") => FailureReason::BadOriginator,
        // Our own receipt URL, or a form that this Kannel does not read.
        _ if lower.contains("dlr-") || lower.contains("content-type") => return None,
        _ => FailureReason::BadContent,
    })
}

/// `DELIVRD` in `… stat:DELIVRD err:000 …`.
fn word_behind<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    rest.split_whitespace().next()
}

fn read_inbound(fields: &Fields, now: Timestamp) -> Option<Inbound> {
    let (from, to) = (fields.get("from")?, fields.get("to")?);
    let (style, country) = (NumberStyle::International, Country::NONE);
    let udh = match fields.bytes("udh").filter(|value| !value.is_empty()) {
        Some(value) => charset::udh(value)?,
        None => Vec::new(),
    };
    let octets = fields.bytes("text")?;
    let charset = fields.get("charset");
    let body = match draft::coding(fields, &[]).ok()? {
        Coding::Binary => SmsBody::Binary(octets.to_vec()),
        coding @ (Coding::Text | Coding::Ucs2) => {
            let is_ucs2 = coding == Coding::Ucs2;
            SmsBody::Text(charset::decode(octets, charset.as_deref(), is_ucs2, Fault::Replace)?)
        }
    };
    let seconds = fields.get("ts").and_then(|ts| ts.trim().parse::<i64>().ok());
    let sent_at =
        seconds.filter(|s| *s > 0).map(|s| Timestamp::from_millis(s.saturating_mul(1000)));
    let id = fields.get("id").map(|id| words(&id)).filter(|id| !id.is_empty());
    Some(Inbound {
        provider_id: id.unwrap_or_else(|| fingerprint(fields, sent_at, now)),
        originator: number::originator(&from, style, &country)?,
        destination: number::destination(&to, style, &country)?,
        body,
        concatenation: concatenation(&udh),
        udh,
        sent_at,
    })
}

/// An id from what the message says. The same words at another time are another message, so where no
/// time is given that of the arrival counts.
fn fingerprint(fields: &Fields, sent_at: Option<Timestamp>, now: Timestamp) -> String {
    let arrival = match sent_at {
        Some(_) => 0,
        None => now.as_millis() / SAME_WITHIN_MS,
    };
    fields.digest(&OUR_FIELDS, &arrival.to_le_bytes())
}

/// Which part of a long message a header makes this (3GPP TS 23.040 §9.2.3.24.1 and .8).
fn concatenation(udh: &[u8]) -> Option<Concatenation> {
    let mut rest = udh.get(1..)?;
    while let [element, length, tail @ ..] = rest {
        let data = tail.get(..usize::from(*length))?;
        let (reference, total, part) = match (element, data) {
            (0, [reference, total, part]) => (u16::from(*reference), *total, *part),
            (8, [high, low, total, part]) => (u16::from_be_bytes([*high, *low]), *total, *part),
            _ => {
                rest = tail.get(data.len()..)?;
                continue;
            }
        };
        let is_possible = part >= 1 && part <= total && total > 1;
        return is_possible.then(|| Concatenation {
            reference: reference.to_string(),
            part: part.into(),
            total: total.into(),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::model::{MessageId, Secret, Sms};
    use crate::sms::account::CallbackUrls;

    fn upstream(url: &str) -> KannelUpstream {
        let account = KannelAccount {
            username: "u&x".into(),
            password: Secret::new("p#".into()),
            callbacks: CallbackUrls::default(),
        };
        KannelUpstream { url: url.parse().unwrap(), account }
    }

    fn sms(body: SmsBody, encoding: SmsEncoding) -> Sms {
        Sms {
            originator: Originator::parse("A&B 2"),
            encoding,
            class: Some(0),
            ..Sms::new(Destination::parse("+4512345678").unwrap(), body)
        }
    }

    fn sent(url: &str, sms: &Sms) -> Result<String, String> {
        let outbound = Outbound {
            id: MessageId::from_u128(1),
            sms,
            valid_for: Some(Duration::from_secs(61)),
            status_url: Some("https://w.example/hooks/k/status?message=1&proof=2"),
            now: Timestamp::EPOCH,
        };
        upstream(url).request(&outbound).map(|request| request.uri().to_string())
    }

    fn callback<T>(query: &str, is_proven: bool, read: impl FnOnce(&Callback<'_>) -> T) -> T {
        let request = Request::get(format!("/hooks/k/x?{query}")).body(Bytes::new()).unwrap();
        read(&Callback {
            request: &request,
            public_url: "https://w.example",
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_proven,
            now: Timestamp::from_millis(1_000_000_000),
        })
    }

    fn status(query: &str, is_proven: bool) -> Result<Vec<Receipt>, CallbackRefusal> {
        callback(query, is_proven, |callback| upstream("http://k/").status(callback))
    }

    fn inbound(query: &str, is_proven: bool) -> Result<Inbound, CallbackRefusal> {
        let found = callback(query, is_proven, |callback| upstream("http://k/").inbound(callback));
        found.map(|mut messages| messages.remove(0))
    }

    #[test]
    fn a_message_is_one_request() {
        let mut opaque = sms(SmsBody::Text("x".into()), SmsEncoding::Gsm7);
        opaque.destination = Destination::parse("whatsapp:+4512345678").unwrap();
        assert!(sent("http://k/", &opaque).is_err());

        let text = sms(SmsBody::Text("å&to=1 €".into()), SmsEncoding::Gsm7);
        let expected = "http://k:13013/cgi-bin/sendsms?username=u%26x&password=p%23\
            &to=%2B4512345678&from=A%26B+2&text=%C3%A5%26to%3D1+%E2%82%AC&charset=UTF-8&coding=0\
            &mclass=0&validity=2&dlr-mask=31&dlr-url=https%3A%2F%2Fw.example%2Fhooks%2Fk%2Fstatus\
            %3Fmessage%3D1%26proof%3D2%26type%3D%25d%26answer%3D%25A%26smsc-id%3D%25F";
        assert_eq!(sent("http://k:13013", &text).unwrap(), expected);
        let other = sent("http://k/kannel/sendsms/standard?a=1#f", &text).unwrap();
        assert!(other.starts_with("http://k/kannel/sendsms/standard?a=1&username="), "{other}");

        let emoji = sms(SmsBody::Text("😀".into()), SmsEncoding::Ucs2);
        let found = sent("http://k/", &emoji).unwrap();
        assert!(found.contains("&text=%F0%9F%98%80&charset=UTF-8&coding=2&"), "{found}");
        let mut binary = sms(SmsBody::Binary(vec![0, 0xff]), SmsEncoding::Binary);
        binary.udh = vec![2, 0x70, 0];
        let found = sent("http://k/", &binary).unwrap();
        assert!(found.contains("&text=%00%FF&coding=1&udh=%02p%00&"), "{found}");
    }

    #[test]
    fn the_answer_decides() {
        let check = |status: u16, body: &str, expected: &str| {
            let response = Response::builder().status(status);
            let response = response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
            let found = format!("{:?}", upstream("http://k/").judge(&response));
            assert!(found.starts_with(expected), "{status} {body}: {found}");
        };
        check(202, "", "Unclear");
        check(202, "Authorization failed for sendsms", "Unclear");
        check(500, "", "Unclear");
        check(502, "0: Accepted for delivery", "Unclear");
        check(301, "", "Upstream");
        check(404, "Unknown request.", "Upstream");
        check(400, "<html>proxy</html>", "Upstream");
        check(400, "DLR-URL field misformed, rejected", "Upstream");
        check(403, "Authorization failed for sendsms", "Upstream");
        check(403, "Not routable. Do not try again.", "Permanent { reason: NoRoute");
        let denied = "Number(s) has/have been denied by white- and/or black-lists.";
        check(400, denied, "Permanent { reason: Barred");
        check(
            400,
            "Empty receiver number not allowed, rejected",
            "Permanent { reason: InvalidNumber",
        );
        check(
            400,
            "Sender missing and no global set, rejected",
            "Permanent { reason: BadOriginator",
        );
        check(400, "UDH field misformed, rejected", "Permanent { reason: BadContent");
        check(503, "Temporal failure, try again later.", "Temporary");
        check(429, "", "Throttled");
        for taken in ["0: Accepted for delivery", "3: Queued for later delivery\n", "Sent."] {
            check(202, taken, "Accepted { ids: []");
        }
    }

    #[test]
    fn a_receipt_is_read_only_when_it_is_proven() {
        assert_eq!(status("type=1", false), Err(CallbackRefusal::Forged));
        for bad in ["", "type=", "type=x", "type=0", "type=64", "type=-1"] {
            assert_eq!(status(bad, true), Err(CallbackRefusal::Malformed), "{bad}");
        }
        let check = |query: &str, state: ReceiptState, code: Option<&str>| {
            let found = status(query, true).unwrap().remove(0);
            assert_eq!((found.state, found.code.as_deref()), (state, code), "{query}");
        };
        check("type=8&answer=ACK%2F", ReceiptState::Underway, None);
        check("type=4", ReceiptState::Underway, None);
        check("type=1&answer=stat:DELIVRD+err:000", ReceiptState::Delivered, None);
        check(
            "type=2&answer=id:1+stat:UNDELIV+err:045+text:",
            ReceiptState::Undelivered,
            Some("045"),
        );
        check("type=2&answer=stat:EXPIRED+err:%00", ReceiptState::Expired, None);
        check("type=16&answer=NACK%2F0x45", ReceiptState::Rejected, Some("0x45"));
    }

    #[test]
    fn inbound_messages_are_read_only_when_they_are_proven() {
        let usual = "token=t&from=%2B4512345678&to=123&ts=1795321671";
        assert_eq!(inbound(&format!("{usual}&text=x"), false), Err(CallbackRefusal::Forged));
        for bad in ["", "from=1&to=123", "from=%2B45&to=x&text=x", "from=45123456&text=x"] {
            assert_eq!(inbound(bad, true), Err(CallbackRefusal::Malformed), "{bad}");
        }
        let read = |rest: &str| inbound(&format!("{usual}&{rest}"), true).unwrap();
        let text = |text: &str| SmsBody::Text(text.into());
        assert_eq!(read("text=H%C3%A6&charset=UTF-8&coding=-1").body, text("Hæ"));
        assert_eq!(read("text=%00H%D8%3D%DE%00&charset=UTF-16BE&coding=2").body, text("H😀"));
        assert_eq!(read("text=%00H&coding=2").body, text("H"));
        assert_eq!(read("text=%01&coding=1&charset=8-BIT").body, SmsBody::Binary(vec![1]));
        assert_eq!(read("text=%01&charset=8-BIT").body, SmsBody::Binary(vec![1]));
        let part = read("text=x&udh=%05%00%03%07%02%01").concatenation.unwrap();
        assert_eq!((part.reference.as_str(), part.part, part.total), ("7", 1, 2));
        let part = read("text=x&udh=%06%08%04%01%00%02%02").concatenation.unwrap();
        assert_eq!((part.reference.as_str(), part.part, part.total), ("256", 2, 2));
        assert_eq!(read("text=x&udh=%05%00%03%07%02%03").concatenation, None);
        assert_eq!(read("text=x&id=abc").provider_id, "abc");
        let (one, same, other) = (read("text=x"), read("text=x"), read("text=y"));
        assert_eq!(one.provider_id, same.provider_id);
        assert_ne!(one.provider_id, other.provider_id);
        assert_eq!(one.originator.to_string(), "+4512345678");
        assert_eq!(one.sent_at, Some(Timestamp::from_millis(1_795_321_671_000)));
    }

    proptest! {
        #[test]
        fn no_value_changes_another_parameter(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
            let uri = sent("http://k/", &sms(SmsBody::Text(text.clone()), SmsEncoding::Gsm7)).unwrap();
            let fields = Fields::parse(uri.split_once('?').unwrap().1.as_bytes());
            prop_assert_eq!(fields.iter().count(), 11);
            prop_assert_eq!(fields.get("text").unwrap(), text);
            prop_assert_eq!(fields.get("to").unwrap(), "+4512345678");
            prop_assert_eq!(fields.get("coding").unwrap(), "0");
        }

        #[test]
        fn no_callback_makes_it_panic(query in "(from|to|text|udh|coding|type|answer|[%&=0-9a-f]){0,30}") {
            let _ = status(&query, true);
            let _ = callback(&query, true, |callback| upstream("http://k/").inbound(callback));
        }
    }
}
