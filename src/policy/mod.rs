//! Which app is this, what may it do, where does it go, which references does it carry; and which senders hear of
//! failures.
//!
//! Pure decisions over settings: no I/O, no clock. `config` builds the settings; `submission`,
//! `intake` and `dispatch` ask.

pub mod app;
mod failure_reports;
pub mod reference;
pub mod route;
pub mod sms;
pub mod steering;

pub use app::{AddressPattern, App, Apps, HoldRule, OnUnknown, OnUnknownByChannel, Rate};
pub use app::{SmtpCredential, Track};
pub use failure_reports::FailureReports;
pub use route::{Route, RouteQuery, Routes};
pub use sms::{CallbackReach, SmsPolicy, UrlPattern};
pub use steering::{Steering, SteeringError, read_steering};
