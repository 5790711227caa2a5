//! The SMTP port of the return path: takes mail to that address alone, and relays nothing but
//! what it passes on to the sender.
//!
//! Answers the session that `net` drives over each connection. No AUTH; one recipient a message, so that one
//! address says whom a report is about (more are told to come in another transaction, RFC 5321
//! §4.5.3.1.10). Anybody may send here, so a client has a share of what there is (`mail_shares`), and more than
//! that is told to come later. 250 is said only after the message is durable and what it says is recorded:
//! until then whoever sends it keeps it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::mail::{MailDesk, NotTaken, Piece};
use super::mail_shares::{Share, Shares};
use super::settings::{ReturnPathSettings, ReturnPathTls};
use crate::archive;
use crate::model::{EnhancedCode, ForwardPath, Mailbox, Reply, ReversePath, Secret, Timestamp};
use crate::net::{
    Body, Connection, ConnectionLimits, Listener, NetError, SessionLost, SmtpService, SmtpTerms,
    SpoolError, SpoolSpace, Stop, Tls,
};
use crate::rewrite::token_of;
use crate::smtp::{
    AuthOffer, AuthVerdict, BareNewline, Refusal, SessionSettings, TlsOffer, Transaction,
};

/// A report brings the original back, but no larger one than this.
const MAX_MESSAGE_BYTES: u64 = 16 << 20;
const MAX_CONNECTIONS: usize = 200;
const MAX_CONNECTIONS_PER_CLIENT: usize = 20;
const MAX_ERRORS: usize = 10;
/// How long nothing at all may come (RFC 5321 §4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(300);
/// How long a connection may last, whatever comes.
const CONNECTION: Duration = Duration::from_secs(1_800);

