//! From the fields of a call to drafts, one for each destination.
//!
//! A field that Kannel would refuse is refused in its words; blank ones and -1, which is Kannel's
//! own word for "not set", are absent. Unlike Kannel nothing is degraded: a text that GSM-7 can not
//! hold travels as UCS-2, whatever `coding` says, and only `coding=1` makes it binary.
//!
//! `account`, or without one `smsc`, becomes the tag; `account` is echoed in receipts (`%o`).

use std::time::Duration;

use super::super::call::{Draft, Refusal, SendAt};
use super::super::form::Fields;
use super::super::number::NumberStyle;
use super::charset::{self, EIGHT_BIT, Fault};
use crate::model::{ReceiptRequest, SmsBody, Tag};

/// One call is one transaction of the archive.
const MAX_DESTINATIONS: usize = 10_000;
/// Of the receipt URL; the archive keeps it with each message.
const MAX_URL_BYTES: usize = 4_096;
/// A hundred years: later is the same as never.
const MAX_MINUTES: u32 = 60 * 24 * 36_525;

/// How a text of this call is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Text,
    Binary,
    Ucs2,
}

/// The drafts, in the order of the destinations.
pub(super) fn drafts(fields: &Fields) -> Result<Vec<Draft>, Refusal> {
    let to = fields.get("to").ok_or(Refusal::NoDestination)?;
    let destinations: Vec<&str> = to.split_whitespace().collect();
    if destinations.is_empty() {
        return Err(Refusal::BadDestination(String::new()));
    }
    if destinations.len() > MAX_DESTINATIONS {
        return Err(Refusal::TooManyDestinations { most: MAX_DESTINATIONS });
    }
    let udh = match fields.bytes("udh").filter(|value| !value.is_empty()) {
        Some(value) => charset::udh(value).ok_or_else(|| misformed("UDH"))?,
        None => Vec::new(),
    };
    let from = said(fields, "from").ok_or(Refusal::NoOriginator)?;
    let account = said(fields, "account");
    let tag = account.clone().or_else(|| said(fields, "smsc"));
    let body = body(fields, coding(fields, &udh)?, &udh)?;
    number(fields, "priority", "Priority", 3)?;
    let minutes = |minutes: u32| Duration::from_secs(u64::from(minutes) * 60);
    let valid_for = number(fields, "validity", "Validity", MAX_MINUTES)?.filter(|m| *m > 0);
    let deferred = number(fields, "deferred", "Deferred", MAX_MINUTES)?.filter(|m| *m > 0);
    let draft = Draft {
        from: Some(from),
        udh,
        class: number(fields, "mclass", "MClass", 3)?.map(|class| class as u8),
        valid_for: valid_for.map(minutes),
        send_at: deferred.map(|m| SendAt::After(minutes(m))),
        client_reference: account,
        tag: tag.as_deref().and_then(Tag::parse),
        receipt: receipt(fields)?,
        ..Draft::new(String::new(), NumberStyle::National, body)
    };
    let one = |to: &str| Draft { to: to.to_owned(), ..draft.clone() };
    Ok(destinations.into_iter().map(one).collect())
}

/// Where receipts go, and which. A URL without a mask wants none, as with Kannel.
fn receipt(fields: &Fields) -> Result<Option<ReceiptRequest>, Refusal> {
    let mask = number(fields, "dlr-mask", "DLR-Mask", 63)?.unwrap_or(0);
    let Some(url) = said(fields, "dlr-url") else { return Ok(None) };
    if url.len() > MAX_URL_BYTES || url.chars().any(char::is_control) {
        let shown = url.chars().filter(|c| !c.is_control()).take(100).collect();
        return Err(Refusal::BadCallback(shown));
    }
    Ok(Some(ReceiptRequest { url, mask: mask as u8 }))
}

/// Without one a message with a user data header is binary, every other one a text.
pub(super) fn coding(fields: &Fields, udh: &[u8]) -> Result<Coding, Refusal> {
    let is_eight_bit = fields.get("charset").is_some_and(|c| c.eq_ignore_ascii_case(EIGHT_BIT));
    match number(fields, "coding", "Coding", 2)? {
        Some(1) => Ok(Coding::Binary),
        Some(2) => Ok(Coding::Ucs2),
        None if !udh.is_empty() || is_eight_bit => Ok(Coding::Binary),
        Some(_) | None => Ok(Coding::Text),
    }
}

fn body(fields: &Fields, coding: Coding, udh: &[u8]) -> Result<SmsBody, Refusal> {
    let octets = fields.bytes("text").unwrap_or_default();
    if coding == Coding::Binary {
        return Ok(SmsBody::Binary(octets.to_vec()));
    }
    // Kannel cuts long texts between the halves of a surrogate pair. A part with a torn character
    // is better than a message that never comes.
    let fault = if udh.is_empty() { Fault::Refuse } else { Fault::Replace };
    let charset = fields.get("charset");
    let text = charset::decode(octets, charset.as_deref(), coding == Coding::Ucs2, fault);
    let text = text.ok_or_else(|| Refusal::Malformed("charset or body".to_owned()))?;
    Ok(SmsBody::Text(text))
}

/// A field that is there and not blank.
fn said(fields: &Fields, name: &str) -> Option<String> {
    let value = fields.get(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A number from 0 to `most`; `shown` is the field in Kannel's refusal.
fn number(
    fields: &Fields,
    name: &str,
    shown: &'static str,
    most: u32,
) -> Result<Option<u32>, Refusal> {
    match said(fields, name).as_deref() {
        None | Some("-1") => Ok(None),
        Some(digits) => match digits.parse() {
            Ok(number) if number <= most => Ok(Some(number)),
            Ok(_) | Err(_) => Err(misformed(shown)),
        },
    }
}

fn misformed(name: &'static str) -> Refusal {
    Refusal::Field { name, why: "misformed".to_owned() }
}
