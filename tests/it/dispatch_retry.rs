//! Trouble is tried again, elsewhere or later, and each recipient keeps what was said to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use waybill::model::{Cause, EventKind, Hold, RecipientState, Status, Timestamp};

use crate::support::queue::{
    Setup, accept, count, events, get, has_event, kinds, message, now, open, pause, subject,
    subjects, until, until_sent, upstream,
};
use crate::support::sink::{Action, END_OF_DATA, Script, Sink};

fn say(reply: &str) -> Action {
    Action::Say(reply.into())
}

#[tokio::test]
async fn a_temporary_refusal_climbs_the_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let script = Script::new().on_first(3, "RCPT", say("450 4.2.1 greylisted"));
    let sink = Sink::start(script).await;
    let waits = [20, 60, 100].map(Duration::from_millis);
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).waits(&waits).start(&archive);
    let id = accept(&archive, message("ladder", &["kim@x.test"])).await;
    until_sent(&archive, 1).await;
    let expected = ["accepted", "deferred", "deferred", "deferred", "sent"];
    assert_eq!(kinds(&archive, id), expected);
    let told = events(&archive, id);
    assert_eq!(told[1].reply.as_deref(), Some("450 4.2.1 greylisted"));
    for (pair, wait) in told[1..].windows(2).zip(waits) {
        assert!(pair[1].at.since(pair[0].at) >= wait, "{pair:?}");
    }
    assert_eq!(get(&archive, id).recipients[0].attempts, 4);
    assert_eq!(sink.messages().len(), 1);
    work.stop().await;
}

#[tokio::test]
async fn each_recipient_of_a_transaction_keeps_its_own_reply() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let script = Script::new().say("RCPT TO:<no@x.test>", "550 5.1.1 no such user").on_first(
        1,
        "RCPT TO:<later@x.test>",
        say("451 4.7.1 try later"),
    );
    let sink = Sink::start(script).await;
    let work = Setup::new(vec![upstream("a", sink.address, 2)]).start(&archive);
    let recipients = ["yes@x.test", "no@x.test", "later@x.test", "too@x.test"];
    let id = accept(&archive, message("several", &recipients)).await;
    until_sent(&archive, 3).await;
    until(&archive, "one failed", |a| count(a, Status::Failed) == 1).await;
    let found = get(&archive, id).recipients;
    let RecipientState::Failed { cause: Cause::Refused { reply, .. }, .. } = &found[1].state else {
        panic!("{:?}", found[1])
    };
    assert_eq!((reply.code, found[1].reply.as_deref()), (550, Some("550 5.1.1 no such user")));
    let attempts: Vec<u32> = found.iter().map(|recipient| recipient.attempts).collect();
    assert_eq!(attempts, [1, 1, 2, 1]);
    let received = sink.messages();
    let rcpts: Vec<usize> = received.iter().map(|one| one.rcpts.len()).collect();
    assert_eq!(rcpts, [2, 1], "one transaction, and one more for the one that came later");
    work.stop().await;
}

#[tokio::test]
async fn a_backup_takes_over_and_gives_back() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let troubled = Script::new().on_first(1, "MAIL", say("451 4.3.0 not now"));
    let (main, backup) = (Sink::start(troubled).await, Sink::start(Script::new()).await);
    let upstreams = vec![upstream("main", main.address, 1), upstream("backup", backup.address, 1)];
    let work = Setup::new(upstreams).start(&archive);
    let first = accept(&archive, message("one", &["kim@x.test"])).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, first), ["accepted", "deferred", "sent"]);
    let by: Vec<_> = events(&archive, first).into_iter().filter_map(|e| e.upstream).collect();
    assert_eq!(by.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["main", "backup"]);
    accept(&archive, message("two", &["kim@x.test"])).await;
    until_sent(&archive, 2).await;
    assert_eq!(subject(&backup.messages()[0]), "one");
    assert_eq!(subject(&main.messages()[0]), "two");
    pause(&archive, "main", true).await;
    accept(&archive, message("three", &["kim@x.test"])).await;
    until_sent(&archive, 3).await;
    pause(&archive, "main", false).await;
    accept(&archive, message("four", &["kim@x.test"])).await;
    until_sent(&archive, 4).await;
    let of = |sink: &Sink| subjects(&sink.messages()).into_keys().collect::<Vec<_>>();
    assert_eq!(
        (of(&main), of(&backup)),
        (vec!["four".to_owned(), "two".to_owned()], vec!["one".to_owned(), "three".to_owned()],)
    );
    work.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_backup_that_is_paused() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (main, backup) = (Sink::start(Script::new()).await, Sink::start(Script::new()).await);
    pause(&archive, "backup", true).await;
    // The main upstream had deferred it when the backup was still there.
    let mut second_choice = message("back", &["kim@x.test"]);
    let at = second_choice.accepted_at;
    second_choice.recipients[0].state = RecipientState::Due { at, rank: 1 };
    accept(&archive, second_choice).await;
    let upstreams = vec![upstream("main", main.address, 1), upstream("backup", backup.address, 1)];
    let work = Setup::new(upstreams).start(&archive);
    until_sent(&archive, 1).await;
    assert_eq!((main.messages().len(), backup.messages().len()), (1, 0));
    work.stop().await;
}

