//! What a mail provider posts, or somebody who claims to be one: any body.
//!
//! Oracle: nothing panics; without the right secret nothing is taken; what is taken is bounded, holds no
//! control character, and never happened later than now.
#![no_main]

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use waybill::events::{
    EventCall, EventSource, MailEvent, MailEventKind, Proof, SendGridKey, Told, Topic,
};
use waybill::model::{Secret, Timestamp};

const TOKEN: &str = "a secret that nobody guesses: 5d1c07";

fuzz_target!(|octets: &[u8]| {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let nothing = HeaderMap::new();
    let call = EventCall { headers: &nothing, token: b"", body: octets, now };
    for source in sources() {
        match source.read(&call) {
            // It is still to be proven, by a certificate from the topic's own host.
            Ok(Told::Sns(message)) => {
                let url = message.certificate_url();
                assert_eq!(url.host_str(), Some("sns.eu-west-1.amazonaws.com"));
                assert!(message.prove(octets).is_err());
            }
            Ok(Told::Events { events, .. }) => panic!("taken without a proof: {events:?}"),
            Err(_) => {}
        }
    }
    let bearer = HeaderValue::try_from(format!("Bearer {TOKEN}")).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    let call = EventCall { headers: &headers, ..call };
    for source in sources() {
        if let Ok(Told::Events { events, .. }) = source.read(&call) {
            events.iter().for_each(|event| check(event, now));
        }
    }
});

fn sources() -> [EventSource; 5] {
    let proof = || Proof::Token(Secret::new(TOKEN.into()));
    let topic = Topic::parse("arn:aws:sns:eu-west-1:123456789012:waybill").unwrap();
    let _ = SendGridKey::parse(TOKEN);
    [
        EventSource::Ses { topic },
        EventSource::Mailgun { key: Secret::new(TOKEN.into()) },
        EventSource::Postmark { proof: proof() },
        EventSource::Mailjet { proof: proof() },
        EventSource::Brevo { proof: proof() },
    ]
}

fn check(event: &MailEvent, now: Timestamp) {
    let clean = |text: &str| {
        assert!(text.len() <= 2_000 && !text.chars().any(char::is_control), "{event:?}");
    };
    assert!(event.at <= now, "{event:?}");
    clean(&event.key);
    event
        .provider_ids
        .iter()
        .chain(&event.message_id)
        .chain(&event.recipient)
        .for_each(|t| clean(t));
    match &event.what {
        MailEventKind::Delivered { response: text } | MailEventKind::Complained { kind: text } => {
            text.iter().for_each(|text| clean(text));
        }
        MailEventKind::Delayed { status, diagnostic }
        | MailEventKind::Bounced { status, diagnostic, .. } => {
            status.iter().chain(diagnostic).for_each(|text| clean(text));
        }
        MailEventKind::Unsubscribed => {}
        MailEventKind::Opened(visit) => clean(&visit.user_agent),
        MailEventKind::Clicked { url, visit } => {
            assert!(url.len() <= 8 << 10);
            clean(&visit.user_agent);
        }
    }
}
