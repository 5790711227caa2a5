//! The rooms of SMS: relays, the port of the dialects, the public port, and what applications are
//! told.
//!
//! Takes what the configuration says and builds them; a port that can not be opened fails the start.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;

use super::start::{StartError, Terms};
use super::{Daemon, now};
use crate::archive::{Archive, ArchiveError, KeyRing};
use crate::config::Config;
use crate::events::EventSource;
use crate::feedback::{self, Caller, FeedbackState, Fetch};
use crate::flow::{Flow, Flows};
use crate::intake::{Intake, KeywordSettings};
use crate::model::UpstreamName;
use crate::net::Tls;
use crate::net::client::{FetchLimits, HttpClient, Reach};
use crate::net::http::HttpLimits;
use crate::policy::Apps;
use crate::relay::{Relay, SmsRelay, StatusUrls};
use crate::rewrite::TokenKeys;
use crate::sms::proof::ProofKey;
use crate::sms::{self, SmsUpstream};
use crate::submission::{SmsPort, SmsPortSettings};

/// The archive's name of the key that proves status URLs.
const PROOF_KEY: &str = "status URLs";
/// And of the ring of keys under the tokens in links and pixels.
const LINK_KEYS: &str = "links";
/// What a receipt or an inbound message may be the body of takes no longer.
const PUBLIC_CONNECTIONS: usize = 1_024;
/// Of them, what one client may have that is no proxy.
const PUBLIC_CONNECTIONS_PER_CLIENT: usize = 128;

/// What SMS needs of the configuration, before the rooms are built.
pub(super) struct SmsParts {
    pub upstreams: Vec<SmsUpstream>,
    /// A reload puts others in their place.
    pub flows: Arc<ArcSwap<Vec<Flow>>>,
    pub port: Option<SmsPortSettings>,
    pub keywords: KeywordSettings,
    pub public_listen: Option<SocketAddr>,
    pub public_tls: bool,
    /// How providers see the public port.
    pub public_url: String,
    /// Somebody said so; else it is only good for checking signatures.
    pub is_public_url_known: bool,
    pub hostname: String,
    pub key: ProofKey,
    /// Of the tokens in links and pixels.
    pub tokens: TokenKeys,
    pub anonymize_ip: bool,
    pub trusted_proxies: Vec<IpNet>,
    /// Who tells what became of the mail of which upstream.
    pub events: HashMap<UpstreamName, EventSource>,
    /// Host names and addresses that are ours.
    pub own_hosts: Vec<String>,
}

impl SmsParts {
    pub(super) async fn new(config: &Config, archive: &Archive) -> Result<SmsParts, StartError> {
        let public = &config.public;
        let known = public.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let scheme = if public.tls { "https" } else { "http" };
        let by_address = public.listen.map(|address| format!("{scheme}://{address}"));
        Ok(SmsParts {
            upstreams: config.sms_upstreams.clone(),
            flows: Arc::new(ArcSwap::from_pointee(config.flows.clone())),
            port: config.sms.clone(),
            keywords: config.keywords.clone(),
            public_listen: public.listen,
            public_tls: public.tls,
            is_public_url_known: known.is_some(),
            public_url: known.or(by_address).unwrap_or_default(),
            hostname: config.hostname.clone(),
            own_hosts: own_hosts(config),
            key: ProofKey::new(&archive.key(PROOF_KEY).await?),
            tokens: token_keys(archive).await?,
            anonymize_ip: config.tracking.as_ref().is_none_or(|t| t.anonymize_ip),
            trusted_proxies: public.trusted_proxies.clone(),
            events: config.mail_events.iter().cloned().collect(),
        })
    }

    /// One relay for each provider. A status URL is only handed out where the provider can reach
    /// it: under the public URL, or on the same machine.
    pub(super) fn relays(&self) -> Result<Vec<(UpstreamName, Relay)>, StartError> {
        let relay = |upstream: &SmsUpstream| {
            let is_reachable = self.is_public_url_known || upstream.protocol.is_on_this_machine();
            let public_url = Some(self.public_url.clone());
            let public_url = public_url.filter(|url| is_reachable && !url.is_empty());
            let urls = StatusUrls { public_url, key: self.key.clone() };
            Ok((upstream.name.clone(), Relay::Sms(SmsRelay::new(upstream.clone(), urls)?)))
        };
        self.upstreams.iter().map(relay).collect()
    }
}

