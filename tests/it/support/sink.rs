//! An SMTP server that does what a test tells it to: the upstream, honest or hostile.
//!
//! Without rules it is a well-behaved one. A [`Rule`] replaces its answer to the commands that begin
//! with a text, or to the moments [`CONNECT`] and [`END_OF_DATA`]. It records every octet that it read
//! (after decryption) and every message with its envelope, and counts connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The moment of the greeting.
pub const CONNECT: &str = "\0connect";
/// The moment after the final dot.
pub const END_OF_DATA: &str = "\0end of data";

/// What is done instead of the honest answer.
#[derive(Clone, Debug)]
pub enum Action {
    /// This reply (without its CRLF); the honest consequences follow from its code.
    Say(String),
    /// This reply, then the connection is closed.
    SayAndClose(String),
    /// This reply, and then nothing is read any more.
    SayAndStall(String),
    /// These octets as they are, without consequences.
    Raw(Vec<u8>),
    /// These octets, one in each interval.
    Drip(Vec<u8>, Duration),
    /// These octets for ever.
    Flood(Vec<u8>),
    /// No answer, and the connection stays open.
    Silence,
    Close,
    /// TCP RST.
    Reset,
    /// After STARTTLS: `220` with these octets behind it in clear, and the handshake.
    Inject(Vec<u8>),
    /// The honest answer, after a time.
    Delay(Duration),
}

/// An [`Action`] for the commands that begin with `at`.
#[derive(Clone, Debug)]
struct Rule {
    at: String,
    action: Action,
    /// How many times more; `None` is always.
    times: Option<usize>,
}

/// How the server behaves.
#[derive(Clone, Default)]
pub struct Script {
    rules: Vec<Rule>,
    capabilities: Vec<String>,
    tls: Option<Arc<ServerConfig>>,
    implicit_tls: bool,
    credential: Option<(String, String)>,
    /// What happens when so many octets of a message were read.
    in_data: Option<(usize, Action)>,
}

impl Script {
    /// Everything that the relay can use is offered, but TLS and AUTH.
    pub fn new() -> Script {
        let capabilities = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 100000000"];
        Script { capabilities: capabilities.map(str::to_owned).to_vec(), ..Script::default() }
    }

    /// `action` at each command that begins with `at`, in upper or lower case.
    pub fn on(mut self, at: &str, action: Action) -> Script {
        self.rules.push(Rule { at: at.to_owned(), action, times: None });
        self
    }

    /// The same for the first `times` of them.
    pub fn on_first(mut self, times: usize, at: &str, action: Action) -> Script {
        self.rules.push(Rule { at: at.to_owned(), action, times: Some(times) });
        self
    }

    /// A reply to each command that begins with `at`.
    pub fn say(self, at: &str, reply: &str) -> Script {
        self.on(at, Action::Say(reply.to_owned()))
    }

    /// Does not offer the extension.
    pub fn without(mut self, capability: &str) -> Script {
        self.capabilities.retain(|c| !c.starts_with(capability));
        self
    }

    /// Offers an extension in these words.
    pub fn with(mut self, capability: &str) -> Script {
        self.capabilities.push(capability.to_owned());
        self
    }

    /// Offers STARTTLS.
    pub fn start_tls(mut self, config: Arc<ServerConfig>) -> Script {
        self.tls = Some(config);
        self
    }

    /// Starts with a TLS handshake.
    pub fn implicit_tls(mut self, config: Arc<ServerConfig>) -> Script {
        self.tls = Some(config);
        self.implicit_tls = true;
        self
    }

    /// Refuses MAIL without AUTH.
    pub fn auth(mut self, user: &str, password: &str) -> Script {
        self.credential = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// `action` in the middle of a message, when so many octets of it were read.
    pub fn in_data(mut self, after_octets: usize, action: Action) -> Script {
        self.in_data = Some((after_octets, action));
        self
    }
}

/// A message that the server took responsibility for.
#[derive(Clone, Debug)]
pub struct Received {
    /// Number of the connection, from 0.
    pub connection: usize,
    /// The MAIL and RCPT lines that were accepted, without CRLF.
    pub mail: String,
    pub rcpts: Vec<String>,
    /// Without dot-stuffing.
    pub bytes: Vec<u8>,
    pub tls: bool,
    pub authenticated: bool,
}

/// What the server saw.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub connections: usize,
    pub open: usize,
    pub most_open: usize,
    /// What each connection read, decrypted.
    pub wires: Vec<Vec<u8>>,
    pub messages: Vec<Received>,
}

