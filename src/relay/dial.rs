//! Makes a connection: address, TCP, TLS, greeting, EHLO, AUTH (RFC 5321 §3.1, RFC 3207, RFC 4954).
//!
//! mail-send does the steps; each is called by itself here, because its ready-made ways of
//! connecting do not fit: `connect_plain` waits for a greeting for ever, `connect` always authenticates
//! and knows no opportunistic TLS, and both try one address.
//!
//! Invariants: `StartTls` and `Implicit` end in a checked TLS connection or in an error, never in
//! clear text. After STARTTLS only what the second EHLO offers counts, and octets that came in clear
//! behind the 220 are gone (RFC 3207 §4.2). AUTH goes over TLS, or in mode `Off`, never otherwise.
//! Every wait has a deadline. Each failure is the upstream's, never a message's.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use mail_send::{Credentials, Error as SendError, SmtpClient};
use smtp_proto::{
    AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_DSN, EXT_PIPELINING, EXT_SIZE, EXT_SMTP_UTF8,
    EXT_START_TLS, EhloResponse, Response,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connection::{Capabilities, Connection, OpenCount, Socket};
use super::error::{DialError, DialStep, RelayError};
use super::settings::{RelayTimeouts, SmtpUpstream, UpstreamTls};
use super::tls;
use crate::model::{Domain, EnhancedCode, Reply};

/// Addresses of one host that are tried in one attempt.
const MAX_ADDRESSES: usize = 8;

/// Makes connections to one upstream.
pub(super) struct Dialer {
    settings: SmtpUpstream,
    /// The host without the brackets of an IPv6 literal.
    host: String,
    encryption: Encryption,
    open: Arc<AtomicUsize>,
}

enum Encryption {
    Off,
    Opportunistic(TlsConnector),
    StartTls(TlsConnector),
    Implicit(TlsConnector),
}

/// What STARTTLS came to.
enum Upgrade {
    Done(SmtpClient<Box<TlsStream<TcpStream>>>),
    NotOffered(SmtpClient<TcpStream>, Hello),
}

/// What the upstream said to EHLO; `None` when it only knows HELO.
struct Hello(Option<EhloResponse<String>>);

impl Dialer {
    /// Checks the names and reads the roots.
    pub(super) fn new(settings: SmtpUpstream) -> Result<Dialer, RelayError> {
        let host = settings.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if rustls::pki_types::ServerName::try_from(host.as_str()).is_err() {
            return Err(RelayError::Host { host: settings.host });
        }
        // It is written into a command, so it must be what it claims to be.
        if Domain::parse(&settings.hostname).is_err() || !settings.hostname.is_ascii() {
            return Err(RelayError::Hostname { hostname: settings.hostname });
        }
        let encryption = match (settings.tls, tls::connector(&settings)?) {
            (UpstreamTls::Opportunistic, Some(connector)) => Encryption::Opportunistic(connector),
            (UpstreamTls::StartTls, Some(connector)) => Encryption::StartTls(connector),
            (UpstreamTls::Implicit, Some(connector)) => Encryption::Implicit(connector),
            (UpstreamTls::Off, _) | (_, None) => Encryption::Off,
        };
        Ok(Dialer { settings, host, encryption, open: Arc::default() })
    }

    pub(super) fn settings(&self) -> &SmtpUpstream {
        &self.settings
    }

    /// Connections that are open now, idle ones included.
    pub(super) fn open_connections(&self) -> usize {
        self.open.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A connection that is ready for MAIL, to the first address that answers.
    pub(super) async fn dial(&self) -> Result<Connection, DialError> {
        let mut failure = None;
        for address in self.resolve().await? {
            match self.establish(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => match error.step {
                    DialStep::Reach => failure = Some(error),
                    DialStep::Encrypt | DialStep::Introduce => return Err(error),
                },
            }
        }
        Err(failure.unwrap_or_else(|| self.unresolved("it has no address")))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let target = (self.host.as_str(), self.settings.port);
        match timeout(self.timeouts().connect, tokio::net::lookup_host(target)).await {
            Ok(Ok(addresses)) => Ok(addresses.take(MAX_ADDRESSES).collect()),
            Ok(Err(error)) => Err(self.unresolved(error)),
            Err(_) => Err(self.unresolved("no answer in time")),
        }
    }

    fn unresolved(&self, why: impl Display) -> DialError {
        let detail = format!("cannot find the address of {}: {why}", self.host);
        DialError { detail, reply: None, step: DialStep::Reach }
    }

    async fn establish(&self, address: SocketAddr) -> Result<Connection, DialError> {
        match &self.encryption {
            Encryption::Off => {
                let client = greet(self.reach(address).await?, self.timeouts()).await?;
                self.introduce(client, true).await
            }
            Encryption::Implicit(connector) => {
                let client = self.reach(address).await?;
                let client = client.into_tls(connector, &self.host).await;
                let client =
                    client.map_err(|e| failed("the TLS handshake", e, DialStep::Encrypt))?;
                self.introduce(greet(client, self.timeouts()).await?, true).await
            }
            Encryption::StartTls(connector) => match self.upgrade(address, connector).await? {
                Upgrade::Done(client) => self.introduce(client, true).await,
                Upgrade::NotOffered(..) => Err(DialError {
                    detail: "the upstream does not offer STARTTLS, which is required".into(),
                    reply: None,
                    step: DialStep::Encrypt,
                }),
            },
            Encryption::Opportunistic(connector) => self.opportunistic(address, connector).await,
        }
    }

    /// TLS when it can be had; else clear text, on a connection of its own and without AUTH.
    async fn opportunistic(
        &self,
        address: SocketAddr,
        connector: &TlsConnector,
    ) -> Result<Connection, DialError> {
        match self.upgrade(address, connector).await {
            Ok(Upgrade::Done(client)) => self.introduce(client, true).await,
            Ok(Upgrade::NotOffered(client, hello)) => Ok(self.connection(client, &hello)),
            Err(error) => match error.step {
                DialStep::Encrypt => {
                    tracing::warn!(upstream = %self.settings.name, error = %error.detail,
                        "opportunistic TLS failed; going on in clear text");
                    let client = greet(self.reach(address).await?, self.timeouts()).await?;
                    self.introduce(client, false).await
                }
                DialStep::Reach | DialStep::Introduce => Err(error),
            },
        }
    }

    async fn reach(&self, address: SocketAddr) -> Result<SmtpClient<TcpStream>, DialError> {
        let dialed = SmtpClient::connect(address, self.timeouts().connect).await;
        let mut client =
            dialed.map_err(|e| failed(&format!("connecting to {address}"), e, DialStep::Reach))?;
        // Whole groups of commands are written at once; waiting for more would only delay them.
        _ = client.stream.set_nodelay(true);
        client.timeout = self.timeouts().command;
        Ok(client)
    }

    async fn upgrade(
        &self,
        address: SocketAddr,
        connector: &TlsConnector,
    ) -> Result<Upgrade, DialError> {
        let mut client = greet(self.reach(address).await?, self.timeouts()).await?;
        let hello = self.hello(&mut client).await?;
        if !hello.0.as_ref().is_some_and(|ehlo| ehlo.has_capability(EXT_START_TLS)) {
            return Ok(Upgrade::NotOffered(client, hello));
        }
        let upgraded = client.start_tls(connector, &self.host).await;
        let client = upgraded.map_err(|e| failed("STARTTLS", e, DialStep::Encrypt))?;
        Ok(Upgrade::Done(SmtpClient { stream: Box::new(client.stream), timeout: client.timeout }))
    }

    /// EHLO, and AUTH when there is a credential and `may_authenticate`.
    async fn introduce<S: Socket + 'static>(
        &self,
        mut client: SmtpClient<S>,
        may_authenticate: bool,
    ) -> Result<Connection, DialError> {
        let hello = self.hello(&mut client).await?;
        if let (true, Some(credential)) = (may_authenticate, &self.settings.credential) {
            let mut ehlo = hello.0.clone().unwrap_or_default();
            // mail-send begins what its own features do not let it finish, and then takes the
            // dialogue for another mechanism's.
            ehlo.auth_mechanisms &= AUTH_PLAIN | AUTH_LOGIN;
            let credentials =
                Credentials::new(credential.username.as_str(), credential.password.expose());
            client
                .authenticate(&credentials, &ehlo)
                .await
                .map_err(|error| failed("AUTH", error, DialStep::Introduce))?;
        }
        Ok(self.connection(client, &hello))
    }

    async fn hello<S: Socket>(&self, client: &mut SmtpClient<S>) -> Result<Hello, DialError> {
        let hostname = &self.settings.hostname;
        match client.ehlo(hostname).await {
            Ok(ehlo) => Ok(Hello(Some(ehlo))),
            // A server that knows no EHLO may still take HELO (RFC 5321 §3.2).
            Err(SendError::UnexpectedReply(reply)) if matches!(reply.code, 500..=504) => {
                match client.cmd(format!("HELO {hostname}\r\n")).await {
                    Ok(reply) if reply.code / 100 == 2 => Ok(Hello(None)),
                    Ok(reply) => {
                        Err(failed("HELO", SendError::UnexpectedReply(reply), DialStep::Introduce))
                    }
                    Err(error) => Err(failed("HELO", error, DialStep::Introduce)),
                }
            }
            Err(error) => Err(failed("EHLO", error, DialStep::Introduce)),
        }
    }

    fn connection<S: Socket + 'static>(&self, client: SmtpClient<S>, hello: &Hello) -> Connection {
        let offered = hello.0.as_ref().map(capabilities).unwrap_or_default();
        let open = OpenCount::new(&self.open);
        Connection::new(Box::new(client.stream), offered, *self.timeouts(), open)
    }

    fn timeouts(&self) -> &RelayTimeouts {
        &self.settings.timeouts
    }
}

