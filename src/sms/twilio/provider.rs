//! Twilio as a provider: the request that creates a message, and what its response means.
//!
//! Every field goes through the form encoder and the account through the path encoder of the URL, so
//! no value can become another field, another path or another request.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use serde_json::Value;
use url::Url;

use super::request::VERSION;
use super::{code, hook};
use crate::model::{FailureReason, Originator, SmsBody};
use crate::sms::account::TwilioAccount;
use crate::sms::form::Fields;
use crate::sms::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt,
};

/// Twilio's longest validity, which is its default as well.
const MAX_VALIDITY_S: u64 = 36_000;
/// Of what a provider says, so much is kept.
const MAX_TEXT_CHARS: usize = 200;
const MAX_ID_BYTES: usize = 64;
/// A provider can ask for no longer pause than this.
const MAX_PAUSE_S: u64 = 3_600;

/// One upstream.
pub struct TwilioUpstream {
    pub url: Url,
    pub account: TwilioAccount,
}

impl Provider for TwilioUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let mut request = Request::new(Bytes::from(form(outbound)?.encode()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint()?;
        let headers = request.headers_mut();
        let media = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, media);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, self.credentials()?);
        Ok(request)
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        judge(response)
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        hook::status(&self.account.auth_token, callback)
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        hook::inbound(&self.account.auth_token, callback)
    }

    fn taken(&self) -> Response<Bytes> {
        hook::taken()
    }
}

impl TwilioUpstream {
    fn endpoint(&self) -> Result<Uri, String> {
        let wrong = || "the URL of this upstream can not be called".to_owned();
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.set_username("").map_err(|()| wrong())?;
        url.set_password(None).map_err(|()| wrong())?;
        let account = self.account.account_sid.as_str();
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend([
            VERSION,
            "Accounts",
            account,
            "Messages.json",
        ]);
        url.as_str().parse().map_err(|_| wrong())
    }

    /// RFC 7617 §2: a user name holds no colon.
    fn credentials(&self) -> Result<HeaderValue, String> {
        let TwilioAccount { account_sid, auth_token, .. } = &self.account;
        if account_sid.contains(':') || account_sid.chars().any(char::is_control) {
            return Err("the Account SID of this upstream can not be sent".into());
        }
        let pair = STANDARD.encode(format!("{account_sid}:{}", auth_token.expose()));
        let mut value = HeaderValue::try_from(format!("Basic {pair}"))
            .map_err(|_| "the credentials of this upstream can not be sent".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn form(outbound: &Outbound<'_>) -> Result<Fields, String> {
    let sms = outbound.sms;
    let text = match &sms.body {
        SmsBody::Text(text) if sms.udh.is_empty() => text,
        SmsBody::Text(_) => return Err("Twilio carries no user data header".into()),
        SmsBody::Binary(_) => return Err("Twilio carries no binary messages".into()),
    };
    let mut form = Fields::default();
    form.push("To", &sms.destination.to_string());
    match &sms.originator {
        Some(Originator::Service(service)) => form.push("MessagingServiceSid", service),
        Some(originator) => form.push("From", &originator.to_string()),
        None => return Err("Twilio needs an originator".into()),
    }
    form.push("Body", text);
    if let Some(url) = outbound.status_url {
        form.push("StatusCallback", url);
    }
    if let Some(left) = outbound.valid_for {
        form.push("ValidityPeriod", &left.as_secs().clamp(1, MAX_VALIDITY_S).to_string());
    }
    Ok(form)
}

/// What the response of the create call means.
fn judge(response: &Response<Bytes>) -> Judgement {
    let status = response.status();
    let view: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if status.is_success() {
        return accepted(status, &view);
    }
    let code = number(&view["code"]);
    let text = told(status, code, view["message"].as_str().unwrap_or_default());
    match (status.as_u16(), code) {
        (429, _) | (_, Some(20429 | 14107)) => {
            Judgement::Throttled { retry_after: retry_after(response), text }
        }
        // Overflowing queues and trouble of their own pass.
        (_, Some(21611 | 20500 | 20503)) | (408 | 500..=599, _) => Judgement::Temporary { text },
        // Wrong credentials, a closed account, an unknown account or no Twilio at all.
        (_, Some(20003 | 20005 | 20006 | 20008 | 20404 | 10001 | 90010)) => {
            Judgement::Upstream { text }
        }
        (300..=399 | 401 | 403 | 404 | 405 | 407, None) | (401, Some(_)) => {
            Judgement::Upstream { text }
        }
        (_, code) => Judgement::Permanent { reason: reason(code), text },
    }
}

fn accepted(status: StatusCode, view: &Value) -> Judgement {
    let error = number(&view["error_code"]);
    let word = view["status"].as_str().unwrap_or_default();
    let text = told(status, error, word);
    if matches!(word, "failed" | "undelivered") {
        return Judgement::Permanent { reason: reason(error), text };
    }
    // A page of somebody else is no message; 201 alone says that one was made.
    if !view.is_object() && status != StatusCode::CREATED {
        return Judgement::Upstream { text: told(status, None, "the answer is no message") };
    }
    let sid = view["sid"].as_str().filter(|sid| is_id(sid));
    Judgement::Accepted { ids: sid.map(str::to_owned).into_iter().collect(), text }
}

fn reason(code: Option<u32>) -> FailureReason {
    code.map_or(FailureReason::Unknown, code::reason)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// Whether a text can be a provider's id.
pub(super) fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `400 21211: The 'To' number …`, in clean characters and bounded.
fn told(status: StatusCode, code: Option<u32>, text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let clean: String = clean.take(MAX_TEXT_CHARS).collect();
    let status = status.as_u16();
    match (code, clean.is_empty()) {
        (None, true) => status.to_string(),
        (None, false) => format!("{status} {clean}"),
        (Some(code), true) => format!("{status} {code}"),
        (Some(code), false) => format!("{status} {code}: {clean}"),
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is read as none.
fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_PAUSE_S)))
}
