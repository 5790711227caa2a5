//! What the SMTP port of the applications answers to one client.
//!
//! Who the client is, by its network or by AUTH, what it may send, and its messages' way to the door. Who
//! it is, is looked up when it connects: a session keeps what it began with, and a reload is for those who
//! come next. Not here: the conversation itself (`net`, `smtp`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::door::Door;
use super::guard::AuthGuard;
use super::now;
use crate::archive;
use crate::intake::Submission;
use crate::model::{EnhancedCode, ForwardPath, Reply, ReversePath, Secret, Timestamp};
use crate::net::{Body, Connection, SessionLost, SmtpService, SmtpTerms, Stop, client_key};
use crate::policy::{App, Apps};
use crate::smtp::{AuthVerdict, Refusal, Transaction};
use crate::telemetry::record::SmtpConnection;

/// What every refused AUTH takes, whatever was wrong: it slows guessing and hides the cause.
const AUTH_REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// What the connections of one listener share.
pub(super) struct Port<D> {
    pub(super) terms: SmtpTerms,
    pub(super) apps: Arc<ArcSwap<Apps>>,
    pub(super) guard: Arc<AuthGuard>,
    pub(super) door: D,
}

/// Serves one connection to its end.
pub(super) async fn serve<D: Door>(port: Arc<Port<D>>, stop: Stop, connection: Connection) {
    let _counted = SmtpConnection::open();
    let Connection { stream, peer } = connection;
    let client = peer.ip().to_canonical();
    let caller = Caller::new(Arc::clone(&port), client);
    match port.terms.serve(stop, stream, caller).await {
        Ok(()) => {}
        Err(SessionLost::Connection(error)) => tracing::debug!(%client, %error, "connection lost"),
        Err(SessionLost::Handshake(error)) => tracing::info!(%client, %error, "no TLS"),
    }
}

/// A client and what is known of it.
struct Caller<D> {
    port: Arc<Port<D>>,
    address: IpAddr,
    apps: Arc<Apps>,
    /// The app that sends: by network, or by AUTH.
    app: Option<Arc<App>>,
    authenticated: Option<String>,
    tls: Option<String>,
}

impl<D: Door> Caller<D> {
    fn new(port: Arc<Port<D>>, address: IpAddr) -> Caller<D> {
        let apps = port.apps.load_full();
        let app = apps.by_network(address).cloned();
        Caller { port, address, apps, app, authenticated: None, tls: None }
    }
}

impl<D: Door> SmtpService for Caller<D> {
    fn now(&self) -> Timestamp {
        now()
    }

    fn knows_client(&self) -> bool {
        self.app.is_some()
    }

    fn encrypted(&mut self, tls: String) {
        self.tls = Some(tls);
        self.authenticated = None;
        self.app = self.apps.by_network(self.address).cloned();
    }

    fn refused(&self, refusal: &Refusal) {
        let (client, app) = (self.address, self.app.as_ref().map(|app| app.name.as_str()));
        tracing::info!(%client, app, command = refusal.command, reply = %refusal.reply, "refused");
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

    /// Any recipient is good: who may send here may send anywhere.
    fn check_recipient(&self, _: &ForwardPath) -> Result<(), Reply> {
        Ok(())
    }

    async fn authenticate(&mut self, username: String, password: Secret) -> AuthVerdict {
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

    /// An application's messages are as large and as many as its limits let them be.
    fn keeps(&mut self, _: u64) -> bool {
        true
    }

    /// Brings a complete message to the door; the reply is the door's.
    async fn submit(&mut self, transaction: Transaction, body: Body<'_>) -> Reply {
        let Some(app) = self.app.clone() else {
            return reply(550, (5, 7, 1), "Relaying denied");
        };
        let whole = match body.complete().await {
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
            gateway: self.port.terms.session.hostname.clone(),
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
}

fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
}

fn no_room() -> Reply {
    reply(452, (4, 3, 1), "There is no room to store the message now")
}