/// The server; it stops when it is dropped.
pub struct Sink {
    pub address: SocketAddr,
    record: Arc<watch::Sender<Record>>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub async fn start(script: Script) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(watch::Sender::new(Record::default()));
        let shared = record.clone();
        let task = tokio::spawn(async move {
            let script = Arc::new(Mutex::new(script));
            // Sessions end with the server.
            let mut sessions = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut number = 0;
                shared.send_modify(|record| {
                    number = record.connections;
                    record.connections += 1;
                    record.open += 1;
                    record.most_open = record.most_open.max(record.open);
                    record.wires.push(Vec::new());
                });
                let (script, record) = (script.clone(), shared.clone());
                sessions.spawn(async move {
                    Session::open(stream, script, record, number).await;
                });
            }
        });
        Sink { address, record, task }
    }

    /// What happened so far.
    pub fn record(&self) -> Record {
        self.record.borrow().clone()
    }

    pub fn messages(&self) -> Vec<Received> {
        self.record().messages
    }

    pub fn last_message(&self) -> Option<Received> {
        self.record.borrow().messages.last().cloned()
    }

    /// Waits until `condition` holds; fails the test after ten seconds.
    pub async fn wait_for(&self, condition: impl FnMut(&Record) -> bool) -> Record {
        let mut watch = self.record.subscribe();
        let seen = tokio::time::timeout(Duration::from_secs(10), watch.wait_for(condition)).await;
        seen.expect("the sink never saw it").unwrap().clone()
    }
}