/// Waits for the greeting, which must be 2yz.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: SmtpClient<S>,
    timeouts: &RelayTimeouts,
) -> Result<SmtpClient<S>, DialError> {
    let patience: Duration = timeouts.greeting;
    let greeting = match timeout(patience, client.read()).await {
        Ok(greeting) => greeting,
        Err(_) => Err(SendError::Timeout),
    };
    match greeting {
        Ok(reply) if reply.code / 100 == 2 => Ok(client),
        Ok(reply) => {
            Err(failed("the greeting", SendError::UnexpectedReply(reply), DialStep::Reach))
        }
        Err(error) => Err(failed("the greeting", error, DialStep::Reach)),
    }
}

fn capabilities(ehlo: &EhloResponse<String>) -> Capabilities {
    Capabilities {
        pipelining: ehlo.has_capability(EXT_PIPELINING),
        eight_bit_mime: ehlo.has_capability(EXT_8BIT_MIME),
        smtputf8: ehlo.has_capability(EXT_SMTP_UTF8),
        dsn: ehlo.has_capability(EXT_DSN),
        size: ehlo.has_capability(EXT_SIZE),
        max_size_bytes: Some(ehlo.size).filter(|&limit| limit > 0),
    }
}

fn failed(what: &str, error: SendError, step: DialStep) -> DialError {
    let (why, reply) = match error {
        SendError::UnexpectedReply(response) | SendError::AuthenticationFailed(response) => {
            let reply = reply(&response);
            (format!("the upstream said {reply}"), Some(reply))
        }
        SendError::Tls(error) => (error.to_string(), None),
        SendError::Io(error) => (error.to_string(), None),
        SendError::Timeout => ("no answer in time".into(), None),
        SendError::UnparseableReply => {
            ("the connection was closed, or the answer is not SMTP".into(), None)
        }
        SendError::UnsupportedAuthMechanism => {
            ("the upstream offers no mechanism that is known here".into(), None)
        }
        other => (other.to_string(), None),
    };
    DialError { detail: format!("{what} failed: {why}"), reply, step }
}

/// The reply as mail-send read it, but for enhanced codes that it may have clipped at 255.
fn reply(response: &Response<String>) -> Reply {
    let [class, subject, detail] = response.esc;
    let genuine = matches!(class, 2 | 4 | 5) && subject < u8::MAX && detail < u8::MAX;
    let enhanced = genuine.then(|| EnhancedCode(class, subject.into(), detail.into()));
    Reply::new(response.code, enhanced, &response.message)
}
