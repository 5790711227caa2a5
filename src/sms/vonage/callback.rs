//! What goes back to an application: delivery receipts, one for each part, and inbound messages.
//!
//! Both are GET requests with their fields in the query, which is what an account has until somebody
//! changes it, and what every library's example takes. What would make an URL longer than servers
//! take is a POST with a form instead. Every value is a string: the vendor's Node libraries can not
//! check the signature of anything else. With a signature secret the signature covers all fields that
//! the application sees, those of its own URL too. Vonage: "Delivery receipts", "Inbound SMS".

use bytes::Bytes;
use http::{Request, header};
use url::Url;

use super::super::account::SmsAccounts;
use super::super::call::{Acknowledgement, CallbackKind, Notice, Shown};
use super::super::form::Fields;
use super::super::hex;
use super::codes::{self, ReceiptWords};
use super::{digits, part_id, signature};
use crate::model::{Sms, SmsBody, SmsEncoding, Timestamp};

/// Servers take 8 KiB of request line; some of that is theirs to add.
const MAX_URL_BYTES: usize = 6 << 10;

/// The receipts of a notice; none for what concerns nobody outside.
pub(super) fn receipts(
    notice: &Notice<'_>,
    url: &str,
    accounts: &SmsAccounts,
) -> Vec<Request<Bytes>> {
    let message = notice.message;
    let total = message.sms.segments.max(1);
    let receipt = |part: u16| {
        let words = part_words(message, part)?;
        let fields = receipt_fields(notice, words, part_id(message.id, part, total), accounts);
        let nonce = format!("{:x}-{part:x}-{:x}", notice.event.0, notice.now.as_millis());
        request(url, fields, &nonce, accounts, notice.now)
    };
    (1..=total).filter_map(receipt).collect()
}

/// The end of one part: its own where the provider tells parts apart, otherwise that of the message.
fn part_words(message: &Shown, part: u16) -> Option<ReceiptWords> {
    let whole = codes::receipt(message.state, message.failure);
    let tells_parts = message.parts.len() == usize::from(message.sms.segments);
    let told = message.parts.get(usize::from(part).saturating_sub(1)).filter(|_| tells_parts);
    let own = told.and_then(|state| codes::part_state(*state));
    match own {
        // The message as a whole is not there yet, but this part is.
        Some(state) if whole.is_some() => codes::receipt(state, message.failure),
        Some(_) | None => whole,
    }
}

fn receipt_fields(
    notice: &Notice<'_>,
    words: ReceiptWords,
    id: String,
    accounts: &SmsAccounts,
) -> Fields {
    let sms = &notice.message.sms;
    let mut fields = Fields::default();
    fields.push("msisdn", &digits(&sms.destination.to_string()));
    fields.push("to", &originator(sms));
    fields.push("network-code", "00000");
    fields.push("messageId", &id);
    fields.push("price", "0.00000000");
    fields.push("status", words.status);
    fields.push("scts", &written(notice.at, "%y%m%d%H%M"));
    fields.push("err-code", &words.err_code.to_string());
    if let Some(key) = api_key(sms, accounts) {
        fields.push("api-key", key);
    }
    if let Some(reference) = &sms.client_reference {
        fields.push("client-ref", reference);
    }
    fields.push("message-timestamp", &written(notice.at, "%Y-%m-%d %H:%M:%S"));
    fields
}

/// The request that hands over an inbound message, whole: parts were joined before.
pub(super) fn inbound(
    message: &Shown,
    url: &str,
    accounts: &SmsAccounts,
    now: Timestamp,
) -> Vec<Request<Bytes>> {
    let sms = &message.sms;
    let id = part_id(message.id, 1, 1);
    let mut fields = Fields::default();
    fields.push("msisdn", &originator(sms));
    fields.push("to", &digits(&sms.destination.to_string()));
    fields.push("messageId", &id);
    let text = sms.text();
    match &sms.body {
        SmsBody::Text(_) => {
            let is_unicode = sms.encoding == SmsEncoding::Ucs2;
            fields.push("text", text);
            fields.push("type", if is_unicode { "unicode" } else { "text" });
        }
        SmsBody::Binary(bytes) => {
            fields.push("data", &hex::digits(bytes));
            fields.push("udh", &hex::digits(&sms.udh));
            fields.push("type", "binary");
        }
    }
    let keyword = text.split_whitespace().next().unwrap_or_default().to_uppercase();
    fields.push("keyword", &keyword);
    fields.push("message-timestamp", &written(message.accepted_at, "%Y-%m-%d %H:%M:%S"));
    if let Some(key) = api_key(sms, accounts) {
        fields.push("api-key", key);
    }
    let nonce = format!("{id}-{:x}", now.as_millis());
    request(url, fields, &nonce, accounts, now).into_iter().collect()
}

