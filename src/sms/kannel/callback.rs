//! What goes back to the application: receipts and inbound messages, by GET, and what it answers.
//!
//! Numbers are written with their plus sign, so that an application that answers to `%p` reaches the
//! right country. Texts are UTF-8 and say so (`%C`), with `%c` 0: whoever goes by either of them decodes
//! them rightly. A binary message is `%c` 1 and `8-BIT`.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};

use super::super::account::SmsAccounts;
use super::super::call::{Acknowledgement, CallbackKind, Notice, Shown, ShownState, SmsReply};
use super::charset::{self, EIGHT_BIT, Fault};
use super::request::charset_of;
use super::template::{self, Codes};
use crate::model::{FailureReason, SmsBody, Timestamp};

/// Receipts of a message that named no URL: all of them.
const EVERY_BIT: u8 = 31;
/// What another Kannel calls its own message in the receipt URLs that it hands out.
const GATEWAY_ID: &str = "dlr-mid=";
/// What an inbound template without a code is given.
const USUAL: &str = "from=%p&to=%P&text=%b&ts=%T&id=%I&charset=%C&coding=%c&udh=%u";

/// Another Kannel answers 202 to everything; this is what it says when it did not take it.
const NOT_TAKEN: [&str; 3] =
    ["authorization failed for sendsms", "not accepted", "insufficient args, rejected"];
/// Bodies that say "taken" and are no reply to anybody.
const PLAIN_ACKNOWLEDGEMENTS: [&str; 8] = [
    "ok",
    "ok.",
    "ack",
    "ack/jasmin",
    "sent.",
    "0: accepted for delivery",
    "3: queued for later delivery",
    "unknown dlr, not accepted",
];

/// The bits of `dlr-mask`, with the receipt's text as Kannel has it from its SMSC.
fn told(message: &Shown) -> Option<(u8, String)> {
    let word = match message.state {
        ShownState::Sent => return Some((8, "ACK/".to_owned())),
        ShownState::Delivered => return Some((1, receipt_text(message, "DELIVRD"))),
        ShownState::Undelivered => return Some((2, receipt_text(message, "UNDELIV"))),
        ShownState::Expired => return Some((2, receipt_text(message, "EXPIRED"))),
        ShownState::Canceled => "canceled",
        ShownState::Stopped => "stopped",
        ShownState::NotSent => "not routable",
        ShownState::Rejected => message.failure.unwrap_or(FailureReason::Unknown).as_str(),
        // Kannel has no word for what waits here (4 is for what waits at the SMSC).
        ShownState::Held
        | ShownState::Scheduled
        | ShownState::Queued
        | ShownState::Sending
        | ShownState::Received => return None,
    };
    let code = message.provider_code.as_ref().map_or(String::new(), |code| format!("/{code}"));
    Some((16, format!("NACK/{word}{code}")))
}

/// The text of an SMPP receipt (SMPP 3.4, appendix B), which applications look into.
fn receipt_text(message: &Shown, word: &str) -> String {
    let minute = |at: Timestamp| -> String {
        let digits: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
        digits.get(2..12).unwrap_or_default().to_owned()
    };
    let submitted = minute(message.sent_at.unwrap_or(message.accepted_at));
    let done = minute(message.done_at.unwrap_or(message.updated_at));
    let delivered = u8::from(message.state == ShownState::Delivered);
    let error = message.provider_code.as_deref().unwrap_or("000");
    format!(
        "id:{} sub:001 dlvrd:00{delivered} submit date:{submitted} done date:{done} stat:{word} \
         err:{error} text:",
        message.id
    )
}

