//! GatewayAPI: its REST API as a dialect (`/rest/mtsms`, and `/mobile/single` of the Message API),
//! and as the protocol of a provider.
//!
//! A message object to n recipients is n messages, which share one id: the sequence number of the
//! first. A state is told by that id and the number. Clients that speak the Message API get the
//! message's own id at the acceptance, and receipts in the form of the REST API.
//! GatewayAPI's documentation, REST and Message API; the answers as its libraries read them.
//!
//! In reading order: `fields`, `request`, `template`, `answer`, `status`, `country`, `credentials`,
//! `callback`, then `provider` for the other direction.

mod answer;
mod callback;
mod country;
mod credentials;
mod fields;
mod provider;
mod request;
mod status;
mod template;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};

use super::account::SmsAccounts;
use super::call::{
    Acknowledgement, Answer, Call, CallbackKind, Handle, Notice, Operation, Port, Probe, Shown,
    Verdict,
};
use super::masked::masked_http;
use crate::model::{Dialect, MessageId, Sequence, Timestamp};
use answer::{MESSAGE_API, MTSMS, MTSMS_WITH_DETAILS, no_such};
pub use provider::GatewayApiUpstream;

/// Its face to applications.
pub struct GatewayApiPort;

/// Parameters whose values no archive keeps.
const SECRETS: [&str; 4] = ["token", "password", "oauth_signature", "oauth_token"];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A longer key names nothing.
const MAX_KEY_BYTES: usize = 255;

impl Port for GatewayApiPort {
    fn dialect(&self) -> Dialect {
        Dialect::GatewayApi
    }

    fn recognises(&self, request: &Request<Bytes>) -> bool {
        let path = request.uri().path();
        matches!(path, "/rest/mtsms" | "/rest/me" | "/mobile/single")
            || path.starts_with("/rest/mtsms/")
    }

    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        let (operation, format) = operation(request)?;
        let key = request.headers().get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
        let key = key.filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        // No request names an account: the token is a secret, and a user name may be one.
        Ok(Call { operation, format, account: None, idempotency_key: key.map(str::to_owned) })
    }

    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, now: Timestamp) -> Verdict {
        match &accounts.gatewayapi {
            Some(account) if credentials::proves(request, account, now) => Verdict::Proven,
            Some(_) | None => Verdict::Stranger,
        }
    }

    fn answer(&self, call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
        answer::answer(call.format, answer)
    }

    fn masked(&self, request: &Request<Bytes>) -> Bytes {
        masked_http(request, &[IDEMPOTENCY_KEY], &SECRETS)
    }

    fn receipts(
        &self,
        notice: &Notice<'_>,
        url: &str,
        accounts: &SmsAccounts,
    ) -> Vec<Request<Bytes>> {
        callback::status(notice, url, accounts.gatewayapi.as_ref()).into_iter().collect()
    }

    fn inbound(
        &self,
        message: &Shown,
        url: &str,
        accounts: &SmsAccounts,
        _now: Timestamp,
    ) -> Vec<Request<Bytes>> {
        callback::inbound(message, url, accounts.gatewayapi.as_ref()).into_iter().collect()
    }

    fn acknowledged(&self, response: &Response<Bytes>, _of: CallbackKind) -> Acknowledgement {
        Acknowledgement::of(response.status())
    }
}

/// Which call this is, and how its answer looks.
fn operation(
    request: &Request<Bytes>,
) -> Result<(Operation, super::call::Format), Box<Response<Bytes>>> {
    let not_allowed = || Box::new(no_such(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"));
    let method = request.method();
    let path = request.uri().path().trim_end_matches('/');
    match path {
        "/rest/mtsms" if method == Method::POST || method == Method::GET => {
            let drafts = fields::read(request).and_then(|fields| request::messages(&fields));
            let has_details = drafts.as_ref().is_ok_and(|(_, has_details)| *has_details);
            let format = if has_details { MTSMS_WITH_DETAILS } else { MTSMS };
            Ok((Operation::Submit(drafts.map(|(drafts, _)| drafts)), format))
        }
        "/mobile/single" if method == Method::POST => {
            let drafts = fields::read(request).and_then(|fields| request::single(&fields));
            Ok((Operation::Submit(drafts), MESSAGE_API))
        }
        "/rest/me" if method == Method::GET => Ok((Operation::Probe(Probe::Account), MTSMS)),
        "/rest/mtsms" | "/mobile/single" | "/rest/me" => Err(not_allowed()),
        _ => {
            let id = path.strip_prefix("/rest/mtsms/").map(handle);
            let id = id.ok_or_else(|| Box::new(no_such(StatusCode::NOT_FOUND, "Not found")))?;
            match *method {
                Method::GET => Ok((Operation::Fetch(id), MTSMS)),
                Method::DELETE => Ok((Operation::Cancel(id), MTSMS)),
                _ => Err(not_allowed()),
            }
        }
    }
}

/// The number of a message object, or a message's own id.
fn handle(text: &str) -> Handle {
    if let Some(id) = MessageId::parse(text) {
        return Handle::Message(id);
    }
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse().ok().filter(|number| is_number && *number > 0) {
        Some(number) => Handle::Batch(Sequence(number)),
        None => Handle::Unknown,
    }
}
