//! What the operator sees of a running Waybill: log set-up and the metrics, each by one name.
//!
//! It keeps two promises. A log entry is one line, whatever a stranger wrote into a field of it;
//! and every metric is declared once, in one table, so that no other room spells a metric's name.
//! It imports no other room: whoever records something passes words (`&str`) and numbers.

pub mod log;
pub mod metrics;
pub mod record;
pub mod settings;

pub use log::LogError;
pub use metrics::{Metrics, MetricsError};
pub use settings::{LogFormat, LogLevel, LogSettings};
