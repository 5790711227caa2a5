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
    // A name alone would be read as a host, which is no URL.
    uri.scheme().and(uri.authority())?;
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

#[cfg(test)]
mod tests {
    use super::super::tests::{ACCOUNT, account, accounts, at, shown};
    use super::*;
    use crate::model::{Direction, Sequence};

    const SID: &str = "SM000000000000000000000000000000ff";

    fn receipt(message: &Shown, url: &str) -> Option<Request<Bytes>> {
        let notice = Notice { message, event: Sequence(1), at: at(90), now: at(100) };
        receipts(&notice, url, &accounts()).pop()
    }

    #[test]
    fn the_first_state_is_not_told_twice() {
        for state in [ShownState::Held, ShownState::Scheduled, ShownState::Queued] {
            assert!(receipt(&shown(state), "https://a.example/s").is_none(), "{state:?}");
        }
        for url in ["", "x", "/path", "https://", "mailto:a@b"] {
            assert!(receipt(&shown(ShownState::Sent), url).is_none(), "{url}");
        }
    }

    #[test]
    fn a_receipt_is_a_signed_form() {
        let message = Shown { done_at: Some(at(61)), ..shown(ShownState::Undelivered) };
        let url = "https://a.example:443/s?x=1&y=%2F";
        let request = receipt(&message, &format!("{url}#ct=2000&rc=3")).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), url);
        assert_eq!(
            std::str::from_utf8(request.body()).unwrap(),
            format!(
                "ErrorCode=30008&RawDlrDoneDate=2611220428&SmsSid={SID}&SmsStatus=undelivered\
                 &MessageStatus=undelivered&To=%2B4512345678&MessageSid={SID}&AccountSid={ACCOUNT}\
                 &From=Example&ApiVersion=2010-04-01"
            )
        );
        let form = Fields::parse(request.body());
        let expected = signature::sign(&account().auth_token, url, &form);
        assert_eq!(request.headers()[signature::HEADER], expected.as_str());
    }

    #[test]
    fn without_a_token_nothing_is_signed() {
        let message = shown(ShownState::Sent);
        let notice = Notice { message: &message, event: Sequence(1), at: at(9), now: at(9) };
        let all = receipts(&notice, "http://a.example/s", &SmsAccounts::default());
        assert!(!all[0].headers().contains_key(signature::HEADER));
        let text = std::str::from_utf8(all[0].body()).unwrap();
        assert!(text.contains("MessageStatus=sent"), "{text}");
        assert!(!text.contains("ErrorCode") && !text.contains("RawDlr"), "{text}");
    }

    #[test]
    fn an_inbound_message_is_a_signed_form() {
        let message = Shown { direction: Direction::Inbound, ..shown(ShownState::Received) };
        let request = inbound(&message, "https://a.example/in", &accounts()).pop().unwrap();
        let form = Fields::parse(request.body());
        for (name, value) in [
            ("MessageSid", SID),
            ("SmsSid", SID),
            ("SmsMessageSid", SID),
            ("AccountSid", ACCOUNT),
            ("From", "Example"),
            ("To", "+4512345678"),
            ("Body", "Hej æ"),
            ("NumMedia", "0"),
            ("NumSegments", "2"),
            ("SmsStatus", "received"),
            ("ApiVersion", "2010-04-01"),
            ("FromCountry", ""),
        ] {
            assert_eq!(form.get(name).as_deref(), Some(value), "{name}");
        }
        let expected = signature::sign(&account().auth_token, "https://a.example/in", &form);
        assert_eq!(request.headers()[signature::HEADER], expected.as_str());
    }

    #[test]
    fn only_success_is_an_acknowledgement() {
        let of = |status: u16, body: &'static str, kind| {
            let response = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            acknowledged(&response, kind)
        };
        let twiml = "<Response><Message>x</Message></Response>";
        for status in [301, 302, 400, 404, 429, 500, 503] {
            let found = of(status, twiml, CallbackKind::Inbound);
            assert_eq!(found, Acknowledgement::NotTaken, "{status}");
        }
        let nothing = Acknowledgement::Taken { replies: Vec::new() };
        assert_eq!(of(204, "", CallbackKind::Inbound), nothing);
        assert_eq!(of(200, "OK", CallbackKind::Inbound), nothing);
        assert_eq!(of(200, twiml, CallbackKind::Receipt), nothing);
        let Acknowledgement::Taken { replies } = of(200, twiml, CallbackKind::Inbound) else {
            panic!()
        };
        assert_eq!(replies.len(), 1);
    }
}
