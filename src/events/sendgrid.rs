//! SendGrid's event webhook: an array of events, signed with ECDSA over P-256 and SHA-256.
//!
//! The signature covers the time in its own header field and the body as it came. A time limit would
//! lose what SendGrid tries again for a day; what comes twice changes nothing.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::field;
use super::{EventCall, EventRefusal};

const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// The verification key that SendGrid shows. It is public.
#[derive(Clone, Debug)]
pub struct SendGridKey {
    text: String,
    key: ParsedPublicKey,
}

impl SendGridKey {
    /// `None` when it is no such key.
    pub fn parse(text: &str) -> Option<SendGridKey> {
        let text = text.trim();
        let key = BASE64_STANDARD.decode(text).ok()?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).ok()?;
        Some(SendGridKey { text: text.to_owned(), key })
    }

    /// As it was given, in base64.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

pub(super) fn read(
    key: &SendGridKey,
    call: &EventCall<'_>,
) -> Result<Vec<MailEvent>, EventRefusal> {
    let field = |name| call.headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let signature = BASE64_STANDARD.decode(field(SIGNATURE)).map_err(|_| EventRefusal::Forged)?;
    let signed = [field(TIMESTAMP), call.body].concat();
    key.key.verify_sig(&signed, &signature).map_err(|_| EventRefusal::Forged)?;
    let objects = field::objects(field::document(call.body)?)?;
    Ok(objects.iter().filter_map(|object| event(object, call)).collect())
}

fn event(object: &Value, call: &EventCall<'_>) -> Option<MailEvent> {
    let visit = || Visit {
        client: field::client(object, "/ip"),
        user_agent: field::text(object, "/useragent").unwrap_or_default(),
        // Apple's privacy protection.
        is_automated: field::flag(object, "/sg_machine_open"),
    };
    let (reason, response) = (field::text(object, "/reason"), field::text(object, "/response"));
    let status = field::raw(object, "/status").and_then(field::status);
    let what = match field::raw(object, "/event")? {
        "delivered" => MailEventKind::Delivered { response },
        "deferred" => MailEventKind::delayed(status, response.or(reason)),
        "bounce" => MailEventKind::bounced(is_permanent(object), status, reason),
        // SendGrid did not try, because of its own suppression list or the message. Who unsubscribed or
        // complained before has an address that works.
        "dropped" => MailEventKind::bounced(
            matches!(reason.as_deref(), Some("Bounced Address" | "Invalid")),
            status,
            reason.map(|reason| format!("dropped: {reason}")),
        ),
        "spamreport" => MailEventKind::Complained { kind: None },
        "unsubscribe" | "group_unsubscribe" => MailEventKind::Unsubscribed,
        "open" => MailEventKind::Opened(visit()),
        "click" => MailEventKind::Clicked {
            url: field::url(object, "/url").unwrap_or_default(),
            visit: visit(),
        },
        _ => return None,
    };
    Some(MailEvent {
        key: field::id(object, "/sg_event_id").unwrap_or_else(|| field::fingerprint(object)),
        provider_ids: ids(object),
        message_id: field::id(object, "/smtp-id"),
        return_path: None,
        received: Vec::new(),
        recipient: field::id(object, "/email"),
        at: field::seconds(object, "/timestamp", call.now),
        what,
    })
}

/// A message that was blocked, or did not arrive in time, says nothing of the address.
fn is_permanent(object: &Value) -> bool {
    let is_of_address = !matches!(field::raw(object, "/type"), Some("blocked" | "expired"));
    let class = field::raw(object, "/bounce_classification").unwrap_or_default();
    let others = ["Content", "Reputation", "Frequency", "Technical"];
    is_of_address && !others.iter().any(|other| class.starts_with(other))
}

