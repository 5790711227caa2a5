//! Twilio's Programmable Messaging, version 2010-04-01: its face to applications ([`TwilioPort`]) and
//! its protocol towards a provider ([`TwilioUpstream`]).
//!
//! In reading order: `request` and `draft` read a call; `message`, `refusal` and `write` answer it;
//! `callback` and `twiml` are what goes back to the app by itself; `provider` and `hook` are the other
//! side; `body`, `sid`, `signature` and `code` are words that both sides use.
//! Media (MMS) and content templates are refused: there is nothing here that could carry them.

mod body;
mod callback;
mod code;
mod draft;
mod hook;
mod message;
mod provider;
mod refusal;
mod request;
mod sid;
mod signature;
mod twiml;
mod write;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderName, Request, Response, header};

use super::account::SmsAccounts;
use super::basic;
use super::call::{Acknowledgement, Answer, Call, CallbackKind, Notice, Port, Shown, Verdict};
use super::masked::masked_http;
use crate::model::{Dialect, Timestamp};
pub use provider::TwilioUpstream;
pub use signature::sign as sign_callback;

/// Fields of a request that are archived beside those of every dialect.
const SHOWN_FIELDS: [HeaderName; 2] =
    [header::USER_AGENT, HeaderName::from_static("idempotency-key")];

/// Twilio's face to applications.
pub struct TwilioPort;

impl Port for TwilioPort {
    fn dialect(&self) -> Dialect {
        Dialect::Twilio
    }

    fn recognises(&self, request: &Request<Bytes>) -> bool {
        request::is_ours(request.uri().path())
    }

    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        request::read(request)
    }

    /// HTTP Basic: the account and its token, or an API key (`SK…`) and the token as its secret. The
    /// path names the account, so a pair proves nothing for another one.
    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, _: Timestamp) -> Verdict {
        let Some(account) = &accounts.twilio else { return Verdict::Stranger };
        let Some((user, password)) = basic::pair(request.headers()) else {
            return Verdict::Stranger;
        };
        let target = request::target(request.uri().path());
        let is_named = target.is_some_and(|target| target.account == account.account_sid);
        let is_user = user == account.account_sid.as_bytes() || user.starts_with(b"SK");
        match (is_named && is_user, account.auth_token.matches(&password)) {
            (false, _) => Verdict::Stranger,
            (true, true) => Verdict::Proven,
            (true, false) => Verdict::WrongSecret,
        }
    }

    fn answer(&self, call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
        message::response(call, answer)
    }

    /// The one secret of this dialect is in `Authorization`.
    fn masked(&self, request: &Request<Bytes>) -> Bytes {
        masked_http(request, &SHOWN_FIELDS, &[])
    }

    fn receipts(
        &self,
        notice: &Notice<'_>,
        url: &str,
        accounts: &SmsAccounts,
    ) -> Vec<Request<Bytes>> {
        callback::receipts(notice, url, accounts)
    }

    fn inbound(
        &self,
        message: &Shown,
        url: &str,
        accounts: &SmsAccounts,
        _: Timestamp,
    ) -> Vec<Request<Bytes>> {
        callback::inbound(message, url, accounts)
    }

    fn acknowledged(&self, response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement {
        callback::acknowledged(response, of)
    }
}
