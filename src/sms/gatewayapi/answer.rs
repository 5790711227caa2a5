//! What an application is told: ids and usage, states, and errors in GatewayAPI's codes.
//!
//! Types matter to its clients: ids and numbers are integers, `total_cost` is a float. Waybill
//! charges nothing, so the cost is always 0.0.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::super::call::{Answer, Format, Probe, Refusal, Shown};
use super::super::hex;
use super::super::response;
use super::country::country;
use super::status::{destaddr, error_text, hex_code, status_word};
use crate::model::{Destination, Msisdn, SmsBody, SmsEncoding, Timestamp};

/// `/rest/mtsms`. The common word is only about how an answer is written; here it says which.
pub(super) const MTSMS: Format = Format::Json;
/// `/rest/mtsms` with the parts of each recipient (`extra_details=recipients_usage`).
pub(super) const MTSMS_WITH_DETAILS: Format = Format::Xml;
/// `/mobile/single` of the Message API.
pub(super) const MESSAGE_API: Format = Format::Text;

pub(super) fn answer(format: Format, answer: &Answer<'_>) -> Response<Bytes> {
    match answer {
        Answer::Submitted(messages) if format == MESSAGE_API => accepted_single(messages),
        Answer::Submitted(messages) => accepted(messages, format == MTSMS_WITH_DETAILS),
        Answer::Found(messages) => response::json(StatusCode::OK, &states(messages)),
        Answer::Listed { page, query: _, next: _ } => response::json(StatusCode::OK, &states(page)),
        Answer::Redacted(message) => {
            response::json(StatusCode::OK, &states(std::slice::from_ref(message)))
        }
        Answer::Canceled(_) | Answer::Deleted => response::empty(StatusCode::NO_CONTENT),
        Answer::Probed(Probe::Account | Probe::Balance | Probe::Numbers) => {
            response::json(StatusCode::OK, &json!({"id": 1, "credit": 0.0, "currency": "DKK"}))
        }
        Answer::Refused(refusal) => refused(refusal),
    }
}

/// One id for each message object, in the order of the call.
fn accepted(messages: &[Shown], has_details: bool) -> Response<Bytes> {
    let mut ids: Vec<u64> = messages.iter().map(Shown::batch_number).collect();
    ids.dedup();
    let mut countries = Map::new();
    for message in messages {
        let parts = u64::from(message.sms.segments);
        let (code, _) = place(&message.sms.destination);
        if let Some(code) = code {
            let before = countries.get(code).and_then(Value::as_u64).unwrap_or(0);
            countries.insert(code.to_owned(), json!(before + parts));
        }
    }
    let mut out = json!({
        "ids": ids,
        "usage": {"countries": countries, "currency": "DKK", "total_cost": 0.0},
    });
    if has_details {
        let of = |id: &u64| {
            let of_object = messages.iter().filter(|message| message.batch_number() == *id);
            let recipients: Vec<Value> = of_object.map(usage).collect();
            json!({"id": id, "recipients": recipients})
        };
        out["details"] = json!({"messages": ids.iter().map(of).collect::<Vec<_>>()});
    }
    response::json(StatusCode::OK, &out)
}

fn usage(message: &Shown) -> Value {
    let (country, _) = place(&message.sms.destination);
    let msisdn = number(&message.sms.destination);
    json!({"country": country, "msisdn": msisdn, "parts": message.sms.segments})
}

fn accepted_single(messages: &[Shown]) -> Response<Bytes> {
    let Some(message) = messages.first() else {
        return refused(&Refusal::NoDestination);
    };
    let out = json!({
        "msg_id": message.id.to_string(),
        "recipient": number(&message.sms.destination),
        "reference": message.sms.client_reference,
    });
    response::json(StatusCode::ACCEPTED, &out)
}

