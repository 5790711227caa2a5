//! The public port, where providers report what became of messages and hand over what came in, and
//! where the pixels and links of tracked mail lead; and the SMTP port of the return path, where mail
//! comes back.
//!
//! Gives a router for `/hooks/{upstream}/status`, `…/events` and `…/inbound`, and for the pixels and
//! links of tracked mail, `/o/{token}` and `/c/{token}`; everything else is 404 with an empty body, so that a stranger learns nothing. What it keeps: nothing is believed
//! before its origin is proven (the provider's signature over the configured public URL, our own
//! proof in a status URL, or the upstream's token); nothing is answered with success before it is
//! durable; a callback that comes again changes nothing; bodies, waits and waiters are bounded, and of mail
//! what one client holds, and what proves nothing brings in an hour.
//! How a provider's callback is read is `sms`'s, a mail provider's event `events`', a bounce
//! `report`'s; what any of them means for a message is the archive's.

mod certificates;
mod events;
mod forgeries;
mod hits;
mod hooks;
mod inbound;
mod keywords;
mod mail;
mod mail_match;
mod mail_port;
mod mail_quota;
mod mail_shares;
mod masking;
mod parts;
mod passing_on;
mod recorder;
pub mod settings;
mod status;
mod tellings;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::routing::any;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::archive::Archive;
use crate::events::EventSource;
use crate::intake::{Intake, KeywordSettings};
use crate::model::{Clock, UpstreamName};
use crate::policy::Apps;
use crate::rewrite::TokenKeys;
use crate::sms::proof::ProofKey;
use crate::sms::provider::{Provider, ProviderCallbacks};
use certificates::Certificates;
pub use certificates::Fetch;
use forgeries::Forgeries;
pub use mail::MailDesk;
pub use mail_port::{MailPort, MailPortError};
use parts::Parts;
use recorder::HitQueue;
pub use recorder::HitRecorder;

/// Callbacks that wait at one time, for an attempt to be judged or for the other parts of a
/// message; one more is asked to come again.
const MAX_WAITING: usize = 256;
/// Callbacks without proof of one client in a minute that are told and logged.
const MAX_REFUSALS: u32 = 20;

/// An upstream that calls back.
pub struct Caller {
    pub provider: Box<dyn Provider>,
    pub callbacks: ProviderCallbacks,
}

/// What the public port needs.
pub struct FeedbackState {
    pub archive: Archive,
    pub intake: Intake,
    pub apps: Arc<ArcSwap<Apps>>,
    pub upstreams: Arc<HashMap<UpstreamName, Caller>>,
    /// Of the status URLs that we hand out.
    pub key: ProofKey,
    /// What providers see of us: scheme, authority and perhaps a path prefix, without a slash at
    /// the end. Signatures cover it.
    pub public_url: String,
    pub keywords: KeywordSettings,
    /// Who tells what became of the mail that an upstream took.
    pub events: HashMap<UpstreamName, EventSource>,
    /// Fetches what Amazon's calls name, from Amazon alone.
    pub fetch: Fetch,
    /// Of the tokens in links and pixels.
    pub tokens: TokenKeys,
    /// Of who hits one of them only the network is kept.
    pub anonymize_ip: bool,
    /// What proxies in these networks say of their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub clock: Clock,
}

impl fmt::Debug for FeedbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedbackState")
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

/// The state with what the port itself remembers.
struct Desk {
    with: FeedbackState,
    forgeries: Forgeries,
    /// Hits of each client, so that none fills the queue alone.
    visits: Forgeries,
    hits: HitQueue,
    parts: Parts,
    waiting: Arc<Semaphore>,
    certificates: Certificates,
}

impl Desk {
    /// The upstream for mail with this name, where it tells of events.
    fn teller(&self, name: &str) -> Option<(&UpstreamName, &EventSource)> {
        self.with.events.get_key_value(&UpstreamName::parse(name)?)
    }
}

/// The routes, served with each client's address as `ConnectInfo<SocketAddr>`; and what records hits,
/// to be run until the routes are gone.
pub fn router(state: FeedbackState) -> (Router, HitRecorder) {
    let prefix = path_prefix(&state.public_url);
    let (queue, recorder) = recorder::queue();
    let desk = Arc::new(Desk {
        with: state,
        forgeries: Forgeries::new(MAX_REFUSALS),
        visits: Forgeries::new(hits::MAX_HITS_OF_CLIENT),
        hits: queue,
        parts: Parts::default(),
        waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        certificates: Certificates::default(),
    });
    let routes = Router::new()
        .route("/o/{token}", any(hits::open))
        .route("/c/{token}", any(hits::click))
        .route("/hooks/{upstream}/events", any(events::told))
        .route("/hooks/{upstream}/status", any(hooks::status))
        .route("/hooks/{upstream}/inbound", any(hooks::inbound));
    // A proxy before us may leave the prefix of the public URL in the path, or take it away.
    let routes = match prefix {
        Some(prefix) => Router::new().nest(&prefix, routes.clone()).merge(routes),
        None => routes,
    };
    (routes.fallback(hooks::nothing_here).with_state(desk), recorder)
}

/// `/gateway` of `https://example.com/gateway`.
fn path_prefix(public_url: &str) -> Option<String> {
    let url = url::Url::parse(public_url).ok()?;
    let path = url.path().trim_end_matches('/');
    // Braces would be patterns of the router.
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b));
    (!path.is_empty() && is_plain).then(|| path.to_owned())
}
