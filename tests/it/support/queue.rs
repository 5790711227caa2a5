//! A queue at work without the doors around it: a real archive in a folder, the real dispatch, and
//! upstreams that are sinks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use waybill::archive::{
    Acceptance, Action, ActionKind, ActionRefusal, Archive, ArchiveError, ArchiveSettings, Client,
    Event, Message, MessagePolicy, NewRecipient, StagingLimits, Summary,
};
use waybill::dispatch::Dispatch;
use waybill::evidence::{Proof, Renderer, sent_to};
use waybill::lifecycle::RetrySchedule;
use waybill::model::envelope::BodyType;
use waybill::model::{
    AppName, Channel, Clock, Digest, Direction, Envelope, EnvelopeRecipient, EventKind,
    ForwardPath, Medium, MessageId, RecipientKind, RecipientState, ReversePath, Status, Timestamp,
    UpstreamName,
};
use waybill::policy::route::pattern;
use waybill::policy::{Route, Routes};
use waybill::relay::settings::SmtpUpstream;
use waybill::relay::{Relay, SmsRelay, SmtpRelay};

use super::sink::Received;
use super::upstream::settings;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn name(text: &str) -> UpstreamName {
    UpstreamName::parse(text).unwrap()
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// An upstream at this address, with as many connections.
pub fn upstream(text: &str, address: SocketAddr, connections: usize) -> SmtpUpstream {
    SmtpUpstream { name: name(text), connections, ..settings(address) }
}

/// Opens the archive of a folder; waits while the one before it is being closed.
pub fn open(dir: &tempfile::TempDir) -> Archive {
    let settings = ArchiveSettings {
        data_dir: dir.path().to_owned(),
        cache_bytes: 16 << 20,
        volume_bytes: 1 << 30,
        reserve_bytes: 0,
        staging: StagingLimits::default(),
    };
    Archive::open(&settings).unwrap()
}

/// A message that is due now for these recipients.
pub fn message(subject: &str, recipients: &[&str]) -> Acceptance {
    let raw = Bytes::from(format!("Subject: {subject}\r\nBcc: x@x.test\r\n\r\n.dot\r\nHello\r\n"));
    let at = now();
    let path = |address: &&str| EnvelopeRecipient {
        path: ForwardPath::parse(address).unwrap(),
        notify: None,
        original: None,
    };
    let recipient = |_: &&str| NewRecipient {
        name: None,
        kind: RecipientKind::To,
        state: RecipientState::Due { at, rank: 0 },
    };
    Acceptance {
        accepted_at: at,
        direction: Direction::Outbound,
        app: AppName::parse("erp").unwrap(),
        medium: Medium::Mail(Envelope {
            reverse_path: ReversePath::parse("anna@example.com").unwrap(),
            recipients: recipients.iter().map(path).collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            release: None,
        }),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "erp.example.com".into(),
            protocol: "ESMTP".into(),
            tls: None,
            authenticated: None,
            gateway: "gateway.example.com".into(),
        },
        digest: Digest::of(&raw),
        raw,
        shared: Vec::new(),
        summary: Summary { subject: Some(subject.to_owned()), ..Summary::default() },
        recipients: recipients.iter().map(recipient).collect(),
        references: Vec::new(),
        tag: None,
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: false,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
    }
}

pub async fn accept(archive: &Archive, message: Acceptance) -> MessageId {
    archive.accept(message).await.unwrap().get()
}

/// Many messages, `subject 0` and on, to one recipient each.
pub async fn accept_many(
    archive: &Archive,
    count: usize,
    subject: &str,
    recipient: &str,
) -> Vec<MessageId> {
    let mut running = JoinSet::new();
    let mut ids = vec![MessageId::MIN; count];
    for number in 0..count {
        let one = message(&format!("{subject} {number}"), &[recipient]);
        let archive = archive.clone();
        running.spawn(async move { (number, accept(&archive, one).await) });
        while running.len() >= 500 {
            let (number, id) = running.join_next().await.unwrap().unwrap();
            ids[number] = id;
        }
    }
    while let Some(done) = running.join_next().await {
        let (number, id) = done.unwrap();
        ids[number] = id;
    }
    ids
}

pub async fn act(
    archive: &Archive,
    kind: ActionKind,
    id: MessageId,
) -> Result<Message, ActionRefusal> {
    let by = "user anna".to_owned();
    let action = Action { kind, message: id, recipients: None, by, reason: None, at: now() };
    archive.act(action).await.unwrap()
}

pub async fn pause(archive: &Archive, upstream: &str, paused: bool) {
    archive.set_paused(name(upstream), paused, "user anna".into(), now()).await.unwrap();
}

