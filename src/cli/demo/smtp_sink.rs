//! A small SMTP server on loopback that keeps what it gets: the demo's smarthost.
//!
//! It takes mail over real sockets and gives the last messages to whoever asks. Two kinds of recipients
//! fail on purpose, so that the demo can show it: a local part that begins with `bounce` does not
//! exist, and one that begins with `slow` or `later` is asked to come back, once.
//!
//! Everything is bounded: connections, lines, recipients, the size of a message, what is kept.
//! It is no server for real mail: it has no TLS, no AUTH, and forgets all when it stops. Tests of the
//! relay have a sink of their own, which misbehaves on demand.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::model::{ForwardPath, ReversePath};

/// Connections at one time; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// A command line; RFC 5321 §4.5.3.1.4 asks for 512, parameters add to it.
const MAX_LINE_BYTES: usize = 4 * 1024;
const MAX_RECIPIENTS: usize = 1_000;
const MAX_MESSAGE_BYTES: usize = 50 * 1024 * 1024;
/// A line of a message; each read looks for its end again.
const MAX_TEXT_LINE_BYTES: usize = 1024 * 1024;
/// Messages that are kept, and their bytes together.
const MAX_KEPT: usize = 200;
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;
/// Recipients that were asked to come back and are remembered.
const MAX_GREYLISTED: usize = 10_000;
/// A client that says nothing for so long is left.
const IDLE: Duration = Duration::from_secs(300);

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkMessage {
    /// Counted from 1.
    pub number: u64,
    pub reverse_path: ReversePath,
    pub recipients: Vec<ForwardPath>,
    /// Without dot-stuffing.
    pub bytes: Bytes,
}

