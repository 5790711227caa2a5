//! Listeners, TLS, limits, graceful stop: sockets, and nothing about what is said over them.

pub mod http;
pub mod settings;

pub use settings::TlsSettings;
