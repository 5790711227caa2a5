//! SMTP without sockets (RFC 5321): grammar, replies, DATA and BDAT, the server's session.
//!
//! Bytes, time and verdicts are inputs; reply bytes, message bytes and wishes are outputs. Nothing
//! here is async, opens a socket, reads a clock or knows an app. In reading order:
//! `session` is the state machine, `line` cuts commands out of the stream, `command` with
//! `path`, `parameter` and `xtext` reads one, `sasl` is the AUTH exchange, `dots` finds
//! the end of DATA, `content` judges line breaks and size, `wire` writes replies, and
//! `encoder` is the one function through which a message leaves.
//! What neighbours use: [`Session`] with its settings, inputs and outputs, and [`DataEncoder`]. `net` drives
//! a session; who the client is and what it may do is decided in `submission` and `feedback`.

mod command;
mod content;
mod dots;
pub mod encoder;
mod line;
mod parameter;
mod path;
mod sasl;
mod session;
mod wire;
mod xtext;

pub use content::{BareNewline, Content, Fault};
pub use dots::{DataDecoder, Decoded};
pub use encoder::DataEncoder;
pub use session::{AuthOffer, AuthVerdict, Client, Input, Output, Phase, Refusal, Session};
pub use session::{SessionSettings, TlsOffer, Transaction, Wish};
