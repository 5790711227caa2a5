//! The admin port: the HTTP API over the archive, and the metrics port's pages.
//!
//! `router` builds the API from one table in which every route names the permission that it needs;
//! `health::router` builds `/metrics`, `/healthz` and `/readyz`. Requests carry `Authorization:
//! Bearer TOKEN` (RFC 6750); answers are JSON in UTF-8, errors are problems (RFC 9457).
//!
//! What it keeps: nothing is answered before the token, the role and the limit to apps were checked;
//! a message of an app that somebody may not see does not exist for them; what a stranger wrote
//! (HTML, attachments, names of files) never reaches a browser as something that runs; a list never
//! reads a body. A failure of ours is told in general words and logged in full.
//!
//! People come with a session's cookie and a CSRF token (`session`). Every call is recorded (`record`),
//! and who changed what in the transaction of the change.
//!
//! Not here: sockets and connections (`net`), who owns a token or a session (`account`), the console,
//! how words are found (`archive`).

mod absence;
mod actions;
pub(crate) mod auth;
pub(crate) mod body;
mod bulk;
mod cells;
mod contacts;
mod content;
mod cursor;
mod disposition;
mod edge;
mod export;
pub mod health;
mod limiter;
mod logs;
pub(crate) mod manage;
mod messages;
mod openapi;
mod outbox;
mod parameters;
mod places;
mod print;
pub(crate) mod problem;
mod query;
mod queue;
pub(crate) mod record;
mod resend;
pub mod router;
mod session;
pub mod settings;
mod state;
mod statistics;
mod stream;
mod streamed;
mod suppressions;
mod threads;
mod views;

pub use health::Readiness;
pub use openapi::openapi;
pub use router::{Route, router, routes};
pub use settings::AdminSettings;
pub use state::{AdminState, LoginRules, Records, UpstreamHealth, Upstreams};

use crate::model::Timestamp;

/// The one clock of this room.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
