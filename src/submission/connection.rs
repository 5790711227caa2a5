//! Drives one SMTP session over one connection.
//!
//! Reads octets and gives them to the session, grants its wishes, and writes its replies; each wait
//! has a deadline. Replies to pipelined commands leave in one write, because nothing is written
//! while there is something to execute. Who the client is, is looked up when it connects: a session
//! keeps what it began with, and a reload is for those who come next.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::deadline::Patience;
use super::door::Door;
use super::guard::AuthGuard;
use super::now;
use super::spool::{Spool, SpoolSpace};
use crate::archive;
use crate::intake::Submission;
use crate::model::{EnhancedCode, Reply, ReversePath, Secret};
use crate::net::{Connection, Stop, Tls, client_key, describe_tls};
use crate::policy::{App, Apps};
use crate::smtp::{AuthVerdict, Client, Input, Output, Phase, Session, SessionSettings};
use crate::smtp::{Transaction, Wish};
use crate::telemetry::record::SmtpConnection;

/// A client that does not take its replies is gone or hostile.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// How long the last reply may take to be read after this side has said good-bye.
const LINGER: Duration = Duration::from_secs(2);
/// What every refused AUTH takes, whatever was wrong: it slows guessing and hides the cause.
const AUTH_REFUSAL_DELAY: Duration = Duration::from_millis(300);
/// What is read at once: commands are short, messages are not.
const COMMAND_READ_BYTES: usize = 4 << 10;
const MESSAGE_READ_BYTES: usize = 64 << 10;

/// What the connections of one listener share.
pub(super) struct Port<D> {
    pub(super) session: Arc<SessionSettings>,
    pub(super) implicit_tls: bool,
    pub(super) timeout: Duration,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) apps: Arc<ArcSwap<Apps>>,
    pub(super) guard: Arc<AuthGuard>,
    pub(super) spool: SpoolSpace,
    pub(super) door: D,
}

/// How a conversation came to its end.
enum Ending {
    /// The session is over, or the client is gone.
    Over,
    /// The client waits for the handshake.
    StartTls,
}

/// Serves one connection to its end.
pub(super) async fn serve<D: Door>(port: Arc<Port<D>>, stop: Stop, connection: Connection) {
    let _counted = SmtpConnection::open();
    let Connection { mut stream, peer } = connection;
    let mut driver = Driver::new(Arc::clone(&port), stop, peer);
    if !port.implicit_tls {
        driver.give(Input::Connected);
        match driver.converse(&mut stream).await {
            Ok(Ending::StartTls) => {}
            Ok(Ending::Over) => return,
            Err(error) => return driver.broken(&error),
        }
    }
    let Some(tls) = &port.tls else { return };
    let mut stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::info!(client = %driver.address, %error, "no TLS");
            return;
        }
    };
    driver.encrypted(describe_tls(stream.get_ref().1));
    if let Err(error) = driver.converse(&mut stream).await {
        driver.broken(&error);
    }
}

/// One session and what belongs to it.
struct Driver<D> {
    port: Arc<Port<D>>,
    stop: Stop,
    address: IpAddr,
    apps: Arc<Apps>,
    /// The app that sends: by network, or by AUTH.
    app: Option<Arc<App>>,
    authenticated: Option<String>,
    tls: Option<String>,
    session: Session,
    out: Output,
    spool: Spool,
    told_to_stop: bool,
}

impl<D: Door> Driver<D> {
    fn new(port: Arc<Port<D>>, stop: Stop, peer: SocketAddr) -> Driver<D> {
        let address = peer.ip().to_canonical();
        let apps = port.apps.load_full();
        let app = apps.by_network(address).cloned();
        let client = Client { known: app.is_some(), encrypted: port.implicit_tls };
        Driver {
            session: Session::new(Arc::clone(&port.session), client),
            spool: Spool::new(port.spool.clone()),
            out: Output::default(),
            authenticated: None,
            tls: None,
            told_to_stop: false,
            port,
            stop,
            address,
            apps,
            app,
        }
    }

    /// TLS is there: what AUTH said before it is forgotten.
    fn encrypted(&mut self, tls: String) {
        self.tls = Some(tls);
        self.authenticated = None;
        self.app = self.apps.by_network(self.address).cloned();
        let input = if self.port.implicit_tls { Input::Connected } else { Input::TlsEstablished };
        self.give(input);
    }

    fn broken(&self, error: &io::Error) {
        tracing::debug!(client = %self.address, %error, "connection lost");
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(now(), input, &mut self.out);
        if std::mem::take(&mut self.out.discarded) {
            self.spool.clear();
        }
        for refusal in self.out.refusals.drain(..) {
            let (client, app) = (self.address, self.app.as_ref().map(|app| app.name.as_str()));
            tracing::info!(%client, app, command = refusal.command, reply = %refusal.reply, "refused");
        }
    }

