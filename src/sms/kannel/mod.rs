//! Kannel's sendsms: an application or another Kannel that submits over HTTP, and a Kannel that we
//! submit to (Kannel 1.4.5 user guide, chapter "SMSBox", and its `smsc = http`).
//!
//! One call in, one plain line out, and no message id ever: receipts go to a URL template that each
//! message brings along, inbound messages to one in the configuration. Another Kannel takes every
//! answer but the success texts as final, so there is none when we can only not take it now.
//!
//! In reading order: `charset`, `xml`, `request` (one set of fields from all forms, and the
//! request without its secrets), `draft`, `answer`, `template`, `callback`, `provider`.

mod answer;
mod callback;
mod charset;
mod draft;
mod provider;
mod request;
mod template;
mod xml;

use bytes::Bytes;
use http::{Method, Request, Response};

use super::account::SmsAccounts;
use super::call::{
    Acknowledgement, Answer, Call, CallbackKind, Format, Notice, Operation, Port, Shown, Verdict,
};
use crate::model::{Dialect, Timestamp};
pub use provider::KannelUpstream;

/// Where Kannel's smsbox takes messages.
const SENDSMS: &str = "/cgi-bin/sendsms";

/// Its face to applications.
pub struct KannelPort;

impl Port for KannelPort {
    fn dialect(&self) -> Dialect {
        Dialect::Kannel
    }

    fn recognises(&self, request: &Request<Bytes>) -> bool {
        request.uri().path() == SENDSMS
    }

    /// Under the dialect's own prefix every path submits, because the URL that another Kannel sends
    /// to is free; only the other calls of `/cgi-bin/` are unknown.
    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        let path = request.uri().path();
        let is_known = path == SENDSMS || !path.starts_with("/cgi-bin");
        let is_method = request.method() == Method::GET || request.method() == Method::POST;
        if !is_known || !is_method {
            return Err(Box::new(answer::unknown_request()));
        }
        let fields = match request::fields(request) {
            Ok(fields) => fields,
            Err(unreadable) => return Err(Box::new(answer::unreadable(unreadable))),
        };
        // Kannel names itself in every request but those of its `smsc = http`.
        let format = match request.headers().contains_key(http::header::USER_AGENT) {
            true => Format::Text,
            false => Format::Gateway,
        };
        let account = request::credentials(request, &fields).map(|(name, _)| name);
        Ok(Call::new(request, Operation::Submit(draft::drafts(&fields)), format, account))
    }

    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, _: Timestamp) -> Verdict {
        let Some(account) = &accounts.kannel else { return Verdict::Stranger };
        let Ok(fields) = request::fields(request) else { return Verdict::Stranger };
        match request::credentials(request, &fields) {
            Some((name, password)) if name == account.username => {
                match account.password.matches(&password) {
                    true => Verdict::Proven,
                    false => Verdict::WrongSecret,
                }
            }
            Some(_) | None => Verdict::Stranger,
        }
    }

    fn answer(&self, call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
        answer::write(call.format, answer)
    }

    fn masked(&self, request: &Request<Bytes>) -> Bytes {
        request::masked(request)
    }

    fn receipts(&self, notice: &Notice<'_>, url: &str, _: &SmsAccounts) -> Vec<Request<Bytes>> {
        callback::receipt(notice, url).into_iter().collect()
    }

    fn inbound(
        &self,
        message: &Shown,
        url: &str,
        accounts: &SmsAccounts,
        _: Timestamp,
    ) -> Vec<Request<Bytes>> {
        callback::inbound(message, url, accounts).into_iter().collect()
    }

    fn acknowledged(&self, response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement {
        callback::acknowledged(response, of)
    }
}

#[cfg(test)]
mod tests;
