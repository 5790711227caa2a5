//! What the application's own callbacks hear, as Standard Webhooks: `type`, `timestamp`, `data`.
//!
//! The key is the callback secret, or else the token. `webhook-id` is the same for every attempt at
//! one event, so that the receiver can drop what it has. An app without an account (known by its
//! network) has no key: it gets the id and the time, and no signature.

use bytes::Bytes;
use http::{Request, header};
use serde_json::json;

use super::super::account::TokenAccount;
use super::super::call::{Notice, Shown, ShownState};
use super::super::signature::standard_webhook_headers;
use super::answer::message;
use crate::model::Timestamp;

/// Something happened to a message.
pub(super) fn status(
    notice: &Notice<'_>,
    url: &str,
    account: Option<&TokenAccount>,
) -> Option<Request<Bytes>> {
    let id = format!("msg_{}_{}", notice.message.id, notice.event.0);
    signed(&id, notice.message, notice.at, notice.now, url, account)
}

/// A message came in.
pub(super) fn inbound(
    message: &Shown,
    url: &str,
    account: Option<&TokenAccount>,
    now: Timestamp,
) -> Option<Request<Bytes>> {
    let id = format!("msg_{}_received", message.id);
    signed(&id, message, message.accepted_at, now, url, account)
}

/// What a state is called as an event.
fn event(state: ShownState) -> &'static str {
    match state {
        ShownState::Held => "sms.held",
        ShownState::Scheduled | ShownState::Queued | ShownState::Sending => "sms.accepted",
        ShownState::Sent => "sms.sent",
        ShownState::Delivered => "sms.delivered",
        ShownState::Undelivered | ShownState::Rejected | ShownState::NotSent => "sms.failed",
        ShownState::Expired => "sms.expired",
        ShownState::Canceled | ShownState::Stopped => "sms.stopped",
        ShownState::Received => "sms.received",
    }
}

/// `None` for a URL that is none.
fn signed(
    id: &str,
    shown: &Shown,
    at: Timestamp,
    now: Timestamp,
    url: &str,
    account: Option<&TokenAccount>,
) -> Option<Request<Bytes>> {
    let body = json!({
        "type": event(shown.state),
        "timestamp": at.to_string(),
        "data": message(shown),
    });
    let body = Bytes::from(body.to_string());
    let secret = account.map(|account| account.callback_secret.as_ref().unwrap_or(&account.token));
    let mut request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in standard_webhook_headers(secret, id, now, &body) {
        request = request.header(name, value);
    }
    request.body(body).ok()
}
