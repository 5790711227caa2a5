//! The SMTP port with a door that records what it gets, and a client that speaks line by line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waybill::intake::Submission;
use waybill::model::{AppName, EnhancedCode, Reply, Secret};
use waybill::net::{Stop, Tls, TlsSettings};
use waybill::policy::{
    App, Apps, HoldRule, OnUnknownByChannel, Rate, SmsPolicy, SmtpCredential, Track,
};
use waybill::smtp::BareNewline;
use waybill::submission::settings::{AuthMode, ListenerTls, SmtpListener};
use waybill::submission::{Door, SmtpServer, SmtpSettings};

/// Longer than any reply takes, and short enough that a missing one is noticed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Says the same to every message and keeps it.
#[derive(Clone)]
pub struct RecordingDoor {
    pub reply: Reply,
    pub submissions: Arc<Mutex<Vec<Submission>>>,
    pub full: Arc<AtomicBool>,
}

impl Door for RecordingDoor {
    fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }

    async fn submit(&self, submission: Submission) -> Reply {
        self.submissions.lock().unwrap().push(submission);
        self.reply.clone()
    }
}

/// An open port.
pub struct Port {
    pub address: SocketAddr,
    pub stop: Stop,
    pub door: RecordingDoor,
    pub apps: Arc<ArcSwap<Apps>>,
    pub spool: PathBuf,
    certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

/// One listener on loopback, in clear, with AUTH.
pub fn settings() -> SmtpSettings {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    SmtpSettings {
        listeners: vec![SmtpListener { listen, tls: ListenerTls::Off, auth: AuthMode::Optional }],
        hostname: "gateway.example".into(),
        greeting: "ESMTP Waybill".into(),
        max_message_size_bytes: 10_000_000,
        max_recipients: 100,
        max_connections: 10,
        max_connections_per_client: 10,
        max_errors: 20,
        timeout: Duration::from_secs(60),
        bare_newline: BareNewline::Refuse,
    }
}

/// The app `erp` with the password `right`, on loopback too when it is `known`.
pub fn app(known: bool) -> App {
    App {
        name: AppName::parse("erp").unwrap(),
        networks: if known { vec!["127.0.0.0/8".parse().unwrap()] } else { vec![] },
        senders: Vec::new(),
        hold: HoldRule::None,
        track: Track::default(),
        references: Vec::new(),
        rate: Rate::default(),
        on_unknown: OnUnknownByChannel::default(),
        sms: SmsPolicy::default(),
        smtp: Some(SmtpCredential {
            username: "erp".into(),
            password: Secret::new("right".into()),
        }),
    }
}

impl Port {
    pub async fn open(settings: SmtpSettings, app: App, reply: Reply) -> Port {
        let folder = tempfile::tempdir().unwrap();
        let generated = rcgen::generate_simple_self_signed(["gateway.example".into()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        let tls = TlsSettings { certificate: path("certificate.pem"), key: path("key.pem") };
        std::fs::write(&tls.certificate, generated.cert.pem()).unwrap();
        std::fs::write(&tls.key, generated.signing_key.serialize_pem()).unwrap();
        let tls = Tls::load(tls).unwrap();
        let door = RecordingDoor { reply, submissions: Arc::default(), full: Arc::default() };
        let apps = Arc::new(ArcSwap::from_pointee(Apps(vec![Arc::new(app)])));
        let spool = path("spool");
        let server =
            SmtpServer::bind(settings, Some(tls), apps.clone(), door.clone(), spool.clone());
        let server = server.await.unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.addresses()[0].port()));
        let stop = Stop::new();
        server.run(&stop);
        let certificate = generated.cert.der().clone();
        Port { address, stop, door, apps, spool, certificate, _folder: folder }
    }

    /// With the usual settings and a known client; every message is accepted.
    pub async fn usual() -> Port {
        Port::open(settings(), app(true), accepted()).await
    }

    pub async fn connect(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap())
    }

    pub async fn handshake(&self, client: Client) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("gateway.example").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, client.0.into_inner());
        Client(BufReader::new(Box::new(stream.await.unwrap())))
    }
}

/// What the door says when it is content.
pub fn accepted() -> Reply {
    Reply::new(250, Some(EnhancedCode(2, 0, 0)), "Ok: queued as ID")
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client.
pub struct Client(BufReader<Box<dyn Stream>>);

impl Client {
    pub fn over(stream: TcpStream) -> Client {
        Client(BufReader::new(Box::new(stream)))
    }

    pub async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends octets that the server may refuse to take.
    pub async fn try_send(&mut self, octets: &[u8]) -> bool {
        self.0.write_all(octets).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// The next line without its CRLF; empty at the end of the connection.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await;
        read.expect("no reply").unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    /// The last line of the next reply.
    pub async fn reply(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Sends a command and gives the last line of its reply.
    pub async fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Greeting, EHLO, MAIL and RCPT.
    pub async fn begin(&mut self) {
        assert!(self.reply().await.starts_with("220 "));
        for command in
            ["EHLO client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"]
        {
            let reply = self.ask(command).await;
            assert!(reply.starts_with("250 "), "{command}: {reply}");
        }
    }

    /// Whether nothing more comes and the connection is at its end.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        read.is_ok() && rest.is_empty()
    }

    /// Whether something has come that was not read.
    pub async fn has_more(&mut self) -> bool {
        let more = timeout(Duration::from_millis(1), self.0.fill_buf()).await;
        matches!(more, Ok(Ok(octets)) if !octets.is_empty())
    }
}
