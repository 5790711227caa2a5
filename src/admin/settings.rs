//! What the admin port is told: `[admin]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::account::Role;

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// How long a console session lives.
    pub session: Duration,
    /// Roles that must use two factors.
    pub require_2fa: Vec<Role>,
}
