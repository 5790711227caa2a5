//! Twilio's callbacks to us: what became of a message, and messages that came in.
//!
//! They are always signed, so the signature is what counts; a URL that we handed out proves nothing
//! without it. Fields are taken only from where the signature covers them: a form body, a body whose
//! hash stands in the URL, or, of a GET, the query. There is no time stamp in it: that a callback
//! comes twice is found by its id and state, behind.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};

use super::body;
use super::code;
use super::provider::is_id;
use super::signature::{self, Covered};
use crate::model::{FailureReason, ReceiptState, Secret, SmsBody, Timestamp};
use crate::sms::form::Fields;
use crate::sms::number::{self, Country, NumberStyle};
use crate::sms::provider::{Callback, CallbackRefusal, Inbound, Receipt};

/// A status callback.
pub(super) fn status(
    token: &Secret,
    callback: &Callback<'_>,
) -> Result<Vec<Receipt>, CallbackRefusal> {
    let fields = proven(token, callback)?;
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let sid = given("MessageSid").or_else(|| given("SmsSid")).ok_or(CallbackRefusal::Malformed)?;
    let word = given("MessageStatus").or_else(|| given("SmsStatus"));
    let word = word.ok_or(CallbackRefusal::Malformed)?;
    if !is_id(&sid) {
        return Err(CallbackRefusal::Malformed);
    }
    let number: Option<u32> = given("ErrorCode").and_then(|text| text.trim().parse().ok());
    let reason = number.filter(|number| *number != 0).map(code::reason);
    let state = state(&word, reason).ok_or(CallbackRefusal::NotSupported)?;
    Ok(vec![Receipt {
        provider_id: Some(sid.into_owned()),
        message: None,
        state,
        reason: reason.filter(|_| state.is_final() && state != ReceiptState::Delivered),
        code: number.map(|number| number.to_string()),
        at: given("RawDlrDoneDate").and_then(|text| done_date(&text)),
    }])
}

/// What a status comes to. Words that are new to us change nothing; those of inbound messages are
/// no status of ours.
fn state(word: &str, reason: Option<FailureReason>) -> Option<ReceiptState> {
    match word {
        "receiving" | "received" => None,
        "delivered" | "read" => Some(ReceiptState::Delivered),
        "undelivered" => Some(ReceiptState::Undelivered),
        "failed" if reason == Some(FailureReason::Expired) => Some(ReceiptState::Expired),
        "failed" | "canceled" => Some(ReceiptState::Rejected),
        _ => Some(ReceiptState::Underway),
    }
}

/// An inbound message.
pub(super) fn inbound(
    token: &Secret,
    callback: &Callback<'_>,
) -> Result<Vec<Inbound>, CallbackRefusal> {
    let fields = proven(token, callback)?;
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let style = NumberStyle::International;
    let from = given("From").and_then(|f| number::originator(&f, style, &Country::NONE));
    let to = given("To").and_then(|to| number::destination(&to, style, &Country::NONE));
    let sid = given("MessageSid").or_else(|| given("SmsSid")).filter(|sid| is_id(sid));
    let (Some(originator), Some(destination), Some(sid)) = (from, to, sid) else {
        return Err(CallbackRefusal::Malformed);
    };
    Ok(vec![Inbound {
        provider_id: sid.into_owned(),
        originator,
        destination,
        body: SmsBody::Text(fields.get("Body").unwrap_or_default().into_owned()),
        udh: Vec::new(),
        concatenation: None,
        sent_at: None,
    }])
}

/// An empty document: nothing to say.
pub(super) fn taken() -> Response<Bytes> {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// The fields of a callback whose signature is right.
fn proven(token: &Secret, callback: &Callback<'_>) -> Result<Fields, CallbackRefusal> {
    let request = callback.request;
    let signature = only_signature(request).ok_or(CallbackRefusal::Forged)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", callback.public_url);
    let check = |covered: &Covered<'_>| match signature::holds(token, &url, covered, signature) {
        true => Ok(()),
        false => Err(CallbackRefusal::Forged),
    };
    if request.method() == Method::GET {
        check(&Covered::Nothing)?;
        return Ok(body::query(request));
    }
    if body::is_json(request.headers()) {
        check(&Covered::Body(request.body()))?;
        return body::body(request).map_err(|_| CallbackRefusal::Malformed);
    }
    let form = Fields::parse(request.body());
    check(&Covered::Form(&form))?;
    Ok(form)
}

fn only_signature(request: &Request<Bytes>) -> Option<&str> {
    let mut all = request.headers().get_all(signature::HEADER).iter();
    all.next().filter(|_| all.next().is_none())?.to_str().ok()
}

/// `YYMMDDhhmm`, in UTC.
fn done_date(text: &str) -> Option<Timestamp> {
    let ok = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
    if !ok {
        return None;
    }
    let part = |at: usize| &text[at..at + 2];
    let (year, month, day, hour, minute) = (part(0), part(2), part(4), part(6), part(8));
    Timestamp::parse_rfc3339(&format!("20{year}-{month}-{day}T{hour}:{minute}:00Z"))
}
