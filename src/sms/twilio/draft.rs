//! The fields of a new message, read into a draft (twilio.com/docs/messaging/api/message-resource).
//!
//! Only what could be read is judged here; whether a number or an originator may be used is
//! decided behind. Of a field that stands twice the last one counts.

use std::time::Duration;

use url::Url;

use super::request::moment;
use crate::model::{ReceiptRequest, SmsBody};
use crate::sms::call::{Draft, Refusal, SendAt};
use crate::sms::form::Fields;
use crate::sms::number::NumberStyle;
use crate::sms::segment;

/// Characters of a body.
const MAX_BODY_CHARS: usize = 1_600;
/// Segments that 1600 characters of GSM take; only for the refusal.
const MAX_SEGMENTS: u32 = 11;
const VALIDITY_S: std::ops::RangeInclusive<u64> = 1..=36_000;
/// Scheduling: 15 minutes to 35 days ahead.
const SCHEDULE_LEAST: Duration = Duration::from_secs(15 * 60);
const SCHEDULE_MOST: Duration = Duration::from_secs(35 * 24 * 60 * 60);
/// Every state is worth a receipt.
const ALL_STATES: u8 = 31;
const MAX_URL_BYTES: usize = 2_048;

/// Reads a message. The refusals stand in the order in which Twilio looks.
pub(super) fn read(fields: &Fields) -> Result<Draft, Refusal> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let to = given("To").filter(|to| !to.trim().is_empty()).ok_or(Refusal::NoDestination)?;
    let service = given("MessagingServiceSid").map(|service| service.trim().to_owned());
    let service =
        service.or_else(|| given("From").map(|f| f.trim().to_owned()).filter(|f| is_service(f)));
    if service.as_ref().is_some_and(|service| !is_service(service)) {
        let why = "The Messaging Service is invalid".to_owned();
        return Err(Refusal::Field { name: "MessagingServiceSid", why });
    }
    // A sender that is named beside its pool is the one to use.
    let from = given("From").map(|from| from.trim().to_owned()).filter(|from| !from.is_empty());
    let from = from.or_else(|| service.clone()).ok_or(Refusal::NoOriginator)?;
    if given("MediaUrl").is_some() || is_true(fields, "SendAsMms") {
        return Err(Refusal::Unsupported("MediaUrl"));
    }
    if given("ContentSid").is_some() {
        return Err(Refusal::Unsupported("ContentSid"));
    }
    let text = given("Body").ok_or(Refusal::NoBody)?.into_owned();
    let is_long = text.chars().count() > MAX_BODY_CHARS;
    let body = SmsBody::Text(text);
    if is_long {
        let segments = segment::measure(&body, &[]).segments;
        return Err(Refusal::TooLong { segments, most: MAX_SEGMENTS });
    }
    let mut draft = Draft::new(to.trim().to_owned(), NumberStyle::International, body);
    draft.from = Some(from);
    draft.smart_encoding = is_true(fields, "SmartEncoded");
    draft.valid_for = validity(fields)?;
    // Without a service the fields of scheduling mean nothing: the message goes at once.
    if service.is_some() {
        draft.send_at = schedule(fields)?;
    }
    draft.receipt = receipt(fields)?;
    Ok(draft)
}

