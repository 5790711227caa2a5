//! The SMTP port of the return path: takes mail to that address alone, and relays nothing but
//! what it passes on to the sender.
//!
//! Drives `smtp::Session` over a connection. No AUTH; one recipient a message, so that one address
//! says whom a report is about (more are told to come in another transaction, RFC 5321 §4.5.3.1.10);
//! bodies stay in memory within a budget that all sessions share; every wait has a deadline. 250 is
//! said only after the message is durable and what it says is recorded: until then whoever sends it
//! keeps it.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::mail::{MailDesk, Piece};
use super::settings::{ReturnPathSettings, ReturnPathTls};
use crate::archive;
use crate::model::{EnhancedCode, ForwardPath, Mailbox, Reply};
use crate::net::{Connection, ConnectionLimits, Listener, NetError, Stop, Tls, describe_tls};
use crate::rewrite::token_of;
use crate::smtp::{
    AuthOffer, AuthVerdict, BareNewline, Client, Input, Output, Phase, Session, SessionSettings,
    TlsOffer, Transaction, Wish,
};

/// A report brings the original back, but no larger one than this.
const MAX_MESSAGE_BYTES: u64 = 16 << 20;
/// What all sessions together keep in memory of messages that are not complete.
const MAX_KEPT_BYTES: usize = 128 << 20;
const MAX_CONNECTIONS: usize = 200;
const MAX_CONNECTIONS_PER_CLIENT: usize = 20;
const MAX_ERRORS: usize = 10;
/// How long nothing at all may come (RFC 5321 §4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(300);
/// How long a connection may last, whatever comes.
const CONNECTION: Duration = Duration::from_secs(1_800);
const WRITE: Duration = Duration::from_secs(60);
/// How long the last reply may take to be read after this side has said good-bye.
const LINGER: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 16 << 10;

/// Why the ports of the return path can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MailPortError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the feedback listener on {address} needs a certificate, and none is configured")]
    NoCertificate { address: SocketAddr },
}

/// Listeners that are open and do not accept yet.
pub struct MailPort {
    doors: Vec<(Listener, Arc<MailDoor>)>,
    limits: Arc<ConnectionLimits>,
}

/// What the connections of one listener share.
struct MailDoor {
    session: Arc<SessionSettings>,
    is_implicit_tls: bool,
    tls: Option<Arc<Tls>>,
    return_path: Mailbox,
    desk: Arc<MailDesk>,
    kept: Arc<AtomicUsize>,
}

impl MailPort {
    /// Opens every listener.
    pub async fn bind(
        settings: &ReturnPathSettings,
        hostname: &str,
        tls: Option<Arc<Tls>>,
        desk: MailDesk,
    ) -> Result<MailPort, MailPortError> {
        let (desk, kept) = (Arc::new(desk), Arc::new(AtomicUsize::new(0)));
        let mut doors = Vec::with_capacity(settings.listeners.len());
        for listener in &settings.listeners {
            if listener.tls != ReturnPathTls::Off && tls.is_none() {
                return Err(MailPortError::NoCertificate { address: listener.listen });
            }
            let door = MailDoor {
                session: Arc::new(session_settings(hostname, listener.tls)),
                is_implicit_tls: listener.tls == ReturnPathTls::Implicit,
                tls: tls.clone(),
                return_path: settings.return_path.clone(),
                desk: desk.clone(),
                kept: kept.clone(),
            };
            doors.push((Listener::bind(listener.listen).await?, Arc::new(door)));
        }
        let limits = ConnectionLimits::new(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT);
        Ok(MailPort { doors, limits })
    }

    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|(listener, _)| listener.address()).collect()
    }

    /// Accepts until the stop is requested; returns at once.
    pub fn run(self, stop: &Stop) {
        for (listener, door) in self.doors {
            let serve = {
                let (door, stop) = (door.clone(), stop.clone());
                move |connection| serve(door.clone(), stop.clone(), connection)
            };
            let refuse = move |stream, peer| turn_away(&door, stream, peer);
            stop.spawn(listener.run(self.limits.clone(), stop.clone(), serve, refuse));
        }
    }
}

