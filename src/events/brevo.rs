//! Brevo's transactional webhooks: one event or an array of them, behind a login or a token.
//!
//! A first open is told twice where both kinds are subscribed, so they have the same key.

use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::{EventCall, EventRefusal, Proof, field};
use crate::model::Timestamp;

pub(super) fn read(proof: &Proof, call: &EventCall<'_>) -> Result<Vec<MailEvent>, EventRefusal> {
    proof.check(call)?;
    let objects = field::objects(field::document(call.body)?)?;
    Ok(objects.iter().filter_map(|object| event(object, call)).collect())
}

fn event(data: &Value, call: &EventCall<'_>) -> Option<MailEvent> {
    let visit = |is_automated| Visit {
        client: field::client(data, "/ip"),
        user_agent: field::text(data, "/user_agent").unwrap_or_default(),
        is_automated,
    };
    let (word, what) = match field::raw(data, "/event")? {
        "delivered" => ("delivered", MailEventKind::Delivered { response: None }),
        "hard_bounce" | "invalid_email" | "invalid" => ("bounced", bounced(data, true)),
        "soft_bounce" | "blocked" | "error" => ("bounced", bounced(data, false)),
        "deferred" => ("delayed", MailEventKind::delayed(None, field::text(data, "/reason"))),
        "spam" | "complaint" => ("complained", MailEventKind::Complained { kind: None }),
        "unsubscribed" | "unsubscribe" => ("unsubscribed", MailEventKind::Unsubscribed),
        "opened" | "unique_opened" => ("opened", MailEventKind::Opened(visit(false))),
        // Apple's privacy protection.
        "proxy_open" | "unique_proxy_open" => ("proxy", MailEventKind::Opened(visit(true))),
        "click" => {
            let url = field::url(data, "/link").unwrap_or_default();
            ("clicked", MailEventKind::Clicked { url, visit: visit(false) })
        }
        _ => return None,
    };
    let (message_id, recipient) = (field::id(data, "/message-id"), field::id(data, "/email"));
    let ts = TIMES.iter().find_map(|pointer| field::id(data, pointer));
    let link = field::raw(data, "/link").unwrap_or_default();
    let told = [Some(word), message_id.as_deref(), recipient.as_deref(), ts.as_deref(), Some(link)];
    Some(MailEvent {
        key: field::fingerprint(&Value::from(
            told.map(|part| Value::from(part.unwrap_or_default())).to_vec(),
        )),
        provider_ids: message_id.clone().into_iter().collect(),
        message_id,
        return_path: None,
        received: Vec::new(),
        recipient,
        at: time(data, call.now),
        what,
    })
}

/// When it happened. The others may be in the time zone of the account, as if it were UTC; the first is
/// UTC, in milliseconds, and in Brevo's own examples in seconds.
const TIMES: [&str; 3] = ["/ts_epoch", "/ts_event", "/ts"];

fn time(data: &Value, now: Timestamp) -> Timestamp {
    let found = TIMES.iter().find_map(|pointer| data.pointer(pointer)?.as_i64());
    let Some(number) = found.filter(|number| *number > 0) else { return now };
    // As seconds, this is after the year 5000.
    let ms = if number > 100_000_000_000 { number } else { number.saturating_mul(1000) };
    Timestamp::from_millis(ms).min(now)
}

fn bounced(data: &Value, is_permanent: bool) -> MailEventKind {
    MailEventKind::bounced(is_permanent, None, field::text(data, "/reason"))
}

#[cfg(test)]
mod tests {
    use super::super::field::tests::{call, with_header};
    use super::*;
    use crate::model::Secret;

    /// Brevo, "Transactional webhooks"; `ts` and `ts_event` were seen in the account's time zone.
    #[test]
    fn times_are_in_utc_and_what_is_not_final_is_a_delay() {
        let proof = Proof::Token(Secret::new("t0ken".into()));
        let headers = with_header("authorization", "Bearer t0ken");
        let one = |body: &str| read(&proof, &call(&headers, body.as_bytes())).unwrap().remove(0);
        let at = |times: &str| one(&format!(r#"{{"event":"delivered",{times}}}"#)).at.as_millis();
        let zoned = r#""ts":1520331023,"ts_event":1520331023,"ts_epoch":1520363423000"#;
        assert_eq!(at(zoned), 1_520_363_423_000);
        assert_eq!(at(r#""ts_event":1604933654,"ts_epoch":1604933653"#), 1_604_933_653_000);
        assert_eq!(at(r#""ts":1604933619"#), 1_604_933_619_000);
        assert_eq!(at(r#""ts_epoch":-1"#), super::super::field::tests::NOW);
        let what =
            |event: &str| one(&format!(r#"{{"event":"{event}","reason":"450 4.7.1 later"}}"#)).what;
        assert!(matches!(what("deferred"), MailEventKind::Delayed { status: Some(_), .. }));
        for soft in ["soft_bounce", "blocked", "error"] {
            assert!(
                matches!(what(soft), MailEventKind::Bounced { is_permanent: false, .. }),
                "{soft}"
            );
        }
        // A policy that is in the way today says nothing of the address.
        assert!(matches!(what("hard_bounce"), MailEventKind::Bounced { is_permanent: false, .. }));
        assert_eq!(what("complaint"), MailEventKind::Complained { kind: None });
    }

    #[test]
    fn events_are_told_in_our_words_and_a_first_open_once() {
        let proof = Proof::Token(Secret::new("t0ken".into()));
        let body = br#"[{"event":"hard_bounce","email":"no@example.com","id":7,"ts_event":1604933654,
             "message-id":"<201798300811.5787683@relay.example.com>","reason":"550 5.1.1 unknown"},
            {"event":"unique_opened","email":"kim@example.com","ts_event":1604933700,"message-id":"<a@b>"},
            {"event":"opened","email":"kim@example.com","ts_event":1604933700,"message-id":"<a@b>"},
            {"event":"proxy_open","email":"kim@example.com","ts_event":1604933700,"message-id":"<a@b>"},
            {"event":"request","email":"kim@example.com"},{"event":"new"},7]"#;
        let wrong = with_header("authorization", "Bearer other");
        assert_eq!(read(&proof, &call(&wrong, body)), Err(EventRefusal::Forged));
        let headers = with_header("authorization", "Bearer t0ken");
        let told = read(&proof, &call(&headers, body)).unwrap();
        assert_eq!(told.len(), 4);
        assert_eq!(told[0].message_id.as_deref(), Some("201798300811.5787683@relay.example.com"));
        assert_eq!(told[0].at.as_millis(), 1_604_933_654_000);
        assert!(matches!(told[0].what, MailEventKind::Bounced { is_permanent: true, .. }));
        assert_eq!(told[1].key, told[2].key);
        assert_ne!(told[2].key, told[3].key);
        let MailEventKind::Opened(visit) = &told[3].what else { panic!() };
        assert!(visit.is_automated);
    }
}
