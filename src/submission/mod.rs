//! The ports of the applications: SMTP today.

pub mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use settings::SmtpSettings;

use crate::intake::Intake;
use crate::net::{NetError, Stop, Tls};
use crate::policy::Apps;

/// Why the SMTP ports can not be opened.
pub type SubmissionError = NetError;

/// The SMTP ports.
pub struct SmtpServer {}

impl SmtpServer {
    /// Opens every listener.
    pub async fn bind(
        _settings: SmtpSettings,
        _tls: Option<Arc<Tls>>,
        _apps: Arc<ArcSwap<Apps>>,
        _intake: Intake,
        _spool: PathBuf,
    ) -> Result<SmtpServer, SubmissionError> {
        Ok(SmtpServer {})
    }

    /// Where they are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// Accepts and serves until the stop.
    pub fn run(self, _stop: &Stop) {}
}
