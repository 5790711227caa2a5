//! The nouns of an SMS: who it is from, who it goes to, what it says, which dialect it came in.
//!
//! Addresses exist only in their normal form, which their text round-trips; turning what a client
//! wrote into that form is `sms::number`'s. No address can hold a control character, so none can
//! change a request that it is written into.

use std::fmt;
use std::sync::Arc;

use super::id::MessageId;
use super::time::Timestamp;

/// E.164 allows 15 digits with the country code; the shortest international numbers have 7.
const MSISDN_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Short codes have 3 to 6 digits.
const SHORT_CODE_DIGITS: std::ops::RangeInclusive<usize> = 3..=6;
/// 3GPP TS 23.040 §9.1.2.5: an alphanumeric address has at most 11 characters.
const MAX_NAME_CHARS: usize = 11;
/// Longest address that is passed on as it came, such as `whatsapp:+4512345678`.
const MAX_OPAQUE_BYTES: usize = 100;

/// A number with its country code. Shown as E.164: `+4512345678`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(Arc<str>);

impl Msisdn {
    /// From 7 to 15 ASCII digits, the first of which is not 0; no plus sign.
    pub fn from_digits(digits: &str) -> Option<Msisdn> {
        let ok = MSISDN_DIGITS.contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
        ok.then(|| Msisdn(digits.into()))
    }

    /// The digits, without a plus sign.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// Who an SMS is from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Originator {
    Number(Msisdn),
    /// 3 to 6 digits.
    ShortCode(Arc<str>),
    /// A name of 1 to 11 characters of the GSM alphabet, at least one of which is no digit.
    Alphanumeric(Arc<str>),
    /// A sender pool at the provider, such as Twilio's `MG` and 32 hexadecimal digits.
    Service(Arc<str>),
    /// An address of another network, such as `whatsapp:+4512345678`; passed on as it came.
    Opaque(Arc<str>),
}

impl Originator {
    /// Reads the normal form, which is what `Display` writes.
    pub fn parse(text: &str) -> Option<Originator> {
        if let Some(digits) = text.strip_prefix('+') {
            return Msisdn::from_digits(digits).map(Originator::Number);
        }
        if is_short_code(text) {
            return Some(Originator::ShortCode(text.into()));
        }
        if is_service(text) {
            return Some(Originator::Service(text.into()));
        }
        if is_opaque(text) {
            return Some(Originator::Opaque(text.into()));
        }
        let is_name = (1..=MAX_NAME_CHARS).contains(&text.chars().count())
            && text.trim() == text
            && text.chars().all(is_name_char)
            && !text.bytes().all(|b| b.is_ascii_digit());
        is_name.then(|| Originator::Alphanumeric(text.into()))
    }
}

impl fmt::Display for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Originator::Number(number) => number.fmt(f),
            Originator::ShortCode(text)
            | Originator::Alphanumeric(text)
            | Originator::Service(text)
            | Originator::Opaque(text) => f.write_str(text),
        }
    }
}

/// Who an SMS goes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Number(Msisdn),
    /// 3 to 6 digits.
    ShortCode(Arc<str>),
    /// An address of another network, such as `whatsapp:+4512345678`; passed on as it came.
    Opaque(Arc<str>),
}

impl Destination {
    /// Reads the normal form, which is what `Display` writes.
    pub fn parse(text: &str) -> Option<Destination> {
        if let Some(digits) = text.strip_prefix('+') {
            return Msisdn::from_digits(digits).map(Destination::Number);
        }
        if is_short_code(text) {
            return Some(Destination::ShortCode(text.into()));
        }
        is_opaque(text).then(|| Destination::Opaque(text.into()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Number(number) => number.fmt(f),
            Destination::ShortCode(text) | Destination::Opaque(text) => f.write_str(text),
        }
    }
}

fn is_short_code(text: &str) -> bool {
    SHORT_CODE_DIGITS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_service(text: &str) -> bool {
    text.strip_prefix("MG")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `scheme:address` in printable ASCII.
fn is_opaque(text: &str) -> bool {
    let Some((scheme, address)) = text.split_once(':') else { return false };
    text.len() <= MAX_OPAQUE_BYTES
        && !scheme.is_empty()
        && !address.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && address.bytes().all(|b| b.is_ascii_graphic())
}

/// What providers take in a name, beside letters: of ASCII only what no protocol gives a meaning.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || " -_.&+!'/".contains(c) || "æøåÆØÅäöüÄÖÜñÑßéèàìòù".contains(c)
}

/// What an SMS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmsBody {
    Text(String),
    /// User data of 8 bits.
    Binary(Vec<u8>),
}

/// How the text travels over the air (3GPP TS 23.038).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SmsEncoding {
    Gsm7,
    Ucs2,
    Binary,
}

impl SmsEncoding {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            SmsEncoding::Gsm7 => "gsm7",
            SmsEncoding::Ucs2 => "ucs2",
            SmsEncoding::Binary => "binary",
        }
    }
}

/// Whose HTTP API an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    Twilio,
    Vonage,
    Kannel,
    GatewayApi,
    Waybill,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 5] =
        [Dialect::Twilio, Dialect::Vonage, Dialect::Kannel, Dialect::GatewayApi, Dialect::Waybill];

    /// The word in the configuration, in paths (`/d/twilio/…`) and in the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Twilio => "twilio",
            Dialect::Vonage => "vonage",
            Dialect::Kannel => "kannel",
            Dialect::GatewayApi => "gatewayapi",
            Dialect::Waybill => "waybill",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == text)
    }
}

/// Where an application wants to hear what becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRequest {
    /// As the application wrote it; for Kannel a template with `%d` and others.
    pub url: String,
    /// Kannel's `dlr-mask`: 1 delivered, 2 failed, 4 buffered, 8 sent, 16 rejected. All bits for others.
    pub mask: u8,
}

