//! SMS to try on a provider, and the relay that takes them there.

use std::time::Duration;

use waybill::archive::{Acceptance, MessagePolicy};
use waybill::model::{
    Destination, Digest, Medium, MessageId, Originator, Outcome, Sms, SmsBody, Timestamp,
};
use waybill::relay::{SmsJob, SmsRelay, SmsTimeouts, StatusUrls};
use waybill::sms::SmsUpstream;
use waybill::sms::proof::ProofKey;

pub const ORIGINATOR: &str = "+4588888888";
pub const DESTINATION: &str = "+4512345678";

/// A text from [`ORIGINATOR`] to this number.
pub fn sms_to(destination: &str, text: &str) -> Sms {
    Sms {
        originator: Originator::parse(ORIGINATOR),
        ..Sms::new(Destination::parse(destination).unwrap(), SmsBody::Text(text.into()))
    }
}

/// A text to [`DESTINATION`].
pub fn sms(text: &str) -> Sms {
    sms_to(DESTINATION, text)
}

/// Status URLs below this one.
pub fn status_urls(public_url: Option<&str>) -> StatusUrls {
    StatusUrls { public_url: public_url.map(str::to_owned), key: ProofKey::new(&[7; 32]) }
}

/// Time enough for a slow machine.
pub fn patient() -> SmsTimeouts {
    let long = Duration::from_secs(30);
    SmsTimeouts { connect: long, response: long, idle: long, throttled: long }
}

/// For a provider that will not answer.
pub fn impatient() -> SmsTimeouts {
    let short = Duration::from_millis(300);
    SmsTimeouts { connect: short, response: short, idle: short, throttled: short }
}

/// A relay that hands out no status URLs.
pub fn relay(upstream: SmsUpstream) -> SmsRelay {
    with(upstream, patient())
}

pub fn with(upstream: SmsUpstream, timeouts: SmsTimeouts) -> SmsRelay {
    SmsRelay::with_timeouts(upstream, status_urls(None), timeouts).unwrap()
}

/// One attempt.
pub async fn attempt_of(relay: &SmsRelay, sms: &Sms) -> Outcome {
    let job = SmsJob {
        id: MessageId::from_u128(1),
        sms,
        digest: Digest::of(sms.text().as_bytes()),
        now: Timestamp::from_millis(1_000_000),
    };
    let attempted = tokio::time::timeout(Duration::from_secs(60), relay.attempt(&job)).await;
    attempted.expect("an attempt must end")
}

/// One attempt with this text, in words.
pub async fn attempt(relay: &SmsRelay, text: &str) -> String {
    super::upstream::words(&attempt_of(relay, &sms(text)).await)
}

/// An SMS that is due now, and held for a person when the outcome is unknown.
pub fn message(sms: Sms) -> Acceptance {
    let mail = super::queue::message("SMS", &["a@x.test"]);
    Acceptance {
        medium: Medium::Sms(Box::new(sms)),
        policy: MessagePolicy { hold_unknown: true, ..mail.policy },
        ..mail
    }
}
