//! GatewayAPI as a provider: one message object with one recipient for each SMS.
//!
//! Its callbacks are believed when they bring a token signed with our callback secret (then only the
//! token's claims count), or, without a secret, when they come to a URL that only we could make.
//! `userref` carries our id, so that a receipt finds its message even when the answer to the
//! request was lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::account::TokenAccount;
use super::super::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt,
};
use super::super::signature::jwt_claims;
use super::callback::SIGNATURE;
use super::fields::clean;
use super::status::{destaddr, reason, receipt_state};
use crate::model::{
    Destination, FailureReason, MessageId, Msisdn, Originator, ReceiptState, SmsBody, SmsEncoding,
    Timestamp,
};

/// GatewayAPI refuses a shorter validity.
const MIN_VALIDITY_SECONDS: u64 = 60;
/// GatewayAPI keeps a message for five days.
const MAX_VALIDITY_SECONDS: u64 = 432_000;

/// One upstream.
pub struct GatewayApiUpstream {
    pub url: url::Url,
    pub account: TokenAccount,
}

impl Provider for GatewayApiUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let sms = outbound.sms;
        let msisdn = match &sms.destination {
            Destination::Number(number) => number.digits().parse::<u64>(),
            Destination::ShortCode(digits) => digits.parse(),
            Destination::Opaque(_) => return Err(String::from("GatewayAPI reaches numbers only")),
        };
        let msisdn = msisdn.map_err(|_| String::from("the destination is no number"))?;
        let mut message = json!({
            "recipients": [{"msisdn": msisdn}],
            "userref": outbound.id.to_string(),
        });
        if let Some(originator) = &sms.originator {
            message["sender"] = sender(originator)?.into();
        }
        match &sms.body {
            SmsBody::Text(text) => message["message"] = text.as_str().into(),
            SmsBody::Binary(payload) => message["payload"] = STANDARD.encode(payload).into(),
        }
        match sms.encoding {
            SmsEncoding::Gsm7 => {}
            SmsEncoding::Ucs2 => message["encoding"] = "UCS2".into(),
            SmsEncoding::Binary => message["encoding"] = "BINARY".into(),
        }
        if !sms.udh.is_empty() {
            message["udh"] = STANDARD.encode(&sms.udh).into();
        }
        if sms.class.is_some() {
            message["destaddr"] = destaddr(sms.class).into();
        }
        if let Some(left) = outbound.valid_for {
            let seconds = left.as_secs().clamp(MIN_VALIDITY_SECONDS, MAX_VALIDITY_SECONDS);
            message["validity_period"] = seconds.into();
        }
        if let Some(url) = outbound.status_url {
            message["callback_url"] = url.into();
        }
        let url = format!("{}/rest/mtsms", self.url.as_str().trim_end_matches('/'));
        let basic = STANDARD.encode(format!("{}:", self.account.token.expose()));
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .body(Bytes::from(message.to_string()));
        // Everything a client says stands in the body.
        request.map_err(|_| String::from("the upstream's URL is no URL"))
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        let status = response.status();
        let body: Option<Value> = serde_json::from_slice(response.body()).ok();
        if status.is_success() {
            return accepted(response, body.as_ref());
        }
        let error = body.as_ref().and_then(|body| Trouble::deserialize(body).ok());
        let error = error.unwrap_or_default();
        let text = format!("{} {} {}", status.as_u16(), error.code, error.message());
        let text = clean_text(text.trim());
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Judgement::Throttled { retry_after: retry_after(response), text }
            }
            StatusCode::UNAUTHORIZED => Judgement::Upstream { text },
            StatusCode::FORBIDDEN => forbidden(&error.code, text),
            StatusCode::REQUEST_TIMEOUT => Judgement::Temporary { text },
            _ if status.is_client_error() => client_error(&error.code, text),
            // Redirects are not followed: whatever answers there is not the provider.
            _ => Judgement::Temporary { text },
        }
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        let dsn: Notification = serde_json::from_slice(&self.claims(callback)?)
            .map_err(|_| CallbackRefusal::Malformed)?;
        let state = receipt_state(&dsn.status).ok_or(CallbackRefusal::Malformed)?;
        let code = dsn.code.filter(|code| !code.is_empty());
        let reason = match state {
            ReceiptState::Underway | ReceiptState::Delivered => None,
            ReceiptState::Expired => Some(FailureReason::Expired),
            ReceiptState::Undelivered | ReceiptState::Rejected => {
                Some(reason(code.as_deref().unwrap_or_default()))
            }
        };
        Ok(vec![Receipt {
            provider_id: Some(dsn.id.to_string()),
            message: dsn.userref.as_deref().and_then(MessageId::parse),
            state,
            reason,
            code: Some(clean(code.as_deref().unwrap_or(&dsn.status))),
            at: dsn.time.and_then(moment),
        }])
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        let mo: MobileOriginated = serde_json::from_slice(&self.claims(callback)?)
            .map_err(|_| CallbackRefusal::Malformed)?;
        mo.read().map(|inbound| vec![inbound]).ok_or(CallbackRefusal::Malformed)
    }

    fn taken(&self) -> Response<Bytes> {
        Response::new(Bytes::new())
    }
}

