//! One attempt at one upstream: pool, rate, SMTP client, SMS providers. It knows no archive.
//!
//! mail-send connects, encrypts, says EHLO and authenticates; the transaction itself is written
//! here on its stream, because each recipient must get its own reply, every octet must be the
//! archived one, and every wait must end. Where mail-send falls short is said in the file that does it
//! instead. An SMS is one HTTP request over `net`'s connections, in the words of `sms`. What an outcome
//! means for a recipient is `lifecycle`'s to judge.

mod any;
mod breaker;
mod command;
mod connection;
mod dial;
mod error;
mod exchange;
mod health;
mod pool;
mod rate;
mod reply_reader;
pub mod settings;
mod sms_settings;
mod sms_upstream;
mod tls;
mod transaction;
mod upstream;

pub use any::Relay;
pub use error::RelayError;
pub use settings::SmtpUpstream;
pub use sms_settings::{SmsJob, SmsTimeouts, StatusUrls};
pub use sms_upstream::SmsRelay;
pub use transaction::Transaction;
pub use upstream::{RelayState, SmtpRelay};