fn session_settings(hostname: &str, tls: ReturnPathTls) -> SessionSettings {
    SessionSettings {
        hostname: hostname.to_owned(),
        greeting: "ESMTP".to_owned(),
        max_message_size_bytes: MAX_MESSAGE_BYTES,
        max_recipients: 1,
        max_errors: MAX_ERRORS,
        max_hold: Duration::ZERO,
        // Old systems write reports, and a report with a bare LF is still a report.
        bare_newline: BareNewline::Fix,
        tls: match tls {
            ReturnPathTls::StartTls => TlsOffer::StartTls,
            ReturnPathTls::Off | ReturnPathTls::Implicit => TlsOffer::None,
        },
        auth: AuthOffer::Off,
        auth_in_clear: false,
    }
}

/// One connection too many is told so, if that takes no waiting; what waits for TLS would not
/// understand it.
fn turn_away(door: &MailDoor, stream: TcpStream, peer: SocketAddr) {
    tracing::info!(client = %peer.ip(), "connection to the return path refused: too many");
    if door.is_implicit_tls {
        return;
    }
    if let Ok(mut stream) = stream.into_std() {
        let line = format!("421 4.7.0 {}: Too many connections\r\n", door.session.hostname);
        let _ = stream.write_all(line.as_bytes());
    }
}

/// How a conversation came to its end.
enum Ending {
    Over,
    /// The client waits for the handshake.
    StartTls,
}

async fn serve(door: Arc<MailDoor>, stop: Stop, connection: Connection) {
    let Connection { mut stream, peer } = connection;
    let mut driver = Driver::new(door.clone(), stop, peer.ip().to_canonical());
    if !door.is_implicit_tls {
        driver.give(Input::Connected);
        match driver.converse(&mut stream).await {
            Ok(Ending::StartTls) => {}
            Ok(Ending::Over) => return,
            Err(error) => return driver.broken(&error),
        }
    }
    let Some(tls) = &door.tls else { return };
    let mut stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::info!(client = %driver.address, %error, "no TLS at the return path");
            return;
        }
    };
    driver.tls = Some(describe_tls(stream.get_ref().1));
    let is_first = door.is_implicit_tls;
    driver.give(if is_first { Input::Connected } else { Input::TlsEstablished });
    if let Err(error) = driver.converse(&mut stream).await {
        driver.broken(&error);
    }
}

/// Octets of a message that is on its way, counted as long as they are kept.
struct Kept {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Kept {
    /// Counts what is kept now; false when all sessions together keep too much.
    fn set(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let all = match bytes.checked_sub(before) {
            Some(more) => self.all.fetch_add(more, Ordering::Relaxed) + more,
            None => self.all.fetch_sub(before - bytes, Ordering::Relaxed),
        };
        bytes <= before || all <= MAX_KEPT_BYTES
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One session and what belongs to it.
struct Driver {
    door: Arc<MailDoor>,
    stop: Stop,
    address: IpAddr,
    tls: Option<String>,
    session: Session,
    out: Output,
    kept: Kept,
    ends_at: Instant,
    is_told_to_stop: bool,
}

impl Driver {
    fn new(door: Arc<MailDoor>, stop: Stop, address: IpAddr) -> Driver {
        // Anybody may send here; to whom is asked of each recipient.
        let client = Client { known: true, encrypted: door.is_implicit_tls };
        Driver {
            session: Session::new(door.session.clone(), client),
            out: Output::default(),
            kept: Kept { all: door.kept.clone(), bytes: 0 },
            ends_at: Instant::now() + CONNECTION,
            tls: None,
            is_told_to_stop: false,
            door,
            stop,
            address,
        }
    }

    fn broken(&self, error: &io::Error) {
        tracing::debug!(client = %self.address, %error, "connection to the return path lost");
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(self.door.desk.now(), input, &mut self.out);
        self.out.discarded = false;
        for refusal in self.out.refusals.drain(..) {
            let client = self.address;
            tracing::info!(%client, command = refusal.command, reply = %refusal.reply, "refused at the return path");
        }
    }

    /// Goes on until the session ends or wants TLS.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(wish) = self.out.wish.take() {
                match wish {
                    Wish::Close => return self.hang_up(stream).await,
                    Wish::StartTls => {
                        self.flush(stream).await?;
                        return Ok(Ending::StartTls);
                    }
                    wish => self.grant(wish, stream).await?,
                }
            }
            if !self.kept.set(self.out.body.len()) {
                tracing::warn!(client = %self.address, "too much mail at the return path at once");
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.flush(stream).await?;
            if self.session.phase() == Phase::Closed {
                return self.hang_up(stream).await;
            }
            if self.receive(stream, &mut buffer).await? == Some(0) {
                return Ok(Ending::Over);
            }
        }
    }