/// The request that tells of a notice; `None` when the mask does not want it.
pub(super) fn receipt(notice: &Notice<'_>, url: &str) -> Option<Request<Bytes>> {
    let (message, sms) = (notice.message, &notice.message.sms);
    let (bit, answer) = told(message)?;
    let mask = sms.receipt.as_ref().map_or(EVERY_BIT, |receipt| receipt.mask);
    let is_gateway = url.contains(GATEWAY_ID);
    // Another Kannel makes this receipt itself, of the 202 that it had from us.
    if mask & bit == 0 || (is_gateway && bit == 8) {
        return None;
    }
    let own = sms.originator.as_ref().map(ToString::to_string).unwrap_or_default();
    let codes = Codes {
        peer: &sms.destination.to_string(),
        own: &own,
        text: answer.as_bytes(),
        answer: &answer,
        state: bit,
        coding: 0,
        charset: "UTF-8",
        udh: &[],
        class: sms.class,
        id: &message.id.to_string(),
        unix: notice.at.as_millis() / 1_000,
        date: &date(notice.at),
        user: sms.account.as_deref().unwrap_or_default(),
        account: sms.client_reference.as_deref().unwrap_or_default(),
    };
    match is_gateway {
        // The URL that is nested in this one may have a fragment; what stands behind it counts.
        true => get(&format!("{}&to=%p&text=%A", url.replace('#', "%23")), &codes),
        false => get(url, &codes),
    }
}

/// The request that hands an inbound message over. A template without a code is a bare URL: Kannel's
/// usual parameters are put behind it.
pub(super) fn inbound(
    message: &Shown,
    url: &str,
    accounts: &SmsAccounts,
) -> Option<Request<Bytes>> {
    let sms = &message.sms;
    let (text, coding, charset) = match &sms.body {
        SmsBody::Text(text) => (text.as_bytes(), 0, "UTF-8"),
        SmsBody::Binary(octets) => (&octets[..], 1, EIGHT_BIT),
    };
    let account = accounts.kannel.as_ref().map(|account| account.username.as_str());
    let peer = sms.originator.as_ref().map(ToString::to_string).unwrap_or_default();
    let codes = Codes {
        peer: &peer,
        own: &sms.destination.to_string(),
        text,
        answer: "",
        state: 0,
        coding,
        charset,
        udh: &sms.udh,
        class: sms.class,
        id: &message.id.to_string(),
        unix: message.accepted_at.as_millis() / 1_000,
        date: &date(message.accepted_at),
        user: account.unwrap_or_default(),
        account: "",
    };
    if url.contains('%') {
        return get(url, &codes);
    }
    let url = url.split('#').next().unwrap_or_default();
    let joint = match (url.contains('?'), url.ends_with(['?', '&'])) {
        (_, true) => "",
        (true, false) => "&",
        (false, false) => "?",
    };
    get(&format!("{url}{joint}{USUAL}"), &codes)
}

fn get(template: &str, codes: &Codes<'_>) -> Option<Request<Bytes>> {
    Request::get(template::fill(template, codes)?).body(Bytes::new()).ok()
}

/// `2026-11-22 04:27:51`
fn date(at: Timestamp) -> String {
    at.to_string().replace('T', " ").chars().take("2026-11-22 04:27:51".len()).collect()
}

/// What the response means. The body of a 200 or 202 to an inbound message is the reply to it, if it
/// is a text and no mere acknowledgement.
pub(super) fn acknowledged(response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement {
    if !response.status().is_success() {
        return Acknowledgement::NotTaken;
    }
    let text = reply_text(response).unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    if NOT_TAKEN.contains(&lower.as_str()) {
        return Acknowledgement::NotTaken;
    }
    let may_reply = of == CallbackKind::Inbound
        && matches!(response.status(), StatusCode::OK | StatusCode::ACCEPTED)
        && !text.is_empty()
        && !PLAIN_ACKNOWLEDGEMENTS.contains(&lower.as_str());
    let reply = SmsReply { to: None, from: None, text, status_url: None };
    Acknowledgement::Taken { replies: if may_reply { vec![reply] } else { Vec::new() } }
}

/// The body as text; Kannel as well sends only plain text and HTML on.
fn reply_text(response: &Response<Bytes>) -> Option<String> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or(Some("text/plain"), |value| value.to_str().ok())?;
    let charset = charset_of(kind);
    let body = response.body();
    let text = charset::decode(body, charset.as_deref(), false, Fault::Refuse)?;
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/plain" => Some(text.trim().to_owned()),
        "text/html" => Some(mail_parser::decoders::html::html_to_text(&text).trim().to_owned()),
        _ => None,
    }
}