/// One object for each message object, with its recipients.
fn states(messages: &[Shown]) -> Value {
    let mut out: Vec<Value> = Vec::new();
    for group in messages.chunk_by(|a, b| a.batch_number() == b.batch_number()) {
        let Some(first) = group.first() else { continue };
        let sms = &first.sms;
        let payload = match &sms.body {
            SmsBody::Text(_) => None,
            SmsBody::Binary(bytes) => Some(base64(bytes)),
        };
        out.push(json!({
            "id": first.batch_number(),
            "class": "standard",
            "priority": "NORMAL",
            "message": payload.is_none().then(|| sms.text()),
            "payload": payload,
            "udh": (!sms.udh.is_empty()).then(|| base64(&sms.udh)),
            "encoding": encoding_word(sms.encoding),
            "destaddr": destaddr(sms.class),
            "sender": sms.originator.as_ref().map(|found| found.to_string()),
            "sendtime": sms.send_at.map(seconds),
            "userref": sms.client_reference,
            "callback_url": sms.receipt.as_ref().map(|receipt| &receipt.url),
            "validity_period": sms.valid_until.map(|at| at.since(first.accepted_at).as_secs()),
            "label": null,
            "tags": null,
            "recipients": group.iter().map(recipient).collect::<Vec<_>>(),
        }));
    }
    Value::Array(out)
}

fn recipient(message: &Shown) -> Value {
    let (country, _) = place(&message.sms.destination);
    json!({
        "msisdn": number(&message.sms.destination),
        "country": country,
        "csms": message.sms.segments,
        "dsnstatus": status_word(message.state),
        "dsntime": seconds(message.updated_at),
        "dsnerror": message.failure.map(error_text),
        "dsnerrorcode": message.failure.map(hex_code),
        "senttime": message.sent_at.map(seconds),
        "mcc": null,
        "mnc": null,
        "tagvalues": null,
    })
}

/// Country and calling code of a destination.
pub(super) fn place(destination: &Destination) -> (Option<&'static str>, Option<u64>) {
    match destination {
        Destination::Number(number) => country(number).unzip(),
        Destination::ShortCode(_) | Destination::Opaque(_) => (None, None),
    }
}

/// Numbers are integers in this API.
pub(super) fn number(destination: &Destination) -> Value {
    match destination {
        Destination::Number(number) => integer(number),
        Destination::ShortCode(digits) => json!(digits.parse::<u64>().ok()),
        Destination::Opaque(text) => json!(&**text),
    }
}

pub(super) fn integer(number: &Msisdn) -> Value {
    // Up to 15 digits fit.
    json!(number.digits().parse::<u64>().unwrap_or_default())
}

pub(super) fn encoding_word(encoding: SmsEncoding) -> &'static str {
    match encoding {
        SmsEncoding::Gsm7 => "UTF8",
        SmsEncoding::Ucs2 => "UCS2",
        SmsEncoding::Binary => "BINARY",
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_millis() / 1000
}

/// An error: HTTP status, code, message with `%1` for what it is about, and that.
struct Trouble {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    variable: Option<String>,
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    let Trouble { status, code, message, variable } = trouble(refusal);
    let variables: Vec<&String> = variable.iter().collect();
    let out = json!({
        "code": code,
        "incident_uuid": incident(code, variable.as_deref().unwrap_or_default()),
        "message": message,
        "variables": variables,
    });
    let mut response = response::json(status, &out);
    if let Refusal::RateLimited { retry_after } = refusal {
        let wait = retry_after.as_millis().div_ceil(1000).max(1);
        response.headers_mut().insert(header::RETRY_AFTER, wait_value(wait));
    }
    response
}

fn wait_value(seconds: u128) -> header::HeaderValue {
    u64::try_from(seconds).unwrap_or(u64::MAX).into()
}

