//! A new configuration for a running daemon: what can change without a restart, changes at once and
//! for everybody who comes next; no connection is lost.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::flow::Flow;
use crate::intake::Intake;
use crate::net::Tls;
use crate::policy::{Apps, Routes};

/// What a reload can change.
#[derive(Clone)]
pub struct Reloadable {
    pub(super) apps: Arc<ArcSwap<Apps>>,
    pub(super) routes: Arc<ArcSwap<Routes>>,
    pub(super) flows: Arc<ArcSwap<Vec<Flow>>>,
    pub(super) intake: Intake,
    pub(super) tls: Option<Arc<Tls>>,
    /// What only a restart changes, as it was at the start.
    pub(super) fixed: String,
}

impl Reloadable {
    /// Takes over apps, their credentials, callbacks and rates, routes, flows, and certificates. Gives
    /// whether something else changed too, which takes a restart.
    pub fn apply(&self, config: Config) -> bool {
        let needs_restart = fixed_part(&config) != self.fixed;
        self.intake.reload(&config.apps);
        self.apps.store(Arc::new(config.apps));
        self.flows.store(Arc::new(config.flows));
        if !needs_restart {
            // Routes may name upstreams that only exist after a restart.
            self.routes.store(Arc::new(config.routes));
        }
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload()
        {
            tracing::error!(%error, "the certificate is not taken over; the old one stays");
        }
        needs_restart
    }
}

/// By what is published of them: another key under the same name is another key.
fn signing_keys(config: &Config) -> Vec<(String, String)> {
    config.dkim.iter().map(|key| (key.dns_name(), key.dns_txt())).collect()
}

/// Listeners, folders, upstreams, queue, tracking: compared as text, in which secrets never stand.
pub(super) fn fixed_part(config: &Config) -> String {
    format!(
        "{:?}",
        (
            (&config.data_dir, &config.hostname, &config.log, &config.archive, &config.smtp),
            (&config.tls, &config.upstreams, &config.queue, &config.admin, config.metrics),
            (
                &config.sms_upstreams,
                &config.sms,
                &config.keywords,
                &config.public,
                &config.feedback
            ),
            (&config.tracking, &config.mail_events, config.failure_reports, signing_keys(config)),
        )
    )
}