    /// Goes on until the session ends or wants TLS.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut patience = Patience::new(self.port.timeout);
        let mut buffer = Vec::new();
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
            self.spool.relieve(&mut self.out.body).await;
            let progress = !self.out.reply.is_empty();
            self.flush(stream).await?;
            patience.observe(self.session.phase(), progress);
            if self.receive(stream, &mut buffer, &mut patience).await? == Some(0) {
                return Ok(Ending::Over);
            }
        }
    }

    /// Waits for octets, the deadline or the end of the service. Gives how many octets came.
    async fn receive<S>(
        &mut self,
        stream: &mut S,
        buffer: &mut Vec<u8>,
        patience: &mut Patience,
    ) -> io::Result<Option<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let size = match self.session.phase() {
            Phase::Message => MESSAGE_READ_BYTES,
            Phase::Idle | Phase::Line | Phase::Verdict | Phase::Closed => COMMAND_READ_BYTES,
        };
        if buffer.len() != size {
            *buffer = vec![0; size];
        }
        let stop = self.stop.clone();
        tokio::select! {
            read = timeout_at(patience.deadline(), stream.read(buffer)) => match read {
                Ok(read) => {
                    let count = read?;
                    patience.received(count);
                    self.give(Input::Received(&buffer[..count]));
                    Ok(Some(count))
                }
                Err(_) => {
                    self.give(Input::TimedOut);
                    Ok(None)
                }
            },
            () = stop.requested(), if !self.told_to_stop => {
                self.told_to_stop = true;
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
            Wish::CheckSender(path) => {
                let verdict = self.check_sender(&path);
                self.give(Input::SenderJudged(verdict));
            }
            // Any recipient is good: who may send here may send anywhere.
            Wish::CheckRecipient(_) => self.give(Input::RecipientJudged(Ok(()))),
            Wish::Authenticate { username, password } => {
                self.flush(stream).await?;
                let verdict = self.authenticate(username, &password).await;
                self.give(Input::Authenticated(verdict));
            }
            Wish::Submit(transaction) => {
                self.flush(stream).await?;
                let reply = self.submit(transaction).await;
                self.give(Input::MessageJudged(reply));
            }
            Wish::StartTls | Wish::Close => {}
        }
        Ok(())
    }

    fn check_sender(&self, path: &ReversePath) -> Result<(), Reply> {
        match &self.app {
            Some(app) if !app.may_send_as(path) => {
                Err(reply(550, (5, 7, 1), "This application may not send as this address"))
            }
            Some(_) if !self.port.door.has_room() => Err(no_room()),
            Some(_) => Ok(()),
            None => Err(reply(550, (5, 7, 1), "Relaying denied")),
        }
    }

    async fn authenticate(&mut self, username: String, password: &Secret) -> AuthVerdict {
        let client = client_key(self.address);
        let guard = &self.port.guard;
        let now = Instant::now().into_std();
        let verdict = if guard.is_locked(now, client, &username) {
            AuthVerdict::Unavailable
        } else {
            let found = self.apps.by_credential(&username, password.expose().as_bytes());
            match found.cloned() {
                Some(app) => {
                    guard.succeeded(client, &username);
                    self.app = Some(app);
                    self.authenticated = Some(username);
                    return AuthVerdict::Accepted;
                }
                None => {
                    guard.failed(now, client, &username);
                    AuthVerdict::Refused
                }
            }
        };
        tokio::time::sleep(AUTH_REFUSAL_DELAY).await;
        verdict
    }

    /// Brings a complete message to the door; the reply is the door's.
    async fn submit(&mut self, transaction: Transaction) -> Reply {
        let Some(app) = self.app.clone() else {
            return reply(550, (5, 7, 1), "Relaying denied");
        };
        let whole = match self.spool.complete(std::mem::take(&mut self.out.body)).await {
            Ok(whole) => whole,
            Err(error) => {
                tracing::error!(%error, "a message could not be kept on its way to the archive");
                return no_room();
            }
        };
        let client = archive::Client {
            address: self.address,
            helo: transaction.helo,
            protocol: transaction.protocol.to_owned(),
            tls: self.tls.clone(),
            authenticated: self.authenticated.clone(),
            gateway: self.port.session.hostname.clone(),
        };
        let submission = Submission {
            app,
            envelope: transaction.envelope,
            client,
            raw: whole.raw.clone(),
            newlines_fixed: transaction.newlines_fixed,
            received_at: now(),
        };
        let reply = self.port.door.submit(submission).await;
        drop(whole);
        reply
    }

    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.out.reply.is_empty() {
            return Ok(());
        }
        let written = async {
            stream.write_all(&self.out.reply).await?;
            stream.flush().await
        };
        let result = timeout(WRITE_DEADLINE, written).await;
        // A new buffer: many pipelined commands may have made this one large.
        self.out.reply = Vec::new();
        result.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Writes what is left and closes. What the client still sends is read for a moment: a socket
    /// that is closed with unread octets resets the connection, and the last reply would be lost.
    async fn hang_up<S>(&mut self, stream: &mut S) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.flush(stream).await?;
        let lingering = async {
            stream.shutdown().await?;
            let mut octets = [0; COMMAND_READ_BYTES];
            while stream.read(&mut octets).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the client heard it is its own affair.
        let _ = timeout(LINGER, lingering).await;
        Ok(Ending::Over)
    }
}

fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
}

fn no_room() -> Reply {
    reply(452, (4, 3, 1), "There is no room to store the message now")
}
