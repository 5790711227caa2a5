//! What an application is told: messages as JSON, and problems (RFC 9457).
//!
//! Every refusal has a type, a status and a sentence of its own, and names the field where it is about one.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::super::call::{Answer, Format, Refusal, Shown, ShownState};
use super::super::response;
use super::request::{FIELDS, UNKNOWN_FIELD};
use crate::model::{Direction, Timestamp};

/// An object. The common word is only about how an answer is written; here it says how many.
pub(super) const SINGLE: Format = Format::Json;
/// A list, because `to` was one.
pub(super) const LIST: Format = Format::Text;

/// How long a client waits when the daemon can not take anything.
const NOT_NOW_SECONDS: u64 = 10;
/// How like a known field a word must be to be taken for it.
const ALIKE: f64 = 0.75;

pub(super) fn answer(format: Format, answer: &Answer<'_>) -> Response<Bytes> {
    match answer {
        Answer::Submitted(messages) => {
            response::json(StatusCode::CREATED, &one_or_all(format, messages, accepted))
        }
        Answer::Found(messages) | Answer::Canceled(messages) => {
            response::json(StatusCode::OK, &one_or_all(format, messages, message))
        }
        Answer::Listed { page, query: _, next } => {
            let items: Vec<Value> = page.iter().map(message).collect();
            let next = next.map(|id| id.to_string());
            response::json(StatusCode::OK, &json!({"items": items, "next": next}))
        }
        Answer::Redacted(found) => response::json(StatusCode::OK, &message(found)),
        Answer::Deleted => response::empty(StatusCode::NO_CONTENT),
        Answer::Probed(_) => response::json(StatusCode::OK, &json!({})),
        Answer::Refused(refusal) => refused(refusal),
    }
}

/// One message is an object unless a list was asked for.
fn one_or_all(format: Format, messages: &[Shown], show: fn(&Shown) -> Value) -> Value {
    match messages {
        [single] if format != LIST => show(single),
        all => all.iter().map(show).collect(),
    }
}

fn accepted(message: &Shown) -> Value {
    json!({
        "id": message.id.to_string(),
        "status": status(message),
        "segments": message.sms.segments,
    })
}

/// A message in full, also in callbacks.
pub(super) fn message(message: &Shown) -> Value {
    let sms = &message.sms;
    let direction = match message.direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    };
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let is_delivered = message.state == ShownState::Delivered;
    json!({
        "id": message.id.to_string(),
        "direction": direction,
        "status": status(message),
        "state": state(message.state),
        "from": sms.originator.as_ref().map(|originator| originator.to_string()),
        "to": sms.destination.to_string(),
        "text": sms.text(),
        "encoding": sms.encoding.as_str(),
        "segments": sms.segments,
        "reference": sms.client_reference,
        "in_reply_to": sms.reply_to.map(|id| id.to_string()),
        "send_at": time(sms.send_at),
        "valid_until": time(sms.valid_until),
        "accepted_at": message.accepted_at.to_string(),
        "updated_at": message.updated_at.to_string(),
        "sent_at": time(message.sent_at),
        "delivered_at": time(message.done_at.filter(|_| is_delivered)),
        "failure": message.failure.map(|reason| json!({
            "reason": reason.as_str(),
            "code": message.provider_code,
        })),
    })
}

/// The five public words, and `received`. What a provider took stays sent, whatever the network
/// says of it later: that is its state.
fn status(message: &Shown) -> &'static str {
    match message.state {
        ShownState::Held | ShownState::Scheduled | ShownState::Queued | ShownState::Sending => {
            "pending"
        }
        ShownState::Sent | ShownState::Delivered => "sent",
        ShownState::Undelivered | ShownState::Expired | ShownState::Rejected => {
            if message.sent_at.is_some() { "sent" } else { "failed" }
        }
        ShownState::Canceled | ShownState::Stopped => "stopped",
        ShownState::NotSent => "not_sent",
        ShownState::Received => "received",
    }
}

fn state(state: ShownState) -> &'static str {
    match state {
        ShownState::Held => "held",
        ShownState::Scheduled => "scheduled",
        ShownState::Queued => "queued",
        ShownState::Sending => "sending",
        ShownState::Sent => "sent",
        ShownState::Delivered => "delivered",
        ShownState::Undelivered => "undelivered",
        ShownState::Expired => "expired",
        ShownState::Canceled => "canceled",
        ShownState::Stopped => "stopped",
        ShownState::Rejected => "rejected",
        ShownState::NotSent => "not_sent",
        ShownState::Received => "received",
    }
}

/// A problem: the end of its `type`, its status and title, what it says, and about which field.
struct Problem {
    kind: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    field: Option<String>,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    fn new(kind: &'static str, status: StatusCode, title: &'static str, detail: &str) -> Problem {
        let detail = detail.to_owned();
        Problem { kind, status, title, detail, field: None, retry_after_seconds: None }
    }