/// Whether the application has taken it: 200 or 204 and nothing else, as the provider has it.
pub(super) fn acknowledged(status: http::StatusCode, of: CallbackKind) -> Acknowledgement {
    match (of, status.as_u16()) {
        (CallbackKind::Receipt | CallbackKind::Inbound, 200 | 204) => {
            Acknowledgement::Taken { replies: Vec::new() }
        }
        (CallbackKind::Receipt | CallbackKind::Inbound, _) => Acknowledgement::NotTaken,
    }
}

/// `None` when the URL is none.
fn request(
    url: &str,
    fields: Fields,
    nonce: &str,
    accounts: &SmsAccounts,
    now: Timestamp,
) -> Option<Request<Bytes>> {
    let mut url = Url::parse(url).ok().filter(Url::has_host)?;
    url.set_fragment(None);
    let own = url.query().unwrap_or_default().to_owned();
    let asked = signed(fields.clone(), &Fields::parse(own.as_bytes()), nonce, accounts, now);
    let query = if own.is_empty() { asked.encode() } else { format!("{own}&{}", asked.encode()) };
    if url.as_str().len() + query.len() <= MAX_URL_BYTES {
        url.set_query(Some(&query));
        return Request::get(url.as_str()).body(Bytes::new()).ok();
    }
    // The fields of a form are apart from those of the URL, and so is what is signed.
    let form = signed(fields, &Fields::default(), nonce, accounts, now).encode();
    Request::post(url.as_str())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(form))
        .ok()
}

/// The fields with time, nonce and signature, when the account signs.
fn signed(
    mut fields: Fields,
    of_the_url: &Fields,
    nonce: &str,
    accounts: &SmsAccounts,
    now: Timestamp,
) -> Fields {
    let account = accounts.vonage.as_ref();
    let Some(secret) = account.and_then(|account| account.signature.as_ref()) else {
        return fields;
    };
    fields.push("timestamp", &(now.as_millis() / 1000).to_string());
    fields.push("nonce", nonce);
    let sig = signature::sign(of_the_url.iter().chain(fields.iter()), secret);
    fields.push("sig", &sig);
    fields
}

fn originator(sms: &Sms) -> String {
    sms.originator.as_ref().map(|from| digits(&from.to_string())).unwrap_or_default()
}

fn api_key<'a>(sms: &'a Sms, accounts: &'a SmsAccounts) -> Option<&'a str> {
    let account = accounts.vonage.as_ref().map(|account| account.api_key.as_str());
    account.or(sms.account.as_deref())
}

