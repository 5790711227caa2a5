//! The ports of the applications: SMTP today.
//!
//! [`SmtpServer`] opens the listeners and drives an `smtp` session over each connection: it finds
//! out which app the client is, keeps the octets of a message until it is complete, and hands it to
//! the door. What is said is decided in `smtp`, what is accepted in `intake`.

mod connection;
mod deadline;
mod door;
mod guard;
mod server;
pub mod settings;
mod sms_settings;
mod spool;

pub use door::Door;
pub use server::{SmtpServer, SubmissionError};
pub use settings::SmtpSettings;
pub use sms_settings::SmsPortSettings;
