//! Mailgun's webhooks: one event, with a signature over a time and a token beside it.
//!
//! The signature (HMAC with SHA-256) does not cover the event, so whoever saw one call could put another
//! event beside it: a signature is good for as long as Mailgun tries again, and no longer, and whoever
//! takes the call must take each token for one body alone.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::field;
use super::{EventCall, EventRefusal};
use crate::model::{Secret, Timestamp};

/// Mailgun tries again for 8 hours.
const MAX_AGE: Duration = Duration::from_secs(12 * 3600);
/// How far its clock may be ahead of ours.
const MAX_AHEAD: Duration = Duration::from_secs(15 * 60);

/// Events with the token that was signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) token: String,
    pub(super) events: Vec<MailEvent>,
}

pub(super) fn read(key: &Secret, call: &EventCall<'_>) -> Result<Signed, EventRefusal> {
    let document = field::document(call.body)?;
    let token = check(key, &document, call.now)?;
    let data = document.get("event-data").ok_or(EventRefusal::Malformed)?;
    Ok(Signed { token, events: event(data, call).into_iter().collect() })
}

/// Gives the token.
fn check(key: &Secret, document: &Value, now: Timestamp) -> Result<String, EventRefusal> {
    let of = |pointer| field::raw(document, pointer).ok_or(EventRefusal::Forged);
    // The signature covers its digits, so only one way of writing it is taken.
    let (at, token) = (of("/signature/timestamp")?, of("/signature/token")?);
    let signature = octets(of("/signature/signature")?).ok_or(EventRefusal::Forged)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    let text = [at.as_bytes(), token.as_bytes()].concat();
    hmac::verify(&key, &text, &signature).map_err(|_| EventRefusal::Forged)?;
    let seconds: i64 = at.parse().map_err(|_| EventRefusal::Forged)?;
    let at = Timestamp::from_millis(seconds.saturating_mul(1000));
    let is_in_time = at <= now.plus(MAX_AHEAD) && at.plus(MAX_AGE) >= now;
    is_in_time.then(|| format!("{seconds} {token}")).ok_or(EventRefusal::Forged)
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let octet = |pair: &[u8]| {
        let [high, low] = *pair else { return None };
        let of = |digit: u8| char::from(digit).to_digit(16);
        u8::try_from(of(high)? * 16 + of(low)?).ok()
    };
    pairs.map(octet).collect()
}

fn event(data: &Value, call: &EventCall<'_>) -> Option<MailEvent> {
    let visit = || Visit {
        client: field::client(data, "/ip"),
        user_agent: field::text(data, "/client-info/user-agent").unwrap_or_default(),
        // Gmail's proxy fetches when somebody looks; the others fetch on their own.
        is_automated: field::raw(data, "/client-info/bot").is_some_and(|bot| bot != "gmail"),
    };
    let what = match field::raw(data, "/event")? {
        "delivered" => {
            MailEventKind::Delivered { response: field::text(data, "/delivery-status/message") }
        }
        "failed" => failed(data)?,
        // Mailgun did not take it, although its reply was good.
        "rejected" => MailEventKind::bounced(
            false,
            None,
            field::text(data, "/reject/reason").map(|why| format!("rejected: {why}")),
        ),
        "complained" => MailEventKind::Complained { kind: None },
        "unsubscribed" => MailEventKind::Unsubscribed,
        "opened" => MailEventKind::Opened(visit()),
        "clicked" => MailEventKind::Clicked {
            url: field::url(data, "/url").unwrap_or_default(),
            visit: visit(),
        },
        _ => return None,
    };
    let message_id = field::id(data, "/message/headers/message-id");
    Some(MailEvent {
        // Its ids are good for a day.
        key: field::name(data, &["/id", "/event", "/timestamp", "/recipient"]),
        // Its reply names the message by the Message-ID.
        provider_ids: message_id.clone().into_iter().collect(),
        message_id,
        return_path: field::id(data, "/envelope/sender"),
        received: Vec::new(),
        recipient: field::id(data, "/recipient"),
        at: field::seconds(data, "/timestamp", call.now),
        what,
    })
}

