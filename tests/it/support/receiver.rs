//! The upstream of the tests: an SMTP server that keeps everything it is given, byte for byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// One message that was taken with 250.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub reverse_path: String,
    pub recipients: Vec<String>,
    /// After dot-unstuffing.
    pub data: Vec<u8>,
}

impl Arrival {
    /// The message without the `Received` field that a relay has put before it; panics when there is none.
    pub fn without_received(&self) -> Vec<u8> {
        without_received(&self.data)
    }
}

/// The message without the first `Received` field, which stands at the beginning. Only the separator of an mbox file,
/// and lines that would be read as a continuation of the field, may come before it.
pub fn without_received(data: &[u8]) -> Vec<u8> {
    let mut lines = data.split_inclusive(|b| *b == b'\n').peekable();
    let mut rest = Vec::with_capacity(data.len());
    let is_continuation = |line: &&[u8]| matches!(line.first(), Some(b' ' | b'\t'));
    let is_mbox = |line: &&[u8]| line.starts_with(b"From ") && line.get(5) != Some(&b':');
    let mut before = lines.next_if(is_mbox).or_else(|| lines.next_if(is_continuation));
    while let Some(line) = before {
        before = lines.next_if(is_continuation);
        rest.extend_from_slice(line);
    }
    let shown = || String::from_utf8_lossy(&data[..data.len().min(200)]).into_owned();
    let received = lines.next().unwrap_or_default();
    assert!(received.starts_with(b"Received:"), "no Received before: {}", shown());
    while lines.next_if(is_continuation).is_some() {}
    lines.for_each(|line| rest.extend_from_slice(line));
    rest
}

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    changed: Condvar,
    /// How long each final dot waits for its reply.
    delay: Mutex<Duration>,
}

/// A server on a port of its own; its threads live as long as the test.
#[derive(Clone)]
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

const AWAIT_LIMIT: Duration = Duration::from_secs(60);

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let receiver = Receiver { port, shared: shared.clone() };
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that breaks off ends its session; what it had not finished has not arrived.
                std::thread::spawn(move || Session { shared }.serve(socket));
            }
        });
        receiver
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on each final dot waits so long for its reply.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.arrivals.lock().unwrap().len()
    }

    /// Waits for the first message to this address.
    pub fn wait_for(&self, address: &str) -> Arrival {
        let started = Instant::now();
        let mut arrivals = self.shared.arrivals.lock().unwrap();
        loop {
            if let Some(found) = arrivals.iter().find(|a| a.recipients.iter().any(|r| r == address))
            {
                return found.clone();
            }
            assert!(started.elapsed() < AWAIT_LIMIT, "nothing has arrived for {address}");
            let wait = self.shared.changed.wait_timeout(arrivals, Duration::from_millis(200));
            arrivals = wait.unwrap().0;
        }
    }

    /// Waits until so many messages have arrived.
    pub fn wait_for_count(&self, count: usize) {
        let started = Instant::now();
        let mut arrivals = self.shared.arrivals.lock().unwrap();
        while arrivals.len() < count {
            assert!(started.elapsed() < AWAIT_LIMIT, "{} of {count} have arrived", arrivals.len());
            let wait = self.shared.changed.wait_timeout(arrivals, Duration::from_millis(200));
            arrivals = wait.unwrap().0;
        }
    }
}

struct Session {
    shared: Arc<Shared>,
}

impl Session {
    fn serve(self, mut socket: TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let mut lines = BufReader::new(socket.try_clone()?);
        let mut open =
            Arrival { reverse_path: String::new(), recipients: Vec::new(), data: Vec::new() };
        socket.write_all(b"220 receiver.test ESMTP\r\n")?;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" => {
                    "250-receiver.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE\r\n250 ENHANCEDSTATUSCODES\r\n"
                }
                "MAIL" => {
                    open.reverse_path = address(&line);
                    open.recipients.clear();
                    "250 2.1.0 Ok\r\n"
                }
                "RCPT" => {
                    open.recipients.push(address(&line));
                    "250 2.1.5 Ok\r\n"
                }
                "DATA" => {
                    socket.write_all(b"354 go on\r\n")?;
                    open.data = data(&mut lines)?;
                    let delay = *self.shared.delay.lock().unwrap();
                    std::thread::sleep(delay);
                    self.keep(open.clone());
                    "250 2.0.0 Ok: queued as RECEIVER\r\n"
                }
                "QUIT" => return socket.write_all(b"221 2.0.0 bye\r\n"),
                _ => "250 2.0.0 Ok\r\n",
            };
            socket.write_all(reply.as_bytes())?;
        }
    }

    fn keep(&self, arrival: Arrival) {
        self.shared.arrivals.lock().unwrap().push(arrival);
        self.shared.changed.notify_all();
    }
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(inside, _)| inside.to_owned())
}

/// The lines up to the lone dot, without the dots that were put before others.
fn data(lines: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let start = data.len();
        if lines.read_until(b'\n', &mut data)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let at_line_start = start == 0 || data[..start].ends_with(b"\r\n");
        if at_line_start && &data[start..] == b".\r\n" {
            data.truncate(start);
            return Ok(data);
        }
        if at_line_start && data[start] == b'.' {
            data.remove(start);
        }
    }
}

#[test]
fn dots_and_received_are_taken_off() {
    let check = |wire: &str, expected: &str| {
        let found = data(&mut BufReader::new(wire.as_bytes())).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), expected, "{wire:?}");
    };
    check(".\r\n", "");
    check("a\r\n..\r\n.b\r\n.\r\n", "a\r\n.\r\nb\r\n");
    check("a\n.\r\n\r\n.\r\n", "a\n.\r\n\r\n");
    assert_eq!(without_received(b"Received: a\r\n\tb\r\nTo: c\r\n"), b"To: c\r\n");
    assert_eq!(without_received(b" x\r\nReceived: a\r\nTo: c\r\n"), b" x\r\nTo: c\r\n");
}
