//! What SES says inside a notification of SNS: one event for one or several recipients.
//!
//! Event publishing names the event `eventType`, and the older notifications of an identity
//! `notificationType`; the rest is the same.

use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::{EventRefusal, field};
use crate::model::Timestamp;

/// `Received` fields that are taken over; ours is the first of them, unless another server of the house stands
/// between.
const MAX_RECEIVED: usize = 20;

/// `key`: the id of the notification, which comes again with it.
pub(super) fn read(
    message: &str,
    key: &str,
    now: Timestamp,
) -> Result<Vec<MailEvent>, EventRefusal> {
    // SES greets a topic with a sentence that is no document.
    let Ok(data) = serde_json::from_str::<Value>(message) else { return Ok(Vec::new()) };
    let found = found(&data, now).unwrap_or_default();
    let many = found.len();
    let event =
        |(index, (recipient, at, what)): (usize, (Option<String>, Timestamp, _))| MailEvent {
            key: if many == 1 { key.to_owned() } else { format!("{key}.{index}") },
            provider_ids: field::id(&data, "/mail/messageId").into_iter().collect(),
            // SES puts its own Message-ID in its place, but says what was in the header.
            message_id: headers(&data, "message-id")
                .find_map(|header| field::id(header, "/value"))
                .or_else(|| field::id(&data, "/mail/commonHeaders/messageId")),
            return_path: field::id(&data, "/mail/source").map(bare),
            received: headers(&data, "received")
                .take(MAX_RECEIVED)
                .filter_map(|header| field::text(header, "/value"))
                .collect(),
            recipient,
            at,
            what,
        };
    Ok(found.into_iter().enumerate().map(event).collect())
}

/// Header fields as we sent them, where SES is asked to include them.
fn headers<'a>(data: &'a Value, wanted: &'static str) -> impl Iterator<Item = &'a Value> {
    let all = data.pointer("/mail/headers").and_then(Value::as_array);
    let is_it = move |header: &&Value| {
        field::raw(header, "/name").is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    };
    all.into_iter().flatten().filter(is_it)
}

type Found = Vec<(Option<String>, Timestamp, MailEventKind)>;

fn found(data: &Value, now: Timestamp) -> Option<Found> {
    let kind = field::raw(data, "/eventType").or_else(|| field::raw(data, "/notificationType"))?;
    let at = |pointer| field::time(data, pointer, now);
    let visit = |part: &Value| Visit {
        client: field::client(part, "/ipAddress"),
        user_agent: field::text(part, "/userAgent").unwrap_or_default(),
        is_automated: false,
    };
    Some(match kind {
        "Delivery" => {
            let response = field::text(data, "/delivery/smtpResponse");
            let to = addresses(data.pointer("/delivery/recipients"), "");
            let what = MailEventKind::Delivered { response };
            to.into_iter().map(|to| (Some(to), at("/delivery/timestamp"), what.clone())).collect()
        }
        "Bounce" => bounced(data, at("/bounce/timestamp")),
        "Reject" => {
            let diagnostic =
                field::text(data, "/reject/reason").map(|why| format!("rejected: {why}"));
            let what = MailEventKind::bounced(false, None, diagnostic);
            let to = addresses(data.pointer("/mail/destination"), "");
            to.into_iter().map(|to| (Some(to), now, what.clone())).collect()
        }
        "DeliveryDelay" => delayed(data, at("/deliveryDelay/timestamp")),
        "Complaint" => complained(data, at("/complaint/timestamp")),
        "Open" => {
            let what = MailEventKind::Opened(visit(data.get("open")?));
            vec![(only_one(data), at("/open/timestamp"), what)]
        }
        "Click" => {
            let url = field::url(data, "/click/link").unwrap_or_default();
            let what = MailEventKind::Clicked { url, visit: visit(data.get("click")?) };
            vec![(only_one(data), at("/click/timestamp"), what)]
        }
        "Subscription" if field::flag(data, "/subscription/newTopicPreferences/unsubscribeAll") => {
            vec![(only_one(data), at("/subscription/timestamp"), MailEventKind::Unsubscribed)]
        }
        _ => return None,
    })
}

