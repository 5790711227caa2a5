//! Fields of JSON documents, read without trust: what is missing, of another type or too long is absent.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::EventRefusal;
use crate::model::Timestamp;

/// Longest text that is taken over, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// Longest id and longest address (RFC 5321 §4.5.3.1), in bytes.
const MAX_ID_BYTES: usize = 320;
/// Longest URL that was clicked, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;

pub(super) fn document(body: &[u8]) -> Result<Value, EventRefusal> {
    serde_json::from_slice(body).map_err(|_| EventRefusal::Malformed)
}

/// The objects of an array, or the one object.
pub(super) fn objects(document: Value) -> Result<Vec<Value>, EventRefusal> {
    match document {
        Value::Array(objects) => Ok(objects),
        Value::Object(_) => Ok(vec![document]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(EventRefusal::Malformed)
        }
    }
}

/// The text at a JSON pointer (RFC 6901), as it is; `None` where it is empty.
pub(super) fn raw<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// One line for a person to read.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    let line = |text: &str| -> String {
        let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        visible.take(MAX_TEXT_CHARS).collect()
    };
    raw(value, pointer).map(|text| line(text).trim().to_owned()).filter(|text| !text.is_empty())
}

/// A name by which something is looked up; a number is taken as its digits.
pub(super) fn id(value: &Value, pointer: &str) -> Option<String> {
    let found = value.pointer(pointer)?;
    let text = match found {
        Value::String(text) => text.trim().trim_start_matches('<').trim_end_matches('>').to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_good = !text.is_empty() && text.len() <= MAX_ID_BYTES;
    (is_good && !text.chars().any(char::is_control)).then_some(text)
}

pub(super) fn url(value: &Value, pointer: &str) -> Option<String> {
    raw(value, pointer).filter(|url| url.len() <= MAX_URL_BYTES).map(str::to_owned)
}

pub(super) fn client(value: &Value, pointer: &str) -> Option<IpAddr> {
    raw(value, pointer)?.parse().ok()
}

pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// Seconds since 1970, with or without a fraction, as a number or in digits; never later than `now`.
pub(super) fn seconds(value: &Value, pointer: &str, now: Timestamp) -> Timestamp {
    let found = value.pointer(pointer);
    let number = found.and_then(|found| found.as_f64().or_else(|| found.as_str()?.parse().ok()));
    let ms = number.map(|seconds| seconds * 1000.0).filter(|ms| (0.0..=4e15).contains(ms));
    ms.map_or(now, |ms| Timestamp::from_millis(ms as i64).min(now))
}

/// A time of RFC 3339; never later than `now`.
pub(super) fn time(value: &Value, pointer: &str, now: Timestamp) -> Timestamp {
    raw(value, pointer).and_then(Timestamp::parse_rfc3339).map_or(now, |at| at.min(now))
}

/// An enhanced status code (RFC 3463): `5.1.1`.
pub(super) fn status(text: &str) -> Option<String> {
    let is_code = |word: &&str| {
        let numbers: Vec<&str> = word.split('.').collect();
        let [class, rest @ ..] = &numbers[..] else { return false };
        let is_number =
            |n: &&str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
        matches!(*class, "2" | "4" | "5") && rest.len() == 2 && rest.iter().all(is_number)
    };
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.').take(200);
    words.find(is_code).map(str::to_owned)
}

/// Whether a status speaks of something else than the address: of the moment (4.x.x), a full mailbox, a
/// system that is not well, the way there, the message, or its sender (RFC 3463 §3).
pub(super) fn spares_the_address(status: &str) -> bool {
    let mut numbers = status.split('.');
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some("5"), Some("1"), Some(detail)) => matches!(detail, "7" | "8"),
        (Some("5"), Some("2"), Some(detail)) => matches!(detail, "2" | "3"),
        // Microsoft says "recipient address rejected" with the first, and that there is no such domain
        // with the others.
        (Some("5"), Some("4"), Some(detail)) => !matches!(detail, "1" | "4" | "310"),
        (Some("5"), Some(subject), Some(_)) => !matches!(subject, "0" | "5"),
        (_, _, _) => true,
    }
}

/// A name for an event to which its provider gives none: the parts of it that do not change when it is
/// told again.
pub(super) fn name(value: &Value, pointers: &[&str]) -> String {
    let parts = pointers.iter().map(|at| value.pointer(at).cloned().unwrap_or_default());
    fingerprint(&Value::from(parts.collect::<Vec<_>>()))
}

/// The same of the whole.
pub(super) fn fingerprint(value: &Value) -> String {
    let hash = digest(&SHA256, value.to_string().as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use serde_json::json;

    use super::super::EventCall;
    use super::*;

    pub(in crate::events) const NOW: i64 = 1_800_000_000_000;

    pub(in crate::events) fn with_header(name: &'static str, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    pub(in crate::events) fn call<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> EventCall<'a> {
        EventCall { headers, token: b"", body, now: Timestamp::from_millis(NOW) }
    }

    #[test]
    fn what_is_not_what_it_should_be_is_absent() {
        let value =
            json!({"n": 7, "t": " a\r\nb ", "e": "", "long": "x".repeat(400), "z": "a\u{0}b"});
        assert_eq!(
            (text(&value, "/n"), text(&value, "/e"), text(&value, "/no")),
            (None, None, None)
        );
        assert_eq!(text(&value, "/t").as_deref(), Some("a  b"));
        assert_eq!((id(&value, "/long"), id(&value, "/z")), (None, None));
        assert_eq!(id(&value, "/n").as_deref(), Some("7"));
        assert!(objects(json!("x")).is_err() && document(b"{").is_err());
        // Deeper than any reader should follow.
        assert!(document("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn times_are_never_later_than_now() {
        let now = Timestamp::from_millis(NOW);
        let value = json!({"a": 1_700_000_000, "b": 1_700_000_000.25, "c": "1700000000", "d": 9e99, "e": -1});
        let at = |pointer| seconds(&value, pointer, now).as_millis();
        assert_eq!(
            (at("/a"), at("/b"), at("/c")),
            (1_700_000_000_000, 1_700_000_000_250, 1_700_000_000_000)
        );
        assert_eq!((at("/d"), at("/e"), at("/f")), (NOW, NOW, NOW));
    }

    #[test]
    fn a_status_blames_the_address_or_something_else() {
        for of_it in ["5.1.1", "5.1.2", "5.1.10", "5.2.1", "5.4.1", "5.4.4", "5.0.0", "5.5.0"] {
            assert!(!spares_the_address(of_it), "{of_it}");
        }
        for other in ["4.1.1", "5.1.8", "5.2.2", "5.3.4", "5.4.6", "5.6.0", "5.7.1", "2.0.0", ""] {
            assert!(spares_the_address(other), "{other}");
        }
    }

    #[test]
    fn a_status_is_found_in_a_sentence() {
        assert_eq!(status("smtp; 550 5.1.1 unknown").as_deref(), Some("5.1.1"));
        assert_eq!(status("5.7.26").as_deref(), Some("5.7.26"));
        for none in ["", "550", "192.0.2.1", "5.1", "6.1.1", "5.1.1.1", "5..1"] {
            assert_eq!(status(none), None, "{none}");
        }
    }
}
