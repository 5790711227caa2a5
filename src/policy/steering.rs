//! Steering: what an application orders for one message in its `X-Waybill-…` header fields.
//!
//! Takes names and values of header fields, gives one `Steering`. A field that can not be understood
//! is an error and never passed over: a hold that is ignored is a message sent. The same goes for a
//! field of that name that does not exist, and for two fields that say different things.

use std::fmt;

use super::app::{HoldRule, Track};
use super::reference;
use crate::model::steering::STEERING_PREFIX;
use crate::model::{Reference, SteeringField, Tag, Timestamp, parse_duration};

/// Longest `X-Waybill-Sender`, in bytes.
const MAX_SENDER_BYTES: usize = 256;
/// How much of a wrong value is repeated in the error, in characters.
const MAX_SHOWN_CHARS: usize = 40;

/// What an application orders for one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Distinct, in order.
    pub references: Vec<Reference>,
    pub tag: Option<Tag>,
    pub hold: Option<HoldRule>,
    pub send_at: Option<Timestamp>,
    pub track: Option<Track>,
    pub on_behalf_of: Option<String>,
}

/// Why a steering field can not be obeyed. Its text is printable ASCII on one line, made for the
/// reply `550 5.6.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeringError {
    /// The field as the application wrote it.
    field: String,
    problem: String,
}

impl std::error::Error for SteeringError {}

impl fmt::Display for SteeringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// Reads the steering fields among header fields, given as name and unfolded, decoded value.
pub fn read_steering<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Steering, SteeringError> {
    let mut steering = Steering::default();
    for (name, value) in fields {
        if !is_steering(name) {
            continue;
        }
        let field = SteeringField::of_name(name.as_bytes()).ok_or_else(|| unknown(name))?;
        let error = |problem: String| SteeringError { field: field.name().into(), problem };
        obey(&mut steering, field, value.trim()).map_err(error)?;
    }
    Ok(steering)
}

fn is_steering(name: &str) -> bool {
    let start = name.as_bytes().get(..STEERING_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(STEERING_PREFIX.as_bytes()))
}

fn obey(steering: &mut Steering, field: SteeringField, value: &str) -> Result<(), String> {
    match field {
        SteeringField::Reference => add_references(&mut steering.references, value),
        SteeringField::Tag => {
            let bad = || wrong(value, "a tag", "at most 128 characters of text");
            let tag = optional(value, |v| Tag::parse(v).ok_or_else(bad))?;
            tag.map_or(Ok(()), |tag| once(&mut steering.tag, tag))
        }
        SteeringField::Hold => once(&mut steering.hold, hold(value)?),
        SteeringField::SendAt => {
            let bad = || wrong(value, "a time", "RFC 3339 such as 2026-11-22T08:00:00Z");
            once(&mut steering.send_at, Timestamp::parse_rfc3339(value).ok_or_else(bad)?)
        }
        SteeringField::Track => once(&mut steering.track, track(value)?),
        SteeringField::Sender => {
            let sender = optional(value, sender)?;
            sender.map_or(Ok(()), |sender| once(&mut steering.on_behalf_of, sender))
        }
    }
}

/// A label that is empty says nothing, which templates with an empty variable do all the time.
fn optional<T>(
    value: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some) }
}

fn add_references(references: &mut Vec<Reference>, value: &str) -> Result<(), String> {
    for code in value.split(',').map(str::trim).filter(|code| !code.is_empty()) {
        let bad =
            || wrong(code, "a reference", "codes of at most 64 characters, separated by commas");
        let code = Reference::parse(code).filter(|r| !r.canonical().is_empty()).ok_or_else(bad)?;
        reference::add(references, code)
            .map_err(|_| format!("there are more than {} references", reference::MAX_REFERENCES))?;
    }
    Ok(())
}

fn hold(value: &str) -> Result<HoldRule, String> {
    if value.eq_ignore_ascii_case("manual") {
        return Ok(HoldRule::Manual);
    }
    if value.eq_ignore_ascii_case("none") {
        return Ok(HoldRule::None);
    }
    match parse_duration(value) {
        Some(duration) if duration.is_zero() => Ok(HoldRule::None),
        Some(duration) => Ok(HoldRule::For(duration)),
        None => Err(wrong(value, "a hold time", "30s, 10m, 1h30m, 5d or manual")),
    }
}

fn track(value: &str) -> Result<Track, String> {
    let bad = || wrong(value, "something to track", "opens, clicks, \"opens,clicks\" or none");
    if value.eq_ignore_ascii_case("none") {
        return Ok(Track::default());
    }
    let mut track = Track::default();
    for word in value.split(',').map(str::trim) {
        match word.to_ascii_lowercase().as_str() {
            "opens" => track.opens = true,
            "clicks" => track.clicks = true,
            _ => return Err(bad()),
        }
    }
    Ok(track)
}

fn sender(value: &str) -> Result<String, String> {
    let ok = value.len() <= MAX_SENDER_BYTES && !value.chars().any(char::is_control);
    ok.then(|| value.to_owned())
        .ok_or_else(|| wrong(value, "a sender", "at most 256 bytes of text"))
}

