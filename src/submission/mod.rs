//! The ports of the applications: SMTP today.

pub mod settings;

pub use settings::SmtpSettings;