/// Counts a connection for as long as it is served.
struct OpenGuard(Arc<watch::Sender<Record>>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.send_modify(|record| record.open -= 1);
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

struct Session {
    stream: Box<dyn Io>,
    /// A second handle to the socket, for the RST.
    control: Option<TcpStream>,
    script: Arc<Mutex<Script>>,
    /// Until the client says goodbye or the session ends.
    open: Option<OpenGuard>,
    record: Arc<watch::Sender<Record>>,
    number: usize,
    input: Vec<u8>,
    tls: bool,
    authenticated: bool,
    mail: Option<String>,
    rcpts: Vec<String>,
}

/// The session is over.
struct Over;

impl Session {
    async fn open(
        stream: TcpStream,
        script: Arc<Mutex<Script>>,
        record: Arc<watch::Sender<Record>>,
        number: usize,
    ) {
        let std = stream.into_std().unwrap();
        let control = TcpStream::from_std(std.try_clone().unwrap()).unwrap();
        let mut session = Session {
            stream: Box::new(TcpStream::from_std(std).unwrap()),
            control: Some(control),
            script,
            open: Some(OpenGuard(record.clone())),
            record,
            number,
            input: Vec::new(),
            tls: false,
            authenticated: false,
            mail: None,
            rcpts: Vec::new(),
        };
        _ = session.serve().await;
        // A polite close, unless it is to be a reset.
        if session.control.is_some() {
            _ = session.stream.shutdown().await;
        }
    }

    async fn serve(&mut self) -> Result<(), Over> {
        let (implicit, tls) = {
            let script = self.script.lock().unwrap();
            (script.implicit_tls, script.tls.clone())
        };
        if let (true, Some(config)) = (implicit, tls) {
            self.handshake(config).await?;
        }
        self.answer(CONNECT, "220 sink.test ESMTP").await?;
        loop {
            let line = self.read_line().await?;
            self.command(&line).await?;
        }
    }

    fn capabilities(&self) -> String {
        let mut lines = vec!["sink.test".to_owned()];
        let script = self.script.lock().unwrap();
        lines.extend(script.capabilities.clone());
        if script.tls.is_some() && !self.tls {
            lines.push("STARTTLS".into());
        }
        if script.credential.is_some() {
            lines.push("AUTH PLAIN LOGIN".into());
        }
        let last = lines.len() - 1;
        let mark = |i| if i == last { ' ' } else { '-' };
        let lines = lines.iter().enumerate().map(|(i, line)| format!("250{}{line}", mark(i)));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    async fn command(&mut self, line: &str) -> Result<(), Over> {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let reply = self.capabilities();
                self.answer(line, &reply).await.map(|_| ())
            }
            "HELO" => self.answer(line, "250 sink.test").await.map(|_| ()),
            "STARTTLS" => self.start_tls(line).await,
            "AUTH" => self.auth(line).await,
            "MAIL" => {
                let needs_auth = self.script.lock().unwrap().credential.is_some();
                let honest = match needs_auth && !self.authenticated {
                    true => "530 5.7.0 Authentication required",
                    false => "250 2.1.0 Ok",
                };
                if self.answer(line, honest).await? == 2 {
                    self.mail = Some(line.to_owned());
                    self.rcpts.clear();
                }
                Ok(())
            }
            "RCPT" => {
                let honest = match self.mail.is_some() {
                    true => "250 2.1.5 Ok",
                    false => "503 5.5.1 MAIL first",
                };
                if self.answer(line, honest).await? == 2 {
                    self.rcpts.push(line.to_owned());
                }
                Ok(())
            }
            "DATA" => {
                let honest = match self.rcpts.is_empty() {
                    true => "554 5.5.1 no valid recipients",
                    false => "354 go on",
                };
                match self.answer(line, honest).await? {
                    3 => self.data().await,
                    _ => Ok(()),
                }
            }
            "RSET" => {
                self.mail = None;
                self.answer(line, "250 2.0.0 Ok").await.map(|_| ())
            }
            "QUIT" => {
                // Whoever reads the reply may open another at once.
                self.open = None;
                self.answer(line, "221 2.0.0 Bye").await?;
                Err(Over)
            }
            _ => self.answer(line, "500 5.5.2 what?").await.map(|_| ()),
        }
    }

    /// Does what the rules say at `at`, or says `honest`; gives the class of the reply.
    async fn answer(&mut self, at: &str, honest: &str) -> Result<u8, Over> {
        let action = self.action(at).unwrap_or_else(|| Action::Say(honest.to_owned()));
        self.act(action, honest).await
    }

    async fn act(&mut self, action: Action, honest: &str) -> Result<u8, Over> {
        match action {
            Action::Say(reply) => {
                self.write(format!("{reply}\r\n").as_bytes()).await?;
                Ok(reply.as_bytes().first().map_or(0, |digit| digit - b'0'))
            }
            Action::SayAndClose(reply) => {
                self.write(format!("{reply}\r\n").as_bytes()).await?;
                Err(Over)
            }
            Action::SayAndStall(reply) => {
                self.write(format!("{reply}\r\n").as_bytes()).await?;
                std::future::pending().await
            }
            Action::Raw(octets) => self.write(&octets).await.map(|()| 0),
            Action::Drip(octets, interval) => {
                for octet in octets {
                    self.write(&[octet]).await?;
                    tokio::time::sleep(interval).await;
                }
                Ok(0)
            }
            Action::Flood(octets) => loop {
                self.write(&octets).await?;
            },
            Action::Silence => {
                while self.read().await.is_ok() {}
                Err(Over)
            }
            Action::Close | Action::Inject(_) => Err(Over),
            Action::Reset => self.reset(),
            Action::Delay(time) => {
                tokio::time::sleep(time).await;
                self.write(format!("{honest}\r\n").as_bytes()).await?;
                Ok(honest.as_bytes()[0] - b'0')
            }
        }
    }

    fn action(&self, at: &str) -> Option<Action> {
        let mut script = self.script.lock().unwrap();
        let matches = |rule: &&mut Rule| {
            at.to_ascii_lowercase().starts_with(&rule.at.to_ascii_lowercase())
                && rule.times != Some(0)
        };
        let rule = script.rules.iter_mut().find(matches)?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.action.clone())
    }

    fn reset(&mut self) -> Result<u8, Over> {
        if let Some(control) = self.control.take() {
            control.set_zero_linger().unwrap();
        }
        Err(Over)
    }

    async fn start_tls(&mut self, line: &str) -> Result<(), Over> {
        let config = self.script.lock().unwrap().tls.clone();
        let Some(config) = config.filter(|_| !self.tls) else {
            return self.answer(line, "454 4.7.0 TLS not available").await.map(|_| ());
        };
        match self.action(line) {
            None => self.write(b"220 2.0.0 go\r\n").await?,
            Some(Action::Inject(octets)) => {
                self.write(&[b"220 2.0.0 go\r\n", &octets[..]].concat()).await?;
            }
            Some(Action::Say(reply)) => {
                return self.write(format!("{reply}\r\n").as_bytes()).await;
            }
            Some(_) => return Err(Over),
        }
        self.handshake(config).await
    }

    async fn handshake(&mut self, config: Arc<ServerConfig>) -> Result<(), Over> {
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|_| Over)?;
        self.stream = Box::new(stream);
        self.tls = true;
        self.input.clear();
        Ok(())
    }

    /// AUTH PLAIN with an initial response, and AUTH LOGIN.
    async fn auth(&mut self, line: &str) -> Result<(), Over> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let expected = self.script.lock().unwrap().credential.clone();
        let (user, password) = expected.ok_or(Over)?;
        let given = match line.strip_prefix("AUTH PLAIN ") {
            Some(initial) => STANDARD.decode(initial).map_err(|_| Over)?,
            None => {
                let mut given = Vec::new();
                for prompt in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                    self.write(format!("{prompt}\r\n").as_bytes()).await?;
                    let answer = self.read_line().await?;
                    given.push(0);
                    given.extend(STANDARD.decode(answer).map_err(|_| Over)?);
                }
                given
            }
        };
        let honest = match given == format!("\0{user}\0{password}").into_bytes() {
            true => "235 2.7.0 welcome",
            false => "535 5.7.8 no",
        };
        self.authenticated = self.answer(line, honest).await? == 2;
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Over> {
        let mut in_data = self.script.lock().unwrap().in_data.clone();
        let mut begin = 0;
        let mut bytes = Vec::new();
        let mut taken = 0;
        loop {
            if in_data.as_ref().is_some_and(|(after, _)| taken + self.input.len() >= *after)
                && let Some((_, action)) = in_data.take()
            {
                self.act(action, "").await?;
            }
            // Only CRLF ends a line here, so a bare CR or LF would stay inside one.
            match memchr::memmem::find(&self.input[begin..], b"\r\n") {
                Some(length) => {
                    let line = &self.input[begin..begin + length + 2];
                    begin += line.len();
                    if line == b".\r\n" {
                        break;
                    }
                    bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                }
                None => {
                    self.input.drain(..begin);
                    taken += begin;
                    begin = 0;
                    self.read().await?;
                }
            }
        }
        self.input.drain(..begin);
        let received = Received {
            connection: self.number,
            mail: self.mail.take().unwrap_or_default(),
            rcpts: std::mem::take(&mut self.rcpts),
            bytes,
            tls: self.tls,
            authenticated: self.authenticated,
        };
        let has_recipients = !received.rcpts.is_empty();
        let honest = match has_recipients {
            true => format!("250 2.0.0 Ok: queued as {:04}", self.number),
            false => "554 5.5.1 no valid recipients".to_owned(),
        };
        // What a peer that closes before its reply makes of the message is its affair: it is
        // recorded, because such a peer may well have kept it.
        let class = self.answer(END_OF_DATA, &honest).await;
        if !matches!(class, Ok(4 | 5)) {
            self.record.send_modify(|record| {
                record.messages.push(received);
            });
        }
        class.map(|_| ())
    }

    async fn read_line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Over> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).await.map_err(|_| Over)?;
        if count == 0 {
            return Err(Over);
        }
        self.input.extend_from_slice(&buffer[..count]);
        self.record
            .send_modify(|record| record.wires[self.number].extend_from_slice(&buffer[..count]));
        Ok(())
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Over> {
        self.stream.write_all(octets).await.map_err(|_| Over)?;
        self.stream.flush().await.map_err(|_| Over)
    }
}