/// Which message of one batch this is: one message object of a call to n numbers is n messages.
/// Most calls hold one such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmsBatch {
    /// From 0 on, in the order of the object's numbers. Their sequence numbers follow each other.
    pub index: u32,
    /// How many there were, at least 1.
    pub count: u32,
}

/// An SMS as the archive keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sms {
    /// `None`: the provider picks one.
    pub originator: Option<Originator>,
    pub destination: Destination,
    pub body: SmsBody,
    /// User data header (3GPP TS 23.040 §9.2.3.24), of one segment that the client cut itself.
    pub udh: Vec<u8>,
    pub encoding: SmsEncoding,
    pub segments: u16,
    /// Message class 0 to 3; 0 is shown at once and not stored (flash).
    pub class: Option<u8>,
    /// The client asked that it is dropped when it was not delivered by then.
    pub valid_until: Option<Timestamp>,
    /// The client asked that it is not sent before.
    pub send_at: Option<Timestamp>,
    pub dialect: Dialect,
    /// Its account in that dialect: Account SID, API key, user name. Never a secret.
    pub account: Option<String>,
    /// `client-ref`, `userref`, `reference`: echoed in receipts.
    pub client_reference: Option<String>,
    pub receipt: Option<ReceiptRequest>,
    pub batch: SmsBatch,
    /// Of the call as it came: the same call has the same one. Zero for what was no call.
    pub fingerprint: [u8; 16],
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// The provider's id of an inbound message.
    pub provider_id: Option<String>,
    /// It tells somebody that he has opted out: the one message that this does not stop.
    pub confirms_opt_out: bool,
}

impl Sms {
    /// With nothing else said: in Waybill's own dialect, and one segment of the GSM alphabet until
    /// somebody measures it.
    pub fn new(destination: Destination, body: SmsBody) -> Sms {
        Sms {
            originator: None,
            destination,
            body,
            udh: Vec::new(),
            encoding: SmsEncoding::Gsm7,
            segments: 1,
            class: None,
            valid_until: None,
            send_at: None,
            dialect: Dialect::Waybill,
            account: None,
            client_reference: None,
            receipt: None,
            batch: SmsBatch { index: 0, count: 1 },
            fingerprint: [0; 16],
            reply_to: None,
            provider_id: None,
            confirms_opt_out: false,
        }
    }

    /// The text; empty for binary messages.
    pub fn text(&self) -> &str {
        match &self.body {
            SmsBody::Text(text) => text,
            SmsBody::Binary(_) => "",
        }
    }
}

/// Why a network or provider did not deliver, in words that every dialect can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    Unknown,
    /// Switched off or out of reach.
    Unreachable,
    /// No such number, or not in use.
    InvalidNumber,
    /// A number that takes no SMS.
    Landline,
    /// The subscriber or the network bars it.
    Barred,
    /// A spam or content filter.
    Filtered,
    /// The recipient has opted out.
    OptedOut,
    /// The originator may not be used.
    BadOriginator,
    /// The content can not be carried.
    BadContent,
    NoRoute,
    /// The provider's account has no money or quota.
    NoCredit,
    Expired,
    /// The network's or provider's own trouble.
    NetworkError,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [FailureReason; 13] = [
        FailureReason::Unknown,
        FailureReason::Unreachable,
        FailureReason::InvalidNumber,
        FailureReason::Landline,
        FailureReason::Barred,
        FailureReason::Filtered,
        FailureReason::OptedOut,
        FailureReason::BadOriginator,
        FailureReason::BadContent,
        FailureReason::NoRoute,
        FailureReason::NoCredit,
        FailureReason::Expired,
        FailureReason::NetworkError,
    ];

    /// The word that the API and the archive use.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::Unknown => "unknown",
            FailureReason::Unreachable => "unreachable",
            FailureReason::InvalidNumber => "invalid_number",
            FailureReason::Landline => "landline",
            FailureReason::Barred => "barred",
            FailureReason::Filtered => "filtered",
            FailureReason::OptedOut => "opted_out",
            FailureReason::BadOriginator => "bad_originator",
            FailureReason::BadContent => "bad_content",
            FailureReason::NoRoute => "no_route",
            FailureReason::NoCredit => "no_credit",
            FailureReason::Expired => "expired",
            FailureReason::NetworkError => "network_error",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<FailureReason> {
        FailureReason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What a provider says became of a message, or of one part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceiptState {
    /// On its way: accepted, buffered, sent to the network. Never changes a final state.
    Underway,
    Delivered,
    Undelivered,
    Expired,
    Rejected,
}

impl ReceiptState {
    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        self != ReceiptState::Underway
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for bad in ["", "+0123456789", "+123456", "12", "1234567", "twelve chars", " x", "a\r\nb"] {
            assert_eq!(Originator::parse(bad), None, "{bad:?}");
        }
        for bad in ["", "Example", "4512345678", "+45 12", ":x", "whatsapp:+45 1", "x:\u{7f}"] {
            assert_eq!(Destination::parse(bad), None, "{bad:?}");
        }
        for good in ["+4512345678", "1234", "Example", "A&B 2", "Ærø", "whatsapp:+4512345678"] {
            assert_eq!(Originator::parse(good).unwrap().to_string(), good);
        }
        let service = format!("MG{}", "0a".repeat(16));
        assert_eq!(Originator::parse(&service), Some(Originator::Service(service.as_str().into())));
        for good in ["+4512345678", "1234", "whatsapp:+4512345678"] {
            assert_eq!(Destination::parse(good).unwrap().to_string(), good);
        }
    }
}
