//! Answers: one line without an end, in Kannel's words, which its clients compare.
//!
//! An accepted call is always answered `202` and `0: Accepted for delivery`: other success texts, and
//! even a line break behind this one, are refusals to another Kannel.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::super::call::{Answer, CloseConnection, Format, Refusal};
use super::super::response;
use super::draft::ACCOUNT;
use super::request::Unreadable;

const ACCEPTED: &str = "0: Accepted for delivery";
const DENIED: &str = "Number(s) has/have been denied by white- and/or black-lists.";
const BODY: &str = "Charset or body misformed, rejected";
const SENDER: &str = "Sender missing and no global set, rejected";
const NOT_ROUTABLE: &str = "Not routable. Do not try again.";
const NOT_NOW: &str = "Temporal failure, try again later.";

/// Writes an answer.
pub(super) fn write(format: Format, answer: &Answer<'_>) -> Response<Bytes> {
    match answer {
        Answer::Submitted(_) => line(StatusCode::ACCEPTED, ACCEPTED),
        Answer::Refused(refusal) => refuse(format, refusal),
        // There are no such calls in this dialect.
        Answer::Found(_)
        | Answer::Listed { .. }
        | Answer::Canceled(_)
        | Answer::Redacted(_)
        | Answer::Deleted
        | Answer::Probed(_) => unknown_request(),
    }
}

/// For a path or method that is none of ours.
pub(super) fn unknown_request() -> Response<Bytes> {
    line(StatusCode::NOT_FOUND, "Unknown request.")
}

/// For a request without readable fields.
pub(super) fn unreadable(why: Unreadable) -> Response<Bytes> {
    match why {
        Unreadable::ContentType => {
            line(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported content-type, rejected")
        }
        Unreadable::Body => line(StatusCode::BAD_REQUEST, BODY),
    }
}

fn refuse(format: Format, refusal: &Refusal) -> Response<Bytes> {
    let bad = |text: &str| line(StatusCode::BAD_REQUEST, text);
    match refusal {
        Refusal::Credentials | Refusal::BadSignature => {
            line(StatusCode::FORBIDDEN, "Authorization failed for sendsms")
        }
        Refusal::NoDestination => bad("Missing receiver number, rejected"),
        Refusal::BadDestination(given) if given.is_empty() => {
            bad("Empty receiver number not allowed, rejected")
        }
        Refusal::BadDestination(_) | Refusal::OptedOut(_) | Refusal::TooManyDestinations { .. } => {
            bad(DENIED)
        }
        Refusal::NoOriginator | Refusal::BadOriginator(_) | Refusal::OriginatorNotAllowed(_) => {
            bad(SENDER)
        }
        Refusal::NoBody | Refusal::TooLong { .. } | Refusal::Malformed(_) => bad(BODY),
        Refusal::BadCallback(_) => bad("DLR-URL field misformed, rejected"),
        Refusal::BadSchedule(_) => bad("Deferred field misformed, rejected"),
        Refusal::Field { name: ACCOUNT, .. } => {
            bad("Account field misformed or too long, rejected")
        }
        Refusal::Field { name, .. } => bad(&format!("{name} field misformed, rejected")),
        Refusal::Unsupported(_) | Refusal::KeyReused => line(StatusCode::FORBIDDEN, NOT_ROUTABLE),
        Refusal::RateLimited { .. } | Refusal::NotNow => not_now(format),
        Refusal::UnknownMessage | Refusal::TooLate | Refusal::NotFinished => unknown_request(),
    }
}

/// Another Kannel takes a 503 as final, but tries again for ever when the connection gives no answer.
fn not_now(format: Format) -> Response<Bytes> {
    let mut response = line(StatusCode::SERVICE_UNAVAILABLE, NOT_NOW);
    if format == Format::Gateway {
        response.extensions_mut().insert(CloseConnection);
    }
    response
}

fn line(status: StatusCode, text: &str) -> Response<Bytes> {
    response::document(status, "text/html", text.to_owned())
}
