//! Refusals as Twilio writes them: an HTTP status, a code, a text and where to read more
//! (twilio.com/docs/usage/twilios-response). Both SDKs show the app code and text.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::write;
use crate::sms::call::{Format, Refusal};

/// What one refusal comes to.
struct Told {
    status: StatusCode,
    code: u32,
    text: String,
}

fn told(status: StatusCode, code: u32, text: impl Into<String>) -> Told {
    Told { status, code, text: text.into() }
}

/// The response of a refusal; `path` is what was asked for.
pub(super) fn response(refusal: &Refusal, format: Format, path: &str) -> Response<Bytes> {
    let mut response = body(&judge(refusal, path), format);
    let headers = response.headers_mut();
    match refusal {
        Refusal::Credentials | Refusal::BadSignature => {
            let realm = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            headers.insert(header::WWW_AUTHENTICATE, realm);
        }
        Refusal::RateLimited { retry_after } => {
            // Whole seconds, rounded up: who comes too early is refused again.
            let seconds = retry_after.as_millis().div_ceil(1_000).clamp(1, 86_400);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Refusal::NotNow => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        Refusal::NoDestination
        | Refusal::BadDestination(_)
        | Refusal::NoOriginator
        | Refusal::BadOriginator(_)
        | Refusal::OriginatorNotAllowed(_)
        | Refusal::NoBody
        | Refusal::TooLong { .. }
        | Refusal::OptedOut(_)
        | Refusal::BadCallback(_)
        | Refusal::BadSchedule(_)
        | Refusal::Unsupported(_)
        | Refusal::Field { .. }
        | Refusal::Malformed(_)
        | Refusal::TooManyDestinations { .. }
        | Refusal::UnknownMessage
        | Refusal::TooLate
        | Refusal::NotFinished
        | Refusal::KeyReused => {}
    }
    response
}

/// A method that the resource does not have.
pub(super) fn method_not_allowed(format: Format) -> Response<Bytes> {
    body(&told(StatusCode::METHOD_NOT_ALLOWED, 20004, "Method not allowed"), format)
}

fn body(told: &Told, format: Format) -> Response<Bytes> {
    let view = json!({
        "code": told.code,
        "message": told.text,
        "more_info": format!("https://www.twilio.com/docs/errors/{}", told.code),
        "status": told.status.as_u16(),
    });
    write::response(told.status, format, "RestException", &view)
}

/// One row for each refusal.
fn judge(refusal: &Refusal, path: &str) -> Told {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    match refusal {
        Refusal::Credentials | Refusal::BadSignature => {
            told(StatusCode::UNAUTHORIZED, 20003, "Authenticate")
        }
        Refusal::NoDestination => told(BAD, 21604, "A 'To' phone number is required."),
        Refusal::BadDestination(to) => {
            told(BAD, 21211, format!("The 'To' number {to} is not a valid phone number."))
        }
        Refusal::NoOriginator => {
            told(BAD, 21603, "A 'From' phone number or a 'MessagingServiceSid' is required.")
        }
        Refusal::BadOriginator(from) => told(
            BAD,
            21212,
            format!(
                "The 'From' number {from} is not a valid phone number, shortcode, or alphanumeric sender ID."
            ),
        ),
        Refusal::OriginatorNotAllowed(from) => told(
            BAD,
            21606,
            format!(
                "The 'From' phone number provided ({from}) is not one that this account may send from."
            ),
        ),
        Refusal::NoBody => told(BAD, 21602, "Message body is required."),
        Refusal::TooLong { .. } => {
            told(BAD, 21617, "The concatenated message body exceeds the 1600 character limit.")
        }
        Refusal::OptedOut(_) => told(BAD, 21610, "Attempt to send to unsubscribed recipient"),
        Refusal::BadCallback(_) => {
            told(BAD, 21609, "The 'StatusCallback' URL is not one that can be called.")
        }
        Refusal::BadSchedule(why) => told(BAD, 35114, why.as_str()),
        Refusal::Unsupported(name) => unsupported(name),
        Refusal::Field { name, why } => told(BAD, field_code(name), format!("{name}: {why}")),
        Refusal::Malformed(why) => told(BAD, 20001, why.as_str()),
        Refusal::TooManyDestinations { most } => {
            told(BAD, 21604, format!("At most {most} 'To' phone numbers are possible."))
        }
        Refusal::RateLimited { .. } => {
            told(StatusCode::TOO_MANY_REQUESTS, 20429, "Too Many Requests")
        }
        Refusal::NotNow => {
            told(StatusCode::SERVICE_UNAVAILABLE, 20503, "Service is currently unavailable")
        }
        Refusal::UnknownMessage => told(
            StatusCode::NOT_FOUND,
            20404,
            format!("The requested resource {path} was not found"),
        ),
        Refusal::TooLate => told(BAD, 30409, "Message is not in a cancelable state"),
        Refusal::NotFinished => {
            told(StatusCode::CONFLICT, 20009, "Cannot delete this resource before it is complete")
        }
        Refusal::KeyReused => {
            told(StatusCode::CONFLICT, 20409, "The idempotency key was used with another request")
        }
    }
}

/// There is no media and there are no templates here: every originator is one without MMS, and no
/// template's SID is a valid one. Both are final, so no client tries again.
fn unsupported(name: &str) -> Told {
    let bad = StatusCode::BAD_REQUEST;
    match name {
        "MediaUrl" => told(bad, 21621, "The 'From' number has not been enabled for MMS"),
        "ContentSid" => told(bad, 21655, "The ContentSid is invalid"),
        name => told(bad, 20001, format!("{name} is not supported")),
    }
}

fn field_code(name: &str) -> u32 {
    match name {
        "SendAt" => 35111,
        "MessagingServiceSid" => 21705,
        "ValidityPeriod" => 90007,
        // An invalid parameter.
        _ => 20001,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(refusal: Refusal, status: u16, code: u32) {
        let path = "/2010-04-01/Accounts/AC1/Messages.json";
        let response = response(&refusal, Format::Json, path);
        assert_eq!(response.status().as_u16(), status, "{refusal:?}");
        assert_eq!(response.headers()["content-type"], "application/json");
        let view: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(view["code"], code, "{refusal:?}");
        assert_eq!(view["status"], status);
        assert_eq!(view["more_info"], format!("https://www.twilio.com/docs/errors/{code}"));
        assert!(!view["message"].as_str().unwrap().is_empty());
    }

    #[test]
    fn every_refusal_has_its_code() {
        let field = |name| Refusal::Field { name, why: "no".into() };
        check(Refusal::Credentials, 401, 20003);
        check(Refusal::BadSignature, 401, 20003);
        check(Refusal::NoDestination, 400, 21604);
        check(Refusal::BadDestination("x".into()), 400, 21211);
        check(Refusal::NoOriginator, 400, 21603);
        check(Refusal::BadOriginator("x".into()), 400, 21212);
        check(Refusal::OriginatorNotAllowed("x".into()), 400, 21606);
        check(Refusal::NoBody, 400, 21602);
        check(Refusal::TooLong { segments: 12, most: 11 }, 400, 21617);
        check(Refusal::OptedOut("x".into()), 400, 21610);
        check(Refusal::BadCallback("x".into()), 400, 21609);
        check(Refusal::BadSchedule("x".into()), 400, 35114);
        check(Refusal::Unsupported("MediaUrl"), 400, 21621);
        check(Refusal::Unsupported("ContentSid"), 400, 21655);
        check(Refusal::Unsupported("Other"), 400, 20001);
        check(field("SendAt"), 400, 35111);
        check(field("MessagingServiceSid"), 400, 21705);
        check(field("ValidityPeriod"), 400, 90007);
        check(field("Status"), 400, 20001);
        check(Refusal::Malformed("x".into()), 400, 20001);
        check(Refusal::TooManyDestinations { most: 1 }, 400, 21604);
        check(Refusal::RateLimited { retry_after: Duration::ZERO }, 429, 20429);
        check(Refusal::NotNow, 503, 20503);
        check(Refusal::UnknownMessage, 404, 20404);
        check(Refusal::TooLate, 400, 30409);
        check(Refusal::NotFinished, 409, 20009);
        check(Refusal::KeyReused, 409, 20409);
    }

    #[test]
    fn who_is_too_fast_hears_for_how_long() {
        let of = |ms| {
            let refusal = Refusal::RateLimited { retry_after: Duration::from_millis(ms) };
            let response = response(&refusal, Format::Json, "/");
            response.headers()["retry-after"].to_str().unwrap().to_owned()
        };
        assert_eq!((of(0).as_str(), of(1_001).as_str(), of(2_000).as_str()), ("1", "2", "2"));
    }

    #[test]
    fn a_path_without_json_is_told_in_xml() {
        let response = response(&Refusal::UnknownMessage, Format::Xml, "/<x>");
        assert_eq!(response.headers()["content-type"], "application/xml");
        assert_eq!(
            std::str::from_utf8(response.body()).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<TwilioResponse><RestException>\
             <Code>20404</Code><Message>The requested resource /&lt;x&gt; was not found</Message>\
             <MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo><Status>404</Status>\
             </RestException></TwilioResponse>"
        );
    }
}