/// The same order twice is one order; two different ones are a mistake that we must not choose from.
fn once<T: PartialEq>(place: &mut Option<T>, value: T) -> Result<(), String> {
    match place {
        Some(earlier) if *earlier != value => {
            Err(String::from("it is given twice with different values; write it once"))
        }
        Some(_) => Ok(()),
        None => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn wrong(value: &str, what: &str, write: &str) -> String {
    format!("\"{}\" is not {what}; write {write}", shown(value))
}

fn unknown(name: &str) -> SteeringError {
    let names = SteeringField::ALL.map(SteeringField::name).join(", ");
    SteeringError {
        field: shown(name),
        problem: format!("there is no such field; there are {names}"),
    }
}

/// A value in an error text: printable ASCII, short.
fn shown(value: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut text: String = value.chars().take(MAX_SHOWN_CHARS).map(printable).collect();
    if value.chars().nth(MAX_SHOWN_CHARS).is_some() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(name: &str, value: &str) -> String {
        read_steering([(name, value)]).unwrap_err().to_string()
    }

    #[test]
    fn what_can_not_be_understood_is_told_with_what_to_write() {
        let check = |name: &str, value: &str, expected: &str| {
            assert_eq!(error(name, value), expected);
        };
        check(
            "x-waybill-hold",
            "soon",
            "X-Waybill-Hold: \"soon\" is not a hold time; write 30s, 10m, 1h30m, 5d or manual",
        );
        check(
            "X-Waybill-Send-At",
            "tomorrow",
            "X-Waybill-Send-At: \"tomorrow\" is not a time; write RFC 3339 such as 2026-11-22T08:00:00Z",
        );
        check(
            "X-Waybill-Track",
            "opens;clicks",
            "X-Waybill-Track: \"opens;clicks\" is not something to track; write opens, clicks, \"opens,clicks\" or none",
        );
        check(
            "X-Waybill-Holt",
            "manual",
            "X-Waybill-Holt: there is no such field; there are X-Waybill-Reference, X-Waybill-Tag, X-Waybill-Hold, X-Waybill-Send-At, X-Waybill-Track, X-Waybill-Sender",
        );
        for (name, value) in [
            ("X-Waybill-Hold", ""),
            ("X-Waybill-Hold", "-5s"),
            ("X-Waybill-Hold", "5"),
            ("X-Waybill-Send-At", ""),
            ("X-Waybill-Track", ""),
            ("X-Waybill-Track", "opens,"),
            ("X-Waybill-Reference", "INV-1,---"),
            ("X-Waybill-", "x"),
        ] {
            assert!(!error(name, value).is_empty(), "{name}: {value:?}");
        }
        error("X-Waybill-Tag", &"x".repeat(129));
        error("X-Waybill-Sender", &"x".repeat(257));
        error("X-Waybill-Reference", &"x".repeat(65));
        let many: Vec<String> = (0..40).map(|i| format!("INV-{i}")).collect();
        error("X-Waybill-Reference", &many.join(","));
    }

    #[test]
    fn an_error_is_one_short_printable_line() {
        let text = error("X-Waybill-Hold", &"\r\nX: \u{e5}\u{202e}\0".repeat(50));
        assert!(text.bytes().all(|b| (32..127).contains(&b)), "{text:?}");
        assert!(text.len() < 200);
    }

    #[test]
    fn two_orders_that_differ_are_refused() {
        let twice = |a, b| read_steering([("X-Waybill-Hold", a), ("x-waybill-hold", b)]);
        assert!(twice("30s", "manual").is_err());
        assert_eq!(twice("60s", "1m").unwrap().hold, Some(HoldRule::For(Duration::from_secs(60))));
    }

    #[test]
    fn orders_are_read() {
        let steering = read_steering([
            ("Subject", "X-Waybill-Hold: soon"),
            ("X-Waybill-Reference", "INV-1, est 2"),
            ("X-WAYBILL-REFERENCE", "inv 1,SO-3"),
            ("X-Waybill-Tag", " reminder "),
            ("X-Waybill-Hold", "Manual"),
            ("X-Waybill-Send-At", "2026-11-22T05:27:51+01:00"),
            ("X-Waybill-Track", "Opens, clicks"),
            ("X-Waybill-Sender", "Anna J\u{f8}rgensen"),
        ])
        .unwrap();
        let references: Vec<_> = steering.references.iter().map(Reference::as_str).collect();
        assert_eq!(references, ["INV-1", "est 2", "SO-3"]);
        assert_eq!(steering.tag.as_ref().map(Tag::as_str), Some("reminder"));
        assert_eq!(steering.hold, Some(HoldRule::Manual));
        assert_eq!(steering.send_at.unwrap().to_string(), "2026-11-22T04:27:51.000Z");
        assert_eq!(steering.track, Some(Track { opens: true, clicks: true }));
        assert_eq!(steering.on_behalf_of.as_deref(), Some("Anna J\u{f8}rgensen"));
    }

    #[test]
    fn nothing_and_empty_labels_are_no_orders() {
        assert_eq!(read_steering([]).unwrap(), Steering::default());
        let empty =
            [("X-Waybill-Tag", ""), ("X-Waybill-Reference", " , "), ("X-Waybill-Sender", " ")];
        assert_eq!(read_steering(empty).unwrap(), Steering::default());
        let hold = |v| read_steering([("X-Waybill-Hold", v)]).unwrap().hold;
        assert_eq!(hold("0s"), Some(HoldRule::None));
        assert_eq!(hold("none"), Some(HoldRule::None));
        let track = read_steering([("X-Waybill-Track", "none")]).unwrap().track;
        assert_eq!(track, Some(Track { opens: false, clicks: false }));
    }
}
