//! The SMTP listeners: opens them, greets who may come in, and turns away who is one too many.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::connection::{self, Port};
use super::door::Door;
use super::guard::AuthGuard;
use super::settings::{AuthMode, ListenerTls, SmtpListener, SmtpSettings};
use crate::net::{ConnectionLimits, Listener, NetError, SmtpTerms, SpoolSpace, Stop, Tls};
use crate::policy::Apps;
use crate::smtp::{AuthOffer, SessionSettings, TlsOffer};

/// How far ahead a release may be asked for: a year covers every business rhythm, and what is
/// further away is more likely a mistake.
const MAX_HOLD: Duration = Duration::from_secs(365 * 86_400);

/// Why the SMTP ports can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the listener on {address} needs a certificate, and none is configured")]
    NoCertificate { address: SocketAddr },
    #[error("cannot write to the spool folder {folder}")]
    Spool {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// SMTP listeners that are open and do not accept yet.
pub struct SmtpServer<D> {
    ports: Vec<(Listener, Arc<Port<D>>)>,
    limits: Arc<ConnectionLimits>,
}

impl<D: Door> SmtpServer<D> {
    /// Opens every listener. Large messages wait in `spool` until they are complete; apps are
    /// looked up anew for each connection.
    pub async fn bind(
        settings: SmtpSettings,
        tls: Option<Arc<Tls>>,
        apps: Arc<ArcSwap<Apps>>,
        door: D,
        spool: PathBuf,
    ) -> Result<SmtpServer<D>, SubmissionError> {
        let failed = |source| SubmissionError::Spool { folder: spool.clone(), source };
        let spool = SpoolSpace::new(spool.clone()).map_err(failed)?;
        let guard = Arc::new(AuthGuard::default());
        let mut ports = Vec::with_capacity(settings.listeners.len());
        for listener in &settings.listeners {
            if listener.tls != ListenerTls::Off && tls.is_none() {
                return Err(SubmissionError::NoCertificate { address: listener.listen });
            }
            let terms = SmtpTerms {
                session: Arc::new(session_settings(&settings, listener)),
                tls: tls.clone(),
                implicit_tls: listener.tls == ListenerTls::Implicit,
                idle: settings.timeout,
                longest: None,
                spool: spool.clone(),
            };
            let (apps, guard) = (Arc::clone(&apps), Arc::clone(&guard));
            let port = Port { terms, apps, guard, door: door.clone() };
            ports.push((Listener::bind(listener.listen).await?, Arc::new(port)));
        }
        let limits =
            ConnectionLimits::new(settings.max_connections, settings.max_connections_per_client);
        Ok(SmtpServer { ports, limits })
    }

    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|(listener, _)| listener.address()).collect()
    }

    /// Accepts until the stop is requested; returns at once. `Stop::finish` then gives messages
    /// under way the time to end.
    pub fn run(self, stop: &Stop) {
        for (listener, port) in self.ports {
            let serve = {
                let (port, stop) = (Arc::clone(&port), stop.clone());
                move |accepted| connection::serve(Arc::clone(&port), stop.clone(), accepted)
            };
            let refuse = move |stream, peer: SocketAddr| {
                tracing::info!(client = %peer.ip(), "connection refused: too many");
                port.terms.turn_away(stream);
            };
            stop.spawn(listener.run(Arc::clone(&self.limits), stop.clone(), serve, refuse));
        }
    }
}

fn session_settings(settings: &SmtpSettings, listener: &SmtpListener) -> SessionSettings {
    SessionSettings {
        hostname: settings.hostname.clone(),
        greeting: settings.greeting.clone(),
        max_message_size_bytes: settings.max_message_size_bytes,
        max_recipients: settings.max_recipients,
        max_errors: settings.max_errors,
        max_hold: MAX_HOLD,
        bare_newline: settings.bare_newline,
        tls: match listener.tls {
            ListenerTls::StartTls => TlsOffer::StartTls,
            ListenerTls::Off | ListenerTls::Implicit => TlsOffer::None,
        },
        auth: match listener.auth {
            AuthMode::Off => AuthOffer::Off,
            AuthMode::Optional => AuthOffer::Optional,
            AuthMode::Required => AuthOffer::Required,
        },
        auth_in_clear: listener.listen.ip().to_canonical().is_loopback(),
    }
}