/// The server; it stops when it is dropped.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<VecDeque<SinkMessage>>,
    greylisted: Mutex<HashSet<ForwardPath>>,
    received: watch::Sender<u64>,
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SmtpSink {
    /// Listens on a loopback port of the system's choice.
    pub async fn start() -> io::Result<SmtpSink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            kept: Mutex::default(),
            greylisted: Mutex::default(),
            received: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(SmtpSink { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages it has taken, now and whenever that changes.
    pub fn received(&self) -> watch::Receiver<u64> {
        self.shared.received.subscribe()
    }

    /// The last messages, oldest first.
    pub fn messages(&self) -> Vec<SinkMessage> {
        lock(&self.shared.kept).iter().cloned().collect()
    }
}

impl Shared {
    fn keep(&self, reverse_path: ReversePath, recipients: Vec<ForwardPath>, bytes: Bytes) -> u64 {
        let mut kept = lock(&self.kept);
        let number = *self.received.borrow() + 1;
        kept.push_back(SinkMessage { number, reverse_path, recipients, bytes });
        let mut total: usize = kept.iter().map(|message| message.bytes.len()).sum();
        while kept.len() > MAX_KEPT || total > MAX_KEPT_BYTES {
            total -= kept.pop_front().map_or(total, |message| message.bytes.len());
        }
        // Under the lock, so that the count never runs ahead of the messages.
        self.received.send_replace(number);
        number
    }

    /// The answer to a recipient.
    fn judge(&self, path: &ForwardPath) -> &'static str {
        let ForwardPath::Mailbox(mailbox) = path else { return "250 2.1.5 Ok" };
        let local = mailbox.local().to_ascii_lowercase();
        if local.starts_with("bounce") {
            return "550 5.1.1 No such user here";
        }
        if local.starts_with("slow") || local.starts_with("later") {
            let mut greylisted = lock(&self.greylisted);
            if greylisted.len() >= MAX_GREYLISTED {
                greylisted.clear();
            }
            if greylisted.insert(path.clone()) {
                return "451 4.7.1 Greylisted, come back later";
            }
        }
        "250 2.1.5 Ok"
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Sessions end with the server.
    let mut sessions = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        while sessions.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                sessions.spawn(async move {
                    let _permit = permit;
                    // A client that breaks off is no affair of ours.
                    _ = Session::new(stream, shared).serve().await;
                });
            }
            // Out of file descriptors, most likely: that passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One client.
struct Session {
    stream: TcpStream,
    shared: Arc<Shared>,
    input: Vec<u8>,
    /// Replies that wait until there is nothing left to read (RFC 2920 §3.2).
    output: Vec<u8>,
    reverse_path: Option<ReversePath>,
    recipients: Vec<ForwardPath>,
}

/// Why a session ends.
enum End {
    Quit,
    Lost,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Lost
    }
}

impl Session {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Session {
        _ = stream.set_nodelay(true);
        Session {
            stream,
            shared,
            input: Vec::new(),
            output: Vec::new(),
            reverse_path: None,
            recipients: Vec::new(),
        }
    }

    async fn serve(mut self) -> Result<(), End> {
        self.say("220 sink.localhost ESMTP Waybill demo sink");
        loop {
            let line = self.line().await?;
            if let Err(end) = self.command(&line).await {
                _ = self.flush().await;
                return Err(end);
            }
        }
    }

    async fn command(&mut self, line: &str) -> Result<(), End> {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let size = format!("250-SIZE {MAX_MESSAGE_BYTES}");
                self.say("250-sink.localhost");
                self.say("250-PIPELINING");
                self.say(&size);
                self.say("250-8BITMIME");
                self.say("250-SMTPUTF8");
                self.say("250-DSN");
                self.say("250 ENHANCEDSTATUSCODES");
            }
            "HELO" => self.say("250 sink.localhost"),
            "MAIL" => self.mail(line),
            "RCPT" => self.rcpt(line),
            "DATA" => self.data().await?,
            "RSET" => {
                self.clear();
                self.say("250 2.0.0 Ok");
            }
            "NOOP" => self.say("250 2.0.0 Ok"),
            "QUIT" => {
                self.say("221 2.0.0 Bye");
                return Err(End::Quit);
            }
            _ => self.say("500 5.5.2 Not a command that is known here"),
        }
        Ok(())
    }

    fn mail(&mut self, line: &str) {
        match path(line).map(ReversePath::parse) {
            _ if self.reverse_path.is_some() => self.say("503 5.5.1 MAIL was given already"),
            Some(Ok(reverse_path)) => {
                self.reverse_path = Some(reverse_path);
                self.say("250 2.1.0 Ok");
            }
            Some(Err(_)) | None => self.say("501 5.1.7 Not an address"),
        }
    }

    fn rcpt(&mut self, line: &str) {
        match path(line).map(ForwardPath::parse) {
            _ if self.reverse_path.is_none() => self.say("503 5.5.1 MAIL comes first"),
            _ if self.recipients.len() >= MAX_RECIPIENTS => self.say("452 4.5.3 Too many"),
            Some(Ok(forward_path)) => {
                let reply = self.shared.judge(&forward_path);
                self.say(reply);
                if reply.starts_with('2') {
                    self.recipients.push(forward_path);
                }
            }
            Some(Err(_)) | None => self.say("501 5.1.3 Not an address"),
        }
    }

    async fn data(&mut self) -> Result<(), End> {
        if self.recipients.is_empty() {
            self.say("554 5.5.1 No valid recipients");
            return Ok(());
        }
        self.say("354 End with <CRLF>.<CRLF>");
        match self.message().await? {
            Some(bytes) => {
                let reverse_path = self.reverse_path.take().unwrap_or(ReversePath::Null);
                let recipients = std::mem::take(&mut self.recipients);
                let number = self.shared.keep(reverse_path, recipients, bytes.into());
                self.say(&format!("250 2.0.0 Ok: queued as SINK{number:06}"));
            }
            None => self.say("552 5.3.4 Message too big"),
        }
        self.clear();
        Ok(())
    }

    /// Reads up to the final dot; `None` when it was too much to keep.
    async fn message(&mut self) -> Result<Option<Vec<u8>>, End> {
        let mut bytes = Vec::new();
        let mut fits = true;
        loop {
            // Whole lines only, so that a dot at their beginning is seen.
            let mut begin = 0;
            while let Some(length) = memmem::find(&self.input[begin..], b"\r\n") {
                let line = &self.input[begin..begin + length + 2];
                begin += line.len();
                if line == b".\r\n" {
                    self.input.drain(..begin);
                    return Ok(fits.then_some(bytes));
                }
                fits &= bytes.len() + line.len() <= MAX_MESSAGE_BYTES;
                if fits {
                    bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                }
            }
            self.input.drain(..begin);
            if self.input.len() > MAX_TEXT_LINE_BYTES {
                return Err(End::Lost);
            }
            self.read().await?;
        }
    }

    fn clear(&mut self) {
        self.reverse_path = None;
        self.recipients.clear();
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(length) = memmem::find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..length + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..length]).into_owned());
            }
            if self.input.len() > MAX_LINE_BYTES {
                self.say("500 5.5.2 Line too long");
                self.flush().await?;
                return Err(End::Lost);
            }
            self.read().await?;
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    async fn read(&mut self) -> Result<(), End> {
        self.flush().await?;
        let mut buffer = vec![0; 32 * 1024];
        let count = timeout(IDLE, self.stream.read(&mut buffer)).await.map_err(|_| End::Lost)??;
        if count == 0 {
            return Err(End::Lost);
        }
        self.input.extend_from_slice(&buffer[..count]);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        let output = std::mem::take(&mut self.output);
        timeout(IDLE, self.stream.write_all(&output)).await.map_err(|_| End::Lost)??;
        Ok(())
    }
}

