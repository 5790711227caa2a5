//! An SMS provider as the queue sees it: `attempt`, and whether it is worth one.
//!
//! An attempt is one HTTP request over a kept connection or a new one. An SMS costs money and can not
//! be taken back, so a request is made a second time only when it is certain that the provider can not
//! have taken the first one: nothing of it was sent, or the provider said that it was too fast. A
//! connection that breaks after an octet was sent, a deadline that passes, an answer that says neither
//! yes nor no: the outcome is unknown, and that is what the outcome says.
//!
//! What a response means is the protocol's (`sms`); what an outcome means is `lifecycle`'s to judge.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::connection::OpenCount;
use super::error::RelayError;
use super::health::Health;
use super::pool::{Pool, Pooled};
use super::rate::Rate;
use super::sms_settings::{SmsJob, SmsTimeouts, StatusUrls};
use super::upstream::RelayState;
use crate::model::{Outcome, Reply, Scope};
use crate::net::client_connection::{Dialer, ExchangeError, HttpConnection, Origin};
use crate::sms::provider::{Judgement, Outbound, Provider, SmsUpstream};

/// A provider's answer to one message is a few hundred octets.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// The wait when a provider does not say how long, and the shortest one.
const THROTTLED: Duration = Duration::from_secs(1);
const MIN_THROTTLED: Duration = Duration::from_millis(100);

/// One provider. Clones share everything.
#[derive(Clone)]
pub struct SmsRelay {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SmsUpstream,
    provider: Box<dyn Provider>,
    status_urls: StatusUrls,
    timeouts: SmsTimeouts,
    dialer: Dialer,
    pool: Arc<Pool<SmsConnection>>,
    permits: Semaphore,
    rate: Rate,
    health: Health,
    open: Arc<AtomicUsize>,
}

/// A connection that is counted for as long as it is open.
struct SmsConnection {
    http: HttpConnection,
    /// The server said that it closes an unused connection then. A request that crosses with that
    /// would have an unknown outcome.
    unused_until: Option<Instant>,
    _open: OpenCount,
}

impl Pooled for SmsConnection {
    async fn is_quiet(&mut self) -> bool {
        let is_late = self.unused_until.is_some_and(|until| until <= Instant::now());
        !is_late && self.http.is_quiet().await
    }

    /// HTTP servers say it themselves when they had enough.
    fn is_worn(&self) -> bool {
        false
    }

    async fn farewell(self) {}
}

impl fmt::Debug for SmsRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SmsRelay").field(&self.shared.upstream.name).finish()
    }
}

impl SmsRelay {
    /// Sets up a provider without connecting to it.
    ///
    /// # Errors
    /// When `tls_ca` cannot be read.
    pub fn new(upstream: SmsUpstream, status_urls: StatusUrls) -> Result<SmsRelay, RelayError> {
        SmsRelay::with_timeouts(upstream, status_urls, SmsTimeouts::default())
    }

    /// The same with other deadlines.
    ///
    /// # Errors
    /// When `tls_ca` cannot be read.
    pub fn with_timeouts(
        upstream: SmsUpstream,
        status_urls: StatusUrls,
        timeouts: SmsTimeouts,
    ) -> Result<SmsRelay, RelayError> {
        let connections = upstream.connections.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Shared {
            provider: crate::sms::provider(upstream.protocol.clone()),
            dialer: Dialer::new(upstream.tls_ca.as_deref()).map_err(RelayError::Https)?,
            pool: Pool::new(timeouts.idle),
            permits: Semaphore::new(connections),
            rate: Rate::new(upstream.rate_per_second),
            health: Health::new(upstream.name.clone()),
            open: Arc::default(),
            upstream,
            status_urls,
            timeouts,
        };
        Ok(SmsRelay { shared: Arc::new(shared) })
    }

    /// What it was set up with.
    pub fn settings(&self) -> &SmsUpstream {
        &self.shared.upstream
    }

    /// How many attempts may run at one time.
    pub fn connections(&self) -> usize {
        self.settings().connections.max(1)
    }