    /// Waits for octets, the deadline or the end of the service. Gives how many octets came.
    async fn receive<S>(&mut self, stream: &mut S, buffer: &mut [u8]) -> io::Result<Option<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let deadline = (Instant::now() + IDLE).min(self.ends_at);
        let stop = self.stop.clone();
        tokio::select! {
            read = timeout_at(deadline, stream.read(buffer)) => match read {
                Ok(read) => {
                    let count = read?;
                    self.give(Input::Received(&buffer[..count]));
                    Ok(Some(count))
                }
                Err(_) => {
                    self.give(Input::TimedOut);
                    Ok(None)
                }
            },
            () = stop.requested(), if !self.is_told_to_stop => {
                self.is_told_to_stop = true;
                self.give(Input::ShuttingDown);
                Ok(None)
            }
        }
    }

    /// Does what the session wishes and gives it the verdict.
    async fn grant<S>(&mut self, wish: Wish, stream: &mut S) -> io::Result<()>
    where
        S: AsyncWrite + Unpin,
    {
        match wish {
            Wish::CheckSender(_) => {
                let verdict = match self.door.desk.has_room() {
                    true => Ok(()),
                    false => Err(reply(452, (4, 3, 1), "There is no room to store mail now")),
                };
                self.give(Input::SenderJudged(verdict));
            }
            Wish::CheckRecipient(path) => {
                let verdict = match self.ours(&path) {
                    Some(_) => Ok(()),
                    None => Err(reply(550, (5, 7, 1), "Only reports are taken here")),
                };
                self.give(Input::RecipientJudged(verdict));
            }
            Wish::Authenticate { .. } => self.give(Input::Authenticated(AuthVerdict::Refused)),
            Wish::Submit(transaction) => {
                self.flush(stream).await?;
                let reply = self.take(transaction).await;
                self.give(Input::MessageJudged(reply));
            }
            Wish::StartTls | Wish::Close => {}
        }
        Ok(())
    }

    /// The return path itself, or with something behind a `+`.
    fn ours(&self, path: &ForwardPath) -> Option<Mailbox> {
        let ForwardPath::Mailbox(mailbox) = path else { return None };
        let base = &self.door.return_path;
        let is_base =
            mailbox.domain() == base.domain() && mailbox.local().eq_ignore_ascii_case(base.local());
        (is_base || token_of(base, mailbox).is_some()).then(|| mailbox.clone())
    }

    /// Hands a complete message to the desk; the reply is the desk's.
    async fn take(&mut self, transaction: Transaction) -> Reply {
        let first = transaction.envelope.recipients.first();
        let Some(forward) = first.and_then(|recipient| self.ours(&recipient.path)) else {
            return reply(550, (5, 7, 1), "Only reports are taken here");
        };
        let piece = Piece {
            envelope: transaction.envelope,
            forward,
            raw: Bytes::from(std::mem::take(&mut self.out.body)),
            newlines_fixed: transaction.newlines_fixed,
            client: archive::Client {
                address: self.address,
                helo: transaction.helo,
                protocol: transaction.protocol.to_owned(),
                tls: self.tls.clone(),
                authenticated: None,
                gateway: self.door.session.hostname.clone(),
            },
        };
        match self.door.desk.take(piece).await {
            // From here the report is ours.
            Ok(id) => reply(250, (2, 0, 0), &format!("Ok: taken as {}", id.get())),
            Err(_) => reply(451, (4, 3, 0), "The message can not be stored now"),
        }
    }

    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.out.reply.is_empty() {
            return Ok(());
        }
        let written = async {
            stream.write_all(&self.out.reply).await?;
            stream.flush().await
        };
        let result = timeout(WRITE, written).await;
        self.out.reply = Vec::new();
        result.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Writes what is left and closes; what the client still sends is read for a moment, since a
    /// socket that is closed with unread octets resets the connection.
    async fn hang_up<S>(&mut self, stream: &mut S) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.flush(stream).await?;
        let lingering = async {
            stream.shutdown().await?;
            let mut octets = [0; 1_024];
            while stream.read(&mut octets).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LINGER, lingering).await;
        Ok(Ending::Over)
    }
}

fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
}
