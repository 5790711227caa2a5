//! From one draft to one SMS: addresses in their normal form, a text that can be carried, times.
//!
//! Takes what the application asked for, its app, and the time; gives the SMS and where it starts, or
//! the reason why not. Decides nothing about opt-outs, routes and rates, which need more than the
//! draft.
//!
//! What it keeps: no control character passes, but for the line breaks, tabs and page breaks of a
//! text; a text is in NFC (Unicode UAX #15), so that what looks the same costs the same.

use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use url::Url;

use super::sms::SmsSubmission;
use crate::model::{
    Destination, Dialect, Hold, Originator, ReceiptRequest, RecipientState, Sms, SmsBatch, SmsBody,
    Timestamp,
};
use crate::policy::{App, HoldRule};
use crate::sms::call::{Draft, HoldWish, Refusal, SendAt};
use crate::sms::{gsm, number, segment};

/// How far ahead a message may be scheduled or held: what is further away is more likely a mistake.
const MAX_WAIT: Duration = Duration::from_secs(365 * 86_400);
/// Longest reference of an application: longer than any dialect's.
const MAX_REFERENCE_BYTES: usize = 1_000;
/// Longest callback URL: what browsers and servers take.
const MAX_URL_BYTES: usize = 4_096;
/// A user data header is part of the 140 octets of its segment (3GPP TS 23.040 §9.2.3.24).
const MAX_HEADER_BYTES: usize = 140;
/// How much of a wrong address is quoted.
const MAX_QUOTED_CHARS: usize = 60;

/// The SMS that a draft asks for.
pub(super) fn sms(
    draft: &mut Draft,
    call: &SmsSubmission,
    batch: SmsBatch,
) -> Result<Sms, Refusal> {
    let now = call.received_at;
    let destination = destination(draft, &call.app)?;
    let originator = originator(draft, &call.app)?;
    let body = body(draft, call.dialect)?;
    if draft.udh.len() > MAX_HEADER_BYTES {
        return Err(Refusal::Field { name: "udh", why: "is longer than a segment".into() });
    }
    let measure = segment::measure(&body, &draft.udh);
    let most = u32::from(draft.max_segments.unwrap_or(u16::MAX)).min(segment::MAX_SEGMENTS);
    let segments = u16::try_from(measure.segments).ok().filter(|_| measure.segments <= most);
    let Some(segments) = segments else {
        return Err(Refusal::TooLong { segments: measure.segments, most });
    };
    let client_reference = client_reference(draft.client_reference.take())?;
    let receipt = receipt(draft.receipt.take())?;
    let send_at = send_at(draft.send_at, now)?;
    let leaves_at = send_at.map_or(now, |at| at.max(now));
    Ok(Sms {
        originator,
        destination,
        body,
        udh: std::mem::take(&mut draft.udh),
        encoding: measure.encoding,
        segments,
        class: draft.class,
        // What the application itself puts off does not eat up the time that it gives.
        valid_until: draft.valid_for.map(|validity| leaves_at.plus(validity)),
        send_at,
        dialect: call.dialect,
        account: call.account.clone(),
        client_reference,
        receipt,
        batch,
        fingerprint: call.fingerprint,
        reply_to: call.reply_to,
        provider_id: None,
        confirms_opt_out: call.confirms_opt_out,
    })
}

/// Where it starts: due, or held by the application's wish, its app's rule or the schedule. The
/// latest time wins, and a person over any time.
pub(super) fn start(
    wish: Option<HoldWish>,
    app: &App,
    send_at: Option<Timestamp>,
    now: Timestamp,
) -> RecipientState {
    let rule = match wish {
        None => app.hold,
        Some(HoldWish::None) => HoldRule::None,
        Some(HoldWish::For(wait)) => HoldRule::For(wait),
        Some(HoldWish::Manual) => HoldRule::Manual,
    };
    let hold = match rule {
        HoldRule::Manual => return RecipientState::Held { hold: Hold::Manual },
        HoldRule::For(wait) => Some(now.plus(wait.min(MAX_WAIT))),
        HoldRule::None => None,
    };
    match hold.max(send_at) {
        Some(until) if until > now => RecipientState::Held { hold: Hold::Until(until) },
        Some(_) | None => RecipientState::Due { at: now, rank: 0 },
    }
}

fn destination(draft: &Draft, app: &App) -> Result<Destination, Refusal> {
    if draft.to.trim().is_empty() {
        return Err(Refusal::NoDestination);
    }
    let read = || number::destination(&draft.to, draft.style, &app.sms.country);
    let found = if is_clean(&draft.to) { read() } else { None };
    found.ok_or_else(|| Refusal::BadDestination(quoted(&draft.to)))
}

fn originator(draft: &Draft, app: &App) -> Result<Option<Originator>, Refusal> {
    let Some(from) = draft.from.as_deref().filter(|from| !from.trim().is_empty()) else {
        return Ok(None);
    };
    let read = || number::originator(from, draft.style, &app.sms.country);
    let found = if is_clean(from) { read() } else { None };
    let originator = found.ok_or_else(|| Refusal::BadOriginator(quoted(from)))?;
    if !app.sms.may_send_as(&originator) {
        return Err(Refusal::OriginatorNotAllowed(quoted(from)));
    }
    Ok(Some(originator))
}

