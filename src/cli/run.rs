//! `waybill run`: the daemon.

use std::path::{Path, PathBuf};

use super::{Failure, load};
use crate::config::{Config, Environment, Severity};
use crate::daemon::{Exit, run_service};
use crate::telemetry::{self, Metrics};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill run                       with the built-in defaults, everything on loopback
  waybill run --config /etc/waybill/waybill.toml

SIGTERM stops it gracefully, SIGHUP reads the configuration again. It exits with 74 when the archive
can not be written any more.")]
pub(super) struct RunArgs {}

pub(super) fn run(
    _: &RunArgs,
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(), Failure> {
    // Whatever the daemon writes is for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let config = load(path, environment)?.config;
    telemetry::log::install(&config.log).map_err(|error| Failure::Failed(error.to_string()))?;
    let metrics = Metrics::install().map_err(|error| Failure::Failed(error.to_string()))?;
    if config.upstreams.is_empty() && config.sms_upstreams.is_empty() {
        tracing::warn!("there is no upstream: messages are archived as not_sent and go nowhere");
    }
    let (path, environment) = (path.map(PathBuf::from), environment.clone());
    let read = move || reread(path.as_deref(), &environment);
    let runtime = runtime()?;
    let exit = runtime
        .block_on(run_service(config, metrics, read))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    // What was cut off on purpose must not keep the process.
    runtime.shutdown_background();
    match exit {
        Exit::Stopped | Exit::Cut => Ok(()),
        Exit::StorageFailure(reason) => Err(Failure::Storage(reason)),
    }
}

/// The configuration for a daemon that runs; what there is to say about it goes into its log.
fn reread(path: Option<&Path>, environment: &Environment) -> Option<Config> {
    let (config, problems) = match Config::load(path, environment) {
        Ok(loaded) => (Some(loaded.config), loaded.warnings),
        Err(problems) => (None, problems),
    };
    for problem in problems {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning | Severity::Notice => tracing::warn!("{problem}"),
        }
    }
    config
}

/// The threads of a command that serves.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the threads can not be started: {error}")))
}