impl GatewayApiUpstream {
    /// What the provider says, proven. With a callback secret only its signature proves anything;
    /// without one a status URL of ours does, and what else proves an inbound callback (a token in
    /// its URL, its network) was checked before.
    fn claims(&self, callback: &Callback<'_>) -> Result<Vec<u8>, CallbackRefusal> {
        let Some(secret) = &self.account.callback_secret else {
            let body = callback.is_proven.then(|| callback.request.body().to_vec());
            return body.ok_or(CallbackRefusal::Forged);
        };
        let token = callback.request.headers().get(SIGNATURE);
        let token = token.and_then(|token| token.to_str().ok());
        token.and_then(|token| jwt_claims(secret, token)).ok_or(CallbackRefusal::Forged)
    }
}

/// `Unclear` where the provider took something and its words can not be read: it may have it.
fn accepted(response: &Response<Bytes>, body: Option<&Value>) -> Judgement {
    let ids = body.and_then(|body| body.get("ids")).and_then(Value::as_array);
    let ids: Vec<String> = ids.into_iter().flatten().filter_map(id_text).collect();
    let text = clean_text(&String::from_utf8_lossy(response.body()));
    if ids.is_empty() {
        return Judgement::Unclear { text };
    }
    let text = format!("{} ids {}", response.status().as_u16(), ids.join(","));
    Judgement::Accepted { ids, text }
}

fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(clean(text)),
        _ => None,
    }
}

/// 403: the account, the recipient or the place.
fn forbidden(code: &str, text: String) -> Judgement {
    match code {
        "0x0215" => Judgement::Permanent { reason: FailureReason::OptedOut, text },
        "0x0217" | "0x021F" => Judgement::Permanent { reason: FailureReason::NoRoute, text },
        // Address not allowed, no credit, frozen; and what is not known is more likely the account.
        _ => Judgement::Upstream { text },
    }
}

/// The message is not one that GatewayAPI will ever take.
fn client_error(code: &str, text: String) -> Judgement {
    match reason(code) {
        FailureReason::Unknown => Judgement::Permanent { reason: FailureReason::BadContent, text },
        FailureReason::NoCredit => Judgement::Upstream { text },
        reason => Judgement::Permanent { reason, text },
    }
}

fn retry_after(response: &Response<Bytes>) -> Option<std::time::Duration> {
    let seconds =
        response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(std::time::Duration::from_secs(seconds))
}

fn sender(originator: &Originator) -> Result<String, String> {
    match originator {
        Originator::Number(number) => Ok(number.digits().to_owned()),
        Originator::ShortCode(text) | Originator::Alphanumeric(text) => Ok(text.to_string()),
        Originator::Service(_) | Originator::Opaque(_) => {
            Err(String::from("GatewayAPI sends as a number or a name only"))
        }
    }
}

fn moment(seconds: f64) -> Option<Timestamp> {
    let is_time = (1.0..253_402_207_200.0).contains(&seconds);
    // Whole milliseconds of the years up to 9999 fit.
    is_time.then(|| Timestamp::from_millis((seconds * 1000.0) as i64))
}

/// A provider's words as they may be stored: one line, not too long.
fn clean_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// An error document.
#[derive(Default, Deserialize)]
struct Trouble {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    variables: Vec<Value>,
}

impl Trouble {
    /// The message with its variables in their places.
    fn message(&self) -> String {
        let mut out = self.message.clone();
        for (place, variable) in (1..10).zip(&self.variables) {
            let text = variable.as_str().map_or_else(|| variable.to_string(), str::to_owned);
            out = out.replace(&format!("%{place}"), &text);
        }
        out
    }
}

/// A status notification.
#[derive(Deserialize)]
struct Notification {
    id: u64,
    status: String,
    time: Option<f64>,
    code: Option<String>,
    userref: Option<String>,
}

/// An inbound message.
#[derive(Deserialize)]
struct MobileOriginated {
    id: u64,
    msisdn: Value,
    receiver: Value,
    #[serde(default)]
    message: Option<String>,
    senttime: Option<f64>,
    sender: Option<String>,
    encoding: Option<String>,
    udh: Option<String>,
    payload: Option<String>,
}

impl MobileOriginated {
    fn read(self) -> Option<Inbound> {
        let number = digits(&self.msisdn).and_then(|digits| originator(&digits));
        let name = self.sender.as_deref().and_then(Originator::parse);
        let decode = |text: &String| STANDARD.decode(text).ok();
        let payload = self.payload.as_ref().filter(|text| !text.is_empty());
        let body = match payload {
            Some(payload)
                if self.encoding.as_deref() == Some("BINARY") || self.message.is_none() =>
            {
                SmsBody::Binary(decode(payload)?)
            }
            Some(_) | None => SmsBody::Text(self.message.unwrap_or_default()),
        };
        Some(Inbound {
            provider_id: self.id.to_string(),
            originator: number.or(name)?,
            destination: destination(&digits(&self.receiver)?)?,
            body,
            udh: self.udh.as_ref().and_then(decode).unwrap_or_default(),
            // GatewayAPI joins long messages before it hands them over.
            concatenation: None,
            sent_at: self.senttime.and_then(moment),
        })
    }
}

fn digits(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().trim_start_matches('+').to_owned()),
        _ => None,
    }
}

fn originator(digits: &str) -> Option<Originator> {
    let number = Msisdn::from_digits(digits).map(Originator::Number);
    number.or_else(|| Originator::parse(digits))
}

fn destination(digits: &str) -> Option<Destination> {
    let number = Msisdn::from_digits(digits).map(Destination::Number);
    number.or_else(|| Destination::parse(digits))
}
