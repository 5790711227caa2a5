//! From the fields of a request to drafts: `/rest/mtsms`, and `/mobile/single` of the Message API.
//!
//! One draft for each recipient of each message object. Fields that mean nothing here (`priority`,
//! `extra_details`, `class=secret`: what is archived is redacted by its own rule) are checked and
//! dropped; what costs the recipient money (`premium`, `charge`) is refused.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::call::{Draft, Refusal, SendAt, quoted};
use super::super::number::NumberStyle;
use super::super::segment::{MAX_SEGMENTS, MAX_TEXT_CHARS, measure};
use super::template::Template;
use crate::model::{ReceiptRequest, Reference, SmsBody, Tag, Timestamp};

/// Most recipients of one call; GatewayAPI's limit for one message object.
const MAX_RECIPIENTS: usize = 10_000;
/// All texts of a call together: a long text to many recipients is a copy for each.
const MAX_CALL_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// GatewayAPI's shortest validity.
const MIN_VALIDITY_SECONDS: u64 = 60;
/// Seconds up to here are an offset in the Message API, and more is a point in time.
const MAX_VALIDITY_SECONDS: u64 = 432_000;
/// Longest `userref` that is echoed.
const MAX_USERREF_BYTES: usize = 255;
/// Every kind of receipt is wanted.
const ALL_RECEIPTS: u8 = u8::MAX;

/// Reads `/rest/mtsms`. The second value: the answer is to tell the parts of each recipient.
pub(super) fn messages(fields: &Value) -> Result<(Vec<Draft>, bool), Refusal> {
    let objects = match fields {
        Value::Array(objects) => objects.as_slice(),
        single => std::slice::from_ref(single),
    };
    if objects.is_empty() {
        return Err(Refusal::NoDestination);
    }
    let (mut drafts, mut has_details, mut text_bytes) = (Vec::new(), false, 0);
    for (group, object) in (0..).zip(objects) {
        let Value::Object(object) = object else {
            return Err(Refusal::Malformed(String::from("a message is no object")));
        };
        let object = Object(object);
        has_details |= object.text("extra_details")?.as_deref() == Some("recipients_usage");
        message(&object, group, &mut drafts, &mut text_bytes)?;
    }
    Ok((drafts, has_details))
}

/// The drafts of one message object.
fn message(
    object: &Object<'_>,
    group: u32,
    drafts: &mut Vec<Draft>,
    text_bytes: &mut usize,
) -> Result<(), Refusal> {
    let recipients = recipients(object)?;
    if drafts.len() + recipients.len() > MAX_RECIPIENTS {
        return Err(Refusal::TooManyDestinations { most: MAX_RECIPIENTS });
    }
    let plain = Draft { group, ..plain(object)? };
    let max_parts = plain.max_segments;
    let template = match &plain.body {
        SmsBody::Text(text) => Some(Template::new(text, &tags(object)?)),
        SmsBody::Binary(_) => None,
    };
    let mut numbers = HashSet::with_capacity(recipients.len());
    for recipient in recipients {
        let (to, values) = recipient;
        if !numbers.insert(digits(&to)) {
            let why = format!("Duplicate MSISDN: {}", quoted(&to));
            return Err(Refusal::Field { name: "recipients", why });
        }
        let mut draft = Draft { to, ..plain.clone() };
        if let Some(template) = template.as_ref().filter(|found| found.has_tags()) {
            draft.body = SmsBody::Text(template.fill(&values)?);
        }
        draft.body = cut(draft.body, &draft.udh, max_parts);
        *text_bytes += match &draft.body {
            SmsBody::Text(text) => text.len(),
            SmsBody::Binary(bytes) => bytes.len(),
        };
        if *text_bytes > MAX_CALL_TEXT_BYTES {
            return Err(Refusal::Malformed(String::from("the texts of this call are too long")));
        }
        drafts.push(draft);
    }
    Ok(())
}