/// What stands between `<` and `>`; the parameters behind it are taken and ignored.
fn path(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('<')?;
    // The last one: a quoted local part may hold a `>`, a parameter may not.
    rest.rsplit_once('>').map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says `script` to a new sink and gives the codes of its replies.
    async fn codes(sink: &SmtpSink, script: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(sink.address()).await.unwrap();
        stream.write_all(script.as_bytes()).await.unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).await.unwrap();
        let last_lines = replies.lines().filter(|line| line.as_bytes()[3] == b' ');
        last_lines.map(|line| line[..3].to_owned()).collect()
    }

    #[tokio::test]
    async fn recipients_fail_as_they_are_named() {
        let sink = SmtpSink::start().await.unwrap();
        let script = "RCPT TO:<a@x>\r\nEHLO x\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n\
                      RCPT TO:<bounce-1@x.test>\r\nRCPT TO:<not an address>\r\nRCPT TO:<later@x.test>\r\n\
                      RCPT TO:<later@x.test>\r\nDATA\r\n..x\r\n.\r\nDATA\r\nBREW\r\nQUIT\r\n";
        let expected = [
            "220", "503", "250", "250", "503", "550", "501", "451", "250", "354", "250", "554",
            "500", "221",
        ];
        assert_eq!(codes(&sink, script).await, expected);
        let messages = sink.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].bytes, ".x\r\n");
        assert_eq!(messages[0].recipients, [ForwardPath::parse("later@x.test").unwrap()]);
        assert_eq!((messages[0].number, *sink.received().borrow()), (1, 1));
    }

    #[tokio::test]
    async fn the_relay_takes_it_for_a_smarthost() {
        use crate::model::{EnvelopeRecipient, Outgoing, UpstreamName};
        use crate::relay::settings::{RelayTimeouts, SmtpUpstream, UpstreamTls};
        use crate::relay::{SmtpRelay, Transaction};
        let sink = SmtpSink::start().await.unwrap();
        let settings = SmtpUpstream {
            name: UpstreamName::parse("sink").unwrap(),
            host: sink.address().ip().to_string(),
            port: sink.address().port(),
            tls: UpstreamTls::Off,
            tls_ca: None,
            credential: None,
            connections: 1,
            rate_per_second: None,
            hostname: "gateway.test".into(),
            timeouts: RelayTimeouts::default(),
        };
        let relay = SmtpRelay::new(settings).unwrap();
        let recipient = |address: &str| EnvelopeRecipient {
            path: ForwardPath::parse(address).unwrap(),
            notify: None,
            original: None,
        };
        let transaction = Transaction {
            reverse_path: ReversePath::parse("a@x.test").unwrap(),
            recipients: ["jøran@x.test", "bounce@x.test", "slow@x.test"].map(recipient).to_vec(),
            eight_bit: true,
            smtputf8: true,
            ret: None,
            envid: Some("1".into()),
            message: Outgoing::new(vec![Bytes::from_static(b".\xff\r\n")]),
        };
        let words = |outcomes: Vec<crate::model::Outcome>| -> Vec<&'static str> {
            outcomes.iter().map(crate::model::Outcome::as_str).collect()
        };
        assert_eq!(words(relay.attempt(&transaction).await), ["sent", "permanent", "temporary"]);
        assert_eq!(words(relay.attempt(&transaction).await), ["sent", "permanent", "sent"]);
        let messages = sink.messages();
        assert_eq!((messages.len(), messages[1].recipients.len()), (2, 2));
        assert_eq!(messages[0].bytes, transaction.message.segments[0]);
    }

    #[tokio::test]
    async fn only_the_last_messages_are_kept() {
        let sink = SmtpSink::start().await.unwrap();
        let one =
            "MAIL FROM:<a@x.test>\r\nRCPT TO:<\"a>b\"@x.test> NOTIFY=NEVER\r\nDATA\r\nx\r\n.\r\n";
        let script = one.repeat(MAX_KEPT + 3) + "QUIT\r\n";
        codes(&sink, &script).await;
        let numbers: Vec<u64> = sink.messages().iter().map(|message| message.number).collect();
        assert_eq!(numbers, (4..=MAX_KEPT as u64 + 3).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_endless_line_ends_the_session() {
        let sink = SmtpSink::start().await.unwrap();
        assert_eq!(codes(&sink, &"x".repeat(MAX_LINE_BYTES + 1)).await, ["220", "500"]);
    }
}