    /// Whether an attempt that starts now would be tried; false while the circuit breaker is open.
    pub fn is_available(&self, now: std::time::Instant) -> bool {
        self.shared.health.is_available(now)
    }

    /// How it is doing.
    pub fn state(&self) -> RelayState {
        RelayState {
            connections: self.shared.open.load(Ordering::Relaxed),
            idle: self.shared.pool.len(),
            open_until: self.shared.health.open_until(),
            last_error: self.shared.health.last_error(),
        }
    }

    /// Whether [`SmsRelay::turn`] may have to wait.
    pub fn has_rate(&self) -> bool {
        self.shared.rate.is_limited()
    }

    /// Waits until the rate allows one more message, and counts it. To be called before the message
    /// is claimed for `attempt`, so that it can be stopped for as long as it waits.
    pub async fn turn(&self) {
        self.shared.rate.turn().await;
    }

    /// Closes every idle connection, for a shutdown.
    pub async fn close_idle(&self) {
        self.shared.pool.close_idle().await;
    }

    /// Tries to hand one SMS to the provider.
    pub async fn attempt(&self, job: &SmsJob<'_>) -> Outcome {
        let (request, origin) = match self.shared.request(job) {
            Ok(ready) => ready,
            Err(outcome) => return outcome,
        };
        let health = &self.shared.health;
        if !health.is_available(std::time::Instant::now()) {
            return health.held_back();
        }
        // The semaphore is never closed; were it, nothing could be sent.
        let Ok(_permit) = self.shared.permits.acquire().await else { return health.held_back() };
        // Asked again: the wait may have been long, and only one may probe.
        if !health.admit(std::time::Instant::now()) {
            return health.held_back();
        }
        let mut waited = Duration::ZERO;
        loop {
            let exchanged = self.shared.exchange(&request, &origin).await;
            match self.shared.judged(exchanged, job) {
                Verdict::Over(outcome) => return outcome,
                Verdict::TooFast { wait, outcome } => {
                    if waited.saturating_add(wait) > self.shared.timeouts.throttled {
                        return outcome;
                    }
                    waited += wait;
                    tokio::time::sleep(wait).await;
                    self.turn().await;
                }
            }
        }
    }
}

/// What one request came to.
enum Verdict {
    Over(Outcome),
    /// The provider did not take it, and may after `wait`; `outcome` if there is no time for that.
    TooFast {
        wait: Duration,
        outcome: Outcome,
    },
}

impl Shared {
    /// The request, and where it goes; or why there is none.
    fn request(&self, job: &SmsJob<'_>) -> Result<(Request<Bytes>, Origin), Outcome> {
        let permanent = |detail| Outcome::Permanent { scope: Scope::Message, reply: None, detail };
        let valid_for = job.sms.valid_until.map(|until| until.since(job.now));
        if valid_for.is_some_and(|left| left.is_zero()) {
            return Err(permanent("its validity ended before it was sent".to_owned()));
        }
        let status_url = self.status_urls.of(&self.upstream.name, job.id);
        let outbound = Outbound {
            id: job.id,
            sms: job.sms,
            valid_for,
            status_url: status_url.as_deref(),
            now: job.now,
        };
        let request = self.provider.request(&outbound).map_err(permanent)?;
        // Which host it is comes from the configuration, so this is no fault of the message.
        let origin = Origin::of(request.uri()).map_err(|detail| {
            self.health.failed(&detail);
            Outcome::Temporary { scope: Scope::Upstream, reply: None, detail }
        })?;
        Ok((request, origin))
    }

    /// One request over an idle connection, or over a new one if the idle one had died unseen.
    async fn exchange(
        &self,
        request: &Request<Bytes>,
        origin: &Origin,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let kept = self.pool.take().await.filter(|kept| kept.http.origin() == origin);
        if let Some(kept) = kept {
            match self.ask(kept, request).await {
                // Nothing of it was sent, so this is still the first time.
                Err(ExchangeError::NotSent(_)) => {}
                answered => return answered,
            }
        }
        let until = Instant::now() + self.timeouts.connect;
        let http = self.dial(origin, until).await.map_err(ExchangeError::NotSent)?;
        let open = OpenCount::new(&self.open);
        self.ask(SmsConnection { http, unused_until: None, _open: open }, request).await
    }

