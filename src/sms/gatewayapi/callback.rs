//! What the application's own callbacks hear: status notifications and inbound messages.
//!
//! JSON by POST, signed with `X-Gwapi-Signature`: a token whose claims are the body, because
//! GatewayAPI's library reads the token and not the body. The key is the callback secret, or else the
//! token; an app without an account (known by its network) has none and gets no signature.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use serde_json::{Value, json};

use super::super::account::TokenAccount;
use super::super::call::{Notice, Shown};
use super::super::signature::jwt;
use super::answer::{base64, encoding_word, integer, number, place, seconds};
use super::status::{error_text, hex_code, status_word};
use crate::model::{Destination, Msisdn, Originator, SmsBody};

/// Carries the signature.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-gwapi-signature");

/// A status notification.
pub(super) fn status(
    notice: &Notice<'_>,
    url: &str,
    account: Option<&TokenAccount>,
) -> Option<Request<Bytes>> {
    let message = notice.message;
    let (country, prefix) = place(&message.sms.destination);
    let mut out = json!({
        "id": message.batch_number(),
        "msisdn": number(&message.sms.destination),
        "time": seconds(notice.at),
        "status": status_word(message.state),
        "userref": message.sms.client_reference,
        "charge_status": null,
        "country_code": country,
        "country_prefix": prefix,
    });
    if let Some(reason) = message.failure {
        out["error"] = error_text(reason).into();
        out["code"] = hex_code(reason).into();
    }
    signed(&out, url, account)
}

/// An inbound message.
pub(super) fn inbound(
    message: &Shown,
    url: &str,
    account: Option<&TokenAccount>,
) -> Option<Request<Bytes>> {
    let sms = &message.sms;
    let (number, name) = match &sms.originator {
        Some(Originator::Number(number)) => (Some(number), None),
        Some(other) => (None, Some(other.to_string())),
        None => (None, None),
    };
    let (country, prefix) =
        number.map_or((None, None), |number: &Msisdn| place(&Destination::Number(number.clone())));
    let msisdn = match (number, &sms.originator) {
        (Some(number), _) => integer(number),
        // Clients take nothing but an integer here.
        (None, Some(Originator::ShortCode(digits))) => json!(digits.parse::<u64>().unwrap_or(0)),
        (None, _) => json!(0),
    };
    let payload = match &sms.body {
        SmsBody::Text(_) => None,
        SmsBody::Binary(bytes) => Some(base64(bytes)),
    };
    let out = json!({
        "id": message.batch_number(),
        "msisdn": msisdn,
        "receiver": receiver(&sms.destination),
        "message": sms.text(),
        "senttime": seconds(message.accepted_at),
        "webhook_label": "waybill",
        "sender": name,
        "mcc": null,
        "mnc": null,
        "validity_period": null,
        "encoding": encoding_word(sms.encoding),
        "udh": (!sms.udh.is_empty()).then(|| base64(&sms.udh)),
        "payload": payload,
        "country_code": country,
        "country_prefix": prefix,
    });
    signed(&out, url, account)
}

/// Clients take nothing but an integer here.
fn receiver(destination: &Destination) -> Value {
    let found = number(destination);
    if found.is_u64() { found } else { json!(0) }
}

/// `None` for a URL that is none.
fn signed(claims: &Value, url: &str, account: Option<&TokenAccount>) -> Option<Request<Bytes>> {
    let body = claims.to_string();
    let mut request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
    if let Some(account) = account {
        let secret = account.callback_secret.as_ref().unwrap_or(&account.token);
        let signature = HeaderValue::from_str(&jwt(secret, body.as_bytes())).ok()?;
        request = request.header(SIGNATURE, signature);
    }
    request.body(Bytes::from(body)).ok()
}
