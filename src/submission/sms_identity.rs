//! Which app a call is from: by what it shows, or by the network that it comes from.
//!
//! A call that names an account and does not prove it is refused, wherever it comes from. A network
//! stands for an app only in dialects in which that app has no account. Guessing is slowed, and a
//! name that was guessed at is locked for that client; neighbours behind one address stay free.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use super::guard::{AuthGuard, LOCK};
use crate::model::{Dialect, Timestamp};
use crate::net::client_key;
use crate::policy::{App, Apps};
use crate::sms::Port;
use crate::sms::call::{Call, Refusal, Verdict};

/// What every refused proof takes, whatever was wrong: it slows guessing and hides the cause.
const REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// Whose call it is.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) app: Arc<App>,
    /// The account that was proven; `None` for a client that is known by its network.
    pub(super) proven: Option<String>,
}

/// What a request shows, held against every app.
enum Shows {
    Account(Arc<App>),
    NoProof(Refusal),
    Nothing,
}

/// Finds the app, or says why there is none.
pub(super) async fn identify(
    apps: &Apps,
    guard: &AuthGuard,
    port: &dyn Port,
    (request, call): (&Request<Bytes>, &Call),
    (client, now): (IpAddr, Timestamp),
) -> Result<Caller, Refusal> {
    let name = call.account.as_deref().unwrap_or_default();
    let key = client_key(client);
    let refusal = match shows(apps, port, request, now) {
        Shows::Account(app) => {
            // A token is no name that somebody could guess at.
            if !name.is_empty() && guard.is_name_locked(Instant::now(), key, name) {
                return Err(Refusal::RateLimited { retry_after: LOCK });
            }
            guard.succeeded(key, name);
            return Ok(Caller { app, proven: call.account.clone() });
        }
        Shows::NoProof(refusal) => refusal,
        Shows::Nothing => match of_network(apps, port.dialect(), client) {
            Some(app) => return Ok(Caller { app: Arc::clone(app), proven: None }),
            None => Refusal::Credentials,
        },
    };
    let is_locked = guard.is_locked(Instant::now(), key, name);
    guard.failed(Instant::now(), key, name);
    tokio::time::sleep(REFUSAL_DELAY).await;
    if is_locked {
        return Err(Refusal::RateLimited { retry_after: LOCK });
    }
    tracing::info!(%client, dialect = port.dialect().as_str(), "a call showed no valid account");
    Err(refusal)
}

/// Every account is looked at, so that the time does not tell which one was meant.
fn shows(apps: &Apps, port: &dyn Port, request: &Request<Bytes>, now: Timestamp) -> Shows {
    let mut found = Shows::Nothing;
    for app in &apps.0 {
        if !has_account(app, port.dialect()) {
            continue;
        }
        match (port.verify(request, &app.sms.accounts, now), &found) {
            (Verdict::Proven, Shows::Nothing | Shows::NoProof(_)) => {
                found = Shows::Account(Arc::clone(app));
            }
            (Verdict::WrongSecret, Shows::Nothing) => {
                found = Shows::NoProof(Refusal::Credentials);
            }
            (Verdict::WrongSignature, Shows::Nothing) => {
                found = Shows::NoProof(Refusal::BadSignature);
            }
            (Verdict::Proven, Shows::Account(_))
            | (Verdict::WrongSecret | Verdict::WrongSignature, _)
            | (Verdict::Stranger, _) => {}
        }
    }
    found
}

fn has_account(app: &App, dialect: Dialect) -> bool {
    app.sms.callback_urls(dialect).is_some()
}

fn of_network(apps: &Apps, dialect: Dialect, client: IpAddr) -> Option<&Arc<App>> {
    apps.by_network(client).filter(|app| !has_account(app, dialect))
}
