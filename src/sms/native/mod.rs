//! Waybill's own dialect: `POST /v1/sms`, `GET` and `DELETE /v1/sms/{id}`, `POST /v1/sms/{id}/stop`.
//!
//! `{"to", "text", "from"?, "reference"?, "tag"?, "send_at"?, "hold"?, "callback"?, "validity"?}` is
//! answered by `201 {"id", "status", "segments"}`; where `to` is a list, so is the answer. `Bearer`
//! with the app's token; `Idempotency-Key` makes a call repeatable. Problems are RFC 9457, callbacks
//! Standard Webhooks 1.0.0.

mod answer;
mod callback;
mod request;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, header};

use super::account::SmsAccounts;
use super::basic;
use super::call::{
    Acknowledgement, Answer, Call, CallbackKind, Format, Handle, Notice, Operation, Port, Shown,
    Verdict,
};
use super::masked::masked_http;
use crate::model::{Dialect, MessageId, Timestamp};
use answer::{LIST, SINGLE};

/// Its face to applications.
pub struct NativePort;

const COLLECTION: &str = "/v1/sms";
/// Parameters that are no fields of a message, and yet may come by mistake.
const SECRETS: [&str; 3] = ["token", "password", "access_token"];
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A longer key is a mistake.
const MAX_KEY_BYTES: usize = 255;

impl Port for NativePort {
    fn dialect(&self) -> Dialect {
        Dialect::Waybill
    }

    fn recognises(&self, request: &Request<Bytes>) -> bool {
        let rest = request.uri().path().strip_prefix(COLLECTION);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        let key = idempotency_key(request);
        let (mut operation, format) = operation(request)?;
        if key.is_err() && matches!(operation, Operation::Submit(_)) {
            let why = "it is empty, longer than 255 bytes or not printable";
            operation = Operation::Submit(Err(request::wrong("Idempotency-Key", why)));
        }
        // The token is a secret, and nothing else names the account.
        Ok(Call { operation, format, account: None, idempotency_key: key.unwrap_or_default() })
    }

    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, _: Timestamp) -> Verdict {
        let Some(account) = &accounts.waybill else { return Verdict::Stranger };
        let shown = token(request);
        let is_proven =
            shown.is_some_and(|token| !token.is_empty() && account.token.matches(&token));
        if is_proven { Verdict::Proven } else { Verdict::Stranger }
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
        callback::status(notice, url, accounts.waybill.as_ref()).into_iter().collect()
    }

    fn inbound(
        &self,
        message: &Shown,
        url: &str,
        accounts: &SmsAccounts,
        now: Timestamp,
    ) -> Vec<Request<Bytes>> {
        callback::inbound(message, url, accounts.waybill.as_ref(), now).into_iter().collect()
    }

    fn acknowledged(&self, response: &Response<Bytes>, _of: CallbackKind) -> Acknowledgement {
        Acknowledgement::of(response.status())
    }
}

/// Which call this is, and how its answer looks.
fn operation(request: &Request<Bytes>) -> Result<(Operation, Format), Box<Response<Bytes>>> {
    let method = request.method();
    let path = request.uri().path();
    let rest = path.strip_prefix(COLLECTION).ok_or_else(|| Box::new(answer::no_such_path()))?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if rest.is_empty() {
        if method != Method::POST {
            return Err(Box::new(answer::method_not_allowed("POST")));
        }
        let (drafts, is_list) = request::read(request);
        return Ok((Operation::Submit(drafts), if is_list { LIST } else { SINGLE }));
    }
    if let Some(id) = rest.strip_suffix("/stop") {
        if method != Method::POST {
            return Err(Box::new(answer::method_not_allowed("POST")));
        }
        return Ok((Operation::Cancel(handle(id)), SINGLE));
    }
    match *method {
        Method::GET => Ok((Operation::Fetch(handle(rest)), SINGLE)),
        Method::DELETE => Ok((Operation::Cancel(handle(rest)), SINGLE)),
        _ => Err(Box::new(answer::method_not_allowed("GET, DELETE"))),
    }
}

fn handle(text: &str) -> Handle {
    MessageId::parse(text).map_or(Handle::Unknown, Handle::Message)
}

/// The error is a key that is none.
fn idempotency_key(request: &Request<Bytes>) -> Result<Option<String>, ()> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().map_err(|_| ())?.trim();
    let is_key = (1..=MAX_KEY_BYTES).contains(&key.len());
    if is_key { Ok(Some(key.to_owned())) } else { Err(()) }
}

/// `Bearer`, or HTTP Basic with the token as password or alone as user.
fn token(request: &Request<Bytes>) -> Option<Vec<u8>> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(value.trim().as_bytes().to_vec());
    }
    basic::pair(request.headers()).map(basic::token)
}