fn bounced(data: &Value, at: Timestamp) -> Found {
    let (kind, subtype) =
        (field::raw(data, "/bounce/bounceType"), field::raw(data, "/bounce/bounceSubType"));
    // Who unsubscribed has an address that works.
    let is_permanent = kind == Some("Permanent") && subtype != Some("UnsubscribedRecipient");
    let recipients = data.pointer("/bounce/bouncedRecipients").and_then(Value::as_array);
    let one = |recipient: &Value| {
        let (status, said) = said_of(recipient);
        // SES says the same of an answer out of the office, which ends nothing.
        let is_vague = (kind, subtype) == (Some("Transient"), Some("General"))
            && status.is_none()
            && said.is_none();
        let diagnostic = said.or_else(|| field::text(data, "/bounce/bounceSubType"));
        let what = match is_vague {
            true => MailEventKind::delayed(status, diagnostic),
            false => MailEventKind::bounced(is_permanent, status, diagnostic),
        };
        Some((Some(field::id(recipient, "/emailAddress").map(bare)?), at, what))
    };
    recipients.into_iter().flatten().filter_map(one).collect()
}

fn said_of(recipient: &Value) -> (Option<String>, Option<String>) {
    let status = field::raw(recipient, "/status").and_then(field::status);
    (status, field::text(recipient, "/diagnosticCode"))
}

fn delayed(data: &Value, at: Timestamp) -> Found {
    let recipients = data.pointer("/deliveryDelay/delayedRecipients").and_then(Value::as_array);
    let one = |recipient: &Value| {
        let (status, said) = said_of(recipient);
        let diagnostic = said.or_else(|| field::text(data, "/deliveryDelay/delayType"));
        let to = field::id(recipient, "/emailAddress").map(bare)?;
        Some((Some(to), at, MailEventKind::delayed(status, diagnostic)))
    };
    recipients.into_iter().flatten().filter_map(one).collect()
}

fn complained(data: &Value, at: Timestamp) -> Found {
    let kind = field::text(data, "/complaint/complaintFeedbackType");
    // The contrary of a complaint (RFC 6650 §3.1 leaves the list open).
    if kind.as_deref() == Some("not-spam") {
        return Found::new();
    }
    let to = addresses(data.pointer("/complaint/complainedRecipients"), "/emailAddress");
    // It was not sent, since there was a complaint about another one before.
    let suppressed = field::text(data, "/complaint/complaintSubType")
        .map(|subtype| MailEventKind::bounced(false, None, Some(subtype)));
    let what = suppressed.into_iter().chain([MailEventKind::Complained { kind }]);
    let what: Vec<MailEventKind> = what.collect();
    to.into_iter()
        .flat_map(|to| what.iter().map(move |what| (Some(to.clone()), at, what.clone())))
        .collect()
}

fn addresses(list: Option<&Value>, pointer: &str) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|value| field::id(value, pointer).map(bare)).collect()
}

/// The address of `Kim <kim@example.org>`; `id` took a bracket at the end away.
fn bare(text: String) -> String {
    text.rsplit_once('<').map(|(_, address)| address.to_owned()).unwrap_or(text)
}

