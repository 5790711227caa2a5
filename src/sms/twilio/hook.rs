//! Twilio's callbacks to us: what became of a message, and messages that came in.
//!
//! They are always signed, so the signature is what counts; a URL that we handed out proves nothing
//! without it. Fields are taken only from where the signature covers them: a form body, a body whose
//! hash stands in the URL, or, of a GET, the query. There is no time stamp in it: that a callback
//! comes twice is found by its id and state, behind.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::body;
use super::code;
use super::provider::is_id;
use super::signature::{self, Covered};
use crate::model::{FailureReason, ReceiptState, Secret, SmsBody, Timestamp};
use crate::sms::form::Fields;
use crate::sms::number::{self, Country, NumberStyle};
use crate::sms::provider::{Callback, CallbackRefusal, Inbound, Receipt};
use crate::sms::response;

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
    response::document(StatusCode::OK, "text/xml", body)
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

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::super::tests::at;
    use super::*;
    use crate::model::Digest;

    const URL: &str = "https://t.example/base";
    const PATH: &str = "/hooks/sms/status?message=01&proof=ab";
    const FORM: &str =
        "MessageSid=SM0f&MessageStatus=delivered&To=%2B4512345678&RawDlrDoneDate=2611220428";

    fn token() -> Secret {
        Secret::new("token".into())
    }

    fn signed(path: &str, form: &str) -> Request<Bytes> {
        let fields = Fields::parse(form.as_bytes());
        let signature = signature::sign(&token(), &format!("{URL}{path}"), &fields);
        Request::post(path)
            .header(signature::HEADER, signature)
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .unwrap()
    }

    fn callback(request: &Request<Bytes>) -> Callback<'_> {
        let peer = std::net::IpAddr::from([192, 0, 2, 1]);
        Callback { request, public_url: URL, peer, is_proven: true, now: at(0) }
    }

    fn status_of(request: &Request<Bytes>) -> Result<Receipt, CallbackRefusal> {
        status(&token(), &callback(request)).map(|receipts| receipts.into_iter().next().unwrap())
    }

    #[test]
    fn forgeries_are_refused_even_with_our_proof() {
        let check = |request: Request<Bytes>| {
            assert_eq!(status_of(&request), Err(CallbackRefusal::Forged), "{request:?}");
        };
        let good = || signed(PATH, FORM);
        let mut none = good();
        none.headers_mut().remove(signature::HEADER);
        check(none);
        let mut wrong = good();
        wrong.headers_mut().insert(signature::HEADER, HeaderValue::from_static("AAAA"));
        check(wrong);
        let mut twice = good();
        twice.headers_mut().append(signature::HEADER, HeaderValue::from_static("AAAA"));
        check(twice);
        let mut other = good();
        *other.body_mut() = Bytes::from(FORM.replace("delivered", "failed"));
        check(other);
        let mut path = good();
        *path.uri_mut() = "/hooks/sms/status?message=02&proof=ab".parse().unwrap();
        check(path);
        // A body that the signature does not cover.
        let mut json = signed(PATH, "");
        json.headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *json.body_mut() = Bytes::from("{\"MessageSid\":\"SM0f\",\"MessageStatus\":\"delivered\"}");
        check(json);
        let mut get = good();
        *get.method_mut() = Method::GET;
        check(get);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        let of = |form: &str| status_of(&signed(PATH, form)).unwrap_err();
        assert_eq!(of(""), CallbackRefusal::Malformed);
        assert_eq!(of("MessageSid=SM0f"), CallbackRefusal::Malformed);
        assert_eq!(of("MessageStatus=sent"), CallbackRefusal::Malformed);
        assert_eq!(of("MessageSid=SM0f%0D%0Ax&MessageStatus=sent"), CallbackRefusal::Malformed);
        assert_eq!(of("MessageSid=SM0f&SmsStatus=received"), CallbackRefusal::NotSupported);
    }

    #[test]
    fn a_status_becomes_a_receipt() {
        let receipt = status_of(&signed(PATH, FORM)).unwrap();
        assert_eq!(receipt.provider_id.as_deref(), Some("SM0f"));
        assert_eq!(receipt.state, ReceiptState::Delivered);
        assert_eq!(receipt.at.unwrap().to_string(), "2026-11-22T04:28:00.000Z");

        let check = |word: &str, code: &str, state, reason| {
            let form = format!("MessageSid=SM0f&MessageStatus={word}&ErrorCode={code}");
            let receipt = status_of(&signed(PATH, &form)).unwrap();
            assert_eq!((receipt.state, receipt.reason), (state, reason), "{word} {code}");
        };
        use FailureReason::{Expired, Unknown, Unreachable};
        for word in ["accepted", "scheduled", "queued", "sending", "sent", "new_word"] {
            check(word, "", ReceiptState::Underway, None);
        }
        check("partially_delivered", "", ReceiptState::Underway, None);
        check("delivered", "0", ReceiptState::Delivered, None);
        check("read", "", ReceiptState::Delivered, None);
        check("undelivered", "30003", ReceiptState::Undelivered, Some(Unreachable));
        check("undelivered", "99999", ReceiptState::Undelivered, Some(Unknown));
        check("failed", "30036", ReceiptState::Expired, Some(Expired));
        check("failed", "", ReceiptState::Rejected, None);
        check("canceled", "", ReceiptState::Rejected, None);
    }

    #[test]
    fn other_forms_are_read_where_they_are_covered() {
        let mut get = signed("/hooks/sms/status?MessageSid=SM0f&MessageStatus=sent", "");
        *get.method_mut() = Method::GET;
        assert_eq!(status_of(&get).unwrap().state, ReceiptState::Underway);
        let body = "{\"MessageSid\":\"SM0f\",\"MessageStatus\":\"delivered\"}";
        let hash = Digest::of(body.as_bytes());
        let mut json = signed(&format!("{PATH}&bodySHA256={hash}"), "");
        json.headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *json.body_mut() = Bytes::from(body);
        assert_eq!(status_of(&json).unwrap().state, ReceiptState::Delivered);
    }

    #[test]
    fn an_inbound_message_is_read() {
        let of = |form: &str| inbound(&token(), &callback(&signed("/hooks/sms/inbound", form)));
        for bad in [
            "",
            "MessageSid=SM0f&From=%2B4587654321&Body=x",
            "MessageSid=SM0f&To=%2B4512345678&Body=x",
            "From=%2B4587654321&To=%2B4512345678&Body=x",
            "MessageSid=SM0f&From=%2B45%0A87654321&To=%2B4512345678&Body=x",
        ] {
            assert_eq!(of(bad), Err(CallbackRefusal::Malformed), "{bad}");
        }
        let all = "ToCountry=DK&MessageSid=SM0f&From=%2B4587654321&To=%2B4512345678&Body=Hej+%C3%A6&NumMedia=0";
        let found = of(all).unwrap().pop().unwrap();
        assert_eq!(found.provider_id, "SM0f");
        assert_eq!(found.originator.to_string(), "+4587654321");
        assert_eq!(found.destination.to_string(), "+4512345678");
        assert_eq!(found.body, SmsBody::Text("Hej æ".into()));
        let unsigned = Request::post("/hooks/sms/inbound").body(Bytes::from(all)).unwrap();
        assert_eq!(inbound(&token(), &callback(&unsigned)), Err(CallbackRefusal::Forged));
    }
}
