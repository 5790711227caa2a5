//! An SMS provider that does what a test tells it to, over real sockets: honest or hostile.
//!
//! It answers as Twilio does unless it is told otherwise, takes what is asked of it in the order of its
//! answers and accepts everything after them. It records every request as it came, and counts connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use url::Url;
use waybill::model::{Secret, UpstreamName};
use waybill::sms::account::{CallbackUrls, TwilioAccount};
use waybill::sms::provider::ProviderCallbacks;
use waybill::sms::{ProviderProtocol, SmsUpstream};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
pub const AUTH_TOKEN: &str = "wordword-of-the-provider";

/// What is done with one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 201 with a new id.
    Accept,
    /// 201 with a new id, and the connection is closed after it.
    AcceptAndClose,
    /// 400 with this code and text.
    Refuse(u32, &'static str),
    /// 401: wrong credentials.
    Unauthorised,
    /// 429, with as many seconds in `Retry-After`.
    TooFast(Option<u32>),
    /// This status and body.
    Say(u16, &'static str),
    /// These octets as they are; the connection is closed after them.
    Raw(&'static [u8]),
    /// The connection is closed before anything is read from it (on a new one: before TLS).
    CloseBeforeReading,
    /// The request is read, and the connection closed.
    CloseAfterReading,
    /// The request is read, and nothing comes back.
    Hang,
    /// What follows, after a time.
    After(Duration, Box<Answer>),
    /// What follows, once the gate is open.
    When(watch::Receiver<bool>, Box<Answer>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The number of its connection, from 0 on.
    pub connection: usize,
    /// Request line and fields, with the empty line at the end.
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// `POST /2010-04-01/…`.
    pub fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line)
    }

    /// A header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A field of the form in the body.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub requests: Vec<Asked>,
    /// What was done with each of them.
    pub answers: Vec<Answer>,
    /// Ids that it gave, in order.
    pub ids: Vec<String>,
    /// Connections that there were.
    pub connections: usize,
    pub open: usize,
    pub most_open: usize,
}

#[derive(Default)]
struct State {
    record: Record,
    answers: VecDeque<Answer>,
    rest: Option<Answer>,
}

/// The provider; it ends when it is dropped.
pub struct SmsProvider {
    pub address: SocketAddr,
    is_tls: bool,
    state: Arc<Mutex<State>>,
    told: watch::Sender<()>,
    close_idle: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for SmsProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SmsProvider {
    /// In clear.
    pub async fn start() -> SmsProvider {
        SmsProvider::start_with(None).await
    }

    /// Over TLS, with this certificate.
    pub async fn start_tls(config: Arc<ServerConfig>) -> SmsProvider {
        SmsProvider::start_with(Some(config)).await
    }

    async fn start_with(tls: Option<Arc<ServerConfig>>) -> SmsProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let (told, _) = watch::channel(());
        let (close_idle, closing) = watch::channel(0);
        let is_tls = tls.is_some();
        let server =
            Server { state: state.clone(), told: told.clone(), closing, tls: tls.map(Into::into) };
        let task = tokio::spawn(server.run(listener));
        SmsProvider { address, is_tls, state, told, close_idle, task }
    }

    /// Answers to the next requests; after them everything is accepted.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    /// The answer to every request for which there is no other.
    pub fn always(&self, answer: Answer) {
        self.state.lock().unwrap().rest = Some(answer);
    }

    /// What it saw.
    pub fn record(&self) -> Record {
        self.state.lock().unwrap().record.clone()
    }

    /// The requests, in order.
    pub fn requests(&self) -> Vec<Asked> {
        self.record().requests
    }

    /// Waits until what it saw satisfies `condition`.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Record) -> bool) {
        let mut news = self.told.subscribe();
        let wait = async {
            while !condition(&self.record()) {
                news.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "it never came to this: {:?}", self.record());
    }

    /// Closes the connections on which no request is under way, and waits until they are.
    pub async fn close_idle(&self) {
        self.close_idle.send_modify(|count| *count += 1);
        self.wait_for(|record| record.open == 0).await;
    }

    /// `http://127.0.0.1:port`, or `https://localhost:port`.
    pub fn url(&self) -> Url {
        let port = self.address.port();
        let url = match self.is_tls {
            false => format!("http://127.0.0.1:{port}"),
            true => format!("https://localhost:{port}"),
        };
        Url::parse(&url).unwrap()
    }

    /// An `[[upstream]]` that leads here, of Twilio's protocol.
    pub fn upstream(&self, name: &str) -> SmsUpstream {
        let account = TwilioAccount {
            account_sid: ACCOUNT_SID.into(),
            auth_token: Secret::new(AUTH_TOKEN.into()),
            callbacks: CallbackUrls::default(),
        };
        SmsUpstream {
            name: UpstreamName::parse(name).unwrap(),
            connections: 4,
            rate_per_second: None,
            protocol: ProviderProtocol::Twilio { url: self.url(), account },
            callbacks: ProviderCallbacks::default(),
            tls_ca: None,
        }
    }
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    told: watch::Sender<()>,
    closing: watch::Receiver<u64>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    async fn run(self, listener: TcpListener) {
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let number = self.note(|state| {
                state.record.connections += 1;
                state.record.open += 1;
                state.record.most_open = state.record.most_open.max(state.record.open);
                state.record.connections - 1
            });
            let server = self.clone();
            tasks.spawn(async move {
                server.connection(stream, number).await;
                server.note(|state| state.record.open -= 1);
            });
        }
    }

    fn note<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state.lock().unwrap());
        self.told.send_replace(());
        value
    }

    async fn connection(&self, stream: TcpStream, number: usize) {
        _ = stream.set_nodelay(true);
        if self.closes_before_reading() {
            return;
        }
        match &self.tls {
            None => self.serve(stream, number).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.serve(stream, number).await;
                }
            }
        }
    }

    fn closes_before_reading(&self) -> bool {
        self.note(|state| {
            let closes = matches!(state.answers.front(), Some(Answer::CloseBeforeReading));
            if closes {
                state.answers.pop_front();
            }
            closes
        })
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize) {
        let mut closing = self.closing.clone();
        closing.mark_unchanged();
        loop {
            let asked = tokio::select! {
                asked = read_request(&mut stream, connection) => asked,
                _ = closing.changed() => None,
            };
            let Some(asked) = asked else {
                _ = stream.shutdown().await;
                return;
            };
            let answer = self.note(|state| {
                state.record.requests.push(asked);
                let next = state.answers.pop_front();
                let answer = next.or_else(|| state.rest.clone()).unwrap_or(Answer::Accept);
                state.record.answers.push(answer.clone());
                answer
            });
            if !self.answer(&mut stream, answer).await || self.closes_before_reading() {
                _ = stream.shutdown().await;
                return;
            }
        }
    }

    /// Whether the connection stays open.
    async fn answer(&self, stream: &mut (impl AsyncWrite + Unpin), mut answer: Answer) -> bool {
        loop {
            answer = match answer {
                Answer::After(time, then) => {
                    tokio::time::sleep(time).await;
                    *then
                }
                Answer::When(mut gate, then) => {
                    // A gate that nobody holds any more is open.
                    _ = gate.wait_for(|is_open| *is_open).await;
                    *then
                }
                other => {
                    answer = other;
                    break;
                }
            };
        }
        let (text, stays) = match answer {
            Answer::Accept => (self.accepted(""), true),
            Answer::AcceptAndClose => (self.accepted("Connection: close\r\n"), false),
            Answer::Refuse(code, message) => (error(400, code, message, ""), true),
            Answer::Unauthorised => (error(401, 20003, "Authenticate", ""), true),
            Answer::TooFast(seconds) => {
                let after = seconds.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
                (error(429, 20429, "Too Many Requests", &after), true)
            }
            Answer::Say(status, body) => (response(status, "", body), true),
            Answer::Raw(octets) => {
                _ = stream.write_all(octets).await;
                return false;
            }
            Answer::CloseBeforeReading | Answer::CloseAfterReading => return false,
            Answer::Hang => std::future::pending().await,
            // Unwrapped above.
            Answer::After(..) | Answer::When(..) => return false,
        };
        stream.write_all(text.as_bytes()).await.is_ok() && stream.flush().await.is_ok() && stays
    }

    fn accepted(&self, fields: &str) -> String {
        let id = self.note(|state| {
            let id = format!("SM{:032x}", state.record.ids.len() + 1);
            state.record.ids.push(id.clone());
            id
        });
        let body = format!(
            "{{\"sid\":\"{id}\",\"account_sid\":\"{ACCOUNT_SID}\",\"status\":\"queued\",\"num_segments\":\"1\",\
             \"error_code\":null,\"error_message\":null}}"
        );
        response(201, fields, &body)
    }
}

fn error(status: u16, code: u32, message: &str, fields: &str) -> String {
    let body = format!(
        "{{\"code\":{code},\"message\":\"{message}\",\"more_info\":\"https://www.twilio.com/docs/errors/{code}\",\
         \"status\":{status}}}"
    );
    response(status, fields, &body)
}

fn response(status: u16, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// `None` when the connection ended before a whole request came.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), connection: usize) -> Option<Asked> {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        octets.push(stream.read_u8().await.ok()?);
    }
    let mut asked =
        Asked { connection, head: String::from_utf8(octets).unwrap(), body: Vec::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).await.ok()?;
    Some(asked)
}
