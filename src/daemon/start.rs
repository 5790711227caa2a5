//! Starting and stopping: every room is built here, from its settings and the rooms below it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::{ControlSocket, ControlSocketError};
use super::reload::{Reloadable, fixed_part};
use super::sms::{Shared, SmsParts};
use super::{alive, gauges, now, rendering};
use crate::account::Accounts;
use crate::admin::{self, AdminState, LoginRules, Readiness, Records, UpstreamHealth, Upstreams};
use crate::archive::{Archive, ArchiveError};
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::feedback::MailPortError;
use crate::intake::{Intake, Resender};
use crate::model::UpstreamName;
use crate::net::http::{HttpLimits, serve};
use crate::net::{FairListener, Stop, Tls, TlsError, TlsListener};
use crate::relay::settings::SmtpUpstream;
use crate::relay::{Relay, RelayError, SmtpRelay};
use crate::submission::{SmtpServer, SubmissionError};
use crate::telemetry::Metrics;

/// How long sessions in DATA may take after a stop was asked for.
const DOOR_GRACE: Duration = Duration::from_secs(10);
/// How long an attempt may wait for its last reply then.
const QUEUE_GRACE: Duration = Duration::from_secs(30);

/// On what terms an HTTP port is open.
#[derive(Default)]
pub(super) struct Terms {
    pub limits: HttpLimits,
    /// From the first byte.
    pub tls: Option<Arc<Tls>>,
    /// Whose connections are the connections of many clients.
    pub proxies: Vec<IpNet>,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the {door} port {address} can not be opened: {source}")]
    Listen { door: &'static str, address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    #[error(transparent)]
    ReturnPath(#[from] MailPortError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Control(#[from] ControlSocketError),
    #[error("the signals can not be caught: {source}")]
    Signals { source: std::io::Error },
}

/// Where the doors are; the ports that the system chose where the configuration says 0.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub smtp: Vec<SocketAddr>,
    /// Of the return path.
    pub feedback: Vec<SocketAddr>,
    pub sms: Option<SocketAddr>,
    pub public: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
}

/// A daemon that is up.
pub struct Daemon {
    pub archive: Archive,
    pub accounts: Accounts,
    pub addresses: Addresses,
    pub reloadable: Reloadable,
    readiness: Readiness,
    /// Ends the SMTP sessions.
    pub(super) smtp: Stop,
    /// Ends the other doors.
    doors: CancellationToken,
    /// Ends the queue.
    pub(super) queue: CancellationToken,
    pub(super) tasks: TaskTracker,
    dispatch: JoinHandle<Result<(), ArchiveError>>,
    /// Rows of the logs that are still to be written.
    records: Option<Records>,
}

impl Daemon {
    /// Opens the archive and all doors. When this returns, every port answers.
    pub async fn start(config: Config, metrics: Metrics) -> Result<Daemon, StartError> {
        let fixed = fixed_part(&config);
        let archive = open_archive(&config).await?;
        let sms = SmsParts::new(&config, &archive).await?;
        let renderer = rendering::renderer(&config, &archive).await?;
        let accounts = Accounts::new(archive.clone());
        let routes = Arc::new(ArcSwap::from_pointee(config.routes));
        let intake = Intake::new(archive.clone(), routes.clone(), &config.apps);
        let return_path = config.feedback.map(|settings| (settings, config.hostname.clone()));
        let apps = Arc::new(ArcSwap::from_pointee(config.apps));
        let tls = config.tls.map(Tls::load).transpose()?;
        let mut relays = mail_relays(config.upstreams)?;
        relays.extend(sms.relays()?);
        let upstreams = health_of(&relays);
        let spool = config.data_dir.join("spool");
        let (door, folder) = (intake.clone(), spool.clone());
        let smtp = SmtpServer::bind(config.smtp, tls.clone(), apps.clone(), door, folder).await?;
        let (doors, queue) = (CancellationToken::new(), CancellationToken::new());
        let (schedule, told) =
            (Arc::new(config.queue.clone()), (config.queue.expire, config.failure_reports));
        let dispatch = Dispatch {
            archive: archive.clone(),
            renderer: renderer.clone(),
            routes: routes.clone(),
            relays,
            schedule,
            clock: Arc::new(now),
        };
        let (gate, known) = (intake.clone(), apps.clone());
        let shared =
            Shared { archive: archive.clone(), intake: gate, apps: known, tls: tls.clone() };
        let resender = Resender::new(intake.clone(), apps.clone(), &config.hostname);
        let mut daemon = Daemon {
            addresses: Addresses { smtp: smtp.addresses(), ..Addresses::default() },
            reloadable: Reloadable { apps, routes, flows: sms.flows.clone(), intake, tls, fixed },
            readiness: Readiness::waiting_for(&["ports"]),
            smtp: Stop::new(),
            tasks: TaskTracker::new(),
            dispatch: tokio::spawn(dispatch.run(queue.clone())),
            archive: archive.clone(),
            accounts: accounts.clone(),
            doors: doors.clone(),
            queue,
            records: None,
        };
        if let Some(settings) = config.admin {
            let rules = LoginRules { session: settings.session, require_2fa: settings.require_2fa };
            let state = AdminState::new(archive.clone(), accounts.clone(), upstreams)
                .with_rules(rules)
                .resending_through(resender)
                .rendering_with(renderer);
            daemon.open_admin(settings.listen, state).await?;
        }
        if let Some(address) = config.metrics {
            let router = admin::health::router(metrics.clone(), daemon.readiness.clone());
            daemon.addresses.metrics = Some(daemon.open("metrics", address, router).await?);
        }
        daemon.tell_senders(&shared, &config.hostname, told);
        daemon.open_return_path(return_path, &shared, spool).await?;
        daemon.open_sms(sms, shared).await?;
        let control = ControlSocket::bind(&config.data_dir)?;
        daemon.tasks.spawn(control.serve(accounts, archive.clone(), doors.clone()));
        daemon.tasks.spawn(gauges::keep(archive.clone(), metrics, doors.clone()));
        smtp.run(&daemon.smtp);
        archive.begin_run(now()).await?;
        daemon.tasks.spawn(alive::keep(archive, doors));
        daemon.readiness.ready("ports");
        Ok(daemon)
    }

