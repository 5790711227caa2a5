//! SMTP as the two ends speak it, without sockets (RFC 5321).

pub mod encoder;

pub use encoder::DataEncoder;
