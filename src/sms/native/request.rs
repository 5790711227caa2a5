//! From a request to drafts: JSON, a form or the query, with the same field names.
//!
//! What is not known is an error and not ignored: a misspelt `hold` must not send at once.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use http::Request;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::super::call::{Draft, HoldWish, Refusal, SendAt, quoted};
use super::super::form::Fields;
use super::super::masked::is_json;
use super::super::number::NumberStyle;
use super::super::segment::{MAX_SEGMENTS, MAX_TEXT_CHARS, measure};
use crate::model::{ReceiptRequest, Reference, SmsBody, Tag, Timestamp, parse_duration};

/// The fields of a message.
pub(super) const FIELDS: [&str; 9] =
    ["to", "from", "text", "reference", "tag", "send_at", "hold", "callback", "validity"];

/// The name of the refusal that is about an unknown field; its reason is the field as it was written.
pub(super) const UNKNOWN_FIELD: &str = "unknown field";

/// Most destinations of one call.
const MAX_DESTINATIONS: usize = 10_000;
/// All texts of a call together: a long text to many is a copy for each.
const MAX_CALL_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// Every kind of receipt is wanted.
const ALL_RECEIPTS: u8 = u8::MAX;

/// Drafts, and whether the destinations were a list: then the answer is one as well.
pub(super) fn read(request: &Request<Bytes>) -> (Result<Vec<Draft>, Refusal>, bool) {
    match fields(request) {
        Ok(fields) => {
            let is_list = fields.get("to").is_some_and(Value::is_array);
            (drafts(&fields), is_list)
        }
        Err(refusal) => (Err(refusal), false),
    }
}

/// The fields by name. Query and form add to what the JSON says; the same field twice is an error,
/// but for `to`, which is a list then.
fn fields(request: &Request<Bytes>) -> Result<Map<String, Value>, Refusal> {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let body = request.body();
    let (mut fields, others) = if is_json(body) {
        let document = serde_json::from_slice(body);
        match document
            .map_err(|error| Refusal::Malformed(format!("The JSON is wrong: {error}.")))?
        {
            Document::Object(object) => (object, query),
            Document::Twice(name) => return Err(twice(&name)),
            Document::Other => {
                return Err(Refusal::Malformed(String::from("The body is no JSON object.")));
            }
        }
    } else {
        (Map::new(), query.and(Fields::parse(body)))
    };
    for (name, value) in others.iter() {
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(Refusal::Malformed(format!("{} is no UTF-8.", quoted(name))));
        };
        add(&mut fields, name, value)?;
    }
    match fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        Some(unknown) => Err(Refusal::Field { name: UNKNOWN_FIELD, why: quoted(unknown) }),
        None => Ok(fields),
    }
}

fn add(fields: &mut Map<String, Value>, name: &str, value: &str) -> Result<(), Refusal> {
    match fields.get_mut(name) {
        None => {
            fields.insert(name.to_owned(), value.into());
        }
        Some(Value::Array(listed)) if name == "to" => listed.push(value.into()),
        Some(single) if name == "to" => *single = Value::Array(vec![single.take(), value.into()]),
        Some(_) => return Err(twice(name)),
    }
    Ok(())
}

fn twice(name: &str) -> Refusal {
    Refusal::Malformed(format!("{} is there twice.", quoted(name)))
}

/// A JSON body. Of a name that stands twice each reader takes another value (RFC 8259 §4), so who
/// checked such a call and who sends it may not mean the same one.
enum Document {
    Object(Map<String, Value>),
    Twice(String),
    Other,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let (mut object, mut again) = (Map::new(), None);
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            if object.contains_key(&name) {
                again.get_or_insert(name);
            } else {
                object.insert(name, value);
            }
        }
        Ok(again.map_or(Document::Object(object), Document::Twice))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Document::Other)
    }
}

