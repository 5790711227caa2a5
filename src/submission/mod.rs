//! The ports of the applications: SMTP, and the HTTP dialects of SMS.
//!
//! [`SmtpServer`] opens the listeners and answers the `smtp` session that `net` drives over each
//! connection: it finds out which app the client is, and hands its messages to the door. What is said is
//! decided in `smtp`, what is accepted in `intake`. [`SmsPort`] is the router
//! of the SMS port: it finds out whose dialect and whose call a request is, and does what it wants.

mod connection;
mod door;
mod guard;
mod server;
pub mod settings;
mod sms_body;
mod sms_dispatch;
mod sms_identity;
mod sms_operation;
mod sms_port;
mod sms_settings;

pub use door::Door;
pub use server::{SmtpServer, SubmissionError};
pub use settings::SmtpSettings;
pub use sms_port::SmsPort;
pub use sms_settings::SmsPortSettings;

use crate::model::Timestamp;

/// The one clock of this room.
fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