fn body(draft: &mut Draft, dialect: Dialect) -> Result<SmsBody, Refusal> {
    let text = match std::mem::replace(&mut draft.body, SmsBody::Text(String::new())) {
        SmsBody::Binary(bytes) if bytes.is_empty() && draft.udh.is_empty() => {
            return Err(Refusal::NoBody);
        }
        SmsBody::Binary(bytes) => return Ok(SmsBody::Binary(bytes)),
        SmsBody::Text(text) => text,
    };
    if text.is_empty() {
        return Err(Refusal::NoBody);
    }
    let is_bad = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    if let Some(bad) = text.chars().find(is_bad) {
        let why = format!("holds the control character U+{:04X}", u32::from(bad));
        return Err(Refusal::Field { name: text_field(dialect), why });
    }
    let text = ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned();
    if draft.smart_encoding
        && !gsm::holds(&text)
        && let Some(plain) = gsm::smart(&text)
    {
        return Ok(SmsBody::Text(plain));
    }
    Ok(SmsBody::Text(text))
}

/// What each dialect calls the text.
fn text_field(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Twilio => "Body",
        Dialect::Vonage | Dialect::Kannel | Dialect::Waybill => "text",
        Dialect::GatewayApi => "message",
    }
}

fn client_reference(reference: Option<String>) -> Result<Option<String>, Refusal> {
    let refuse = |why: &str| Refusal::Field { name: "reference", why: why.into() };
    match reference {
        Some(text) if !is_clean(&text) => Err(refuse("holds a control character")),
        Some(text) if text.len() > MAX_REFERENCE_BYTES => Err(refuse("is too long")),
        other => Ok(other),
    }
}

/// Whether it could be a callback at all; where it may lead is the port's to check.
fn receipt(receipt: Option<ReceiptRequest>) -> Result<Option<ReceiptRequest>, Refusal> {
    let Some(receipt) = receipt else { return Ok(None) };
    let is_url = || {
        let url = Url::parse(&receipt.url);
        url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    };
    if receipt.url.len() > MAX_URL_BYTES || !is_clean(&receipt.url) || !is_url() {
        return Err(Refusal::BadCallback("it is no http or https URL".into()));
    }
    Ok(Some(receipt))
}

