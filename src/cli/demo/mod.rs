//! `waybill demo`: a complete system on loopback.

pub mod smtp_sink;

pub use smtp_sink::{SinkMessage, SmtpSink};