    /// The admin port; what goes on behind its answers ends with the doors.
    async fn open_admin(
        &mut self,
        listen: SocketAddr,
        state: AdminState,
    ) -> Result<(), StartError> {
        self.records = Some(state.records());
        let state = state.ending_with(self.tasks.clone(), self.doors.clone());
        state.run_jobs();
        self.addresses.admin = Some(self.open("admin", listen, admin::router(state)).await?);
        Ok(())
    }

    /// Opens an HTTP port and serves it until the doors close.
    async fn open(
        &self,
        door: &'static str,
        address: SocketAddr,
        router: axum::Router,
    ) -> Result<SocketAddr, StartError> {
        self.open_with(door, address, router, Terms::default()).await
    }

    /// The same on terms of its own.
    pub(super) async fn open_with(
        &self,
        door: &'static str,
        address: SocketAddr,
        router: axum::Router,
        Terms { limits, tls, proxies }: Terms,
    ) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { door, address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let listener = FairListener::new(listener, limits, proxies);
        let stop = self.doors.clone();
        match tls {
            Some(tls) => {
                self.tasks.spawn(serve(TlsListener::new(listener, tls), router, limits, stop))
            }
            None => self.tasks.spawn(serve(listener, router, limits, stop)),
        };
        Ok(bound)
    }

    /// Closes the doors, lets what is under way come to its end, and closes the archive.
    pub async fn stop(self) {
        self.readiness.lost("ports", "the daemon is stopping");
        let closed_at = now();
        self.doors.cancel();
        self.queue.cancel();
        self.tasks.close();
        let sessions = self.smtp.finish(DOOR_GRACE);
        let queue = tokio::time::timeout(QUEUE_GRACE, self.dispatch);
        let others = tokio::time::timeout(QUEUE_GRACE, self.tasks.wait());
        let (in_time, queue, _) = tokio::join!(sessions, queue, others);
        if !in_time {
            tracing::warn!("sessions that did not end in time were cut off");
        }
        match queue {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the queue ended with an error"),
            Ok(Err(_)) => tracing::error!("the queue met a bug"),
            Err(_) => tracing::warn!("attempts that did not end in time were left in doubt"),
        }
        if let Some(records) = self.records {
            records.finish().await;
        }
        if let Err(error) = self.archive.end_run(closed_at).await {
            tracing::warn!(%error, "the end of the run could not be noted");
        }
        drop((self.accounts, self.reloadable));
        self.archive.close().await;
    }
}

/// The archive, brought up to the rules of today.
async fn open_archive(config: &Config) -> Result<Archive, ArchiveError> {
    let archive = Archive::open(&config.archive)?;
    let rejudged = archive.rejudge_hits().await?;
    if rejudged > 0 {
        tracing::info!(recipients = rejudged, "hits were judged anew by the rules of today");
    }
    archive.keep_reply_ids_of(config.mail_events.iter().map(|(name, _)| name.clone()));
    Ok(archive)
}

fn mail_relays(upstreams: Vec<SmtpUpstream>) -> Result<Vec<(UpstreamName, Relay)>, RelayError> {
    let relay = |settings: SmtpUpstream| {
        let name = settings.name.clone();
        Ok((name, Relay::Smtp(SmtpRelay::new(settings)?)))
    };
    upstreams.into_iter().map(relay).collect()
}

/// How the relays are doing, as the admin port asks for it.
fn health_of(relays: &[(UpstreamName, Relay)]) -> Upstreams {
    let relays = relays.to_vec();
    let health = |(name, relay): &(UpstreamName, Relay)| {
        let state = relay.state();
        let until = |at: Instant| now().plus(at.saturating_duration_since(Instant::now()));
        UpstreamHealth {
            name: name.clone(),
            connections: state.connections,
            idle_connections: state.idle,
            max_connections: relay.connections(),
            down_until: state.open_until.map(until),
            last_error: state.last_error,
        }
    };
    Arc::new(move || relays.iter().map(health).collect())
}
