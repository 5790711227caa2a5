//! Postmark's webhooks: one event each, behind a login or a token.

use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::{EventCall, EventRefusal, Proof, field};

pub(super) fn read(proof: &Proof, call: &EventCall<'_>) -> Result<Vec<MailEvent>, EventRefusal> {
    proof.check(call)?;
    let document = field::document(call.body)?;
    if !document.is_object() {
        return Err(EventRefusal::Malformed);
    }
    Ok(event(&document, call).into_iter().collect())
}

fn event(data: &Value, call: &EventCall<'_>) -> Option<MailEvent> {
    let visit = || Visit {
        client: field::client(data, "/Geo/IP"),
        user_agent: field::text(data, "/UserAgent").unwrap_or_default(),
        is_automated: false,
    };
    let (what, at) = match field::raw(data, "/RecordType")? {
        "Delivery" => {
            (MailEventKind::Delivered { response: field::text(data, "/Details") }, "/DeliveredAt")
        }
        "Bounce" => (bounced(data)?, "/BouncedAt"),
        "SpamComplaint" => (MailEventKind::Complained { kind: None }, "/BouncedAt"),
        "SubscriptionChange" => (changed(data)?, "/ChangedAt"),
        "Open" => (MailEventKind::Opened(visit()), "/ReceivedAt"),
        "Click" => {
            let url = field::url(data, "/OriginalLink").unwrap_or_default();
            (MailEventKind::Clicked { url, visit: visit() }, "/ReceivedAt")
        }
        _ => return None,
    };
    Some(MailEvent {
        // Only bounces and complaints have an id of their own; a second call may say of an address
        // that meanwhile it is inactive.
        key: field::name(
            data,
            &["/RecordType", "/ID", "/MessageID", "/Recipient", "/Email", at, "/OriginalLink"],
        ),
        provider_ids: field::id(data, "/MessageID").into_iter().collect(),
        message_id: None,
        return_path: None,
        received: Vec::new(),
        recipient: field::id(data, "/Recipient").or_else(|| field::id(data, "/Email")),
        at: field::time(data, at, call.now),
        what,
    })
}

/// Only what the recipient did. That Postmark stops sending after a bounce or a complaint is told by those
/// themselves, and its `Origin` is the recipient as well.
fn changed(data: &Value) -> Option<MailEventKind> {
    let is_theirs = field::flag(data, "/SuppressSending")
        && field::raw(data, "/Origin") == Some("Recipient")
        && field::raw(data, "/SuppressionReason") == Some("ManualSuppression");
    is_theirs.then_some(MailEventKind::Unsubscribed)
}

/// `None` for what is no bounce: an absence note, a challenge.
fn bounced(data: &Value) -> Option<MailEventKind> {
    let kind = field::raw(data, "/Type")?;
    let diagnostic = field::text(data, "/Details").or_else(|| field::text(data, "/Description"));
    Some(match kind {
        "HardBounce" | "BadEmailAddress" => MailEventKind::bounced(true, None, diagnostic),
        "Transient" | "DnsError" => MailEventKind::delayed(None, diagnostic),
        "SpamComplaint" => MailEventKind::Complained { kind: None },
        "Unsubscribe" => MailEventKind::Unsubscribed,
        "Subscribe"
        | "AutoResponder"
        | "AddressChange"
        | "ChallengeVerification"
        | "OpenRelayTest"
        | "InboundError" => return None,
        _ => MailEventKind::bounced(false, None, diagnostic),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::field::tests::{call, with_header};
    use super::*;
    use crate::model::Secret;

    fn told(data: &Value) -> Vec<MailEvent> {
        let proof = Proof::Token(Secret::new("t0ken".into()));
        let headers = with_header("authorization", "Bearer t0ken");
        read(&proof, &call(&headers, data.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn who_has_no_login_is_not_read() {
        let login = Proof::Login { user: "u".into(), password: Secret::new("p".into()) };
        let headers = with_header("authorization", "Basic dTpx");
        assert_eq!(read(&login, &call(&headers, b"x")), Err(EventRefusal::Forged));
        let headers = with_header("authorization", "Basic dTpw");
        assert_eq!(read(&login, &call(&headers, b"x")), Err(EventRefusal::Malformed));
        assert_eq!(read(&login, &call(&headers, b"[]")), Err(EventRefusal::Malformed));
    }

    /// Postmark, "Bounce webhook", "Bounce API: bounce types" and "Subscription change webhook".
    #[test]
    fn events_are_told_in_our_words() {
        let bounce = |kind: &str| {
            told(&json!({
                "RecordType": "Bounce", "ID": 4_323_372_036i64, "Type": kind, "TypeCode": 1,
                "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483", "Email": "john@example.com",
                "Details": "smtp; 550 5.1.1 no such user", "BouncedAt": "2019-11-05T16:33:54.9070259Z"
            }))
        };
        for none in ["Subscribe", "AutoResponder", "InboundError"] {
            assert_eq!(bounce(none), [], "{none}");
        }
        let hard = &bounce("HardBounce")[0];
        assert_eq!(hard.provider_ids, ["883953f4-6105-42a2-a16a-77a8eac79483"]);
        assert_eq!(hard.recipient.as_deref(), Some("john@example.com"));
        assert_eq!(hard.at.as_millis(), 1_572_971_634_907);
        let MailEventKind::Bounced { is_permanent, status, .. } = &hard.what else { panic!() };
        assert_eq!((*is_permanent, status.as_deref()), (true, Some("5.1.1")));
        let soft = &bounce("SoftBounce")[0].what;
        assert!(matches!(soft, MailEventKind::Bounced { is_permanent: false, .. }));
        for delayed in ["Transient", "DnsError"] {
            assert!(matches!(bounce(delayed)[0].what, MailEventKind::Delayed { .. }), "{delayed}");
        }
        let change = |suppress: bool, origin: &str, why: Value| {
            told(&json!({"RecordType": "SubscriptionChange", "SuppressSending": suppress,
                "Origin": origin, "SuppressionReason": why, "Recipient": "kim@example.org"}))
        };
        assert_eq!(change(true, "Customer", "ManualSuppression".into()), []);
        assert_eq!(change(true, "Recipient", "HardBounce".into()), []);
        assert_eq!(change(true, "Recipient", "SpamComplaint".into()), []);
        assert_eq!(change(false, "Recipient", Value::Null), []);
        let told_change = change(true, "Recipient", "ManualSuppression".into());
        assert_eq!(told_change[0].what, MailEventKind::Unsubscribed);
        let click =
            told(&json!({"RecordType": "Click", "OriginalLink": "https://example.com/?a=1",
            "UserAgent": "Mozilla/5.0", "Geo": {"IP": "188.2.95.4"}}));
        let MailEventKind::Clicked { url, visit } = &click[0].what else { panic!() };
        assert_eq!(url, "https://example.com/?a=1");
        assert_eq!(visit.client, Some("188.2.95.4".parse().unwrap()));
    }
}