/// Everything of a message object but whom it goes to.
fn plain(object: &Object<'_>) -> Result<Draft, Refusal> {
    let (body, udh) = body(object)?;
    let mut draft = Draft::new(String::new(), NumberStyle::International, body);
    draft.udh = udh;
    draft.from = object.text("sender")?;
    draft.class = match object.word("destaddr", &["MOBILE", "DISPLAY", "SIMCARD", "EXTUNIT"])? {
        // The usual way: no class.
        None | Some("MOBILE") => None,
        Some("DISPLAY") => Some(0),
        Some("SIMCARD") => Some(2),
        Some(_) => Some(3),
    };
    let class = object.word("class", &["STANDARD", "PREMIUM", "SECRET", "CHARGE"])?;
    if matches!(class, Some("PREMIUM" | "CHARGE")) {
        return Err(Refusal::Unsupported("class"));
    }
    object.word("priority", &["BULK", "NORMAL", "URGENT", "VERY_URGENT"])?;
    if let Some(seconds) = object.whole("validity_period")? {
        if seconds < MIN_VALIDITY_SECONDS {
            return Err(wrong("validity_period", "it is shorter than 60 seconds"));
        }
        draft.valid_for = Some(Duration::from_secs(seconds));
    }
    if let Some(seconds) = object.whole("sendtime")? {
        draft.send_at = Some(SendAt::At(moment(seconds)?));
    }
    if let Some(parts) = object.whole("max_parts")? {
        let within = u16::try_from(parts)
            .ok()
            .filter(|parts| (1..=MAX_SEGMENTS).contains(&u32::from(*parts)));
        draft.max_segments = Some(within.ok_or_else(|| wrong("max_parts", "it is not 1 to 255"))?);
    }
    reference(&mut draft, object.text("userref")?, "userref")?;
    draft.receipt = receipt(object.text("callback_url")?)?;
    draft.tag = match label(object, "label")? {
        Some(label) => Some(label),
        // Tags that are placeholders are no label.
        None => {
            tags(object)?.iter().find(|tag| !tag.starts_with('%')).and_then(|tag| Tag::parse(tag))
        }
    };
    Ok(draft)
}

/// The text, or the payload with its header.
fn body(object: &Object<'_>) -> Result<(SmsBody, Vec<u8>), Refusal> {
    let encoding = object.word("encoding", &["UTF8", "UCS2", "BINARY"])?;
    let udh = object.base64("udh")?.unwrap_or_default();
    let body = match (object.text("message")?, object.base64("payload")?) {
        (None, None) => return Err(Refusal::NoBody),
        (Some(_), Some(_)) => return Err(wrong("payload", "there is a message already")),
        (Some(text), None) => SmsBody::Text(text),
        (None, Some(payload)) => match encoding {
            None | Some("BINARY") => SmsBody::Binary(payload),
            Some("UCS2") => SmsBody::Text(utf16(&payload)?),
            Some(_) => {
                let text = String::from_utf8(payload);
                SmsBody::Text(text.map_err(|_| wrong("payload", "it is no UTF-8"))?)
            }
        },
    };
    if let SmsBody::Text(text) = &body
        && text.chars().count() > MAX_TEXT_CHARS
    {
        let segments = measure(&body, &udh).segments;
        return Err(Refusal::TooLong { segments, most: MAX_SEGMENTS });
    }
    Ok((body, udh))
}

fn utf16(payload: &[u8]) -> Result<String, Refusal> {
    let (pairs, rest) = payload.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
    text.ok_or_else(|| wrong("payload", "it is no UCS-2"))
}

/// Numbers as they were written, with the values of their placeholders.
fn recipients(object: &Object<'_>) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let listed = match object.0.get("recipients") {
        None | Some(Value::Null) => return Err(Refusal::NoDestination),
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    if listed.is_empty() {
        return Err(Refusal::NoDestination);
    }
    if listed.len() > MAX_RECIPIENTS {
        return Err(Refusal::TooManyDestinations { most: MAX_RECIPIENTS });
    }
    listed.iter().map(recipient).collect()
}

fn recipient(value: &Value) -> Result<(String, Vec<String>), Refusal> {
    let Value::Object(recipient) = value else {
        return Err(Refusal::BadDestination(quoted(&value.to_string())));
    };
    if recipient.get("charge").is_some_and(|charge| !charge.is_null()) {
        return Err(Refusal::Unsupported("charge"));
    }
    let recipient = Object(recipient);
    let number = number(recipient.0.get("msisdn"))?;
    Ok((number, recipient.texts("tagvalues")?))
}

fn number(value: Option<&Value>) -> Result<String, Refusal> {
    match value {
        None | Some(Value::Null) => Err(Refusal::NoDestination),
        Some(Value::String(text)) if text.trim().is_empty() => Err(Refusal::NoDestination),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
        Some(other) => Err(Refusal::BadDestination(quoted(&other.to_string()))),
    }
}

/// What makes two numbers the same one.
fn digits(number: &str) -> String {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.strip_prefix("00").map_or_else(|| digits.clone(), str::to_owned)
}

fn tags(object: &Object<'_>) -> Result<Vec<String>, Refusal> {
    object.texts("tags")
}

fn label(object: &Object<'_>, name: &'static str) -> Result<Option<Tag>, Refusal> {
    let Some(text) = object.text(name)? else { return Ok(None) };
    Tag::parse(&text).map(Some).ok_or_else(|| wrong(name, "it is too long or not printable"))
}

/// What the application calls the message: echoed in receipts, and a reference of the archive.
fn reference(draft: &mut Draft, text: Option<String>, name: &'static str) -> Result<(), Refusal> {
    let Some(text) = text else { return Ok(()) };
    if text.len() > MAX_USERREF_BYTES || text.chars().any(char::is_control) {
        return Err(wrong(name, "it is too long or not printable"));
    }
    draft.references.extend(Reference::parse(&text));
    draft.client_reference = Some(text);
    Ok(())
}