/// The id of an event is the one in the reply to the message, and what SendGrid's filters appended. What
/// was dropped may have the one in the reply only in the Message-ID that SendGrid gave it.
fn ids(object: &Value) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let whole = field::id(object, "/sg_message_id").unwrap_or_default();
    let given = field::id(object, "/smtp-id").unwrap_or_default();
    let given = given.split_once('@').filter(|(_, host)| host.starts_with("ismtpd"));
    let parts = [".filter", ".recvd", "."].map(|mark| whole.split_once(mark));
    let parts = parts.into_iter().chain([given]).flatten().map(|(before, _)| before);
    for id in [whole.as_str()].into_iter().chain(parts) {
        if !id.is_empty() && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use http::HeaderMap;

    use super::super::field::tests::{call, with_header};
    use super::*;

    const BODY: &[u8] = br#"[
 {"email":"kim@example.org","timestamp":1700000000,"smtp-id":"<1.a@example.com>","event":"delivered",
  "sg_event_id":"ev-1","sg_message_id":"tq2vvLw8Q1-0.recvd-5c9f-abcde-1.0","response":"250 2.0.0 OK"},
 {"email":"kim@example.org","timestamp":1700000001,"event":"open","sg_event_id":"ev-2","ip":"192.0.2.7",
  "sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","useragent":"Mozilla/5.0",
  "sg_machine_open":true},
 {"email":"no@example.org","timestamp":1700000002,"event":"bounce","type":"bounce","status":"5.1.1",
  "reason":"550 5.1.1 unknown user","sg_event_id":"ev-3"},
 {"email":"no@example.org","event":"bounce","type":"blocked","reason":"550 listed","sg_event_id":"ev-4"},
 {"email":"kim@example.org","event":"processed","sg_event_id":"ev-5"},
 {"event":7}, 8
]"#;

    fn signed(body: &[u8]) -> (SendGridKey, HeaderMap) {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public: PublicKeyX509Der = pair.public_key().as_der().unwrap();
        let key = SendGridKey::parse(&BASE64_STANDARD.encode(public.as_ref())).unwrap();
        let text = [b"1700000100", body].concat();
        let signature = BASE64_STANDARD.encode(pair.sign(&random, &text).unwrap());
        let mut headers = with_header(SIGNATURE, &signature);
        headers.extend(with_header(TIMESTAMP, "1700000100"));
        (key, headers)
    }

    #[test]
    fn only_what_sendgrid_signed_is_believed() {
        let (key, headers) = signed(BODY);
        let (other, _) = signed(BODY);
        assert_eq!(read(&other, &call(&headers, BODY)), Err(EventRefusal::Forged));
        assert_eq!(read(&key, &call(&headers, &BODY[1..])), Err(EventRefusal::Forged));
        assert_eq!(read(&key, &call(&HeaderMap::new(), BODY)), Err(EventRefusal::Forged));
        let mut later = headers.clone();
        later.extend(with_header(TIMESTAMP, "1700000101"));
        assert_eq!(read(&key, &call(&later, BODY)), Err(EventRefusal::Forged));
        let (key, headers) = signed(b"[");
        assert_eq!(read(&key, &call(&headers, b"[")), Err(EventRefusal::Malformed));
        assert!(SendGridKey::parse("AAAA").is_none() && SendGridKey::parse("").is_none());
    }

    /// Twilio SendGrid, "Event Webhook Reference": delivery events and their reasons.
    #[test]
    fn an_address_is_given_up_only_where_sendgrid_says_that_it_is_the_address() {
        let what = |event: &str| {
            let (headers, now) = (HeaderMap::new(), b"");
            let object = serde_json::from_str(event).unwrap();
            super::event(&object, &call(&headers, now)).unwrap()
        };
        let is_hard = |event: &str| match what(event).what {
            MailEventKind::Bounced { is_permanent, .. } => is_permanent,
            other => panic!("{other:?}"),
        };
        assert!(is_hard(r#"{"event":"bounce","type":"bounce","status":"5.1.1"}"#));
        assert!(is_hard(r#"{"event":"bounce","bounce_classification":"Invalid Address"}"#));
        assert!(is_hard(r#"{"event":"dropped","reason":"Bounced Address"}"#));
        assert!(is_hard(r#"{"event":"dropped","reason":"Invalid"}"#));
        for soft in [
            r#"{"event":"bounce","type":"blocked"}"#,
            r#"{"event":"bounce","type":"expired"}"#,
            r#"{"event":"bounce","type":"bounce","status":"5.2.2"}"#,
            r#"{"event":"bounce","type":"bounce","reason":"550 5.7.1 policy"}"#,
            r#"{"event":"bounce","bounce_classification":"Reputation"}"#,
            r#"{"event":"bounce","bounce_classification":"Frequency or Volume Too High"}"#,
            r#"{"event":"dropped","reason":"Unsubscribed Address"}"#,
            r#"{"event":"dropped","reason":"Spam Reporting Address"}"#,
            r#"{"event":"dropped","reason":"Spam Content"}"#,
        ] {
            assert!(!is_hard(soft), "{soft}");
        }
        let deferred =
            what(r#"{"event":"deferred","response":"400 try again later","attempt":"5"}"#);
        assert!(matches!(deferred.what, MailEventKind::Delayed { .. }));
        let dropped = what(
            r#"{"event":"dropped","smtp-id":"<wrfRRvF7Q0GgwUo2CvDmEA@ismtpd0006p1sjc2.sendgrid.net>",
            "sg_message_id":"filter0093p1las1.9128.5717FB8127.0"}"#,
        );
        assert!(dropped.provider_ids.contains(&"wrfRRvF7Q0GgwUo2CvDmEA".to_owned()));
    }

    #[test]
    fn events_are_told_in_our_words() {
        let (key, headers) = signed(BODY);
        let events = read(&key, &call(&headers, BODY)).unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].provider_ids[1], "tq2vvLw8Q1-0");
        assert_eq!(events[0].message_id.as_deref(), Some("1.a@example.com"));
        assert_eq!(events[0].at.as_millis(), 1_700_000_000_000);
        let client = Some("192.0.2.7".parse().unwrap());
        let visit = Visit { client, user_agent: "Mozilla/5.0".into(), is_automated: true };
        assert_eq!(events[1].what, MailEventKind::Opened(visit));
        assert_eq!(events[1].provider_ids[1..], ["14c5d75ce93.dfd.64b469", "14c5d75ce93"]);
        let MailEventKind::Bounced { is_permanent: true, status, .. } = &events[2].what else {
            panic!("{:?}", events[2])
        };
        assert_eq!(status.as_deref(), Some("5.1.1"));
        assert!(matches!(events[3].what, MailEventKind::Bounced { is_permanent: false, .. }));
    }
}