fn send_at(wish: Option<SendAt>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let at = match wish {
        None => return Ok(None),
        Some(SendAt::At(at)) => at,
        Some(SendAt::After(wait)) => now.plus(wait),
        Some(SendAt::Between { at, least, most }) => {
            if at < now.plus(least) || at > now.plus(most) {
                let why = "it is too soon or too far ahead";
                return Err(Refusal::BadSchedule(why.into()));
            }
            at
        }
    };
    if at > now.plus(MAX_WAIT) {
        return Err(Refusal::BadSchedule("it is more than a year ahead".into()));
    }
    Ok(Some(at))
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What a client wrote, fit for an answer.
fn quoted(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(MAX_QUOTED_CHARS).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::archive::Client;
    use crate::intake::tests::app;
    use crate::model::SmsEncoding;
    use crate::policy::AddressPattern;
    use crate::sms::number::NumberStyle;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn call(app: App) -> SmsSubmission {
        SmsSubmission {
            app: Arc::new(app),
            client: Client {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: String::new(),
                protocol: "HTTP/1.1".into(),
                tls: None,
                authenticated: None,
                gateway: "gateway.example.com".into(),
            },
            dialect: Dialect::Twilio,
            account: None,
            raw: Bytes::new(),
            fingerprint: [1; 16],
            drafts: Vec::new(),
            idempotency_key: None,
            received_at: NOW,
            reply_to: None,
            confirms_opt_out: false,
        }
    }

    fn draft(text: &str) -> Draft {
        let body = SmsBody::Text(text.into());
        let mut draft = Draft::new("+4512345678".into(), NumberStyle::International, body);
        draft.from = Some("Example".into());
        draft
    }

    fn read(change: impl FnOnce(&mut Draft)) -> Result<Sms, Refusal> {
        let mut draft = draft("Hello");
        change(&mut draft);
        sms(&mut draft, &call(app()), SmsBatch { index: 0, count: 1 })
    }

    #[test]
    fn what_can_not_be_carried_is_refused() {
        let check = |change: fn(&mut Draft), expected: Refusal| {
            assert_eq!(read(change), Err(expected));
        };
        check(|d| d.to = " ".into(), Refusal::NoDestination);
        check(|d| d.to = "12".into(), Refusal::BadDestination("12".into()));
        let quoted = "+4512345678\u{fffd}\u{fffd}".to_owned();
        check(|d| d.to += "\r\n", Refusal::BadDestination(quoted));
        check(|d| d.from = Some("a\0b".into()), Refusal::BadOriginator("a\u{fffd}b".into()));
        check(|d| d.from = Some("A".repeat(80)), Refusal::BadOriginator("A".repeat(60)));
        check(|d| d.body = SmsBody::Text(String::new()), Refusal::NoBody);
        check(|d| d.body = SmsBody::Binary(Vec::new()), Refusal::NoBody);
        check(
            |d| {
                d.body = SmsBody::Text("a".repeat(161));
                d.max_segments = Some(1);
            },
            Refusal::TooLong { segments: 2, most: 1 },
        );
        check(
            |d| d.body = SmsBody::Text("a".repeat(255 * 153 + 1)),
            Refusal::TooLong { segments: 256, most: 255 },
        );
        let why = "holds the control character U+001B".to_owned();
        check(|d| d.body = SmsBody::Text("a\u{1b}b".into()), Refusal::Field { name: "Body", why });
        for change in [
            (|d| d.client_reference = Some("a\nb".into())) as fn(&mut Draft),
            |d| d.client_reference = Some("a".repeat(1_001)),
            |d| d.udh = vec![0; 141],
        ] {
            assert!(matches!(read(change), Err(Refusal::Field { .. })));
        }
        for url in ["no url", "ftp://example.com/a", "https://example.com/\r\nx: y", "data:,x"] {
            let receipt = ReceiptRequest { url: url.into(), mask: 31 };
            let found = read(|d| d.receipt = Some(receipt));
            assert!(matches!(found, Err(Refusal::BadCallback(_))), "{url:?}");
        }
    }

    #[test]
    fn an_app_sends_only_as_what_it_may() {
        let mut narrow = app();
        narrow.sms.originators = vec![AddressPattern::new("Example"), AddressPattern::new("+45*")];
        let from = |from: Option<&str>| {
            let mut draft = Draft { from: from.map(str::to_owned), ..draft("Hello") };
            sms(&mut draft, &call(narrow.clone()), SmsBatch { index: 0, count: 1 })
        };
        assert_eq!(from(Some("Other")), Err(Refusal::OriginatorNotAllowed("Other".into())));
        assert!(from(Some("4512345678")).is_ok());
        assert!(from(Some("Example")).is_ok());
        assert_eq!(from(None).unwrap().originator, None);
        assert_eq!(from(Some("")).unwrap().originator, None);
    }

    #[test]
    fn texts_are_composed_and_smart_only_on_request() {
        let text = |text: &str, smart: bool| {
            let sms = read(|d| {
                d.body = SmsBody::Text(text.into());
                d.smart_encoding = smart;
            });
            let sms = sms.unwrap();
            (sms.text().to_owned(), sms.encoding)
        };
        assert_eq!(text("A\u{30a}rhus", false), ("Århus".into(), SmsEncoding::Gsm7));
        assert_eq!(text("it\u{2019}s", false), ("it\u{2019}s".into(), SmsEncoding::Ucs2));
        assert_eq!(text("it\u{2019}s", true), ("it's".into(), SmsEncoding::Gsm7));
        assert_eq!(text("a\r\n\t\u{c}b", false).0, "a\r\n\t\u{c}b");
    }

    #[test]
    fn schedules_have_a_window_and_validity_counts_from_them() {
        let hour = Duration::from_secs(3_600);
        let at = |wish| read(|d| d.send_at = Some(wish));
        let between = |at| SendAt::Between { at, least: hour, most: hour * 2 };
        for bad in [between(NOW), between(NOW.plus(hour * 3)), SendAt::After(hour * 24 * 366)] {
            assert!(matches!(at(bad), Err(Refusal::BadSchedule(_))), "{bad:?}");
        }
        assert_eq!(at(between(NOW.plus(hour))).unwrap().send_at, Some(NOW.plus(hour)));
        assert_eq!(at(between(NOW.plus(hour * 2))).unwrap().send_at, Some(NOW.plus(hour * 2)));
        let valid = read(|d| {
            d.send_at = Some(SendAt::After(hour));
            d.valid_for = Some(hour);
        });
        assert_eq!(valid.unwrap().valid_until, Some(NOW.plus(hour * 2)));
        assert_eq!(read(|d| d.valid_for = Some(hour)).unwrap().valid_until, Some(NOW.plus(hour)));
    }

    #[test]
    fn the_latest_hold_wins_and_a_person_over_any_time() {
        let hour = Duration::from_secs(3_600);
        let mut app = app();
        let until = |hours: u32| RecipientState::Held { hold: Hold::Until(NOW.plus(hour * hours)) };
        let due = RecipientState::Due { at: NOW, rank: 0 };
        let later = Some(NOW.plus(hour * 2));
        assert_eq!(start(None, &app, None, NOW), due);
        assert_eq!(start(None, &app, Some(NOW), NOW), due);
        assert_eq!(start(Some(HoldWish::For(hour)), &app, later, NOW), until(2));
        app.hold = HoldRule::For(hour * 3);
        assert_eq!(start(None, &app, later, NOW), until(3));
        assert_eq!(start(Some(HoldWish::None), &app, later, NOW), until(2));
        app.hold = HoldRule::Manual;
        let manual = RecipientState::Held { hold: Hold::Manual };
        assert_eq!(start(None, &app, later, NOW), manual);
        assert_eq!(start(Some(HoldWish::None), &app, None, NOW), due);
    }
}
