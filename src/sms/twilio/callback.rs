//! What goes back to the app by itself: status callbacks and inbound messages, as signed forms, and
//! what the app's response to them means
//! (twilio.com/docs/messaging/guides/track-outbound-message-status, …/webhook-request).
//!
//! The signature is over the URL as it is configured. The part behind `#` tunes how Twilio connects
//! and is for whoever makes the request: it is neither signed nor sent.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use url::Url;

use super::message::status;
use super::request::VERSION;
use super::{sid, signature, twiml};
use crate::model::{Dialect, Originator, Timestamp};
use crate::sms::account::{SmsAccounts, TwilioAccount};
use crate::sms::call::{Acknowledgement, CallbackKind, Notice, Shown, ShownState};
use crate::sms::form::Fields;

/// The status callback; none for the state that the app has read in the response already.
pub(super) fn receipts(
    notice: &Notice<'_>,
    url: &str,
    accounts: &SmsAccounts,
) -> Vec<Request<Bytes>> {
    let message = notice.message;
    match message.state {
        ShownState::Held | ShownState::Scheduled | ShownState::Queued | ShownState::Received => {
            return Vec::new();
        }
        ShownState::Sending
        | ShownState::Sent
        | ShownState::Delivered
        | ShownState::Undelivered
        | ShownState::Expired
        | ShownState::Canceled
        | ShownState::Stopped
        | ShownState::Rejected
        | ShownState::NotSent => {}
    }
    let (sid, status) = (sid::of(message.id), status(message));
    let mut form = Fields::default();
    if let Some(error) = status.error {
        form.push("ErrorCode", &error.number.to_string());
    }
    if is_network_final(message.state) {
        form.push("RawDlrDoneDate", &done_date(message.done_at.unwrap_or(notice.at)));
    }
    form.push("SmsSid", &sid);
    form.push("SmsStatus", status.word);
    form.push("MessageStatus", status.word);
    form.push("To", &message.sms.destination.to_string());
    form.push("MessageSid", &sid);
    form.push("AccountSid", account_sid(message, accounts));
    match &message.sms.originator {
        Some(Originator::Service(service)) => form.push("MessagingServiceSid", service),
        Some(originator) => form.push("From", &originator.to_string()),
        None => {}
    }
    form.push("ApiVersion", VERSION);
    post(url, &form, accounts.twilio.as_ref()).into_iter().collect()
}

/// The webhook of an inbound message.
pub(super) fn inbound(message: &Shown, url: &str, accounts: &SmsAccounts) -> Vec<Request<Bytes>> {
    let sid = sid::of(message.id);
    let from = message.sms.originator.as_ref().map(Originator::to_string).unwrap_or_default();
    let mut form = Fields::default();
    for place in ["Country", "State", "City", "Zip"] {
        form.push(&format!("To{place}"), "");
        form.push(&format!("From{place}"), "");
    }
    form.push("SmsMessageSid", &sid);
    form.push("NumMedia", "0");
    form.push("SmsSid", &sid);
    form.push("SmsStatus", "received");
    form.push("Body", message.sms.text());
    form.push("To", &message.sms.destination.to_string());
    form.push("NumSegments", &message.sms.segments.to_string());
    form.push("MessageSid", &sid);
    form.push("AccountSid", account_sid(message, accounts));
    form.push("From", &from);
    form.push("ApiVersion", VERSION);
    post(url, &form, accounts.twilio.as_ref()).into_iter().collect()
}

/// What the app's response means.
pub(super) fn acknowledged(response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement {
    if !response.status().is_success() {
        return Acknowledgement::NotTaken;
    }
    let replies = match of {
        CallbackKind::Receipt => Vec::new(),
        // A plain text is no TwiML: an `OK` that a framework writes is nothing to send to anybody.
        CallbackKind::Inbound => twiml::replies(response.body()),
    };
    Acknowledgement::Taken { replies }
}

/// States that a network reported.
fn is_network_final(state: ShownState) -> bool {
    matches!(state, ShownState::Delivered | ShownState::Undelivered)
}

/// `YYMMDDhhmm`.
fn done_date(at: Timestamp) -> String {
    let text = at.to_string();
    text.chars().skip(2).filter(char::is_ascii_digit).take(10).collect()
}

/// The account that the message was sent with, else the one of the app.
fn account_sid<'a>(message: &'a Shown, accounts: &'a SmsAccounts) -> &'a str {
    let own = message.sms.account.as_deref().filter(|_| message.sms.dialect == Dialect::Twilio);
    own.or(accounts.twilio.as_ref().map(|account| account.account_sid.as_str())).unwrap_or_default()
}

/// A form, signed when the app has a token. A URL that is none makes no request.
fn post(url: &str, form: &Fields, account: Option<&TwilioAccount>) -> Option<Request<Bytes>> {
    let bare = url.split('#').next().unwrap_or_default();
    // What the app wrote is what it will check the signature against; only what no request line can
    // hold is written in another way.
    let (text, uri) = match bare.parse::<Uri>() {
        Ok(uri) => (bare.to_owned(), uri),
        Err(_) => {
            let url = Url::parse(bare).ok()?;
            let uri = url.as_str().parse::<Uri>().ok()?;
            (url.into(), uri)
        }
    };
    uri.authority()?;
    let mut request = Request::new(Bytes::from(form.encode()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let media = HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("TwilioProxy/1.1"));
    if let Some(account) = account {
        let signature = signature::sign(&account.auth_token, &text, form);
        headers.insert(signature::HEADER, HeaderValue::try_from(signature).ok()?);
    }
    Some(request)
}
