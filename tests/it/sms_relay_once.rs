//! An SMS costs money: it is asked for once, and what may have been taken is never sent again by
//! itself.

use std::time::Duration;

use waybill::model::{FailureReason, MessageId, Outcome, Scope, Timestamp};
use waybill::relay::{SmsRelay, SmsTimeouts};

use crate::support::sms::{attempt, attempt_of, impatient, patient, relay, sms, status_urls, with};
use crate::support::sms_provider::{ACCOUNT_SID, AUTH_TOKEN, Answer, SmsProvider};
use crate::support::tls::Authority;

/// One attempt on a new connection, with what came of it and how often the provider was asked.
async fn alone(answer: Answer, timeouts: SmsTimeouts) -> (Outcome, usize) {
    let provider = SmsProvider::start().await;
    provider.answers([answer]);
    let relay = with(provider.upstream("p"), timeouts);
    let outcome = attempt_of(&relay, &sms("Hello")).await;
    (outcome, provider.requests().len())
}

#[tokio::test]
async fn what_may_have_been_taken_is_unknown_and_asked_for_once() {
    for (answer, timeouts) in [
        (Answer::CloseAfterReading, patient()),
        (Answer::Hang, impatient()),
        (Answer::After(Duration::from_secs(5), Box::new(Answer::Accept)), impatient()),
        (Answer::Raw(b"garbage\r\n\r\n"), patient()),
        (Answer::Raw(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"sid\":"), patient()),
        (Answer::Raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), patient()),
    ] {
        let (outcome, asked) = alone(answer.clone(), timeouts).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{answer:?}: {outcome:?}");
        assert_eq!(asked, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn what_was_on_a_kept_connection_is_no_exception() {
    for answer in [Answer::CloseAfterReading, Answer::Raw(b"HTTP/1.1 2")] {
        let provider = SmsProvider::start().await;
        let relay = relay(provider.upstream("p"));
        assert!(attempt(&relay, "first").await.starts_with("sent"));
        provider.answers([answer]);
        assert!(attempt(&relay, "second").await.starts_with("unknown"));
        let record = provider.record();
        assert_eq!((record.requests.len(), record.connections), (2, 1));
    }
}

#[tokio::test]
async fn what_was_never_sent_is_temporary() {
    let gone = SmsProvider::start().await;
    let upstream = gone.upstream("p");
    drop(gone);
    let outcome = attempt_of(&relay(upstream), &sms("Hello")).await;
    assert!(
        matches!(outcome, Outcome::Temporary { scope: Scope::Upstream, reply: None, .. }),
        "{outcome:?}"
    );
    // Closed before TLS began; and a certificate of somebody else.
    let authority = Authority::new();
    let provider = SmsProvider::start_tls(authority.server("localhost")).await;
    provider.answers([Answer::CloseBeforeReading]);
    for _ in 0..2 {
        let outcome = attempt_of(&relay(provider.upstream("p")), &sms("Hello")).await;
        assert!(
            matches!(outcome, Outcome::Temporary { scope: Scope::Upstream, reply: None, .. }),
            "{outcome:?}"
        );
    }
    assert_eq!(provider.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_says_how_far_it_reaches() {
    let check = async |answer: Answer, expected: &str| {
        let timeouts = SmsTimeouts { throttled: Duration::ZERO, ..patient() };
        let (outcome, asked) = alone(answer.clone(), timeouts).await;
        let words = crate::support::upstream::words(&outcome);
        assert!(words.starts_with(expected), "{answer:?}: {words}");
        assert_eq!(asked, 1);
    };
    check(Answer::Refuse(21211, "Invalid 'To'"), "rejected 400 21211: Invalid 'To'").await;
    check(Answer::Unauthorised, "temporary upstream 401 20003: authenticate").await;
    check(Answer::Say(503, "{}"), "temporary message 503").await;
    check(Answer::Say(500, "a\r\nb"), "temporary message 500").await;
    check(Answer::TooFast(Some(1)), "temporary upstream 429 20429").await;
    check(Answer::TooFast(Some(u32::MAX)), "temporary upstream 429 20429").await;
    check(Answer::TooFast(None), "temporary upstream 429 20429").await;
    check(Answer::Accept, "sent 201").await;
    let (outcome, _) = alone(Answer::Refuse(21610, "STOP"), patient()).await;
    assert!(matches!(outcome, Outcome::Rejected { reason: FailureReason::OptedOut, .. }));
}

#[tokio::test]
async fn what_is_sent_is_what_was_written() {
    let provider = SmsProvider::start().await;
    let urls = status_urls(Some("https://sms.example.com/w"));
    let relay = SmsRelay::with_timeouts(provider.upstream("p"), urls, patient()).unwrap();
    let mut nasty = sms("a&To=+4599999999\r\nX-Evil: 1\u{0}æ%0d%0a");
    nasty.valid_until = Some(Timestamp::from_millis(1_000_000 + 90_000));
    let Outcome::Sent { parts, digest, .. } = attempt_of(&relay, &nasty).await else {
        panic!("it was not sent")
    };
    assert_eq!(parts, provider.record().ids);
    assert_eq!(digest, waybill::model::Digest::of(nasty.text().as_bytes()));
    let [asked] = &provider.requests()[..] else { panic!("asked more than once") };
    assert_eq!(asked.line(), format!("POST /2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"));
    assert_eq!(asked.header("host").unwrap(), provider.address.to_string());
    assert_eq!(asked.header("x-evil"), None);
    assert_eq!(asked.field("To").unwrap(), "+4512345678");
    assert_eq!(asked.field("Body").unwrap(), nasty.text());
    assert_eq!(asked.field("ValidityPeriod").unwrap(), "90");
    let url = asked.field("StatusCallback").unwrap();
    let id = MessageId::from_u128(1);
    let expected = format!("https://sms.example.com/w/hooks/p/status?message={id}&proof=");
    assert!(url.starts_with(&expected), "{url}");
}

#[tokio::test]
async fn what_can_not_be_sent_is_not() {
    let provider = SmsProvider::start().await;
    let relay = relay(provider.upstream("p"));
    let mut late = sms("Hello");
    late.valid_until = Some(Timestamp::from_millis(1_000_000));
    let mut binary = sms("");
    binary.body = waybill::model::SmsBody::Binary(vec![1, 2, 3]);
    for sms in [late, binary] {
        let outcome = attempt_of(&relay, &sms).await;
        assert!(
            matches!(outcome, Outcome::Permanent { scope: Scope::Message, reply: None, .. }),
            "{outcome:?}"
        );
    }
    assert_eq!(provider.record().connections, 0);
}

#[tokio::test]
async fn a_provider_that_finds_us_too_fast_is_asked_again_after_the_time_that_it_says() {
    let provider = SmsProvider::start().await;
    provider.answers([Answer::TooFast(Some(0)), Answer::TooFast(Some(1)), Answer::Accept]);
    let relay = relay(provider.upstream("p"));
    assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    let record = provider.record();
    assert_eq!((record.requests.len(), record.ids.len(), record.connections), (3, 1, 1));
}

#[tokio::test]
async fn no_error_holds_a_secret() {
    let provider = SmsProvider::start().await;
    let relay = with(provider.upstream("p"), impatient());
    provider.answers([Answer::Unauthorised, Answer::Hang, Answer::Raw(b"x")]);
    let mut told = format!("{relay:?}");
    for _ in 0..3 {
        told += &attempt(&relay, "a text that nobody logs").await;
        told += &format!("{:?}", relay.state());
    }
    for secret in [AUTH_TOKEN, "a text that"] {
        assert!(!told.contains(secret), "{told}");
    }
}
