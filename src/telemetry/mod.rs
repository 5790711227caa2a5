//! Metrics by name and help, log set-up.

pub mod settings;

pub use settings::LogSettings;