    /// A field, and what is wrong with it.
    fn field(field: &str, detail: impl Into<String>) -> Problem {
        let field = Some(field.to_owned());
        let problem =
            Problem::new("invalid-body", StatusCode::BAD_REQUEST, "The body is wrong", "");
        Problem { field, detail: detail.into(), ..problem }
    }

    fn response(&self) -> Response<Bytes> {
        let errors: Vec<Value> = (self.field.iter())
            .map(|field| json!({"field": field, "detail": self.detail}))
            .collect();
        let out = json!({
            "type": format!("urn:waybill:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "errors": errors,
        });
        let mut response = response::json(self.status, &out);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"waybill\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    problem(refusal).response()
}

fn problem(refusal: &Refusal) -> Problem {
    const CONFLICT: StatusCode = StatusCode::CONFLICT;
    let conflict =
        |detail: &str| Problem::new("conflict", CONFLICT, "Not possible as things stand", detail);
    let forbidden = |field: &str, detail: String| Problem {
        field: Some(field.to_owned()),
        ..Problem::new("forbidden", StatusCode::FORBIDDEN, "Not allowed", &detail)
    };
    match refusal {
        Refusal::Credentials | Refusal::BadSignature => unauthenticated(),
        Refusal::NoDestination => Problem::field("to", "There is no destination."),
        Refusal::BadDestination(text) => {
            Problem::field("to", format!("{text:?} is no number: write it as +4512345678."))
        }
        Refusal::NoOriginator => Problem::field("from", "There is no originator."),
        Refusal::BadOriginator(text) => Problem::field(
            "from",
            format!("{text:?} is neither a number nor a name of at most 11 characters."),
        ),
        Refusal::OriginatorNotAllowed(text) => {
            forbidden("from", format!("This app may not send as {text:?}."))
        }
        Refusal::NoBody => Problem::field("text", "There is no text."),
        Refusal::TooLong { segments, most } => Problem::field(
            "text",
            format!("The text takes {segments} segments; {most} are allowed."),
        ),
        Refusal::OptedOut(text) => forbidden("to", format!("{text} has opted out.")),
        Refusal::BadCallback(text) => {
            Problem::field("callback", format!("callback is wrong: {text}."))
        }
        Refusal::BadSchedule(text) => Problem::field(
            "send_at",
            format!("send_at is wrong: {text}. A time is written as 2026-11-22T08:00:00Z."),
        ),
        Refusal::Unsupported(what) => Problem::field(what, format!("There is no {what} here.")),
        Refusal::Field { name, why } if *name == UNKNOWN_FIELD => unknown_field(why),
        Refusal::Field { name, why } => Problem::field(name, format!("{name} is wrong: {why}.")),
        Refusal::Malformed(why) => {
            Problem::new("invalid-body", StatusCode::BAD_REQUEST, "The body is wrong", why)
        }
        Refusal::TooManyDestinations { most } => {
            Problem::field("to", format!("There are more than {most} destinations."))
        }
        Refusal::RateLimited { retry_after } => rate_limited(whole_seconds(retry_after)),
        Refusal::NotNow => not_now(),
        Refusal::UnknownMessage => not_found("There is no such message."),
        Refusal::TooLate => conflict("The message was sent already, or is being sent."),
        Refusal::NotFinished => conflict("The message is not finished yet."),
        Refusal::KeyReused => conflict("This idempotency key belongs to another request."),
    }
}

fn unauthenticated() -> Problem {
    let detail = "Send `Authorization: Bearer` with the token of an app.";
    let status = StatusCode::UNAUTHORIZED;
    Problem::new("unauthenticated", status, "A valid token is needed", detail)
}

fn not_found(detail: &str) -> Problem {
    Problem::new("not-found", StatusCode::NOT_FOUND, "There is no such thing", detail)
}

fn rate_limited(seconds: u64) -> Problem {
    let detail = "The app sends more than its rate allows.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let problem = Problem::new("too-many-requests", status, "Too many messages", detail);
    Problem { retry_after_seconds: Some(seconds), ..problem }
}

fn not_now() -> Problem {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let detail = "Nothing was taken. Try again.";
    let problem = Problem::new("unavailable", status, "Not possible now", detail);
    Problem { retry_after_seconds: Some(NOT_NOW_SECONDS), ..problem }
}

fn whole_seconds(duration: &std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn unknown_field(name: &str) -> Problem {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let nearest = FIELDS.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest.filter(|known| likeness(known) >= ALIKE) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => format!("there are {}.", FIELDS.join(", ")),
    };
    Problem::field(name, format!("There is no field {name:?}; {hint}"))
}

/// What is no call of this dialect at all.
pub(super) fn no_such_path() -> Response<Bytes> {
    not_found("There is no such path.").response()
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Bytes> {
    let (status, title) = (StatusCode::METHOD_NOT_ALLOWED, "Not with this method");
    let detail = format!("This path takes {allowed}.");
    let problem = Problem::new("method-not-allowed", status, title, &detail);
    let mut response = problem.response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
