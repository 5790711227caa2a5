//! Connections are reused, never outnumber their limit, and a dead upstream is left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use waybill::relay::SmtpRelay;
use waybill::relay::settings::{RelayTimeouts, SmtpUpstream};

use crate::support::sink::{Action, CONNECT, END_OF_DATA, Script, Sink};
use crate::support::upstream::{MESSAGE, attempt, impatient, relay, settings, transaction};

async fn send(relay: &SmtpRelay) -> String {
    attempt(relay, &transaction(&["a@x.test"], MESSAGE)).await.remove(0)
}

#[tokio::test]
async fn one_connection_carries_a_hundred_messages_and_no_more() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    for _ in 0..250 {
        assert!(send(&relay).await.starts_with("sent"));
    }
    let record = sink.record();
    assert_eq!((record.connections, record.messages.len()), (3, 250));
    let carried = |n| record.messages.iter().filter(|m| m.connection == n).count();
    assert_eq!([0, 1, 2].map(carried), [100, 100, 50]);
    let state = relay.state();
    assert_eq!((state.idle, state.last_error), (1, None));
}

#[tokio::test]
async fn connections_never_outnumber_their_limit() {
    let slow = Script::new().on(END_OF_DATA, Action::Delay(Duration::from_millis(10)));
    let sink = Sink::start(slow).await;
    let relay = relay(SmtpUpstream { connections: 3, ..settings(sink.address) });
    assert_eq!(relay.connections(), 3);
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let relay = relay.clone();
        attempts.spawn(async move { send(&relay).await });
    }
    while let Some(outcome) = attempts.join_next().await {
        assert!(outcome.unwrap().starts_with("sent"));
    }
    let record = sink.record();
    assert_eq!((record.connections, record.most_open, record.messages.len()), (3, 3, 40));
}

#[tokio::test]
async fn the_rate_is_kept() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(SmtpUpstream { rate_per_second: Some(50), ..settings(sink.address) });
    let begin = Instant::now();
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..26 {
        let relay = relay.clone();
        attempts.spawn(async move {
            relay.turn().await;
            send(&relay).await
        });
    }
    attempts.join_all().await;
    // The first goes at once, the others follow at 20 ms.
    assert!(begin.elapsed() >= Duration::from_millis(495), "{:?}", begin.elapsed());
    assert_eq!(sink.messages().len(), 26);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    for farewell in [
        Action::SayAndClose("421 4.4.2 idle for too long".into()),
        Action::Close,
        Action::Reset,
        Action::Say("500 5.5.1 confused".into()),
    ] {
        // The second MAIL meets a server that is gone; the third is answered by a new one.
        let honest = Action::Say("250 2.1.0 Ok".into());
        let script =
            Script::new().on_first(1, "MAIL", honest).on_first(1, "MAIL", farewell.clone());
        let sink = Sink::start(script).await;
        let relay = relay(settings(sink.address));
        assert!(send(&relay).await.starts_with("sent"));
        let second = send(&relay).await;
        match farewell {
            // An answer is an answer.
            Action::Say(_) => assert!(second.starts_with("permanent message 500"), "{second}"),
            _ => {
                assert!(second.starts_with("sent"), "{farewell:?}: {second}");
                assert_eq!(sink.record().connections, 2);
            }
        }
    }
}

#[tokio::test]
async fn it_is_replaced_once_and_only_before_anything_was_said() {
    let lost = |script: Script| async move {
        let sink = Sink::start(script).await;
        let relay = relay(settings(sink.address));
        assert!(send(&relay).await.starts_with("sent"));
        (send(&relay).await, sink.record().connections)
    };
    let honest = || Action::Say("250 2.1.0 Ok".into());
    let gone = Script::new().on_first(1, "MAIL", honest()).on("MAIL", Action::Close);
    let (outcome, connections) = lost(gone).await;
    assert!(outcome.starts_with("temporary session"), "{outcome}");
    assert_eq!(connections, 2);
    let later = Script::new().on_first(1, "RCPT", honest()).on("RCPT", Action::Close);
    let (outcome, connections) = lost(later).await;
    assert!(outcome.starts_with("temporary session"), "{outcome}");
    assert_eq!(connections, 1);
    let after_dot = Script::new().on_first(1, END_OF_DATA, honest()).on(END_OF_DATA, Action::Close);
    let (outcome, connections) = lost(after_dot).await;
    assert!(outcome.starts_with("unknown"), "{outcome}");
    assert_eq!(connections, 1);
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_reset_first() {
    let sink = Sink::start(Script::new().on_first(1, "RCPT", Action::Say("550 no".into()))).await;
    let relay = relay(settings(sink.address));
    assert!(send(&relay).await.starts_with("permanent recipient"));
    assert!(send(&relay).await.starts_with("sent"));
    let record = sink.record();
    assert_eq!(record.connections, 1);
    let wire = String::from_utf8(record.wires[0].clone()).unwrap();
    assert_eq!(wire.matches("RSET\r\n").count(), 1);
    assert_eq!(wire.matches("MAIL FROM").count(), 2);
}

#[tokio::test]
async fn idle_connections_are_closed_with_a_farewell() {
    let sink = Sink::start(Script::new()).await;
    let timeouts =
        RelayTimeouts { idle: Duration::from_millis(150), ..settings(sink.address).timeouts };
    let relay = relay(SmtpUpstream { timeouts, ..settings(sink.address) });
    assert!(send(&relay).await.starts_with("sent"));
    assert_eq!(relay.state().idle, 1);
    let record = sink.wait_for(|record| record.open == 0).await;
    assert!(record.wires[0].ends_with(b"QUIT\r\n"));
    assert_eq!(relay.state().idle, 0);
    // It works again after that.
    assert!(send(&relay).await.starts_with("sent"));
    let record = sink.wait_for(|record| record.open == 0).await;
    assert_eq!(record.connections, 2);
}

#[tokio::test]
async fn closing_says_quit_to_all() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    let together = transaction(&["a@x.test"], MESSAGE);
    tokio::join!(relay.attempt(&together), relay.attempt(&together), relay.attempt(&together));
    assert_eq!(relay.state().connections, 3);
    relay.close_idle().await;
    let record = sink.wait_for(|record| record.open == 0).await;
    assert_eq!(record.connections, 3);
    assert!(record.wires.iter().all(|wire| wire.ends_with(b"QUIT\r\n")));
    assert_eq!((relay.state().connections, relay.state().idle), (0, 0));
}

