//! The SMS API of Vonage, formerly Nexmo, both ways: applications that speak it, and Vonage itself (or
//! whoever offers the same) as a provider.
//!
//! Applications send to `/sms/json` and `/sms/xml` and ask `/account/get-balance`. One call is one
//! message; its answer has an element, and later a receipt, for each segment. This API has no question
//! after a message, and no way to stop one.
//!
//! In reading order: `given` (where fields stand in a request), `signature`, `codes` (the words of
//! receipts), then for applications `submit`, `answer`, `callback`, and for providers `provider`
//! and `report`. Specification: Vonage's SMS API reference and its guides to signatures, receipts and
//! inbound messages; where its own libraries differ from them, the libraries count.

mod answer;
mod callback;
mod codes;
mod given;
mod provider;
mod report;
mod signature;
mod submit;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use self::given::Given;
use super::account::SmsAccounts;
use super::call::{
    Acknowledgement, Answer, Call, CallbackKind, Format, Notice, Operation, Port, Probe, Shown,
    Verdict,
};
use super::masked::masked_http;
use crate::model::{Dialect, MessageId, Timestamp};
pub use provider::VonageUpstream;

/// Fields that prove something. The key names the account and stays.
const SECRETS: [&str; 2] = ["api_secret", "sig"];

/// Its face to applications.
pub struct VonagePort;

/// What a path of this API is for.
fn purpose(path: &str) -> Option<Purpose> {
    match path {
        "/sms/json" => Some(Purpose::Submit(Format::Json)),
        "/sms/xml" => Some(Purpose::Submit(Format::Xml)),
        "/account/get-balance" => Some(Purpose::Balance),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Purpose {
    Submit(Format),
    Balance,
}

fn is_asked(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::POST)
}

impl Port for VonagePort {
    fn dialect(&self) -> Dialect {
        Dialect::Vonage
    }

    fn recognises(&self, request: &Request<Bytes>) -> bool {
        is_asked(request.method()) && purpose(request.uri().path()).is_some()
    }

    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        let no_call = |status| Box::new(answer::no_call(status));
        let purpose =
            purpose(request.uri().path()).ok_or_else(|| no_call(StatusCode::NOT_FOUND))?;
        if !is_asked(request.method()) {
            return Err(no_call(StatusCode::METHOD_NOT_ALLOWED));
        }
        let given = Given::of(request);
        let account = claimed(&given);
        let (operation, format) = match purpose {
            Purpose::Balance => (Operation::Probe(Probe::Balance), Format::Json),
            Purpose::Submit(format) => {
                (Operation::Submit(submit::draft(&given).map(|draft| vec![draft])), format)
            }
        };
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
        let idempotency_key = key.filter(|key| !key.is_empty()).map(str::to_owned);
        Ok(Call { operation, format, account, idempotency_key })
    }

    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, now: Timestamp) -> Verdict {
        let Some(account) = &accounts.vonage else { return Verdict::Stranger };
        let given = Given::of(request);
        if claimed(&given).as_deref() != Some(&account.api_key) {
            return Verdict::Stranger;
        }
        // A call that brings a signature stands or falls with it, whatever else it brings.
        if given.bytes("sig").is_some() {
            let holds = account
                .signature
                .as_ref()
                .is_some_and(|secret| signature::verify(&given, &[], secret, now));
            return if holds { Verdict::Proven } else { Verdict::WrongSignature };
        }
        let secret = match &given.basic {
            Some((_, password)) => Some(password.expose().as_bytes()),
            None => given.bytes("api_secret"),
        };
        match secret {
            Some(secret) if account.api_secret.matches(secret) => Verdict::Proven,
            Some(_) | None => Verdict::WrongSecret,
        }
    }

    fn answer(&self, call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
        answer::write(call, answer)
    }

    fn masked(&self, request: &Request<Bytes>) -> Bytes {
        masked_http(request, &[], &SECRETS)
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
        now: Timestamp,
    ) -> Vec<Request<Bytes>> {
        callback::inbound(message, url, accounts, now)
    }

    fn acknowledged(&self, response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement {
        callback::acknowledged(response.status(), of)
    }
}

/// The API key that the request names.
fn claimed(given: &Given) -> Option<String> {
    let basic = given.basic.as_ref().map(|(user, _)| user.clone());
    basic.or_else(|| given.text("api_key").map(|key| key.into_owned()))
}

/// An address as this API writes it: a number without its plus sign.
fn digits(address: &str) -> String {
    address.strip_prefix('+').unwrap_or(address).to_owned()
}

/// The id of one part: the low 64 bits of the message's id as 16 upper-case hexadecimal digits, with the
/// number of the part behind them when there are several. It never changes, and no two parts share one.
fn part_id(id: MessageId, part: u16, total: u16) -> String {
    // The upper bits are the time; the lower ones are random and tell messages apart.
    let low = id.as_u128() as u64;
    if total > 1 { format!("{low:016X}{part}") } else { format!("{low:016X}") }
}

#[cfg(test)]
mod tests;