fn is_service(text: &str) -> bool {
    text.strip_prefix("MG")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_true(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Only when it was given: a default of ten hours would end messages that are held for a day.
fn validity(fields: &Fields) -> Result<Option<Duration>, Refusal> {
    let Some(text) = fields.get("ValidityPeriod").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = text.trim().parse::<u64>().ok().filter(|s| VALIDITY_S.contains(s));
    let wrong = || Refusal::Field {
        name: "ValidityPeriod",
        why: "It is a number of seconds from 1 to 36000".into(),
    };
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(wrong)
}

/// A time without a type is obeyed as well: what was meant for later must not go at once.
fn schedule(fields: &Fields) -> Result<Option<SendAt>, Refusal> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let kind = given("ScheduleType");
    if kind.as_deref().is_some_and(|kind| kind != "fixed") {
        return Err(Refusal::Field {
            name: "ScheduleType",
            why: "The only type is 'fixed'".into(),
        });
    }
    let Some(text) = given("SendAt") else {
        let missing =
            Refusal::Field { name: "SendAt", why: "The SendAt timestamp is missing".into() };
        return if kind.is_some() { Err(missing) } else { Ok(None) };
    };
    let wrong = || Refusal::BadSchedule("The SendAt value is no ISO 8601 timestamp".into());
    let at = moment(&text).filter(|_| text.contains('T')).ok_or_else(wrong)?;
    Ok(Some(SendAt::Between { at, least: SCHEDULE_LEAST, most: SCHEDULE_MOST }))
}

fn receipt(fields: &Fields) -> Result<Option<ReceiptRequest>, Refusal> {
    let Some(url) = fields.get("StatusCallback").filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    if !is_callable(&url) {
        let shown = url.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(Refusal::BadCallback(shown));
    }
    Ok(Some(ReceiptRequest { url: url.into_owned(), mask: ALL_STATES }))
}

/// Whether a text is a URL that could be called. The URL parser forgives white space and control characters,
/// which no request may hold.
pub(super) fn is_callable(url: &str) -> bool {
    url.len() <= MAX_URL_BYTES
        && !url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\u{fffd}')
        && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const MG: &str = "MG0123456789abcdef0123456789abcdef";

    fn of(text: &str) -> Result<Draft, Refusal> {
        read(&Fields::parse(text.as_bytes()))
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let check = |text: &str, expected: Refusal| assert_eq!(of(text), Err(expected), "{text}");
        let field = |name: &'static str, why: &str| Refusal::Field { name, why: why.into() };
        check("", Refusal::NoDestination);
        check("To=&From=1&Body=x", Refusal::NoDestination);
        check("To=+&From=1&Body=x", Refusal::NoDestination);
        check("To=1&Body=x", Refusal::NoOriginator);
        check("To=1&From=&Body=x", Refusal::NoOriginator);
        check("To=1&From=+&Body=x", Refusal::NoOriginator);
        check("To=1&From=2", Refusal::NoBody);
        check("To=1&From=2&Body=", Refusal::NoBody);
        check("To=1&From=2&Body=x&MediaUrl=http://a/b", Refusal::Unsupported("MediaUrl"));
        check("To=1&From=2&Body=x&SendAsMms=true", Refusal::Unsupported("MediaUrl"));
        check("To=1&From=2&ContentSid=HX1", Refusal::Unsupported("ContentSid"));
        let service = field("MessagingServiceSid", "The Messaging Service is invalid");
        check("To=1&MessagingServiceSid=MG1&Body=x", service);
        let long = format!("To=1&From=2&Body={}", "a".repeat(1_601));
        check(&long, Refusal::TooLong { segments: 11, most: 11 });
        for bad in ["0", "36001", "-1", "1.5", "x", "99999999999999999999"] {
            let why = "It is a number of seconds from 1 to 36000";
            check(
                &format!("To=1&From=2&Body=x&ValidityPeriod={bad}"),
                field("ValidityPeriod", why),
            );
        }
        for bad in ["x", "/path", "ftp://a/b", "http://", "http://a/%0d%0ax", "http://a%09.b/"] {
            let found = of(&format!("To=1&From=2&Body=x&StatusCallback={bad}"));
            assert!(matches!(found, Err(Refusal::BadCallback(_))), "{bad}: {found:?}");
        }
    }

    #[test]
    fn scheduling_needs_a_service_and_a_time() {
        let with = |rest: &str| of(&format!("To=1&Body=x&MessagingServiceSid={MG}&{rest}"));
        let missing = |name, why: &str| Err(Refusal::Field { name, why: why.to_owned() });
        assert_eq!(
            with("ScheduleType=fixed"),
            missing("SendAt", "The SendAt timestamp is missing")
        );
        assert_eq!(with("ScheduleType=soon"), missing("ScheduleType", "The only type is 'fixed'"));
        for bad in ["tomorrow", "2026-12-01", "12:00"] {
            let found = with(&format!("ScheduleType=fixed&SendAt={bad}"));
            assert!(matches!(found, Err(Refusal::BadSchedule(_))), "{bad}");
        }
        let at = Timestamp::parse_rfc3339("2026-12-01T10:00:00Z").unwrap();
        let expected = SendAt::Between { at, least: SCHEDULE_LEAST, most: SCHEDULE_MOST };
        for good in [
            "ScheduleType=fixed&SendAt=2026-12-01T10%3A00%3A00Z",
            "ScheduleType=fixed&SendAt=2026-12-01T10:00:00",
            "SendAt=2026-12-01T11:00:00%2B01:00",
        ] {
            assert_eq!(with(good).unwrap().send_at, Some(expected), "{good}");
        }
        let alone = of("To=1&From=2&Body=x&ScheduleType=fixed&SendAt=2026-12-01T10:00:00Z");
        assert_eq!(alone.unwrap().send_at, None);
        let from = of(&format!("To=1&From={MG}&Body=x&SendAt=2026-12-01T10:00:00Z")).unwrap();
        assert_eq!((from.from.as_deref(), from.send_at), (Some(MG), Some(expected)));
    }

    #[test]
    fn the_fields_of_a_message_are_taken() {
        let draft =
            of("To=%2B45+12&From=Example&Body=+Hej%0A%C3%A6+&SmartEncoded=True&ValidityPeriod=60\
             &StatusCallback=http%3A%2F%2Fa%2Fb%3Fc%3D1%23rc%3D2")
            .unwrap();
        assert_eq!((draft.to.as_str(), draft.from.as_deref()), ("+45 12", Some("Example")));
        assert_eq!(draft.body, SmsBody::Text(" Hej\næ ".into()));
        assert!(draft.smart_encoding);
        assert_eq!(draft.valid_for, Some(Duration::from_secs(60)));
        assert_eq!(draft.receipt.unwrap().url, "http://a/b?c=1#rc=2");
        let pool = of(&format!("To=1&From=2&MessagingServiceSid={MG}&Body=x")).unwrap();
        assert_eq!(pool.from.as_deref(), Some("2"));
        assert_eq!(of("To=1&From=2&Body=x&Body=y&To=3").unwrap().to, "3");
        let most = "a".repeat(1_600);
        assert!(of(&format!("To=1&From=2&Body={most}")).is_ok());
    }
}
