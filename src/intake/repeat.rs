//! Calls that are made again because their answer was lost.
//!
//! Some client libraries send a call ten times within a second when the connection ends without an
//! answer, and none of them says so. A call that is the same as one whose answer was lost within the
//! last minute is that call: it gets the first one's messages, and waits for them if the first is
//! still under way. Equal calls whose answers arrived, or whose clients still wait, are calls of
//! their own: two equal one-time passwords are two messages.
//!
//! Takes the time as an input. Bounded: what was lost longest ago is forgotten first. After a crash
//! the calls of the last minute count as lost, because nobody knows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::sms::{SmsAccepted, SmsSubmission};
use super::{Intake, telemetry};
use crate::archive::{ArchiveError, Durable, Filter, Order};
use crate::model::{AppName, Channel, Dialect, Direction, MessageId, SmsBody, Timestamp};
use crate::sms::call::{Draft, HoldWish, Refusal, SendAt};

/// How long a lost answer is remembered.
const MEMORY: Duration = Duration::from_secs(60);
/// Calls that are remembered at one time.
const MAX_CALLS: usize = 200_000;
/// Messages that are read at one time when the calls before a crash are remembered.
const PAGE: usize = 500;

/// What became of the answer to a call.
pub trait ReplyFate: Send + Sync + 'static {
    /// The client did not get it, or will not get it.
    fn is_lost(&self) -> bool;

    /// Calls this once the client has it; never when it is lost.
    fn when_delivered(&self, call: Box<dyn FnOnce() + Send>);
}

/// Everything that makes a call what it is, whatever its form: a signature's time and nonce are
/// new each time and no part of it.
pub fn fingerprint(
    app: &AppName,
    dialect: Dialect,
    account: Option<&str>,
    drafts: &[Draft],
) -> [u8; 16] {
    let mut hash = Hash(blake3::Hasher::new());
    hash.text(app.as_str());
    hash.text(dialect.as_str());
    hash.text(account.unwrap_or_default());
    for draft in drafts {
        hash.draft(draft);
    }
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.0.finalize().as_bytes()[..16]);
    fingerprint
}

/// Each field with its length before it, so that no two calls run together.
struct Hash(blake3::Hasher);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn millis(&mut self, kind: u64, duration: Duration) {
        self.number(kind);
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn draft(&mut self, draft: &Draft) {
        self.text(&draft.to);
        self.optional(draft.from.as_deref());
        match &draft.body {
            SmsBody::Text(text) => self.text(text),
            SmsBody::Binary(bytes) => {
                self.number(u64::MAX);
                self.bytes(bytes);
            }
        }
        self.bytes(&draft.udh);
        self.number(draft.class.map_or(u64::MAX, u64::from));
        self.number(u64::from(draft.smart_encoding));
        self.number(draft.max_segments.map_or(u64::MAX, u64::from));
        self.number(u64::from(draft.group));
        match draft.valid_for {
            None => self.number(0),
            Some(validity) => self.millis(1, validity),
        }
        match draft.send_at {
            None => self.number(0),
            Some(SendAt::After(wait)) => self.millis(1, wait),
            Some(SendAt::At(at) | SendAt::Between { at, .. }) => {
                self.millis(2, at.since(Timestamp::EPOCH));
            }
        }
        match draft.hold {
            None => self.number(0),
            Some(HoldWish::None) => self.number(1),
            Some(HoldWish::For(wait)) => self.millis(2, wait),
            Some(HoldWish::Manual) => self.number(3),
        }
        self.optional(draft.client_reference.as_deref());
        for reference in &draft.references {
            self.text(reference.as_str());
        }
        self.optional(draft.tag.as_ref().map(|tag| tag.as_str()));
        self.optional(draft.receipt.as_ref().map(|receipt| receipt.url.as_str()));
        self.number(draft.receipt.as_ref().map_or(0, |receipt| u64::from(receipt.mask)));
    }
}

type Ids = Vec<Durable<MessageId>>;

/// `None` while the call is under way.
type Progress = watch::Receiver<Option<Ids>>;

/// One call whose answer is not known to have arrived.
struct Entry {
    number: u64,
    /// To the last time that it was made; the answers before that one are lost.
    reply: Arc<dyn ReplyFate>,
    progress: Progress,
    last: Instant,
}

#[derive(Default)]
struct Book {
    calls: HashMap<[u8; 16], Vec<Entry>>,
    /// In the order in which they were made; what is gone from `calls` may still be here.
    order: VecDeque<(Instant, [u8; 16], u64)>,
    next: u64,
}

/// The calls of the last minute whose answers are not known to have arrived; clones share them.
#[derive(Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<Book>>);

/// What a call is.
enum Begun {
    First(Ticket),
    Again(Progress),
}

/// The right to make a call; dropped without an end, the call failed.
struct Ticket {
    repeats: Repeats,
    fingerprint: [u8; 16],
    number: u64,
    progress: watch::Sender<Option<Ids>>,
    is_done: bool,
}

impl Ticket {
    fn done(mut self, ids: &[Durable<MessageId>]) {
        self.is_done = true;
        // Nobody waits for most calls.
        let _ = self.progress.send(Some(ids.to_vec()));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What was refused is judged anew the next time.
        if !self.is_done {
            self.repeats.forget(&self.fingerprint, self.number);
        }
    }
}

