//! Listeners, TLS, limits, graceful stop: sockets, and nothing about what is said over them.
//!
//! [`Listener`] accepts connections and never waits for one peer; [`ConnectionLimits`] caps them in
//! total and for each client, and [`FairListener`] does so for HTTP; [`Tls`] holds the certificate and reads it again when it changes;
//! [`Stop`] tells every task to come to its end and waits for them; [`http`] serves a router;
//! [`ReplyWatch`] tells whether an answer arrived; [`client`] makes requests;
//! [`client_behind`] knows who stands behind trusted proxies. `SmtpTerms` drives the sessions of an SMTP
//! port over their connections, for a room that is an `SmtpService`.

pub mod client;
mod client_address;
pub(crate) mod client_connection;
mod fair_listener;
mod forwarded;
pub mod http;
mod http_tls;
mod limits;
mod listener;
mod reply_watch;
pub mod settings;
mod smtp_patience;
mod smtp_session;
mod spool;
mod stop;
mod tls;

pub use fair_listener::FairListener;
pub use forwarded::client_behind;
pub use http_tls::TlsListener;
pub use limits::{ConnectionLimits, client_key};
pub use listener::{Connection, Listener, NetError};
pub use reply_watch::{Line, ReplyWatch, TcpLine};
pub use settings::TlsSettings;
pub(crate) use smtp_session::{Body, SessionLost, SmtpService, SmtpTerms};
pub(crate) use spool::{SpoolError, SpoolSpace};
pub use stop::Stop;
pub use tls::{HandshakeError, Tls, TlsError, describe_tls};
