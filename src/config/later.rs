//! Settings of rooms that do not exist yet: checked as strictly as all others and kept in typed
//! form, so that a room can take its own over when it is built. Until then `waybill check` says of
//! each of them that it has no effect.

use std::time::Duration;

use crate::model::{AppName, Secret, UpstreamName};

/// Everything without effect yet.
#[derive(Clone, Debug)]
pub struct Later {
    /// `[archive] retention`
    pub retention: Retention,
    /// In the order of the apps.
    pub apps: Vec<AppLater>,
    /// The upstreams of kind `smpp`.
    pub upstreams: Vec<SmppUpstream>,
}

/// How long messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Forever,
    For(Duration),
}

/// What an app is told beside its policy.
#[derive(Clone, Debug)]
pub struct AppLater {
    pub name: AppName,
    /// `None`: as `[archive]` says.
    pub retention: Option<Retention>,
}

/// An `[[upstream]]` that is an SMSC.
#[derive(Clone, Debug)]
pub struct SmppUpstream {
    pub name: UpstreamName,
    pub connections: usize,
    /// Messages per second; `None` is no limit.
    pub rate_per_second: Option<u32>,
    pub provider: SmppProvider,
}

/// An SMSC.
#[derive(Clone, Debug)]
pub struct SmppProvider {
    pub host: String,
    pub port: u16,
    pub is_encrypted: bool,
    pub system_id: String,
    pub password: Secret,
    pub system_type: Option<String>,
}
