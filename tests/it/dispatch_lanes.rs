//! Many messages and several upstreams: nobody waits for somebody else's trouble, and nothing is left
//! behind or sent twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waybill::model::{EventKind, MessageId, Status};

use crate::support::queue::{
    Setup, accept, accept_many, assert_proven, count, get, has_event, kinds, message, open, pause,
    subject, subjects, until, until_sent, upstream,
};
use crate::support::sink::{Action, CONNECT, Script, Sink};

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn an_upstream_that_hangs_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let hole = Sink::start(Script::new().on(CONNECT, Action::Silence)).await;
    let again = Script::new().on_first(1, "RCPT", Action::Say("451 4.7.1 later".into()));
    let good = Sink::start(again).await;
    let upstreams = vec![upstream("hole", hole.address, 2), upstream("good", good.address, 2)];
    let setup = Setup::new(upstreams).route("*@hole.test", &["hole"]).route("*", &["good"]);
    let work = setup.start(&archive);
    // Its first recipient hangs for as long as this test lasts, its second one is deferred once.
    let both = accept(&archive, message("both", &["a@hole.test", "b@good.test"])).await;
    hole.wait_for(|record| record.open > 0).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, both), ["accepted", "deferred", "sent"]);
    accept_many(&archive, 50, "stuck", "a@hole.test").await;
    accept_many(&archive, 50, "free", "b@good.test").await;
    until_sent(&archive, 51).await;
    assert_eq!((good.messages().len(), hole.messages().len()), (51, 0));
    assert_eq!(count(&archive, Status::Pending), 51);
    // The attempts that hang are given up with the test.
    drop((work, hole));
}

#[tokio::test]
async fn a_recipient_that_becomes_due_beside_one_under_way_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let slow = Action::Delay(Duration::from_millis(300));
    let sink = Sink::start(Script::new().on_first(1, "RCPT TO:<one@", slow)).await;
    let work = Setup::new(vec![upstream("a", sink.address, 2)]).start(&archive);
    let mut two = message("two", &["one@x.test", "two@x.test"]);
    let hold = waybill::model::Hold::Manual;
    two.recipients[1].state = waybill::model::RecipientState::Held { hold };
    let id = accept(&archive, two).await;
    sink.wait_for(|record| record.open > 0).await;
    let release = waybill::archive::ActionKind::Release;
    let begin = Instant::now();
    crate::support::queue::act(&archive, release, id).await.unwrap();
    until_sent(&archive, 2).await;
    // The whole queue is read again every minute: it did not take that to find it.
    assert!(begin.elapsed() < Duration::from_secs(20));
    work.stop().await;
}

#[tokio::test]
async fn a_lane_that_overflows_is_drained() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (one, two) = (Sink::start(Script::new()).await, Sink::start(Script::new()).await);
    let count = number("WAYBILL_BACKLOG", 3_000);
    accept_many(&archive, count, "one", "kim@one.test").await;
    accept_many(&archive, count / 2, "two", "kim@two.test").await;
    let upstreams = vec![upstream("one", one.address, 4), upstream("two", two.address, 4)];
    let setup = Setup::new(upstreams).route("*@one.test", &["one"]).route("*", &["two"]);
    let begin = Instant::now();
    let work = setup.start(&archive);
    until_sent(&archive, count + count / 2).await;
    println!("{} messages of a backlog in {:?}", count + count / 2, begin.elapsed());
    assert_eq!(subjects(&one.messages()).len(), count);
    assert_eq!(subjects(&two.messages()).len(), count / 2);
    assert_eq!((one.messages().len(), two.messages().len()), (count, count / 2));
    work.stop().await;
}

#[tokio::test]
async fn the_backlog_of_a_paused_upstream_starves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (quiet, other) = (Sink::start(Script::new()).await, Sink::start(Script::new()).await);
    let backlog = number("WAYBILL_BACKLOG", 3_000);
    accept_many(&archive, backlog, "quiet", "kim@quiet.test").await;
    pause(&archive, "quiet", true).await;
    let upstreams = vec![upstream("quiet", quiet.address, 4), upstream("other", other.address, 4)];
    let setup = Setup::new(upstreams).route("*@quiet.test", &["quiet"]).route("*", &["other"]);
    let work = setup.start(&archive);
    accept_many(&archive, 500, "other", "kim@other.test").await;
    until_sent(&archive, 500).await;
    assert_eq!((quiet.record().connections, other.messages().len()), (0, 500));
    pause(&archive, "quiet", false).await;
    until_sent(&archive, 500 + backlog).await;
    assert_eq!(quiet.messages().len(), backlog);
    work.stop().await;
}

#[tokio::test]
async fn an_orderly_stop_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Sink::start(Script::new()).await;
    let mut ids: Vec<MessageId> = Vec::new();
    let rounds = 8;
    for round in 0..rounds {
        let archive = open(&dir);
        let work = Setup::new(vec![upstream("a", sink.address, 4)]).start(&archive);
        ids.extend(accept_many(&archive, 150, &format!("round {round}"), "kim@x.test").await);
        until_sent(&archive, round * 100).await;
        work.stop().await;
        assert_eq!(archive.queue().unwrap().claimed, 0);
        archive.close().await;
    }
    let archive = open(&dir);
    let work = Setup::new(vec![upstream("a", sink.address, 4)]).start(&archive);
    until_sent(&archive, ids.len()).await;
    work.stop().await;
    let arrived = subjects(&sink.messages());
    assert_eq!(arrived.len(), ids.len());
    assert!(arrived.values().all(|copies| *copies == 1), "{arrived:?}");
    for id in ids {
        assert!(!get(&archive, id).recipients[0].possible_duplicate);
        assert!(!has_event(&archive, id, EventKind::Attempted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_arrive_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let work = Setup::new(vec![upstream("a", sink.address, 10)]).start(&archive);
    let total = number("WAYBILL_MESSAGES", 10_000);
    let begin = Instant::now();
    let ids = accept_many(&archive, total, "one of many", "kim@x.test").await;
    let accepted = begin.elapsed();
    until_sent(&archive, total).await;
    println!("{total} messages: accepted in {accepted:?}, sent in {:?}", begin.elapsed());
    let record = sink.record();
    let copies = subjects(&record.messages);
    assert_eq!((copies.len(), record.messages.len()), (total, total));
    assert!(record.most_open <= 10, "{} connections", record.most_open);
    let bytes: BTreeMap<String, &[u8]> =
        record.messages.iter().map(|one| (subject(one), &one.bytes[..])).collect();
    for (number, id) in ids.iter().enumerate() {
        let message = get(&archive, *id);
        let received = bytes[&format!("one of many {number}")];
        assert_proven(&archive, &message, received);
        assert!(!received.windows(4).any(|window| window == b"Bcc:"), "a Bcc was relayed");
    }
    until(&archive, "nothing is pending", |a| count(a, Status::Pending) == 0).await;
    work.stop().await;
}