impl Repeats {
    fn lock(&self) -> MutexGuard<'_, Book> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, now: Instant, fingerprint: [u8; 16], reply: &Arc<dyn ReplyFate>) -> Begun {
        let mut book = self.lock();
        book.prune(now);
        let entries = book.calls.entry(fingerprint).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.reply.is_lost()) {
            entry.reply = Arc::clone(reply);
            entry.last = now;
            let (number, progress) = (entry.number, entry.progress.clone());
            book.order.push_back((now, fingerprint, number));
            drop(book);
            self.forget_when_delivered(fingerprint, number, reply);
            return Begun::Again(progress);
        }
        let (sender, progress) = watch::channel(None);
        let number = book.add(now, fingerprint, Arc::clone(reply), progress);
        drop(book);
        self.forget_when_delivered(fingerprint, number, reply);
        let repeats = self.clone();
        Begun::First(Ticket { repeats, fingerprint, number, progress: sender, is_done: false })
    }

    fn forget_when_delivered(&self, call: [u8; 16], number: u64, reply: &Arc<dyn ReplyFate>) {
        let repeats = self.clone();
        reply.when_delivered(Box::new(move || repeats.forget(&call, number)));
    }

    fn forget(&self, fingerprint: &[u8; 16], number: u64) {
        self.lock().remove(fingerprint, number);
    }
}

impl Book {
    fn add(
        &mut self,
        now: Instant,
        fingerprint: [u8; 16],
        reply: Arc<dyn ReplyFate>,
        progress: Progress,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let entry = Entry { number, reply, progress, last: now };
        self.calls.entry(fingerprint).or_default().push(entry);
        self.order.push_back((now, fingerprint, number));
        number
    }

    fn remove(&mut self, fingerprint: &[u8; 16], number: u64) {
        if let Some(entries) = self.calls.get_mut(fingerprint) {
            entries.retain(|entry| entry.number != number);
            if entries.is_empty() {
                self.calls.remove(fingerprint);
            }
        }
    }

    /// Forgets what is over, and the oldest of what is too much.
    fn prune(&mut self, now: Instant) {
        while let Some((at, fingerprint, number)) = self.order.front().copied() {
            let is_old = now.saturating_duration_since(at) >= MEMORY;
            if !is_old && self.order.len() < MAX_CALLS {
                return;
            }
            self.order.pop_front();
            let entries = self.calls.get(&fingerprint);
            let entry = entries.and_then(|e| e.iter().find(|entry| entry.number == number));
            // Made again since then, it stands further back once more.
            if entry.is_some_and(|entry| entry.last <= at || !is_old) {
                self.remove(&fingerprint, number);
            }
        }
    }
}

/// The answers before a crash.
struct BeforeTheCrash;

impl ReplyFate for BeforeTheCrash {
    fn is_lost(&self) -> bool {
        true
    }

    fn when_delivered(&self, _: Box<dyn FnOnce() + Send>) {}
}

impl Intake {
    /// Submits a call whose answer may get lost: the same call within a minute of that is the same
    /// messages. With an idempotency key the key alone decides.
    pub async fn submit_call(
        &self,
        call: SmsSubmission,
        reply: Arc<dyn ReplyFate>,
    ) -> Result<SmsAccepted, Refusal> {
        if call.idempotency_key.is_some() {
            return self.submit_sms(call).await;
        }
        loop {
            match self.repeats.begin(Instant::now(), call.fingerprint, &reply) {
                Begun::First(ticket) => {
                    let accepted = self.submit_sms(call).await?;
                    ticket.done(&accepted.ids);
                    return Ok(accepted);
                }
                Begun::Again(mut progress) => {
                    // An error says that the first was refused or met a bug: then this is the first.
                    let Ok(ids) = progress.wait_for(Option::is_some).await else { continue };
                    let Some(ids) = ids.clone() else { continue };
                    let app = &call.app.name;
                    telemetry::record::submission("sms", app.as_str(), "repeated");
                    tracing::info!(%app, "a call was made again and is one with the first");
                    return Ok(SmsAccepted { ids, is_repeat: true });
                }
            }
        }
    }

    /// After a crash: the calls of the last minute may have been answered or not, so they count as
    /// not answered. Reads the archive; called once, before the port opens.
    pub fn remember_calls(&self, now: Timestamp) -> Result<(), ArchiveError> {
        if self.archive.was_closed() {
            return Ok(());
        }
        let since = Timestamp::from_millis(now.as_millis() - MEMORY.as_millis() as i64);
        let filter = Filter {
            channel: Some(Channel::Sms),
            direction: Some(Direction::Outbound),
            since: Some(since),
            ..Filter::default()
        };
        let mut calls: Vec<([u8; 16], Timestamp, Ids)> = Vec::new();
        let mut after = None;
        loop {
            let page = self.archive.list(&filter, Order::Oldest, after, PAGE)?;
            for message in &page.items {
                let Some(sms) = message.medium.sms() else { continue };
                if sms.fingerprint == [0; 16] {
                    continue;
                }
                // The messages of one call stand together and have one time.
                let call = (sms.fingerprint, message.accepted_at);
                match calls.last_mut() {
                    Some(last) if (last.0, last.1) == call => last.2.push(message.durable_id()),
                    _ => calls.push((call.0, call.1, vec![message.durable_id()])),
                }
            }
            after = page.next;
            if after.is_none() || calls.len() >= MAX_CALLS {
                break;
            }
        }
        let mut book = self.repeats.lock();
        for (fingerprint, _, ids) in calls {
            let (_, progress) = watch::channel(Some(ids));
            book.add(Instant::now(), fingerprint, Arc::new(BeforeTheCrash), progress);
        }
        Ok(())
    }
}
