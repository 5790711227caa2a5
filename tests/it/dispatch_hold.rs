//! What is held, paused or stopped does not leave, and what is let go leaves once.

use std::time::Duration;

use tokio::task::JoinSet;
use waybill::archive::{ActionKind, Archive};
use waybill::model::{EventKind, Hold, MessageId, RecipientState, Status};

use crate::support::queue::{
    Setup, accept, accept_many, act, count, events, get, has_event, kinds, message, now, open,
    pause, subjects, until_sent, upstream,
};
use crate::support::sink::{Script, Sink};

#[tokio::test]
async fn a_hold_lasts_until_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let mut held = message("held", &["kim@x.test"]);
    let until = now().plus(Duration::from_millis(300));
    held.recipients[0].state = RecipientState::Held { hold: Hold::Until(until) };
    let id = accept(&archive, held).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, id), ["accepted", "held", "released", "sent"]);
    assert!(events(&archive, id).last().unwrap().at >= until);
    work.stop().await;
}

#[tokio::test]
async fn a_manual_hold_lasts_until_somebody_releases_it() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let mut held = message("held", &["kim@x.test"]);
    held.recipients[0].state = RecipientState::Held { hold: Hold::Manual };
    let id = accept(&archive, held).await;
    accept_many(&archive, 20, "other", "kim@x.test").await;
    until_sent(&archive, 20).await;
    assert_eq!(kinds(&archive, id), ["accepted", "held"]);
    act(&archive, ActionKind::Release, id).await.unwrap();
    until_sent(&archive, 21).await;
    assert_eq!(subjects(&sink.messages()).get("held"), Some(&1));
    work.stop().await;
}

#[tokio::test]
async fn a_paused_upstream_sends_nothing_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (quiet, other) = (Sink::start(Script::new()).await, Sink::start(Script::new()).await);
    let setup = || {
        let upstreams = vec![upstream("a", quiet.address, 4), upstream("b", other.address, 4)];
        Setup::new(upstreams).route("*@a.test", &["a"]).route("*", &["b"])
    };
    pause(&archive, "a", true).await;
    accept_many(&archive, 50, "quiet", "kim@a.test").await;
    let work = setup().start(&archive);
    accept_many(&archive, 50, "other", "kim@b.test").await;
    until_sent(&archive, 50).await;
    work.stop().await;
    archive.close().await;

    let archive = open(&dir);
    let work = setup().start(&archive);
    accept_many(&archive, 50, "more", "kim@b.test").await;
    until_sent(&archive, 100).await;
    assert_eq!(quiet.record().connections, 0, "nothing may even be tried");
    pause(&archive, "a", false).await;
    until_sent(&archive, 150).await;
    assert_eq!(subjects(&quiet.messages()).len(), 50);
    work.stop().await;
}

#[tokio::test]
async fn a_pause_that_is_lifted_at_once_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let work = Setup::new(vec![upstream("a", sink.address, 4)]).start(&archive);
    for round in 1..=40 {
        let subject = format!("round {round}");
        let (accepted, ()) =
            tokio::join!(accept_many(&archive, 20, &subject, "kim@x.test"), async {
                pause(&archive, "a", true).await;
                pause(&archive, "a", false).await;
            });
        assert_eq!(accepted.len(), 20);
    }
    until_sent(&archive, 800).await;
    assert_eq!(subjects(&sink.messages()).len(), 800);
    work.stop().await;
}

/// A message that is stopped after so long; its id, and whether the stop won.
async fn race(archive: Archive, race: usize) -> (usize, MessageId, bool) {
    let id = accept(&archive, message(&format!("race {race}"), &["kim@x.test"])).await;
    // From at once to well after it is gone.
    for _ in 0..race % 40 {
        tokio::task::yield_now().await;
    }
    if !race.is_multiple_of(3) {
        tokio::time::sleep(Duration::from_millis((race * 7_919) as u64 % 32)).await;
    }
    (race, id, act(&archive, ActionKind::Stop, id).await.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_and_a_send_never_both_win() {
    const RACES: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let work = Setup::new(vec![upstream("a", sink.address, 8)]).start(&archive);
    let (mut running, mut races) = (JoinSet::new(), Vec::new());
    for number in 0..RACES {
        running.spawn(race(archive.clone(), number));
        if running.len() > 10 {
            races.push(running.join_next().await.unwrap().unwrap());
        }
    }
    races.extend(running.join_all().await);
    let stopped = races.iter().filter(|(_, _, stopped)| *stopped).count();
    until_sent(&archive, RACES - stopped).await;
    let arrived = subjects(&sink.messages());
    for (race, id, was_stopped) in &races {
        let copies = arrived.get(&format!("race {race}")).copied().unwrap_or(0);
        assert_eq!(copies, usize::from(!was_stopped), "race {race}");
        assert_eq!(has_event(&archive, *id, EventKind::Stopped), *was_stopped);
        assert_eq!(has_event(&archive, *id, EventKind::Sent), !was_stopped);
    }
    assert_eq!((count(&archive, Status::Stopped), count(&archive, Status::Pending)), (stopped, 0));
    println!("{RACES} races: {stopped} stopped, {} sent", RACES - stopped);
    assert!(stopped > RACES / 50 && stopped < RACES - RACES / 50, "{stopped} were stopped");
    let (_, id, _) = races.iter().find(|(_, _, stopped)| *stopped).unwrap();
    act(&archive, ActionKind::Restart, *id).await.unwrap();
    until_sent(&archive, RACES - stopped + 1).await;
    assert_eq!(get(&archive, *id).status(), Status::Sent);
    work.stop().await;
}
