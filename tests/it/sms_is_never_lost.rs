//! `kill -9` at random moments under a load of SMS: every call that got its 201 is in the archive, and
//! nothing is asked of the provider twice. What was under way when the end came waits for a person.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::sms_app::{port, tables};
use crate::support::sms_provider::{Answer, SmsProvider};

const CLIENTS: u32 = 4;

/// Calls one after the other; gives those that were acknowledged, number to id.
fn generate(
    port: &Api,
    stop: &AtomicBool,
    serial: &AtomicU32,
    acknowledged: &Mutex<BTreeMap<String, String>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let number = format!("+45{:08}", 10_000_000 + serial.fetch_add(1, Ordering::Relaxed));
        let body = format!(r#"{{"to": "{number}", "from": "Example", "text": "Order {number}"}}"#);
        match port.post("/v1/sms", &body) {
            Ok(answer) if answer.status == 201 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                acknowledged.lock().unwrap().insert(number, id);
            }
            Ok(answer) => panic!("{} {}", answer.status, answer.json()),
            // The daemon is gone for a moment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn kills_lose_no_sms_and_send_none_twice() {
    let kills: u32 = std::env::var("WAYBILL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    // A slower provider has more requests under way when the end comes.
    provider.always(Answer::After(Duration::from_millis(3), Box::new(Answer::Accept)));
    let mut daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let acknowledged = Mutex::new(BTreeMap::new());
    let (stop, serial) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut random = u64::from(std::process::id()) * 2_654_435_761 + 1;
    println!("seed {random}");
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (port, stop, serial) = (port(&daemon), &stop, &serial);
            let acknowledged = &acknowledged;
            scope.spawn(move || generate(&port, stop, serial, acknowledged));
        }
        for _ in 0..kills {
            // Moments at random are what is tested here; nothing is awaited.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_millis(20 + random % 300));
            daemon.kill();
            daemon.start_again();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let api = daemon.api("operator");
    let mut in_doubt = 0;
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    let is_settled = |message: &serde_json::Value| {
        message["status"] != "pending" || message["recipients"][0]["possible_duplicate"] == true
    };
    for (number, id) in &acknowledged {
        let mut message = api.message(id);
        let began = std::time::Instant::now();
        while !is_settled(&message) {
            assert!(began.elapsed() < Duration::from_secs(60), "{number}: {message}");
            std::thread::sleep(Duration::from_millis(20));
            message = api.message(id);
        }
        assert_eq!(message["recipients"][0]["address"], **number, "{message}");
        if message["status"] == "pending" {
            // Nobody knows whether the provider took it, so a person decides.
            assert_eq!(message["held"], true, "{message}");
            in_doubt += 1;
        } else {
            assert_eq!(message["status"], "sent", "{message}");
        }
    }
    for request in provider.requests() {
        *asked.entry(request.field("To").unwrap()).or_default() += 1;
    }
    for number in acknowledged.keys() {
        let times = asked.get(number).copied().unwrap_or(0);
        assert!(times <= 1, "{number} was sent {times} times");
        let message = api.message(&acknowledged[number]);
        assert!(times == 1 || message["status"] == "pending", "{number} was lost: {message}");
    }
    println!("{kills} kills, {} acknowledged, {in_doubt} in doubt", acknowledged.len());
    assert!(acknowledged.len() > kills as usize, "too little load to mean anything");
}
