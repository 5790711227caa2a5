//! The daemon as a service: signals, systemd, and how the process ends.
//!
//! SIGTERM and SIGINT stop it gracefully, a second one at once; SIGHUP reads the configuration
//! again. systemd is told when the doors are open, when a reload is done, and, for its watchdog, that
//! the runtime still turns (sd_notify(3)).

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Daemon, Reloadable, StartError};
use crate::config::Config;
use crate::telemetry::Metrics;

/// How the daemon ended.
#[derive(Debug)]
pub enum Exit {
    /// Somebody asked for it, and everything came to its end.
    Stopped,
    /// Somebody asked twice.
    Cut,
    /// The archive can not be written any more; nothing that was acknowledged is lost.
    StorageFailure(String),
}

/// The two signals that ask for the end.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs the daemon until it is told to end. `read` reads the configuration again; it reports its
/// mistakes itself and gives `None` when there are any, and then the old one stays.
pub async fn run_service(
    config: Config,
    metrics: Metrics,
    read: impl Fn() -> Option<Config> + Send + Clone + 'static,
) -> Result<Exit, StartError> {
    let listen = |source| StartError::Signals { source };
    let mut stop = StopSignals::new().map_err(listen)?;
    let mut reread = signal(SignalKind::hangup()).map_err(listen)?;
    let daemon = Daemon::start(config, metrics).await?;
    let at = &daemon.addresses;
    let shown =
        |address: Option<_>| address.map_or("off".into(), |a: std::net::SocketAddr| a.to_string());
    let (admin, metrics) = (shown(at.admin), shown(at.metrics));
    let (sms, public) = (shown(at.sms), shown(at.public));
    tracing::info!(smtp = ?at.smtp, sms, public, admin, metrics, "ready");
    tell(&[NotifyState::Ready]);
    tokio::spawn(feed_watchdog());
    loop {
        tokio::select! {
            () = stop.next() => break,
            _ = reread.recv() => reload(&daemon.reloadable, read.clone()).await,
            reason = daemon.archive.closed_by_failure() => {
                // Whoever waits for a reply gets 421 from here on; nothing is tried again.
                tracing::error!(%reason, "the archive is closed; the daemon ends");
                tokio::time::sleep(LAST_WORDS).await;
                return Ok(Exit::StorageFailure(reason));
            }
        }
    }
    tell(&[NotifyState::Stopping]);
    tracing::info!("stopping: what is under way comes to its end");
    tokio::select! {
        () = daemon.stop() => Ok(Exit::Stopped),
        () = stop.next() => Ok(Exit::Cut),
    }
}

/// Time for open sessions to hear their 421 after a storage failure.
const LAST_WORDS: Duration = Duration::from_millis(500);

async fn reload(reloadable: &Reloadable, read: impl FnOnce() -> Option<Config> + Send + 'static) {
    tell(&[NotifyState::Reloading]);
    match tokio::task::spawn_blocking(read).await {
        Ok(Some(config)) => match reloadable.apply(config) {
            false => tracing::info!("the configuration was read again"),
            true => tracing::warn!(
                "apps, flows and certificates were read again; what else changed takes a restart"
            ),
        },
        Ok(None) | Err(_) => tracing::error!("the old configuration stays"),
    }
    tell(&[NotifyState::Ready]);
}

/// Outside systemd nobody listens, and that is no error.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Half the time that systemd allows, as sd_watchdog_enabled(3) recommends.
async fn feed_watchdog() {
    let Some(allowed) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(allowed / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