/// Of opens and clicks SES does not say whose they are.
fn only_one(data: &Value) -> Option<String> {
    match &addresses(data.pointer("/mail/destination"), "")[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(data: Value) -> Vec<MailEvent> {
        read(&data.to_string(), "n-1", Timestamp::from_millis(1_800_000_000_000)).unwrap()
    }

    fn mail() -> Value {
        json!({
            "timestamp": "2017-08-05T00:40:02.012Z", "messageId": "EXAMPLE7c191be45-e9aedb9a-000000",
            "destination": ["Kim <kim@example.org>"],
            "headers": [{"name": "Message-ID", "value": "<7.a@example.com>"}]
        })
    }

    #[test]
    fn what_is_no_event_of_ours_is_none() {
        let now = Timestamp::from_millis(0);
        assert_eq!(read("Successfully validated SNS topic", "k", now), Ok(Vec::new()));
        for kind in ["Send", "DeliveryDelay", "Rendering Failure", "Received", "New"] {
            assert_eq!(told(json!({"eventType": kind, "mail": mail()})), [], "{kind}");
        }
        let not_spam = json!({"complaintFeedbackType": "not-spam",
            "complainedRecipients": [{"emailAddress": "kim@example.org"}]});
        assert_eq!(
            told(json!({"eventType": "Complaint", "mail": mail(), "complaint": not_spam})),
            []
        );
        assert_eq!(told(json!({"eventType": "Bounce", "bounce": {"bouncedRecipients": 7}})), []);
    }

    /// Amazon SES, "Contents of event data that Amazon SES publishes to Amazon SNS": bounce types and subtypes.
    #[test]
    fn an_address_is_given_up_only_where_amazon_says_that_it_is_the_address() {
        let class = |kind: &str, subtype: &str, status: Option<&str>| {
            let mut recipient = json!({"emailAddress": "a@example.org"});
            if let Some(status) = status {
                recipient["status"] = status.into();
            }
            let bounce = json!({"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [recipient]});
            match told(json!({"eventType": "Bounce", "bounce": bounce})).remove(0).what {
                MailEventKind::Bounced { is_permanent: true, .. } => "hard",
                MailEventKind::Bounced { is_permanent: false, .. } => "soft",
                MailEventKind::Delayed { .. } => "delayed",
                other => panic!("{other:?}"),
            }
        };
        for subtype in ["General", "NoEmail", "Suppressed", "OnAccountSuppressionList"] {
            assert_eq!(class("Permanent", subtype, None), "hard", "{subtype}");
        }
        assert_eq!(class("Permanent", "General", Some("5.7.1")), "soft");
        assert_eq!(class("Permanent", "UnsubscribedRecipient", None), "soft");
        assert_eq!(class("Undetermined", "Undetermined", None), "soft");
        for subtype in
            ["MailboxFull", "MessageTooLarge", "CustomTimeoutExceeded", "ContentRejected"]
        {
            assert_eq!(class("Transient", subtype, None), "soft", "{subtype}");
        }
        assert_eq!(class("Transient", "General", Some("4.4.7")), "soft");
        // It may be an answer out of the office.
        assert_eq!(class("Transient", "General", None), "delayed");
    }

    /// Amazon SES, "Contents of event data that Amazon SES publishes to Amazon SNS": `source` is the envelope's
    /// MAIL FROM, `headers` are the message's own.
    #[test]
    fn what_amazon_repeats_of_the_envelope_and_the_header_is_kept() {
        let delivery = json!({"recipients": ["kim@example.org"]});
        let of = |mail: Value| {
            told(json!({"eventType": "Delivery", "mail": mail, "delivery": delivery})).remove(0)
        };
        let bare = of(json!({"source": true, "headers": {"name": "Received"}}));
        assert_eq!((bare.return_path, bare.received), (None, Vec::new()));
        let field = |name: &str, value: &str| json!({"name": name, "value": value});
        let headers = [
            field("Received", "from a by b\r\n\tid 7; date"),
            field("To", "x"),
            field("received", "c"),
        ];
        let full = of(json!({"source": "Anna <bounce+a@example.com>", "headers": headers}));
        assert_eq!(full.return_path.as_deref(), Some("bounce+a@example.com"));
        assert_eq!(full.received, ["from a by b   id 7; date", "c"]);
        let many = vec![field("Received", "x"); 1_000];
        assert_eq!(of(json!({"headers": many})).received.len(), MAX_RECEIVED);
    }

    #[test]
    fn delays_and_what_was_never_sent_are_told() {
        let delay = json!({"timestamp": "2020-06-16T00:25:40.095Z", "delayType": "TransientCommunicationFailure",
            "expirationTime": "2020-06-16T00:25:40.914Z", "delayedRecipients": [{"emailAddress": "a@example.org",
            "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}]});
        let told_delay =
            told(json!({"eventType": "DeliveryDelay", "mail": mail(), "deliveryDelay": delay}));
        assert_eq!(told_delay[0].recipient.as_deref(), Some("a@example.org"));
        let status = Some("4.4.1".to_owned());
        let diagnostic = Some("smtp; 421 4.4.1 Unable to connect".to_owned());
        assert_eq!(told_delay[0].what, MailEventKind::Delayed { status, diagnostic });
        let complaint = json!({"complaintSubType": "OnAccountSuppressionList",
            "complainedRecipients": [{"emailAddress": "a@example.org"}]});
        let both = told(json!({"eventType": "Complaint", "mail": mail(), "complaint": complaint}));
        assert!(matches!(both[0].what, MailEventKind::Bounced { is_permanent: false, .. }));
        assert_eq!(both[1].what, MailEventKind::Complained { kind: None });
        assert_ne!(both[0].key, both[1].key);
        let common = json!({"messageId": "x", "commonHeaders": {"messageId": "<8.a@example.com>"}});
        let delivery = json!({"recipients": ["kim@example.org"]});
        let told_common =
            told(json!({"eventType": "Delivery", "mail": common, "delivery": delivery}));
        assert_eq!(told_common[0].message_id.as_deref(), Some("8.a@example.com"));
    }

    #[test]
    fn events_are_told_in_our_words() {
        let bounce = json!({
            "bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2017-08-05T00:41:02.669Z",
            "bouncedRecipients": [
                {"emailAddress": "a@example.org", "action": "failed", "status": "5.1.1",
                 "diagnosticCode": "smtp; 550 5.1.1 user unknown"},
                {"emailAddress": "B <b@example.org>"}]
        });
        let told_bounce =
            told(json!({"notificationType": "Bounce", "mail": mail(), "bounce": bounce}));
        assert_eq!(told_bounce.len(), 2);
        assert_eq!((&*told_bounce[0].key, &*told_bounce[1].key), ("n-1.0", "n-1.1"));
        assert_eq!(told_bounce[0].provider_ids, ["EXAMPLE7c191be45-e9aedb9a-000000"]);
        assert_eq!(told_bounce[0].message_id.as_deref(), Some("7.a@example.com"));
        assert_eq!(told_bounce[1].recipient.as_deref(), Some("b@example.org"));
        let diagnostic = Some("General".to_owned());
        let what = MailEventKind::Bounced { is_permanent: true, status: None, diagnostic };
        assert_eq!(told_bounce[1].what, what);
        let open = json!({"ipAddress": "192.0.2.1", "timestamp": "2017-08-09T22:00:19.652Z",
            "userAgent": "Mozilla/5.0 (iPhone)"});
        let opened = told(json!({"eventType": "Open", "mail": mail(), "open": open}));
        assert_eq!(opened[0].recipient.as_deref(), Some("kim@example.org"));
        assert_eq!((&*opened[0].key, opened[0].at.as_millis()), ("n-1", 1_502_316_019_652));
        let delivery = json!({"timestamp": "2016-10-19T23:21:04.133Z", "smtpResponse": "250 2.6.0 ok",
            "recipients": ["kim@example.org"]});
        let delivered =
            told(json!({"eventType": "Delivery", "mail": mail(), "delivery": delivery}));
        let response = Some("250 2.6.0 ok".to_owned());
        assert_eq!(delivered[0].what, MailEventKind::Delivered { response });
    }
}
