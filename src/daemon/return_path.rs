//! The port of the return path: what comes back by mail.

use std::sync::Arc;

use super::sms::Shared;
use super::start::StartError;
use super::{Daemon, now};
use crate::feedback::settings::ReturnPathSettings;
use crate::feedback::{MailDesk, MailPort};
use crate::rewrite::VerpKeys;

/// The archive's name of the key of return paths.
pub(super) const RETURN_PATH_KEY: &str = "return path";

impl Daemon {
    /// Opens its listeners, where there are some. Its sessions end with those of the SMTP port.
    pub(super) async fn open_return_path(
        &mut self,
        settings: Option<(ReturnPathSettings, String)>,
        shared: &Shared,
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
        let port = MailPort::bind(&settings, &hostname, shared.tls.clone(), desk).await?;
        self.addresses.feedback = port.addresses();
        port.run(&self.smtp);
        Ok(())
    }
}