/// Why the ports of the return path can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MailPortError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the feedback listener on {address} needs a certificate, and none is configured")]
    NoCertificate { address: SocketAddr },
    #[error("cannot write to the spool folder {folder}")]
    Spool {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Listeners that are open and do not accept yet.
pub struct MailPort {
    doors: Vec<(Listener, Arc<MailDoor>)>,
    limits: Arc<ConnectionLimits>,
}

/// What the connections of one listener share.
struct MailDoor {
    terms: SmtpTerms,
    return_path: Mailbox,
    desk: Arc<MailDesk>,
    shares: Arc<Shares>,
}

impl MailPort {
    /// Opens every listener. Large messages wait in `spool` until they are complete.
    pub async fn bind(
        settings: &ReturnPathSettings,
        hostname: &str,
        tls: Option<Arc<Tls>>,
        desk: MailDesk,
        spool: PathBuf,
    ) -> Result<MailPort, MailPortError> {
        let failed = |source| MailPortError::Spool { folder: spool.clone(), source };
        // A space of its own: strangers take nothing of the budget that submission reads back with.
        let spool = SpoolSpace::new(spool.clone()).map_err(failed)?;
        let (shares, desk) = (Shares::new(desk.limits().kept_bytes), Arc::new(desk));
        let mut doors = Vec::with_capacity(settings.listeners.len());
        for listener in &settings.listeners {
            if listener.tls != ReturnPathTls::Off && tls.is_none() {
                return Err(MailPortError::NoCertificate { address: listener.listen });
            }
            let terms = SmtpTerms {
                session: Arc::new(session_settings(hostname, listener.tls)),
                tls: tls.clone(),
                implicit_tls: listener.tls == ReturnPathTls::Implicit,
                idle: IDLE,
                longest: Some(CONNECTION),
                spool: spool.clone(),
            };
            let return_path = settings.return_path.clone();
            let (desk, shares) = (desk.clone(), shares.clone());
            let door = MailDoor { terms, return_path, desk, shares };
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
            let refuse = move |stream, peer: SocketAddr| {
                tracing::info!(client = %peer.ip(), "connection to the return path refused: too many");
                door.terms.turn_away(stream);
            };
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

async fn serve(door: Arc<MailDoor>, stop: Stop, connection: Connection) {
    let Connection { stream, peer } = connection;
    let client = peer.ip().to_canonical();
    let share = door.shares.share(client);
    let caller = Caller { door: door.clone(), address: client, tls: None, share };
    match door.terms.serve(stop, stream, caller).await {
        Ok(()) => {}
        Err(SessionLost::Connection(error)) => {
            tracing::debug!(%client, %error, "connection to the return path lost");
        }
        Err(SessionLost::Handshake(error)) => {
            tracing::info!(%client, %error, "no TLS at the return path");
        }
    }
}

/// A client, with its share.
struct Caller {
    door: Arc<MailDoor>,
    address: IpAddr,
    tls: Option<String>,
    share: Share,
}

impl SmtpService for Caller {
    fn now(&self) -> Timestamp {
        self.door.desk.now()
    }

    /// Anybody may send here; to whom is asked of each recipient.
    fn knows_client(&self) -> bool {
        true
    }

    fn encrypted(&mut self, tls: String) {
        self.tls = Some(tls);
    }

    fn refused(&self, refusal: &Refusal) {
        let client = self.address;
        tracing::info!(%client, command = refusal.command, reply = %refusal.reply, "refused at the return path");
    }

    fn check_sender(&self, _: &ReversePath) -> Result<(), Reply> {
        match self.door.desk.has_room_for(0) {
            true => Ok(()),
            false => Err(no_room()),
        }
    }

    fn check_recipient(&self, path: &ForwardPath) -> Result<(), Reply> {
        self.ours(path).map(drop).ok_or_else(only_reports)
    }

    async fn authenticate(&mut self, _: String, _: Secret) -> AuthVerdict {
        AuthVerdict::Refused
    }

    fn keeps(&mut self, bytes: u64) -> bool {
        // What is kept may be on the disk, and on a small one all of it together would be too much.
        let has_room = bytes == 0 || self.door.desk.has_room_for(0);
        let is_kept = self.share.keep(if has_room { bytes } else { 0 }) && has_room;
        if !is_kept {
            tracing::warn!(client = %self.address, bytes, "too much mail at the return path at once");
        }
        is_kept
    }

    /// Hands a complete message to the desk; the reply is the desk's.
    async fn submit(&mut self, transaction: Transaction, body: Body<'_>) -> Reply {
        let first = transaction.envelope.recipients.first();
        let Some(forward) = first.and_then(|recipient| self.ours(&recipient.path)) else {
            return only_reports();
        };
        // Only whoever has a place has a large message in memory.
        let Some(_place) = self.share.place().await else {
            tracing::warn!(client = %self.address, "mail to the return path waited too long");
            return no_room();
        };
        let whole = match body.complete().await {
            Ok(whole) => whole,
            Err(SpoolError::NoRoom) => return no_room(),
            Err(SpoolError::Disk(error)) => {
                tracing::error!(%error, "mail to the return path could not be kept");
                return no_room();
            }
        };
        let piece = Piece {
            envelope: transaction.envelope,
            forward,
            raw: whole.raw.clone(),
            newlines_fixed: transaction.newlines_fixed,
            client: archive::Client {
                address: self.address,
                helo: transaction.helo,
                protocol: transaction.protocol.to_owned(),
                tls: self.tls.clone(),
                authenticated: None,
                gateway: self.door.terms.session.hostname.clone(),
            },
        };
        match self.door.desk.take(piece).await {
            // From here the report is ours.
            Ok(id) => reply(250, (2, 0, 0), &format!("Ok: taken as {}", id.get())),
            Err(NotTaken::NoRoom) => no_room(),
            Err(NotTaken::NotNow) => reply(451, (4, 3, 0), "The message can not be stored now"),
        }
    }
}

impl Caller {
    /// The return path itself, or with something behind a `+`.
    fn ours(&self, path: &ForwardPath) -> Option<Mailbox> {
        let ForwardPath::Mailbox(mailbox) = path else { return None };
        let base = &self.door.return_path;
        let is_base =
            mailbox.domain() == base.domain() && mailbox.local().eq_ignore_ascii_case(base.local());
        (is_base || token_of(base, mailbox).is_some()).then(|| mailbox.clone())
    }
}

fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
}

fn only_reports() -> Reply {
    reply(550, (5, 7, 1), "Only reports are taken here")
}

fn no_room() -> Reply {
    reply(452, (4, 3, 1), "There is no room to store mail now")
}
