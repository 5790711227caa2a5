//! `kill -9` at random moments under load: every message that got its 250 is in the archive and arrives; one that
//! arrives twice is marked as possibly sent twice. An orderly stop under load does not even do that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

const SESSIONS: u32 = 4;

/// What was acknowledged: recipient to id and message.
type Acknowledged = Arc<Mutex<BTreeMap<String, (String, String)>>>;

fn text(recipient: &str) -> String {
    format!(
        "From: load@example.com\r\nTo: {recipient}\r\nSubject: Order {recipient}\r\nMessage-ID: <{recipient}>\r\n\r\n{}\r\n",
        recipient.repeat(20)
    )
}

/// Submits one message after the other; whatever breaks is tried again with the next one.
fn generate(
    port: u16,
    session: u32,
    stop: &AtomicBool,
    serial: &AtomicU32,
    acknowledged: &Acknowledged,
) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let mut open = match connection.take().map_or_else(|| Submitter::connect(port), Ok) {
            Ok(open) => open,
            Err(_) => {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
        };
        let recipient = format!("{session}.{}@example.org", serial.fetch_add(1, Ordering::Relaxed));
        let text = text(&recipient);
        let answer = open.submit("load@example.com", &[&recipient], text.as_bytes());
        if let Ok(answer) = answer {
            if let Some(id) = answer.id() {
                let id = id.to_owned();
                acknowledged.lock().unwrap().insert(recipient, (id, text));
            }
            connection = Some(open);
        }
    }
}

/// xorshift64: the same moments for the same seed, as far as a machine repeats itself.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Ends the daemon `rounds` times under load and starts it again; how many messages arrived more than once.
fn endure(rounds: u32, end: impl Fn(&mut Daemon)) -> usize {
    let receiver = Receiver::start();
    // A slower upstream has more messages between their final dot and their reply when the end comes.
    receiver.delay(Duration::from_millis(3));
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let acknowledged = Acknowledged::default();
    let (stop, serial) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut random = u64::from(std::process::id()) * 2_654_435_761 + 1;
    println!("seed {random}");
    let mut slowest = Duration::ZERO;
    let port = daemon.smtp();
    std::thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (stop, serial, acknowledged) = (&stop, &serial, &acknowledged);
            scope.spawn(move || generate(port, session, stop, serial, acknowledged));
        }
        for _ in 0..rounds {
            // Moments at random are what is tested here; nothing is awaited.
            std::thread::sleep(Duration::from_millis(20 + next(&mut random) % 400));
            end(&mut daemon);
            slowest = slowest.max(daemon.start_again());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.lock().unwrap();
    let api = daemon.api("auditor");
    api.wait_until_nothing_is_pending();
    let doubled = check_everything_arrived(&api, &receiver, &acknowledged);
    println!(
        "{rounds} ends, {} acknowledged, {doubled} arrived twice, slowest start {slowest:?}",
        acknowledged.len(),
    );
    assert!(acknowledged.len() > rounds as usize, "too little load to mean anything");
    doubled
}

#[test]
fn kills_lose_nothing() {
    let kills = std::env::var("WAYBILL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    endure(kills, Daemon::kill);
}

#[test]
fn orderly_stops_lose_nothing_and_send_nothing_twice() {
    let doubled = endure(5, |daemon| assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log()));
    assert_eq!(doubled, 0);
}

/// How many arrived more than once; each of them must be marked.
fn check_everything_arrived(
    api: &Api,
    receiver: &Receiver,
    acknowledged: &BTreeMap<String, (String, String)>,
) -> usize {
    let archived: BTreeMap<String, Value> = api
        .all_messages("")
        .into_iter()
        .map(|m| (m["id"].as_str().unwrap().to_owned(), m))
        .collect();
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for arrival in receiver.arrivals() {
        for recipient in &arrival.recipients {
            *arrived.entry(recipient.clone()).or_default() += 1;
            if let Some((_, text)) = acknowledged.get(recipient) {
                assert_eq!(arrival.without_received(), text.as_bytes(), "{recipient}");
            }
        }
    }
    let mut missing = BTreeSet::new();
    for (number, (recipient, (id, text))) in acknowledged.iter().enumerate() {
        let is_sent = archived.get(id).is_some_and(|message| message["status"] == "sent");
        if !is_sent || !arrived.contains_key(recipient) {
            missing.insert((recipient, id, archived.get(id).map(|m| m["status"].to_string())));
        } else if number % 10 == 0 {
            assert_eq!(api.raw(id), text.as_bytes(), "{id}");
        }
    }
    assert!(missing.is_empty(), "acknowledged, but lost: {missing:?}");
    let by_recipient: BTreeMap<&str, &str> = archived
        .iter()
        .filter_map(|(id, message)| {
            Some((message["recipients"][0]["address"].as_str()?, id.as_str()))
        })
        .collect();
    let doubled: Vec<&String> = arrived.iter().filter(|(_, n)| **n > 1).map(|(r, _)| r).collect();
    for recipient in &doubled {
        let events = api.events(by_recipient[recipient.as_str()]);
        let marked = events.iter().any(|event| event["event"] == "attempted");
        assert!(marked, "{recipient} arrived twice, and nothing says so: {events:?}");
    }
    doubled.len()
}
