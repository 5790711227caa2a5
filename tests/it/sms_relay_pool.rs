//! Connections to SMS providers are reused, never outnumber their limit, and a provider that is down
//! or hangs holds nobody else up.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use waybill::relay::{SmsRelay, SmsTimeouts};
use waybill::sms::SmsUpstream;

use crate::support::sms::{attempt, impatient, patient, relay, with};
use crate::support::sms_provider::{Answer, SmsProvider};
use crate::support::tls::Authority;

/// So many attempts at one time; how many were sent.
async fn crowd(relay: &SmsRelay, count: usize) -> usize {
    let mut attempts = JoinSet::new();
    for number in 0..count {
        let relay = relay.clone();
        attempts.spawn(async move { attempt(&relay, &format!("text {number}")).await });
    }
    attempts.join_all().await.iter().filter(|words| words.starts_with("sent")).count()
}

#[tokio::test]
async fn one_connection_carries_one_message_after_the_other() {
    let provider = SmsProvider::start().await;
    let relay = relay(provider.upstream("p"));
    for _ in 0..100 {
        assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    }
    let record = provider.record();
    assert_eq!((record.connections, record.requests.len()), (1, 100));
    assert!(record.requests.iter().all(|asked| asked.connection == 0));
    let state = relay.state();
    assert_eq!((state.connections, state.idle, state.last_error), (1, 1, None));
    relay.close_idle().await;
    provider.wait_for(|record| record.open == 0).await;
    assert_eq!(relay.state().connections, 0);
}

#[tokio::test]
async fn it_is_encrypted_and_the_certificate_is_checked() {
    let authority = Authority::new();
    let file = authority.file();
    let provider = SmsProvider::start_tls(authority.server("localhost")).await;
    let upstream = SmsUpstream { tls_ca: Some(file.path().to_owned()), ..provider.upstream("p") };
    let relay = relay(upstream);
    for _ in 0..3 {
        assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    }
    assert_eq!(provider.record().connections, 1);
    // A certificate of the right authority for another name.
    let other = SmsProvider::start_tls(authority.server("other.test")).await;
    let upstream = SmsUpstream { tls_ca: Some(file.path().to_owned()), ..other.upstream("p") };
    let words = attempt(&crate::support::sms::relay(upstream), "Hello").await;
    assert!(words.starts_with("temporary upstream"), "{words}");
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn connections_never_outnumber_their_limit() {
    let provider = SmsProvider::start().await;
    provider.always(Answer::After(Duration::from_millis(5), Box::new(Answer::Accept)));
    let relay = relay(SmsUpstream { connections: 3, ..provider.upstream("p") });
    assert_eq!(relay.connections(), 3);
    assert_eq!(crowd(&relay, 40).await, 40);
    let record = provider.record();
    assert_eq!((record.connections, record.most_open, record.requests.len()), (3, 3, 40));
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced_and_nothing_is_sent_twice() {
    for is_encrypted in [false, true] {
        let authority = Authority::new();
        let file = authority.file();
        let (provider, tls_ca) = match is_encrypted {
            false => (SmsProvider::start().await, None),
            true => {
                let provider = SmsProvider::start_tls(authority.server("localhost")).await;
                (provider, Some(file.path().to_owned()))
            }
        };
        let relay = relay(SmsUpstream { tls_ca, ..provider.upstream("p") });
        for sent in 1..=5 {
            assert!(attempt(&relay, "Hello").await.starts_with("sent"));
            let record = provider.record();
            assert_eq!((record.requests.len(), record.connections), (sent, sent));
            provider.close_idle().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_after_an_answer_is_believed() {
    let provider = SmsProvider::start().await;
    provider.answers([Answer::AcceptAndClose, Answer::AcceptAndClose]);
    let relay = relay(provider.upstream("p"));
    for _ in 0..3 {
        assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    }
    let record = provider.record();
    assert_eq!((record.requests.len(), record.connections), (3, 3));
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed() {
    let provider = SmsProvider::start().await;
    let timeouts = SmsTimeouts { idle: Duration::from_millis(100), ..patient() };
    let relay = with(provider.upstream("p"), timeouts);
    assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    provider.wait_for(|record| record.open == 0).await;
    assert_eq!(relay.state().connections, 0);
}

#[tokio::test]
async fn a_wrong_password_opens_the_breaker_and_a_refusal_does_not() {
    let provider = SmsProvider::start().await;
    provider.always(Answer::Refuse(21211, "no such number"));
    let relay = relay(provider.upstream("p"));
    for _ in 0..10 {
        assert!(attempt(&relay, "Hello").await.starts_with("rejected"));
    }
    assert!(relay.is_available(Instant::now()));
    provider.always(Answer::Unauthorised);
    for _ in 0..5 {
        assert!(attempt(&relay, "Hello").await.starts_with("temporary upstream 401"));
    }
    assert!(!relay.is_available(Instant::now()));
    assert!(relay.state().open_until.is_some());
    let words = attempt(&relay, "Hello").await;
    assert!(words.starts_with("temporary upstream not tried"), "{words}");
    assert_eq!(provider.requests().len(), 15);
}

#[tokio::test]
async fn a_provider_that_hangs_costs_five_messages_and_not_the_queue() {
    let provider = SmsProvider::start().await;
    provider.always(Answer::Hang);
    let relay = with(SmsUpstream { connections: 1, ..provider.upstream("p") }, impatient());
    for _ in 0..5 {
        assert!(attempt(&relay, "Hello").await.starts_with("unknown"));
    }
    assert!(attempt(&relay, "Hello").await.starts_with("temporary upstream not tried"));
    assert_eq!(provider.requests().len(), 5);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_closes_its_connection() {
    let provider = SmsProvider::start().await;
    provider.answers([Answer::Hang]);
    let relay = relay(SmsUpstream { connections: 1, ..provider.upstream("p") });
    let hanging = tokio::spawn({
        let relay = relay.clone();
        async move { attempt(&relay, "Hello").await }
    });
    provider.wait_for(|record| record.requests.len() == 1).await;
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(relay.state().connections, 0);
    assert!(attempt(&relay, "Hello").await.starts_with("sent"));
}

#[tokio::test]
async fn the_rate_is_kept() {
    let provider = SmsProvider::start().await;
    let relay = relay(SmsUpstream { rate_per_second: Some(50), ..provider.upstream("p") });
    assert!(relay.has_rate());
    let begin = Instant::now();
    for _ in 0..11 {
        relay.turn().await;
        assert!(attempt(&relay, "Hello").await.starts_with("sent"));
    }
    // The first goes at once, the others follow at 20 ms: never sooner, however slow the machine.
    assert!(begin.elapsed() >= Duration::from_millis(195), "{:?}", begin.elapsed());
}