    async fn ask(
        &self,
        mut connection: SmsConnection,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let until = Instant::now() + self.timeouts.response;
        let http = &mut connection.http;
        let response = http.exchange(request.clone(), until, MAX_RESPONSE_BYTES).await?;
        connection.unused_until = kept_for(&response).map(|kept| Instant::now() + kept);
        // Taking it out of the pool tells whether it is good for another request.
        self.pool.keep(connection);
        Ok(response)
    }

    async fn dial(&self, origin: &Origin, until: Instant) -> Result<HttpConnection, String> {
        let addresses = match timeout_at(until, origin.resolve()).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(format!("the provider's host can not be found: {error}")),
            Err(_) => return Err("the provider's host can not be found in time".into()),
        };
        self.dialer.dial(origin, &addresses, until).await
    }

    /// The outcome of one request, and what it says of the provider.
    fn judged(
        &self,
        exchanged: Result<Response<Bytes>, ExchangeError>,
        job: &SmsJob<'_>,
    ) -> Verdict {
        let response = match exchanged {
            Ok(response) => response,
            Err(ExchangeError::NotSent(detail)) => {
                self.health.failed(&detail);
                let reply = None;
                return Verdict::Over(Outcome::Temporary { scope: Scope::Upstream, reply, detail });
            }
            Err(ExchangeError::NoResponse(detail)) => {
                self.health.failed(&detail);
                return Verdict::Over(Outcome::Unknown { detail });
            }
        };
        let status = response.status();
        // A reply is made of clean characters and bounded; so is what is taken from it.
        let answer = |text: &str| {
            // Some protocols say the status again in their words.
            let text = text.strip_prefix(status.as_str()).unwrap_or(text).trim();
            let text = if text.is_empty() { status.canonical_reason() } else { Some(text) };
            let reply = Reply::new(status.as_u16(), None, text.unwrap_or_default());
            let detail = reply.to_string();
            (reply, detail)
        };
        let temporary = |scope, text: &str| {
            let (reply, detail) = answer(text);
            Outcome::Temporary { scope, reply: Some(reply), detail }
        };
        let outcome = match self.provider.judge(&response) {
            Judgement::Accepted { ids, text } => {
                let (reply, _) = answer(&text);
                Outcome::Sent { reply, digest: job.digest, parts: ids, owes_report: false }
            }
            Judgement::Permanent { reason, text } => {
                Outcome::Rejected { reply: answer(&text).0, reason }
            }
            Judgement::Temporary { text } => temporary(Scope::Message, &text),
            // With a wrong password or without money no message gets through: the breaker opens, and
            // the queue waits instead of being refused one by one.
            Judgement::Upstream { text } => {
                let outcome = temporary(Scope::Upstream, &text);
                self.health.failed(&answer(&text).1);
                return Verdict::Over(outcome);
            }
            Judgement::Throttled { retry_after, text } => {
                self.health.succeeded();
                let wait = retry_after.unwrap_or(THROTTLED).max(MIN_THROTTLED);
                return Verdict::TooFast { wait, outcome: temporary(Scope::Upstream, &text) };
            }
            // Whoever answers like this may go on doing so, and each such message waits for a person:
            // the breaker keeps the others from it.
            Judgement::Unclear { text } => {
                let (_, detail) = answer(&text);
                self.health.failed(&detail);
                return Verdict::Over(Outcome::Unknown { detail });
            }
        };
        self.health.succeeded();
        Verdict::Over(outcome)
    }
}

/// How long after this response a connection can be used again, by `Keep-Alive: timeout=5`
/// (RFC 2068 §19.7.1.1): a second less than the server says, which its answer took to come here and
/// the next request takes to come there.
fn kept_for(response: &Response<Bytes>) -> Option<Duration> {
    let field = response.headers().get("keep-alive")?.to_str().ok()?;
    let seconds = field.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(u64::from(seconds.trim().parse::<u16>().ok()?.saturating_sub(1))))
}
