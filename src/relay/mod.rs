//! One attempt at one upstream: pool, rate, SMTP client. It knows no archive.

pub mod settings;

pub use settings::SmtpUpstream;
