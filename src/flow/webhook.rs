//! The notice of a rule: what happened to which message, as JSON, signed (Standard Webhooks 1.0.0).
//!
//! `{"type": "sms.received", "timestamp": …, "data": {"event": {…}, "message": {…}}}`. The header
//! `webhook-id` names the event and is the same for every attempt; without a secret there is no
//! signature, only the id and the time.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use serde_json::{Value, json};

use crate::archive::{Event, Message};
use crate::model::{Medium, Secret, Timestamp};
use crate::sms::signature::standard_webhook_headers;

/// The request to `url`.
pub(super) fn request(
    message: &Message,
    event: &Event,
    url: Uri,
    secret: Option<&Secret>,
    now: Timestamp,
) -> Request<Bytes> {
    let body = Bytes::from(body(message, event).to_string());
    let id = format!("evt_{}", event.sequence.0);
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url;
    let headers = standard_webhook_headers(secret, &id, now, request.body());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().extend(headers);
    request
}

fn body(message: &Message, event: &Event) -> Value {
    json!({
        "type": format!("{}.{}", message.channel().as_str(), event.kind.as_str()),
        "timestamp": event.at.to_string(),
        "data": {
            "event": {
                "sequence": event.sequence.0,
                "type": event.kind.as_str(),
                "at": event.at.to_string(),
                "recipient": event.recipient,
                "by": event.by,
                "upstream": event.upstream.as_ref().map(ToString::to_string),
                "reply": event.reply,
                "detail": event.detail,
                "automated": event.automated,
            },
            "message": message_body(message),
        },
    })
}

fn message_body(message: &Message) -> Value {
    let (text, reply_to, client_reference) = match &message.medium {
        Medium::Mail(_) => (message.summary.preview.as_str(), None, None),
        Medium::Sms(sms) => {
            (sms.text(), sms.reply_to.map(|id| id.to_string()), sms.client_reference.as_deref())
        }
    };
    json!({
        "id": message.id.to_string(),
        "channel": message.channel().as_str(),
        "direction": message.direction.as_str(),
        "status": message.status().as_str(),
        "app": message.app.as_str(),
        "from": message.medium.sender(),
        "to": message.medium.recipients(),
        "subject": message.summary.subject,
        "text": text,
        "references": message.references.iter().map(|r| r.as_str()).collect::<Vec<_>>(),
        "tag": message.tag.as_ref().map(|tag| tag.as_str()),
        "accepted_at": message.accepted_at.to_string(),
        "reply_to": reply_to,
        "client_reference": client_reference,
    })
}