#[tokio::test]
async fn a_dropped_attempt_leaves_nothing_behind() {
    let sink = Sink::start(Script::new().on_first(1, END_OF_DATA, Action::Silence)).await;
    let relay = relay(SmtpUpstream { connections: 1, ..settings(sink.address) });
    let hanging = transaction(&["a@x.test"], MESSAGE);
    tokio::select! {
        _ = relay.attempt(&hanging) => panic!("nobody answered it"),
        _ = sink.wait_for(|r| r.wires.first().is_some_and(|w| w.ends_with(b"\r\n.\r\n"))) => (),
    }
    assert_eq!((relay.state().connections, relay.state().idle), (0, 0));
    assert!(send(&relay).await.starts_with("sent"));
}

#[tokio::test]
async fn five_failures_open_the_breaker() {
    let sink = Sink::start(Script::new().on(CONNECT, Action::Close)).await;
    let relay = relay(settings(sink.address));
    for failure in 0..5 {
        assert!(relay.is_available(Instant::now()), "after {failure}");
        assert!(send(&relay).await.starts_with("temporary upstream the greeting failed"));
    }
    assert!(!relay.is_available(Instant::now()));
    let state = relay.state();
    assert!(state.open_until.is_some() && state.last_error.is_some());
    assert!(relay.is_available(Instant::now() + Duration::from_secs(31)));
    // While it is open nobody knocks.
    let outcome = send(&relay).await;
    assert!(outcome.starts_with("temporary upstream not tried"), "{outcome}");
    assert_eq!(sink.record().connections, 5);
}

#[tokio::test]
async fn refusals_never_open_the_breaker() {
    let sink = Sink::start(Script::new().say("MAIL", "550 5.7.1 no")).await;
    let relay = relay(settings(sink.address));
    for _ in 0..20 {
        assert!(send(&relay).await.starts_with("permanent message"));
    }
    assert!(relay.is_available(Instant::now()));
}

#[tokio::test]
async fn one_hanging_upstream_does_not_hold_another() {
    let (dead, alive) = tokio::join!(
        Sink::start(Script::new().on(CONNECT, Action::Silence)),
        Sink::start(Script::new())
    );
    let hanging = relay(SmtpUpstream { connections: 1, ..impatient(dead.address) });
    let working = relay(settings(alive.address));
    let queue: Vec<_> = (0..20)
        .map(|_| {
            let hanging = hanging.clone();
            tokio::spawn(async move { send(&hanging).await })
        })
        .collect();
    let begin = Instant::now();
    assert!(send(&working).await.starts_with("sent"));
    assert!(begin.elapsed() < Duration::from_secs(5));
    for outcome in queue {
        assert!(outcome.await.unwrap().starts_with("temporary upstream"));
    }
    // After five that waited, nobody else had to.
    assert_eq!(dead.record().connections, 5);
}

#[tokio::test]
async fn parallel_attempts_share_the_pool_without_loss() {
    let sink = Sink::start(Script::new()).await;
    let relay = Arc::new(relay(SmtpUpstream { connections: 8, ..settings(sink.address) }));
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let relay = relay.clone();
        attempts.spawn(async move { send(&relay).await });
    }
    assert!(attempts.join_all().await.iter().all(|outcome| outcome.starts_with("sent")));
    let record = sink.record();
    assert_eq!(record.messages.len(), 300);
    assert!(record.most_open <= 8 && record.connections <= 8, "{}", record.connections);
}