#[tokio::test]
async fn when_all_upstreams_refuse_for_now_each_round_waits() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let busy = || Script::new().on_first(2, "MAIL", say("451 4.3.0 not now"));
    let (one, two) = (Sink::start(busy()).await, Sink::start(busy()).await);
    let upstreams = vec![upstream("one", one.address, 1), upstream("two", two.address, 1)];
    let waits = [Duration::from_millis(100)];
    let work = Setup::new(upstreams).waits(&waits).start(&archive);
    let id = accept(&archive, message("rounds", &["kim@x.test"])).await;
    until_sent(&archive, 1).await;
    let told = events(&archive, id);
    let by: Vec<_> = told.iter().filter_map(|e| e.upstream.as_ref()).map(|u| u.as_str()).collect();
    assert_eq!(by, ["one", "two", "one", "two", "one"]);
    // Between the rounds, not within one.
    for pair in [&told[2..4], &told[4..6]] {
        assert!(pair[1].at.since(pair[0].at) >= waits[0], "{pair:?}");
    }
    work.stop().await;
}

#[tokio::test]
async fn an_unknown_outcome_is_flagged_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().on_first(1, END_OF_DATA, Action::Close)).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let id = accept(&archive, message("unknown", &["kim@x.test"])).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, id), ["accepted", "attempted", "sent"]);
    assert!(get(&archive, id).recipients[0].possible_duplicate);
    let received = sink.messages();
    assert_eq!(received.len(), 2, "the sink kept the first as well");
    assert_eq!(received[0].bytes, received[1].bytes, "so that a receiver can tell");
    work.stop().await;
}

#[tokio::test]
async fn an_unknown_outcome_is_held_where_the_app_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().on_first(1, END_OF_DATA, Action::Reset)).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let mut careful = message("careful", &["kim@x.test"]);
    careful.policy.hold_unknown = true;
    let id = accept(&archive, careful).await;
    until(&archive, "attempted", |a| has_event(a, id, EventKind::Attempted)).await;
    assert!(matches!(get(&archive, id).recipients[0].state, RecipientState::Held { .. }));
    // It does not move by itself: what comes after it is sent, and it is not.
    accept(&archive, message("next", &["kim@x.test"])).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, id), ["accepted", "attempted"]);
    let release = waybill::archive::ActionKind::Release;
    crate::support::queue::act(&archive, release, id).await.unwrap();
    until_sent(&archive, 2).await;
    assert_eq!(kinds(&archive, id), ["accepted", "attempted", "released", "sent"]);
    work.stop().await;
}

/// A clock that is ahead by as many milliseconds as the number says.
fn ahead(by_ms: &Arc<AtomicI64>) -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let by_ms = by_ms.clone();
    move || Timestamp::from_millis(now().as_millis() + by_ms.load(Ordering::SeqCst))
}

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

#[tokio::test]
async fn a_clock_that_is_set_back_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().on_first(1, "RCPT", say("450 4.2.1 later"))).await;
    let by_ms = Arc::new(AtomicI64::new(YEAR_MS));
    let setup = Setup::new(vec![upstream("a", sink.address, 1)]).clock(ahead(&by_ms));
    let work = setup.waits(&[Duration::from_secs(2)]).start(&archive);
    let deferred = accept(&archive, message("deferred", &["kim@x.test"])).await;
    until(&archive, "deferred", |a| has_event(a, deferred, EventKind::Deferred)).await;
    by_ms.store(0, Ordering::SeqCst);
    let begin = Instant::now();
    accept(&archive, message("new", &["kim@x.test"])).await;
    until_sent(&archive, 2).await;
    // The whole queue is read again every minute: it did not take that to find it.
    assert!(begin.elapsed() < Duration::from_secs(30));
    work.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_while_the_daemon_was_down_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().on_first(1, "RCPT", say("450 4.2.1 later"))).await;
    let setup = || Setup::new(vec![upstream("a", sink.address, 1)]);
    let work = setup().clock(ahead(&Arc::new(AtomicI64::new(YEAR_MS)))).start(&archive);
    let mut held = message("held", &["kim@x.test"]);
    let until_then = now().plus(Duration::from_secs(3_600));
    held.recipients[0].state = RecipientState::Held { hold: Hold::Until(until_then) };
    let deferred = accept(&archive, message("deferred", &["kim@x.test"])).await;
    until(&archive, "deferred", |a| has_event(a, deferred, EventKind::Deferred)).await;
    work.stop().await;
    let held = accept(&archive, held).await;
    let work = setup().start(&archive);
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, held), ["accepted", "held"], "its time is a person's wish");
    assert_eq!(kinds(&archive, deferred), ["accepted", "deferred", "sent"]);
    work.stop().await;
}
