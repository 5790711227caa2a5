//! What goes back to senders by mail, and the port of the return path, where it comes back to us.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::sms::Shared;
use super::start::StartError;
use super::{Daemon, now};
use crate::feedback::settings::ReturnPathSettings;
use crate::feedback::{MailDesk, MailPort};
use crate::flow::{FailureReports, Notifier};
use crate::model::Mailbox;
use crate::rewrite::VerpKeys;

/// The archive's name of the key of return paths.
pub(super) const RETURN_PATH_KEY: &str = "return path";

/// Who writes reports, before the name of this gateway (RFC 5321 §4.5.1).
const AUTHOR: &str = "postmaster";

impl Daemon {
    /// Begins to tell senders what became of their messages.
    pub(super) fn tell_senders(
        &self,
        shared: &Shared,
        hostname: &str,
        told: (Duration, FailureReports),
    ) {
        let Ok(author) = Mailbox::parse(&format!("{AUTHOR}@{hostname}")) else {
            tracing::error!("hostname is no name for mail; senders are told nothing by mail");
            return;
        };
        let notifier = Notifier {
            archive: shared.archive.clone(),
            intake: shared.intake.clone(),
            hostname: hostname.to_owned(),
            author,
            expire: told.0,
            failure_reports: told.1,
            clock: Arc::new(now),
        };
        let stop = self.queue.clone();
        self.tasks.spawn(async move {
            if let Err(error) = notifier.run(stop).await {
                tracing::error!(%error, "senders are told no more by mail");
            }
        });
    }

    /// Opens its listeners, where there are some. Its sessions end with those of the SMTP port.
    pub(super) async fn open_return_path(
        &mut self,
        settings: Option<(ReturnPathSettings, String)>,
        shared: &Shared,
        spool: PathBuf,
    ) -> Result<(), StartError> {
        let Some((settings, hostname)) = settings else { return Ok(()) };
        let keys = VerpKeys::new(&shared.archive.key(RETURN_PATH_KEY).await?, &[]);
        let desk = MailDesk::new(
            shared.archive.clone(),
            shared.intake.clone(),
            shared.apps.clone(),
            keys,
            settings.return_path.clone(),
            Arc::new(now),
        );
        let tls = shared.tls.clone();
        let port = MailPort::bind(&settings, &hostname, tls, desk, spool).await?;
        self.addresses.feedback = port.addresses();
        port.run(&self.smtp);
        Ok(())
    }
}
