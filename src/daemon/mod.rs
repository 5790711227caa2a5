//! The daemon: builds the rooms from a checked configuration, runs them, and ends them in order.
//!
//! Start: archive, then what works on it, then the doors, so that nothing is accepted that could not
//! be stored. Stop: the doors close first, sessions and attempts under way come to their end, and the
//! archive closes last. A storage failure ends the process at once with an exit code of its own, and
//! the next start finds everything that was acknowledged.
mod gauges;
mod reload;
mod service;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use crate::account::Accounts;
use crate::admin::{self, AdminState, Readiness};
use crate::archive::{Archive, ArchiveError};
use crate::config::Config;
use crate::dispatch::{Clock, Dispatch};
use crate::evidence;
use crate::intake::Intake;
use crate::model::{Timestamp, UpstreamName};
use crate::net::http::{HttpLimits, serve};
use crate::relay::{RelayError, SmtpRelay};
use crate::telemetry::Metrics;
pub use reload::Reloadable;
pub use service::{Exit, ServiceError, run_service};
/// How long what is under way may take after a stop was asked for: sessions in DATA get ten seconds
/// of it, an attempt that waits for the last reply gets all of it.
const GRACE: Duration = Duration::from_secs(30);
/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the {door} port {address} can not be opened: {source}")]
    Listen { door: &'static str, address: SocketAddr, source: std::io::Error },
    Relay(#[from] RelayError),
}
/// Where the doors are; the ports that the system chose when the configuration says 0.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub smtp: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
/// A daemon that is up.
pub struct Daemon {
    pub archive: Archive,
    pub accounts: Accounts,
    pub addresses: Addresses,
    pub reloadable: Reloadable,
    readiness: Readiness,
    /// Ends the doors.
    doors: CancellationToken,
    /// Ends the queue; later than the doors.
    queue: CancellationToken,
    tasks: TaskTracker,
    dispatch: JoinHandle<Result<(), ArchiveError>>,
/// The system's clock.
pub fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
impl Daemon {
    /// Opens the archive and all doors. When this returns, every port answers.
    pub async fn start(config: Config, metrics: Metrics) -> Result<Daemon, StartError> {
        let fixed = reload::fixed_part(&config);
        let archive = Archive::open(&config.archive)?;
        let accounts = Accounts::new(archive.clone());
        let routes = Arc::new(ArcSwap::from_pointee(config.routes));
        let intake = Intake::new(archive.clone(), routes.clone(), &config.apps);
        let apps = Arc::new(ArcSwap::from_pointee(config.apps));
        let upstreams: Vec<UpstreamName> =
            config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        let relays = config.upstreams.into_iter().map(|settings| {
            let name = settings.name.clone();
            Ok((name, SmtpRelay::new(settings)?))
        });
        let relays = relays.collect::<Result<Vec<_>, RelayError>>()?;
        let tls = match config.tls {
            Some(settings) => Some(Arc::new(Tls::load(settings)?)),
            None => None,
        };
        let spool = config.data_dir.join("spool");
        let smtp =
            SmtpServer::bind(config.smtp, tls.clone(), apps.clone(), intake.clone(), spool).await?;
        let mut daemon = Daemon {
            archive: archive.clone(),
            accounts: accounts.clone(),
            addresses: Addresses { smtp: smtp.addresses(), admin: None, metrics: None },
            reloadable: Reloadable { apps, routes: routes.clone(), intake, tls, fixed },
            readiness: Readiness::waiting_for(&["queue"]),
            doors: CancellationToken::new(),
            queue: CancellationToken::new(),
            tasks: TaskTracker::new(),
            dispatch: tokio::spawn(async { Ok(()) }),
        if let Some(settings) = config.admin {
            let names = Arc::new(ArcSwap::from_pointee(upstreams));
            let state = AdminState::new(archive.clone(), accounts.clone(), names);
            let router = admin::router(state);
            daemon.addresses.admin = Some(daemon.serve("admin", settings.listen, router).await?);
        }
        if let Some(address) = config.metrics {
            let router = admin::health::router(metrics.clone(), daemon.readiness.clone());
            daemon.addresses.metrics = Some(daemon.serve("metrics", address, router).await?);
        let control = control::listen(&config.data_dir).await?;
        daemon.tasks.spawn(control::serve(control, accounts, daemon.doors.clone()));
        daemon.tasks.spawn(gauges::keep(
            archive.clone(),
            config.data_dir,
            metrics,
            daemon.doors.clone(),
        ));
        let schedule = Arc::new(config.queue);
        let clock: Clock = Arc::new(now);
        let dispatch = Dispatch { archive, routes, relays, schedule, clock };
        daemon.dispatch = tokio::spawn(dispatch.run(daemon.queue.clone()));
        daemon.tasks.spawn(smtp.run(daemon.doors.clone()));
        daemon.readiness.ready("queue");
        Ok(daemon)
    }
    /// Opens an HTTP port and serves it until the doors close.
    async fn serve(
        &self,
        door: &'static str,
        address: SocketAddr,
        router: axum::Router,
    ) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { door, address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.tasks.spawn(serve(listener, router, HttpLimits::default(), self.doors.clone()));
        Ok(bound)
    /// Closes the doors, lets what is under way come to its end, and closes the archive.
    pub async fn stop(self) {
        self.readiness.lost("queue", "the daemon is stopping");
        self.doors.cancel();
        self.queue.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            self.dispatch.await
        match tokio::time::timeout(GRACE, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the queue ended with an error"),
            Ok(Err(_)) => tracing::error!("the queue met a bug"),
            Err(_) => tracing::warn!("not everything came to its end; the next start goes on with it"),
        drop((self.accounts, self.reloadable));
        self.archive.close().await;
//! The running gateway, and how commands reach it.
pub mod control;
pub use control::{ControlSocket, ControlSocketError};