/// Waits (24 ms at first, 25 times as long at the most) until the archive satisfies `condition`; looked at
/// anew after each commit.
pub async fn until(archive: &Archive, what: &str, mut condition: impl FnMut(&Archive) -> bool) {
    let mut journal = archive.journal();
    let wait = async {
        loop {
            journal.borrow_and_update();
            if condition(archive) {
                return;
            }
            journal.changed().await.unwrap();
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "it never came to this: {what}; {:?}", archive.queue());
}

/// Recipients in a status, by the archive's own count.
pub fn count(archive: &Archive, status: Status) -> usize {
    let queue = archive.queue().unwrap();
    queue.recipients.iter().find(|(of, _)| *of == status).map_or(0, |(_, n)| *n as usize)
}

pub async fn until_sent(archive: &Archive, sent: usize) {
    until(archive, &format!("{sent} sent"), |a| count(a, Status::Sent) >= sent).await;
}

pub fn get(archive: &Archive, id: MessageId) -> Message {
    archive.message(id).unwrap().unwrap()
}

pub fn events(archive: &Archive, id: MessageId) -> Vec<Event> {
    archive.events(id, None, 10_000).unwrap().items
}

pub fn kinds(archive: &Archive, id: MessageId) -> Vec<&'static str> {
    events(archive, id).iter().map(|event| event.kind.as_str()).collect()
}

pub fn has_event(archive: &Archive, id: MessageId, kind: EventKind) -> bool {
    events(archive, id).iter().any(|event| event.kind == kind)
}

/// The subject line of what a sink received.
pub fn subject(received: &Received) -> String {
    let text = String::from_utf8_lossy(&received.bytes);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    line.unwrap_or_default().to_owned()
}

/// How often each subject arrived.
pub fn subjects(received: &[Received]) -> BTreeMap<String, usize> {
    let mut subjects = BTreeMap::new();
    for one in received {
        *subjects.entry(subject(one)).or_default() += 1;
    }
    subjects
}

/// That recipient 0 got exactly these bytes, recomputed and proven by the digest of the attempt.
#[track_caller]
pub fn assert_proven(archive: &Archive, message: &Message, received: &[u8]) {
    let (outgoing, proof) =
        sent_to(&Renderer::plain(archive.clone()), message, 0).unwrap().unwrap();
    assert!(matches!(proof, Proof::Proven(_)), "{proof:?}");
    assert_eq!(outgoing.segments.concat(), received);
}

/// Dispatch at work.
pub struct Work {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ArchiveError>>,
}

/// How it is set up.
pub struct Setup {
    pub upstreams: Vec<SmtpUpstream>,
    pub providers: Vec<SmsRelay>,
    /// Recipient pattern and the upstreams that serve it; without routes all do, in order.
    pub routes: Vec<(&'static str, Vec<&'static str>)>,
    pub waits: Vec<Duration>,
    pub clock: Clock,
}

impl Setup {
    pub fn new(upstreams: Vec<SmtpUpstream>) -> Setup {
        Setup {
            upstreams,
            providers: Vec::new(),
            routes: Vec::new(),
            waits: vec![Duration::from_millis(50)],
            clock: Arc::new(now),
        }
    }

    pub fn provider(mut self, provider: SmsRelay) -> Setup {
        self.providers.push(provider);
        self
    }

    pub fn route(mut self, recipient: &'static str, upstreams: &[&'static str]) -> Setup {
        self.routes.push((recipient, upstreams.to_vec()));
        self
    }

    pub fn waits(mut self, waits: &[Duration]) -> Setup {
        self.waits = waits.to_vec();
        self
    }

    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Setup {
        self.clock = Arc::new(clock);
        self
    }

    pub fn start(self, archive: &Archive) -> Work {
        let route = |(recipient, upstreams): (&str, Vec<&str>)| Route {
            channel: None,
            app: None,
            sender: None,
            recipient: Some(pattern(recipient)),
            tag: None,
            upstreams: upstreams.into_iter().map(name).collect(),
        };
        let mail = self.upstreams.iter().map(|u| (Channel::Email, u.name.clone()));
        let sms = self.providers.iter().map(|p| (Channel::Sms, p.settings().name.clone()));
        let serving = mail.chain(sms).collect();
        let routes = self.routes.into_iter().map(route).collect();
        let routes = Routes { routes, upstreams: serving };
        let relays = self.upstreams.into_iter().map(smtp);
        let providers = self.providers.into_iter();
        let providers = providers.map(|p| (p.settings().name.clone(), Relay::Sms(p)));
        let dispatch = Dispatch {
            renderer: Renderer::plain(archive.clone()),
            archive: archive.clone(),
            routes: Arc::new(ArcSwap::from_pointee(routes)),
            relays: relays.chain(providers).collect(),
            schedule: Arc::new(RetrySchedule {
                waits: self.waits,
                expire: Duration::from_secs(3_600),
            }),
            clock: self.clock,
        };
        let stop = CancellationToken::new();
        Work { task: tokio::spawn(dispatch.run(stop.clone())), stop }
    }
}

fn smtp(upstream: SmtpUpstream) -> (UpstreamName, Relay) {
    (upstream.name.clone(), Relay::Smtp(SmtpRelay::new(upstream).unwrap()))
}

impl Work {
    /// Ends it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("dispatch did not stop").unwrap().unwrap();
    }
}