fn receipt(url: Option<String>) -> Result<Option<ReceiptRequest>, Refusal> {
    let Some(url) = url else { return Ok(None) };
    let is_http = url::Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if !is_http || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Refusal::BadCallback(quoted(&url)));
    }
    Ok(Some(ReceiptRequest { url, mask: ALL_RECEIPTS }))
}

fn moment(seconds: u64) -> Result<Timestamp, Refusal> {
    let ms = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let at = ms.map(Timestamp::from_millis).filter(|at| Some(at.as_millis()) == ms);
    at.ok_or_else(|| Refusal::BadSchedule(seconds.to_string()))
}

/// Shortens a text to so many parts, as GatewayAPI does: no more than its client wants to pay for.
fn cut(body: SmsBody, udh: &[u8], max_parts: Option<u16>) -> SmsBody {
    let (SmsBody::Text(text), Some(most)) = (&body, max_parts) else { return body };
    let fits = |part: &str| measure(&SmsBody::Text(part.into()), udh).segments <= u32::from(most);
    if fits(text) {
        return body;
    }
    // No part holds more than 160 characters, so what lies behind can not stay.
    let ends: Vec<usize> =
        text.char_indices().map(|(at, _)| at).take(usize::from(most) * 160 + 1).collect();
    // A longer beginning never takes fewer parts.
    let kept = ends.partition_point(|end| fits(&text[..*end]));
    SmsBody::Text(text[..ends[kept.saturating_sub(1)]].to_owned())
}

/// Reads `/mobile/single`.
pub(super) fn single(fields: &Value) -> Result<Vec<Draft>, Refusal> {
    let Value::Object(object) = fields else {
        return Err(Refusal::Malformed(String::from("the body is no object")));
    };
    let object = Object(object);
    let to = number(object.0.get("recipient"))?;
    let text = object.text("message")?.ok_or(Refusal::NoBody)?;
    if text.chars().count() > MAX_TEXT_CHARS {
        let segments = measure(&SmsBody::Text(text), &[]).segments;
        return Err(Refusal::TooLong { segments, most: MAX_SEGMENTS });
    }
    let mut draft = Draft::new(to, NumberStyle::International, SmsBody::Text(text));
    draft.from = object.text("sender")?;
    object.word("priority", &["NORMAL", "URGENT"])?;
    reference(&mut draft, object.text("reference")?, "reference")?;
    draft.tag = label(&object, "label")?;
    draft.valid_for = object.text("expiration")?.map(|text| expiration(&text)).transpose()?;
    Ok(vec![draft])
}

/// Seconds or an ISO 8601 duration. A point in time would need a clock to become a length.
fn expiration(text: &str) -> Result<Duration, Refusal> {
    if let Ok(seconds) = text.parse::<u64>()
        && seconds <= MAX_VALIDITY_SECONDS
    {
        return Ok(Duration::from_secs(seconds));
    }
    let span = text.parse::<jiff::Span>();
    let length = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    let length = length.ok().and_then(|length| Duration::try_from(length).ok());
    length
        .filter(|length| *length <= Duration::from_secs(MAX_VALIDITY_SECONDS))
        .ok_or_else(|| wrong("expiration", "it is no duration of at most 5 days"))
}

pub(super) fn wrong(name: &'static str, why: &str) -> Refusal {
    Refusal::Field { name, why: why.to_owned() }
}

/// One JSON object with its fields by type. `null` and an empty text are as good as absent.
struct Object<'a>(&'a Map<String, Value>);

impl Object<'_> {
    fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                Err(wrong(name, "it is no text"))
            }
        }
    }

    /// A list of texts; a single one is a list as well.
    fn texts(&self, name: &'static str) -> Result<Vec<String>, Refusal> {
        let Some(Value::Array(listed)) = self.0.get(name) else {
            return Ok(self.text(name)?.into_iter().collect());
        };
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null => Ok(String::new()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(wrong(name, "it is no list of texts"))
            }
        };
        listed.iter().map(text).collect()
    }

    /// A whole number, also as a text or with decimals that are zero.
    fn whole(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits = text.trim().split_once('.').map_or(text.trim(), |(whole, rest)| {
            if rest.bytes().all(|b| b == b'0') { whole } else { "" }
        });
        digits.parse().map(Some).map_err(|_| wrong(name, "it is no whole number"))
    }

    /// One of these words, in either case.
    fn word(
        &self,
        name: &'static str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
        found.map(|word| Some(*word)).ok_or_else(|| wrong(name, "there is no such value"))
    }

    fn base64(&self, name: &'static str) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        STANDARD.decode(text.trim()).map(Some).map_err(|_| wrong(name, "it is no base64"))
    }
}
