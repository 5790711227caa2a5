//! How mail is changed on its way out, from the configuration and the keys that the archive keeps.

use super::return_path::RETURN_PATH_KEY;
use super::sms::token_keys;
use crate::archive::{Archive, ArchiveError};
use crate::config::Config;
use crate::evidence::{RenderSettings, Renderer, ReturnKeys};
use crate::rewrite::VerpKeys;

/// The one renderer of the daemon.
pub(super) async fn renderer(config: &Config, archive: &Archive) -> Result<Renderer, ArchiveError> {
    let tokens = token_keys(archive).await?;
    let verp = VerpKeys::new(&archive.key(RETURN_PATH_KEY).await?, &[]);
    let settings = RenderSettings {
        tracking: config.tracking.as_ref().map(|tracking| tracking.links.clone()),
        signers: config.dkim.clone(),
        return_path: config.feedback.as_ref().map(|feedback| feedback.return_path.clone()),
    };
    Renderer::new(archive.clone(), ReturnKeys { tokens, verp }, settings).await
}