fn drafts(fields: &Map<String, Value>) -> Result<Vec<Draft>, Refusal> {
    let destinations = destinations(fields.get("to"))?;
    let text = text(fields, "text")?.ok_or(Refusal::NoBody)?;
    let too_long = text.chars().count() > MAX_TEXT_CHARS;
    let bytes = text.len().saturating_mul(destinations.len());
    let mut plain = Draft::new(String::new(), NumberStyle::International, SmsBody::Text(text));
    if too_long {
        let segments = measure(&plain.body, &[]).segments;
        return Err(Refusal::TooLong { segments, most: MAX_SEGMENTS });
    }
    if bytes > MAX_CALL_TEXT_BYTES {
        let most = MAX_CALL_TEXT_BYTES / plain_bytes(&plain);
        return Err(Refusal::TooManyDestinations { most });
    }
    plain.from = text_of(fields, "from")?;
    if let Some(reference) = text_of(fields, "reference")? {
        let parsed = Reference::parse(&reference);
        let why = "it is longer than 64 characters or not printable";
        plain.references.push(parsed.ok_or_else(|| wrong("reference", why))?);
        plain.client_reference = Some(reference);
    }
    if let Some(tag) = text_of(fields, "tag")? {
        let why = "it is longer than 128 characters or not printable";
        plain.tag = Some(Tag::parse(&tag).ok_or_else(|| wrong("tag", why))?);
    }
    if let Some(at) = text_of(fields, "send_at")? {
        let parsed = Timestamp::parse_rfc3339(&at);
        plain.send_at = Some(SendAt::At(
            parsed.ok_or_else(|| Refusal::BadSchedule(format!("{:?} is no time", quoted(&at))))?,
        ));
    }
    plain.hold = text_of(fields, "hold")?.map(|text| hold(&text)).transpose()?;
    if let Some(url) = text_of(fields, "callback")? {
        plain.receipt = Some(receipt(url)?);
    }
    if let Some(validity) = text_of(fields, "validity")? {
        let length = parse_duration(&validity).filter(|length| !length.is_zero());
        let why = "it is no length of time, such as \"2h\"";
        plain.valid_for = Some(length.ok_or_else(|| wrong("validity", why))?);
    }
    Ok(destinations.into_iter().map(|to| Draft { to, ..plain.clone() }).collect())
}

/// At least 1: it divides.
fn plain_bytes(draft: &Draft) -> usize {
    match &draft.body {
        SmsBody::Text(text) => text.len().max(1),
        SmsBody::Binary(bytes) => bytes.len().max(1),
    }
}

fn destinations(value: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let listed = match value {
        None | Some(Value::Null) => return Err(Refusal::NoDestination),
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    if listed.is_empty() {
        return Err(Refusal::NoDestination);
    }
    if listed.len() > MAX_DESTINATIONS {
        return Err(Refusal::TooManyDestinations { most: MAX_DESTINATIONS });
    }
    let mut seen = HashSet::with_capacity(listed.len());
    let mut found = Vec::with_capacity(listed.len());
    for value in listed {
        let text = match value {
            Value::String(text) if text.trim().is_empty() => return Err(Refusal::NoDestination),
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            other => return Err(Refusal::BadDestination(quoted(&other.to_string()))),
        };
        if !seen.insert(text.clone()) {
            return Err(wrong("to", &format!("{} is there twice", quoted(&text))));
        }
        found.push(text);
    }
    Ok(found)
}

/// A text field; `null` is as good as absent, a number is not.
fn text(fields: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(wrong(name, "it is no text"))
        }
    }
}

/// A text field of one line, without space around it.
fn text_of(fields: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    let found = text(fields, name)?.map(|text| text.trim().to_owned());
    match found {
        Some(text) if text.chars().any(char::is_control) => {
            Err(wrong(name, "it holds a control character"))
        }
        found => Ok(found.filter(|text| !text.is_empty())),
    }
}

fn hold(text: &str) -> Result<HoldWish, Refusal> {
    if text == "manual" {
        return Ok(HoldWish::Manual);
    }
    let length = parse_duration(text);
    let length = length.ok_or_else(|| {
        wrong("hold", "it is neither \"manual\" nor a length of time, such as \"30s\"")
    })?;
    Ok(if length.is_zero() { HoldWish::None } else { HoldWish::For(length) })
}

fn receipt(url: String) -> Result<ReceiptRequest, Refusal> {
    let is_http = url::Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if !is_http || url.contains(char::is_whitespace) {
        return Err(Refusal::BadCallback(quoted(&url)));
    }
    Ok(ReceiptRequest { url, mask: ALL_RECEIPTS })
}

pub(super) fn wrong(name: &'static str, why: &str) -> Refusal {
    Refusal::Field { name, why: why.to_owned() }
}