fn failed(data: &Value) -> Option<MailEventKind> {
    let of = |pointer| field::raw(data, pointer);
    let reason = field::text(data, "/reason");
    let words = ["/delivery-status/message", "/delivery-status/description"];
    let words = words.iter().find_map(|pointer| field::text(data, pointer));
    let diagnostic = words.or_else(|| reason.clone());
    let status = of("/delivery-status/enhanced-code").and_then(field::status);
    Some(match of("/severity")? {
        "temporary" => MailEventKind::delayed(status, diagnostic),
        "permanent" => {
            let is_permanent = match (of("/delivery-status/bounce-type"), reason.as_deref()) {
                (Some(kind), _) => kind == "hard",
                // Not tried, because of an earlier bounce; or just now.
                (None, Some("suppress-bounce" | "bounce")) => true,
                // Given up after too long ("old"), not wanted ("espblock"), not tried because of an
                // earlier complaint or an opt-out, or anything ("generic").
                (None, _) => false,
            };
            MailEventKind::bounced(is_permanent, status, diagnostic)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::super::field::tests::{NOW, call};
    use super::*;

    fn body(at: i64, secret: &str, data: Value) -> Vec<u8> {
        let (at, token) = (at.to_string(), "8e27c6b7b1c6b5a6f0a8");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{at}{token}").as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = json!({"timestamp": at, "token": token, "signature": digits});
        json!({"signature": signature, "event-data": data}).to_string().into_bytes()
    }

    fn read_one(body: &[u8]) -> Result<Vec<MailEvent>, EventRefusal> {
        let key = Secret::new("key-1".into());
        read(&key, &call(&HeaderMap::new(), body)).map(|signed| signed.events)
    }

    #[test]
    fn a_signature_is_of_the_key_and_of_these_hours() {
        let now = NOW / 1000;
        let data = json!({"event": "complained", "id": "e1"});
        for (at, secret) in
            [(now, "key-2"), (now - 13 * 3600, "key-1"), (now + 3600, "key-1"), (i64::MAX, "key-1")]
        {
            assert_eq!(
                read_one(&body(at, secret, data.clone())),
                Err(EventRefusal::Forged),
                "{at}"
            );
        }
        assert_eq!(read_one(b"{}"), Err(EventRefusal::Forged));
        assert_eq!(read_one(b"x"), Err(EventRefusal::Malformed));
        assert_eq!(read_one(&body(now, "key-1", data.clone())).unwrap().len(), 1);
        assert_eq!(read_one(&body(now - 8 * 3600, "key-1", data)).unwrap().len(), 1);
    }

    #[test]
    fn events_are_told_in_our_words() {
        let event = |data: Value| {
            let mut all = json!({
                "id": "CPgfbmQMTCKtHW6uIWtuVe", "timestamp": 1_521_472_262.908,
                "recipient": "alice@example.com",
                "message": {"headers": {"message-id": "20130503182626.18666.16540@example.com"}}
            });
            let more = data.as_object().unwrap().clone();
            all.as_object_mut().unwrap().extend(more);
            read_one(&body(NOW / 1000, "key-1", all)).unwrap().into_iter().next()
        };
        let failed = |severity: &str, code: &str| {
            event(json!({"event": "failed", "severity": severity, "reason": "bounce",
                "delivery-status": {"code": 550, "message": code}}))
        };
        let tried_on = failed("temporary", "4.2.2 full").unwrap().what;
        assert!(matches!(tried_on, MailEventKind::Delayed { status: Some(_), .. }));
        assert_eq!(failed("new", "4.2.2 full"), None);
        assert_eq!(event(json!({"event": "accepted"})), None);
        let bounced = failed("permanent", "550 5.1.1 no such user").unwrap();
        assert_eq!(bounced.at.as_millis(), 1_521_472_262_908);
        assert_eq!(bounced.message_id.as_deref(), Some("20130503182626.18666.16540@example.com"));
        assert_eq!(
            bounced.what,
            MailEventKind::Bounced {
                is_permanent: true,
                status: Some("5.1.1".into()),
                diagnostic: Some("550 5.1.1 no such user".into())
            }
        );
        let full = failed("permanent", "452 4.2.2 full").unwrap();
        assert!(matches!(full.what, MailEventKind::Bounced { is_permanent: false, .. }));
        // Mailgun, "Webhook payloads" and "Tracking failures": the reasons of a permanent failure.
        let is_hard = |reason: &str, more: Value| {
            let mut status = json!({"code": 605, "message": "", "description": "not tried"});
            let extra = more.as_object().unwrap().clone();
            status.as_object_mut().unwrap().extend(extra);
            let told = event(json!({"event": "failed", "severity": "permanent", "reason": reason,
                "delivery-status": status}));
            matches!(told.unwrap().what, MailEventKind::Bounced { is_permanent: true, .. })
        };
        assert!(is_hard("bounce", json!({})) && is_hard("suppress-bounce", json!({})));
        assert!(is_hard("generic", json!({"bounce-type": "hard"})));
        for reason in ["generic", "old", "espblock", "suppress-complaint", "suppress-unsubscribe"] {
            assert!(!is_hard(reason, json!({})), "{reason}");
        }
        assert!(!is_hard("bounce", json!({"bounce-type": "soft"})));
        assert!(!is_hard("bounce", json!({"enhanced-code": "5.7.1"})));
        let rejected =
            json!({"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test"}});
        let MailEventKind::Bounced { is_permanent: false, diagnostic, .. } =
            event(rejected).unwrap().what
        else {
            panic!()
        };
        assert_eq!(diagnostic.as_deref(), Some("rejected: Sandbox subdomains are for test"));
        let opened = |bot: &str| {
            let info = json!({"user-agent": "Mozilla/5.0", "bot": bot});
            event(json!({"event": "opened", "ip": "192.0.2.1", "client-info": info})).unwrap().what
        };
        let by = |bot| matches!(opened(bot), MailEventKind::Opened(visit) if visit.is_automated);
        assert_eq!((by(""), by("gmail"), by("apple")), (false, false, true));
    }
}
