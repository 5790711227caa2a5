//! Five hundred clients that drip single bytes do not keep a fast one from being served.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

const SLOW: usize = 500;
const FAST: usize = 20;
/// Twenty messages take well under a second; a machine that is busy otherwise may take its time.
const GENEROUS: Duration = Duration::from_secs(20);

/// A different half-open state for each: silent, in a command, in an endless line, in DATA.
fn opening(number: usize) -> &'static [u8] {
    match number % 4 {
        0 => b"",
        1 => b"EHLO slow",
        2 => b"NOOP ",
        _ => b"EHLO slow.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: s",
    }
}

#[test]
fn slow_clients_do_not_delay_a_fast_one() {
    let receiver = Receiver::start();
    let smtp = "max_connections = 1000\nmax_connections_per_client = 1000".to_owned();
    let daemon = Daemon::start(&Setup { smtp, ..Setup::relaying_to(receiver.port()) });
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|number| {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.smtp())).unwrap();
            socket.write_all(opening(number)).unwrap();
            socket
        })
        .collect();
    let (done, closed) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for socket in &mut slow {
                    if socket.write_all(b"x").is_err() {
                        closed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let started = Instant::now();
        for number in 0..FAST {
            let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
            let recipient = format!("fast.{number}@example.org");
            let answer =
                submitter.submit("a@example.com", &[&recipient], b"Subject: f\r\n\r\nfast\r\n");
            assert!(answer.as_ref().is_ok_and(|answer| answer.is_ok()), "{answer:?}");
            receiver.wait_for(&recipient);
        }
        let took = started.elapsed();
        done.store(true, Ordering::Relaxed);
        println!("{FAST} messages beside {SLOW} slow clients in {took:?}");
        assert!(took < GENEROUS, "{took:?}");
    });
    // The slow ones in DATA never finished, so nothing of them may have been relayed.
    assert_eq!(receiver.count(), FAST);
    assert_eq!(closed.into_inner(), 0, "a slow client could not stay, so it was not slow");
}
