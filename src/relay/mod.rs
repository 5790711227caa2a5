//! One attempt at one upstream: pool, rate, SMTP client. It knows no archive.
//!
//! mail-send connects, encrypts, says EHLO and authenticates; the transaction itself is written
//! here on its stream, because each recipient must get its own reply, every octet must be the
//! archived one, and every wait must end. Where mail-send falls short is said in the file that does it
//! instead. What an outcome means for a recipient is `lifecycle`'s to judge.

mod breaker;
mod command;
mod connection;
mod dial;
mod error;
mod exchange;
mod pool;
mod reply_reader;
pub mod settings;
mod tls;
mod transaction;
mod upstream;

pub use error::RelayError;
pub use settings::SmtpUpstream;
pub use transaction::Transaction;
pub use upstream::{RelayState, SmtpRelay};
