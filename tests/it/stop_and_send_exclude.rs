//! A stop and a delivery race for the same message: exactly one of them wins, and the answer says which.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

const RUNNERS: u32 = 4;

/// One race that has been run.
struct Race {
    recipient: String,
    id: String,
    stopped: bool,
}

fn races() -> u32 {
    std::env::var("WAYBILL_RACES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// Submits a message, then stops it after `wait`. It is held until it is released in the same moment, or for so short
/// a time that it leaves in the middle of the stops.
fn race(
    api: &Api,
    submitter: &mut Submitter,
    recipient: &str,
    wait: Duration,
    released: bool,
) -> Race {
    let leaves_at = jiff::Timestamp::now() + Duration::from_millis(20);
    let hold = match released {
        true => "X-Waybill-Hold: manual".to_owned(),
        false => format!("X-Waybill-Send-At: {leaves_at:.3}"),
    };
    let text = format!("{hold}\r\nSubject: race\r\nMessage-ID: <{recipient}>\r\n\r\nbody\r\n");
    let answer = submitter.submit("load@example.com", &[recipient], text.as_bytes()).unwrap();
    let id = answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    std::thread::scope(|scope| {
        if released {
            let path = format!("/api/v1/messages/{id}/release");
            scope.spawn(move || {
                // A release that comes after the stop is refused; either is an answer.
                let status = api.post(&path, "{}").unwrap().status;
                assert!([200, 409].contains(&status), "release: {status}");
            });
        }
        std::thread::sleep(wait);
        let response = api.post(&format!("/api/v1/messages/{id}/stop"), "{}").unwrap();
        let stopped = match response.status {
            200 => true,
            409 => false,
            other => panic!("stop: {other} {}", String::from_utf8_lossy(&response.body)),
        };
        Race { recipient: recipient.to_owned(), id: id.clone(), stopped }
    })
}

fn run(released: bool) {
    let receiver = Receiver::start();
    let daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let api = daemon.api("operator");
    let (serial, all) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..RUNNERS {
            scope.spawn(|| {
                let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
                loop {
                    let number = serial.fetch_add(1, Ordering::Relaxed);
                    if number >= races() {
                        return;
                    }
                    // With a hold: from well before it ends to well after. With a release: in the same moment or after.
                    let wait = Duration::from_millis(u64::from(number % 40));
                    let recipient = format!("race.{number}@example.org");
                    let race = race(&api, &mut submitter, &recipient, wait, released);
                    all.lock().unwrap().push(race);
                }
            });
        }
    });
    api.wait_until_nothing_is_pending();
    let arrivals = receiver.arrivals();
    let all = all.into_inner().unwrap();
    for race in &all {
        let arrived = arrivals.iter().filter(|a| a.recipients.contains(&race.recipient)).count();
        let status = api.message(&race.id)["status"].as_str().unwrap().to_owned();
        let expected = if race.stopped { (0, "stopped") } else { (1, "sent") };
        assert_eq!((arrived, status.as_str()), expected, "{}", race.recipient);
    }
    let stopped = all.iter().filter(|race| race.stopped).count();
    println!("{} races, {stopped} stopped", all.len());
    assert!(stopped > 0 && stopped < all.len(), "one side always won: nothing was raced");
}

#[test]
fn a_stop_and_a_send_never_both_win() {
    run(false);
}

#[test]
fn a_stop_and_a_release_never_both_win() {
    run(true);
}
