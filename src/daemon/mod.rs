//! The daemon: builds the rooms from a checked configuration, runs them, and ends them in order.
//!
//! Start: archive, then what works on it, then the doors, so that nothing is accepted that could not
//! be stored. Stop: the doors close first, sessions and attempts under way come to their end, and the
//! archive closes last. A storage failure ends the process at once with an exit code of its own, and
//! the next start finds everything that was acknowledged.

mod alive;
pub(crate) mod control;
mod gauges;
mod reload;
mod rendering;
mod return_path;
mod service;
mod sms;
mod start;

pub use control::{ControlSocket, ControlSocketError};
pub use reload::Reloadable;
pub use service::{Exit, run_service};
pub use start::{Addresses, Daemon, StartError};

use crate::model::Timestamp;

/// The system's clock.
pub fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