/// A time in UTC.
fn written(at: Timestamp, form: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::given::Given;
    use super::super::signature::tests::{METHODS, account};
    use super::super::tests::{accounts, shown};
    use super::*;
    use crate::model::{FailureReason, ReceiptState, Sequence};
    use crate::sms::call::ShownState;

    const AT: i64 = 1_795_321_671_000;

    fn notice(message: &Shown) -> Notice<'_> {
        let at = Timestamp::from_millis(AT);
        Notice { message, event: Sequence(31), at, now: at }
    }

    fn all(message: &Shown, url: &str) -> Vec<Request<Bytes>> {
        receipts(&notice(message), url, &accounts(None))
    }

    #[test]
    fn what_concerns_nobody_and_goes_nowhere_is_not_sent() {
        let mut message = shown();
        for url in ["", "dlr", "mailto:a@b", "unix:/x"] {
            assert!(all(&message, url).is_empty(), "{url}");
        }
        message.state = ShownState::Held;
        assert!(all(&message, "https://erp.example.com/").is_empty());
    }

    #[test]
    fn a_receipt_is_written_to_the_byte() {
        let mut message = shown();
        message.sms.client_reference = Some("INV&status=failed".into());
        let found = all(&message, "https://erp.example.com/dlr?a=%20b&#top");
        let expected = "https://erp.example.com/dlr?a=%20b&&msisdn=4512345678&to=Example&network-code=00000\
                        &messageId=00000000000000AB&price=0.00000000&status=delivered&scts=2611220427\
                        &err-code=0&api-key=abcd1234&client-ref=INV%26status%3Dfailed\
                        &message-timestamp=2026-11-22+04%3A27%3A51";
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].method().as_str(), found[0].uri().to_string()),
            ("GET", expected.into())
        );
    }

    #[test]
    fn there_is_one_receipt_for_each_part() {
        let mut message = shown();
        message.sms.segments = 3;
        let words = |message: &Shown| -> Vec<String> {
            let of = |request: &Request<Bytes>| {
                let given = Given::of(request);
                let text = |name| given.text(name).unwrap().into_owned();
                format!("{} {} {}", text("messageId"), text("status"), text("err-code"))
            };
            all(message, "https://erp.example.com/").iter().map(of).collect()
        };
        let id = "00000000000000AB";
        let same = |words: &str| (1..=3).map(|n| format!("{id}{n} {words}")).collect::<Vec<_>>();
        assert_eq!(words(&message), same("delivered 0"));
        message.state = ShownState::Undelivered;
        message.failure = Some(FailureReason::Barred);
        assert_eq!(words(&message), same("failed 4"));
        message.parts = vec![ReceiptState::Delivered];
        assert_eq!(words(&message), same("failed 4"), "one state says nothing of three parts");
        message.parts =
            vec![ReceiptState::Delivered, ReceiptState::Undelivered, ReceiptState::Underway];
        let mixed =
            [format!("{id}1 delivered 0"), format!("{id}2 failed 4"), format!("{id}3 failed 4")];
        assert_eq!(words(&message), mixed);
    }

    #[test]
    fn inbound_messages_are_written_to_the_byte() {
        let mut message = shown();
        message.sms.body = SmsBody::Text("stop nu\r\n".into());
        let now = Timestamp::from_millis(AT);
        let url = |message: &Shown| {
            let found = inbound(message, "http://erp.example.com/in", &accounts(None), now);
            found[0].uri().to_string()
        };
        let expected = "http://erp.example.com/in?msisdn=Example&to=4512345678&messageId=00000000000000AB\
                        &text=stop+nu%0D%0A&type=text&keyword=STOP\
                        &message-timestamp=2026-11-22+04%3A27%3A51&api-key=abcd1234";
        assert_eq!(url(&message), expected);
        message.sms.body = SmsBody::Binary(b"Hej".to_vec());
        assert!(url(&message).contains("&data=48656a&udh=&type=binary&keyword=&"));
    }

    #[test]
    fn what_is_too_long_for_a_url_is_a_form() {
        let mut message = shown();
        message.sms.body = SmsBody::Text("ж".repeat(2000));
        let url = "https://erp.example.com/in?a=b";
        let signing = accounts(Some(account(METHODS[0])));
        let found = inbound(&message, url, &signing, Timestamp::from_millis(AT));
        assert_eq!((found[0].method().as_str(), found[0].uri().to_string()), ("POST", url.into()));
        let form = Request::post("/").body(found[0].body().clone()).unwrap();
        let given = Given::of(&form);
        assert!(signature::verify(&given, &[], &account(METHODS[0]), Timestamp::from_millis(AT)));
        assert!(!given.has("a"));
    }

    #[test]
    fn signatures_hold_over_everything_that_arrives() {
        let message = shown();
        let now = Timestamp::from_millis(AT);
        for method in METHODS {
            let signing = accounts(Some(account(method)));
            for url in ["https://erp.example.com/", "https://erp.example.com/?x=a%26b&y"] {
                let mut found = receipts(&notice(&message), url, &signing);
                found.extend(inbound(&message, url, &signing, now));
                for request in found {
                    let given = Given::of(&request);
                    assert!(
                        signature::verify(&given, &[], &account(method), now),
                        "{method:?} {url}"
                    );
                    assert!(given.bytes("nonce").is_some());
                }
            }
        }
    }

    #[test]
    fn only_what_was_answered_so_is_taken() {
        for status in [201, 202, 301, 404, 410, 500] {
            let status = http::StatusCode::from_u16(status).unwrap();
            let found = acknowledged(status, CallbackKind::Receipt);
            assert_eq!(found, Acknowledgement::NotTaken, "{status}");
        }
        for status in [200, 204] {
            let status = http::StatusCode::from_u16(status).unwrap();
            let found = acknowledged(status, CallbackKind::Inbound);
            assert_eq!(found, Acknowledgement::Taken { replies: Vec::new() });
        }
    }
}
