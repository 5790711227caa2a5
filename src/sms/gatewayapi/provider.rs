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
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt, retry_after, words,
};
use super::super::response;
use super::super::signature::jwt_claims;
use super::callback::SIGNATURE;
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
            Destination::ShortCode(digits) if digits.starts_with('0') => {
                // Its recipients are numbers of JSON, which would lose the zero.
                return Err(String::from("GatewayAPI takes no short code that begins with 0"));
            }
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
        let text = words(text.trim());
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Judgement::Throttled { retry_after: retry_after(response), text }
            }
            StatusCode::UNAUTHORIZED => Judgement::Upstream { text },
            StatusCode::FORBIDDEN => forbidden(&error.code, text),
            StatusCode::REQUEST_TIMEOUT => Judgement::Temporary { text },
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if body.is_some() => {
                client_error(&error.code, text)
            }
            // A wrong URL, or something before the provider that refuses us: not the message's fault.
            _ if status.is_client_error() => Judgement::Upstream { text },
            // Redirects are not followed: whatever answers there is not the provider.
            _ => Judgement::Temporary { text },
        }
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        let dsn: Notification = serde_json::from_slice(&self.claims(callback)?)
            .map_err(|_| CallbackRefusal::Malformed)?;
        let state = receipt_state(&dsn.status).ok_or(CallbackRefusal::Malformed)?;
        let code = dsn.code.as_ref().and_then(id_text);
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
            code: Some(words(code.as_deref().unwrap_or(&dsn.status))),
            at: dsn.time.and_then(moment),
        }])
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        let mo: MobileOriginated = serde_json::from_slice(&self.claims(callback)?)
            .map_err(|_| CallbackRefusal::Malformed)?;
        mo.read().map(|inbound| vec![inbound]).ok_or(CallbackRefusal::Malformed)
    }

    fn taken(&self) -> Response<Bytes> {
        response::empty(StatusCode::OK)
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
    let text = words(&String::from_utf8_lossy(response.body()));
    if ids.is_empty() {
        return Judgement::Unclear { text };
    }
    let text = format!("{} ids {}", response.status().as_u16(), ids.join(","));
    Judgement::Accepted { ids, text }
}

fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(words(text)),
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
    code: Option<Value>,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Secret, Sms};
    use crate::sms::gatewayapi::tests::{account, post, sms};
    use crate::sms::signature::jwt;

    fn upstream(callback_secret: Option<&str>) -> GatewayApiUpstream {
        let url = url::Url::parse("https://gatewayapi.example/").unwrap();
        GatewayApiUpstream { url, account: account(callback_secret) }
    }

    fn sent(sms: &Sms) -> Result<Value, String> {
        let now = Timestamp::from_millis(0);
        let outbound = Outbound {
            id: MessageId::from_u128(5),
            sms,
            valid_for: Some(Duration::from_secs(5)),
            status_url: Some("https://t.example/hooks/a/status?message=1&proof=2"),
            now,
        };
        let request = upstream(None).request(&outbound)?;
        assert_eq!(request.uri(), "https://gatewayapi.example/rest/mtsms");
        let basic = format!("Basic {}", STANDARD.encode("s3cret:"));
        assert_eq!(request.headers()["authorization"], basic.as_str());
        Ok(serde_json::from_slice(request.body()).unwrap())
    }

    #[test]
    fn a_message_goes_upstream_whole() {
        let mut wrong = sms("whatsapp:+4512345678");
        assert!(sent(&wrong).is_err());
        assert_eq!(sent(&sms("1204")).unwrap()["recipients"], json!([{"msisdn": 1204}]));
        assert!(sent(&sms("078")).unwrap_err().contains("begins with 0"));
        wrong = sms("+4512345678");
        wrong.originator = Originator::parse("whatsapp:+4512345678");
        assert!(sent(&wrong).is_err());

        let mut message = sms("+4512345678");
        let id = MessageId::from_u128(5).to_string();
        let plain = json!({"recipients": [{"msisdn": 4512345678_u64}], "sender": "Example", "message": "Hej",
        "userref": id, "validity_period": 60,
        "callback_url": "https://t.example/hooks/a/status?message=1&proof=2"});
        assert_eq!(sent(&message).unwrap(), plain);
        (message.encoding, message.class) = (SmsEncoding::Ucs2, Some(0));
        let other = sent(&message).unwrap();
        assert_eq!((&other["encoding"], &other["destaddr"]), (&json!("UCS2"), &json!("DISPLAY")));
        (message.encoding, message.body, message.udh) =
            (SmsEncoding::Binary, SmsBody::Binary(vec![0, 1, 2]), vec![5]);
        let other = sent(&message).unwrap();
        assert_eq!(
            (&other["payload"], &other["udh"], other.get("message")),
            (&json!("AAEC"), &json!("BQ=="), None)
        );
    }

    #[test]
    fn an_answer_means_what_it_says_and_no_more() {
        let judge = |status: u16, body: &str| {
            let response = Response::builder().status(status).header("retry-after", "7");
            upstream(None).judge(&response.body(Bytes::from(body.to_owned())).unwrap())
        };
        let error = |code: &str| {
            json!({"code": code, "message": "No %1\r\n", "variables": ["x"]}).to_string()
        };
        for unclear in ["", "{}", "<html>", r#"{"ids":[]}"#, r#"{"ids":7}"#, r#"{"ids":[null]}"#] {
            assert!(matches!(judge(200, unclear), Judgement::Unclear { .. }), "{unclear}");
        }
        for (status, code) in [
            (401, "0x0229"),
            (403, "0x0213"),
            (403, "0x0216"),
            (403, "0x022A"),
            (403, ""),
            (422, "0x0216"),
        ] {
            assert!(
                matches!(judge(status, &error(code)), Judgement::Upstream { .. }),
                "{status} {code}"
            );
        }
        for status in [404, 405, 410, 400] {
            assert!(matches!(judge(status, "<html>"), Judgement::Upstream { .. }), "{status}");
        }
        for status in [500, 502, 503, 408, 301] {
            assert!(matches!(judge(status, "x"), Judgement::Temporary { .. }), "{status}");
        }
        for (status, code, expected) in [
            (403, "0x0215", FailureReason::OptedOut),
            (403, "0x0217", FailureReason::NoRoute),
            (403, "0x021F", FailureReason::NoRoute),
            (422, "0x0308", FailureReason::InvalidNumber),
            (422, "0x0312", FailureReason::Filtered),
            (422, "0x9999", FailureReason::BadContent),
            (400, "", FailureReason::BadContent),
        ] {
            let Judgement::Permanent { reason, text } = judge(status, &error(code)) else {
                panic!("{code}")
            };
            assert_eq!(reason, expected);
            assert!(text.contains("No x") && !text.contains(['\r', '\n']), "{text:?}");
        }
        let waits = Some(Duration::from_secs(7));
        assert!(
            matches!(judge(429, ""), Judgement::Throttled { retry_after, .. } if retry_after == waits)
        );
        let Judgement::Accepted { ids, .. } = judge(200, r#"{"ids":[421332671],"usage":{}}"#)
        else {
            panic!()
        };
        assert_eq!(ids, ["421332671"]);
    }

    fn callback<'a>(request: &'a Request<Bytes>, is_proven: bool) -> Callback<'a> {
        Callback {
            request,
            public_url: "https://t.example",
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
            is_proven,
            now: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn only_a_proven_notification_counts() {
        let dsn =
        json!({"id": 7, "msisdn": 4512345678_u64, "time": 1_700_000_000, "status": "UNDELIVERABLE",
        "code": "0x1B", "error": "Absent", "userref": MessageId::from_u128(5).to_string()})
        .to_string();
        let lie = dsn.replace("UNDELIVERABLE", "DELIVERED");
        let signed = |key: &str, body: &str| {
            let token = jwt(&Secret::new(key.into()), dsn.as_bytes());
            Request::post("/hooks/a/status")
                .header("X-Gwapi-Signature", token)
                .body(Bytes::from(body.to_owned()))
                .unwrap()
        };
        let forged = Err(CallbackRefusal::Forged);
        let plain = post("/hooks/a/status", dsn.clone());
        assert_eq!(upstream(None).status(&callback(&plain, false)), forged);
        assert_eq!(upstream(Some("key")).status(&callback(&plain, true)), forged);
        assert_eq!(upstream(Some("key")).status(&callback(&signed("kex", &dsn), true)), forged);
        for bad in
            ["", "{}", "[]", r#"{"id":7,"status":"SENT"}"#, r#"{"id":"x","status":"DELIVERED"}"#]
        {
            let found = upstream(None).status(&callback(&post("/", bad), true));
            assert_eq!(found, Err(CallbackRefusal::Malformed), "{bad}");
        }
        let from_body = upstream(None).status(&callback(&plain, true)).unwrap();
        // The claims are the truth, whatever the body says.
        let from_token =
            upstream(Some("key")).status(&callback(&signed("key", &lie), false)).unwrap();
        assert_eq!(from_body, from_token);
        let receipt = &from_body[0];
        assert_eq!(
            (receipt.state, receipt.reason),
            (ReceiptState::Undelivered, Some(FailureReason::Unreachable))
        );
        assert_eq!(
            (receipt.provider_id.as_deref(), receipt.message),
            (Some("7"), Some(MessageId::from_u128(5)))
        );
        assert_eq!(
            (receipt.code.as_deref(), receipt.at.unwrap().as_millis()),
            (Some("0x1B"), 1_700_000_000_000)
        );
    }

    #[test]
    fn inbound_messages_are_read() {
        let mo = json!({"id": 9, "msisdn": 4512345678_u64, "receiver": 1204, "message": "ja", "senttime": 1_700_000_000,
        "webhook_label": "x", "encoding": "UTF8"});
        let read = |body: &Value, is_proven| {
            upstream(None).inbound(&callback(&post("/", body.to_string()), is_proven))
        };
        assert_eq!(read(&mo, false), Err(CallbackRefusal::Forged));
        for (name, bad) in
            [("receiver", json!(null)), ("msisdn", json!("x\r\ny")), ("id", json!("z"))]
        {
            let mut wrong = mo.clone();
            wrong[name] = bad;
            assert_eq!(read(&wrong, true), Err(CallbackRefusal::Malformed), "{name}");
        }
        let found = read(&mo, true).unwrap().remove(0);
        assert_eq!(
            (found.originator.to_string(), found.destination.to_string()),
            ("+4512345678".into(), "1204".into())
        );
        assert_eq!((found.provider_id.as_str(), found.body), ("9", SmsBody::Text("ja".into())));
        let mut binary = mo;
        (binary["encoding"], binary["payload"], binary["udh"]) =
            (json!("BINARY"), json!("AAE="), json!("BQ=="));
        let found = read(&binary, true).unwrap().remove(0);
        assert_eq!((found.body, found.udh), (SmsBody::Binary(vec![0, 1]), vec![5]));
    }

    proptest! {
    /// A text goes upstream as it is, and nothing else changes with it.
    #[test]
    fn no_text_changes_the_request_upstream(text in any::<String>()) {
        let plain = sms("+4512345678");
        let other = Sms { body: SmsBody::Text(text.clone()), ..plain.clone() };
        let (mut expected, found) = (sent(&plain).unwrap(), sent(&other).unwrap());
        expected["message"] = text.into();
        prop_assert_eq!(found, expected);
    }


        /// Nothing that a stranger sends brings a panic.
        #[test]
        fn any_callback_may_come(body in any::<Vec<u8>>(), token in "[a-zA-Z0-9._-]{0,60}") {
            let request = Request::post("/").header(SIGNATURE, token);
            let request = request.body(Bytes::from(body)).unwrap();
            let _ = upstream(None).status(&callback(&request, true));
            let _ = upstream(None).inbound(&callback(&request, true));
            let refused = Err(CallbackRefusal::Forged);
            prop_assert_eq!(upstream(Some("key")).status(&callback(&request, true)), refused);
        }
    }
}
