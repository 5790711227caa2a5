//! Mailjet's event API: one event or an array of them, behind a login or a token.

use serde_json::Value;

use super::event::{MailEvent, MailEventKind, Visit};
use super::{EventCall, EventRefusal, Proof, field};

pub(super) fn read(proof: &Proof, call: &EventCall<'_>) -> Result<Vec<MailEvent>, EventRefusal> {
    proof.check(call)?;
    let objects = field::objects(field::document(call.body)?)?;
    Ok(objects.iter().filter_map(|object| event(object, call)).collect())
}

fn event(data: &Value, call: &EventCall<'_>) -> Option<MailEvent> {
    let visit = || Visit {
        client: field::client(data, "/ip"),
        user_agent: field::text(data, "/agent").unwrap_or_default(),
        is_automated: false,
    };
    let what = match field::raw(data, "/event")? {
        "sent" => MailEventKind::Delivered { response: field::text(data, "/smtp_reply") },
        "bounce" | "blocked" => bounced(data),
        "spam" => MailEventKind::Complained { kind: field::text(data, "/source") },
        "unsub" => MailEventKind::Unsubscribed,
        "open" => MailEventKind::Opened(visit()),
        "click" => MailEventKind::Clicked {
            url: field::url(data, "/url").unwrap_or_default(),
            visit: visit(),
        },
        _ => return None,
    };
    let ids = ["/Message_GUID", "/MessageID"].iter().filter_map(|at| field::id(data, at));
    Some(MailEvent {
        key: field::name(
            data,
            &["/event", "/MessageID", "/Message_GUID", "/email", "/time", "/url"],
        ),
        provider_ids: ids.collect(),
        message_id: None,
        return_path: None,
        received: Vec::new(),
        recipient: field::id(data, "/email"),
        at: field::seconds(data, "/time", call.now),
        what,
    })
}

fn bounced(data: &Value) -> MailEventKind {
    let parts = ["/error_related_to", "/error", "/comment"];
    let parts: Vec<String> = parts.iter().filter_map(|at| field::text(data, at)).collect();
    let diagnostic = Some(parts.join(": ")).filter(|text| !text.is_empty());
    let is_permanent = field::flag(data, "/hard_bounce");
    // Mailjet tries it again.
    let is_tried_on = field::raw(data, "/error") == Some("greylisted");
    match is_tried_on && !is_permanent {
        true => MailEventKind::delayed(None, diagnostic),
        false => MailEventKind::bounced(is_permanent, None, diagnostic),
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::tests::{call, with_header};
    use super::*;
    use crate::model::Secret;

    #[test]
    fn one_event_and_several_are_told_in_our_words() {
        let proof = Proof::Login { user: "u".into(), password: Secret::new("p".into()) };
        let one = br#"{"event":"bounce","time":1430812195,"MessageID":13792286917004336,
            "Message_GUID":"1ab23cd4-e567-8901-2345-6789f0gh1i2j","email":"bounce@example.com","blocked":false,
            "hard_bounce":true,"error_related_to":"recipient","error":"user unknown","comment":"550 5.1.1 no"}"#;
        let none = with_header("x", "y");
        assert_eq!(read(&proof, &call(&none, one)), Err(EventRefusal::Forged));
        let headers = with_header("authorization", "Basic dTpw");
        let bounced = read(&proof, &call(&headers, one)).unwrap();
        assert_eq!(
            bounced[0].provider_ids,
            ["1ab23cd4-e567-8901-2345-6789f0gh1i2j", "13792286917004336"]
        );
        assert_eq!(
            bounced[0].what,
            MailEventKind::Bounced {
                is_permanent: true,
                status: Some("5.1.1".into()),
                diagnostic: Some("recipient: user unknown: 550 5.1.1 no".into()),
            }
        );
        let several = br#"[{"event":"unsub","email":"a@example.com"},{"event":"list"},3]"#;
        let told = read(&proof, &call(&headers, several)).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, MailEventKind::Unsubscribed);
        // Mailjet, "Event API: real-time notifications": a greylisted message is tried again.
        let grey = br#"[{"event":"bounce","email":"a@example.com","hard_bounce":false,"error":"greylisted"}]"#;
        let told_grey = read(&proof, &call(&headers, grey)).unwrap();
        assert!(matches!(told_grey[0].what, MailEventKind::Delayed { .. }));
        let same = read(&proof, &call(&headers, one)).unwrap();
        assert_eq!(same[0].key, bounced[0].key);
        assert_ne!(told[0].key, bounced[0].key);
    }
}