/// The keys of the tokens in links and pixels.
pub(super) async fn token_keys(archive: &Archive) -> Result<TokenKeys, ArchiveError> {
    let KeyRing { current: (id, key), older } = archive.key_ring(LINK_KEYS).await?;
    Ok(TokenKeys::new((id, &key), older))
}

/// Where we are: the public URL's host and the addresses that are listened on.
fn own_hosts(config: &Config) -> Vec<String> {
    let listened = [
        config.admin.as_ref().map(|admin| admin.listen),
        config.sms.as_ref().map(|sms| sms.listen),
        config.public.listen,
        config.metrics,
    ];
    let listened = listened.into_iter().flatten().map(|address| address.ip());
    let named = config.public.url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
    let unspecified = |ip: &std::net::IpAddr| !ip.is_unspecified();
    listened.filter(unspecified).map(|ip| ip.to_string()).chain(named).collect()
}

/// Fetches over TLS from public addresses only; no document that is fetched so is long.
fn fetcher(client: HttpClient) -> Fetch {
    Arc::new(move |url: url::Url| {
        let client = client.clone();
        Box::pin(async move {
            let request = http::Request::get(url.as_str()).body(Bytes::new());
            let request = request.map_err(|error| error.to_string())?;
            let response = client.fetch(request, Reach::Public, FetchLimits::default()).await;
            let response = response.map_err(|error| error.to_string())?;
            match response.status() {
                http::StatusCode::OK => Ok(response.into_body()),
                status => Err(format!("the answer is {status}")),
            }
        })
    })
}

/// The rooms that the SMS ports share with the rest.
pub(super) struct Shared {
    pub archive: Archive,
    pub intake: Intake,
    pub apps: Arc<ArcSwap<Apps>>,
    pub tls: Option<Arc<Tls>>,
}

impl Daemon {
    /// Opens both ports and begins to tell applications.
    pub(super) async fn open_sms(
        &mut self,
        parts: SmsParts,
        shared: Shared,
    ) -> Result<(), StartError> {
        let Shared { archive, intake, apps, tls } = shared;
        if let Some(settings) = &parts.port {
            let port = SmsPort::new(
                settings,
                parts.hostname.clone(),
                apps.clone(),
                intake.clone(),
                archive.clone(),
            );
            let tls = tls.clone().filter(|_| settings.tls);
            let terms = Terms { limits: SmsPort::limits(), tls, ..Terms::default() };
            let opened = self.open_with("SMS", settings.listen, port.router(), terms);
            self.addresses.sms = Some(opened.await?);
        }
        if let Some(listen) = parts.public_listen {
            let caller = |upstream: SmsUpstream| {
                let SmsUpstream { name, protocol, callbacks, .. } = upstream;
                (name, Caller { provider: sms::provider(protocol), callbacks })
            };
            let callers: HashMap<UpstreamName, Caller> =
                parts.upstreams.into_iter().map(caller).collect();
            // What is on this machine is a proxy, whether or not its clients are believed.
            let mut proxies = parts.trusted_proxies.clone();
            proxies.extend(
                [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(IpNet::from),
            );
            let (router, recorder) = feedback::router(FeedbackState {
                archive: archive.clone(),
                intake: intake.clone(),
                apps: apps.clone(),
                upstreams: Arc::new(callers),
                key: parts.key,
                public_url: parts.public_url,
                keywords: parts.keywords,
                tokens: parts.tokens,
                anonymize_ip: parts.anonymize_ip,
                trusted_proxies: parts.trusted_proxies,
                events: parts.events,
                fetch: fetcher(HttpClient::new(None)?),
                clock: Arc::new(now),
            });
            // It ends with the port, and then writes what is left.
            self.tasks.spawn(recorder.run(archive.clone()));
            let limits = HttpLimits {
                max_connections: PUBLIC_CONNECTIONS,
                max_per_client: PUBLIC_CONNECTIONS_PER_CLIENT,
                ..HttpLimits::default()
            };
            let tls = tls.filter(|_| parts.public_tls);
            let terms = Terms { limits, tls, proxies };
            self.addresses.public = Some(self.open_with("public", listen, router, terms).await?);
        }
        // What applications name must not lead back to us.
        let own_hosts = parts.own_hosts.into_iter();
        let client = HttpClient::new(None)?.refusing(own_hosts);
        let flows = parts.flows;
        let telling = Flows { archive, intake, apps, flows, client, clock: Arc::new(now) };
        let stop = self.queue.clone();
        self.tasks.spawn(async move {
            if let Err(error) = telling.run(stop).await {
                tracing::error!(%error, "applications are told no more");
            }
        });
        Ok(())
    }
}