/// The code of each refusal.
fn trouble(refusal: &Refusal) -> Trouble {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
    const UNPROCESSABLE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, code, message, variable) = match refusal {
        Refusal::Credentials => (StatusCode::UNAUTHORIZED, "0x0229", "Invalid token", None),
        Refusal::BadSignature => (StatusCode::UNAUTHORIZED, "0x0224", "Invalid signature", None),
        Refusal::NoDestination => (BAD, "0x0222", MISSING, Some("recipients".to_owned())),
        Refusal::NoBody => (BAD, "0x0222", MISSING, Some("message".to_owned())),
        Refusal::NoOriginator => (BAD, "0x0222", MISSING, Some("sender".to_owned())),
        Refusal::BadDestination(text) => {
            (UNPROCESSABLE, "0x0308", "Invalid recipient: %1", Some(text.clone()))
        }
        Refusal::BadOriginator(text) => {
            (UNPROCESSABLE, "0x0220", "Invalid sender: %1", Some(text.clone()))
        }
        Refusal::OriginatorNotAllowed(text) => {
            (FORBIDDEN, "0x0220", "Sender is not allowed: %1", Some(text.clone()))
        }
        Refusal::OptedOut(text) => {
            (FORBIDDEN, "0x0215", "Recipient is blacklisted: %1", Some(text.clone()))
        }
        Refusal::BadCallback(text) => {
            (UNPROCESSABLE, "0x0220", "Invalid callback_url: %1", Some(text.clone()))
        }
        Refusal::BadSchedule(text) => {
            (UNPROCESSABLE, "0x0220", "Invalid sendtime: %1", Some(text.clone()))
        }
        Refusal::TooLong { segments, most } => {
            let parts = format!("{segments} > {most}");
            (UNPROCESSABLE, "0x0220", "The message has too many parts: %1", Some(parts))
        }
        Refusal::Unsupported(what) => {
            (UNPROCESSABLE, "0x0218", "Not supported: %1", Some((*what).to_owned()))
        }
        Refusal::Field { name: "recipients", why } => {
            (UNPROCESSABLE, "0x0310", "%1", Some(why.clone()))
        }
        Refusal::Field { name: "class", why: _ } => {
            (UNPROCESSABLE, "0x0218", "Invalid %1", Some("class".to_owned()))
        }
        Refusal::Field { name, why } => {
            (BAD, "0x0220", "Invalid field %1", Some(format!("{name}: {why}")))
        }
        Refusal::Malformed(why) => {
            (UNPROCESSABLE, "0x0220", "Can not be read: %1", Some(why.clone()))
        }
        Refusal::TooManyDestinations { most } => {
            (UNPROCESSABLE, "0x0220", "More recipients than %1", Some(most.to_string()))
        }
        Refusal::RateLimited { retry_after: _ } => {
            (StatusCode::TOO_MANY_REQUESTS, "0x0230", "Too many requests", None)
        }
        Refusal::NotNow => {
            (StatusCode::INTERNAL_SERVER_ERROR, "0x0101", "Temporarily unavailable", None)
        }
        Refusal::UnknownMessage => (StatusCode::NOT_FOUND, "0x0221", "No such message", None),
        Refusal::TooLate => (StatusCode::GONE, "0x0228", "The message was sent already", None),
        Refusal::NotFinished => {
            (StatusCode::CONFLICT, "0x0228", "The message is not finished", None)
        }
        Refusal::KeyReused => {
            let message = "The idempotency key belongs to another request";
            (StatusCode::CONFLICT, "0x0220", message, None)
        }
    };
    Trouble { status, code, message, variable }
}

const MISSING: &str = "Missing required field: %1";

/// The same trouble always has the same name: nothing is drawn at random here. A UUID of version 8
/// (RFC 9562 §5.8).
fn incident(code: &str, variable: &str) -> String {
    let hash = blake3::hash(format!("{code} {variable}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::digits(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What is no call of this dialect at all.
pub(super) fn no_such(status: StatusCode, message: &'static str) -> Response<Bytes> {
    let code = "0x0221";
    let out = json!({
        "code": code, "incident_uuid": incident(code, message), "message": message, "variables": [],
    });
    response::json(status, &out)
}
