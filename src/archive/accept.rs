//! Taking a message in: bytes into the volume, then everything else into the records.
//!
//! Two writers work as a pipeline. The volume is committed before the record that points into it, so
//! a crash between leaves bytes that nobody points to, never a record without bytes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};

use bytes::{Bytes, BytesMut};
use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use super::audit::Slip;
use super::files::{Files, Space};
use super::leaf::leaf;
use super::memory::message_id_hash;
use super::message::Acceptance;
use super::staging::{STAGING, StagedChunk, Staging, note_moved, stage};
use super::standing::{Entry, Standing, event_of};
use super::stored::{Place, Record, StoredBody, StoredEvent, StoredMessage};
use super::volume::{Location, Packed, VolumeWriter, lay_out};
use super::wipe::Wipe;
use super::writer::{Batch, Change, Closing, Failure, Job, OnTheWay, Urgency};
use super::{Accepted, ArchiveError, Durable, Inner, RepeatKey, hits, notices, repeats, tables};
use crate::lifecycle::Note;
use crate::model::{Direction, EventKind, Hold, MessageId, RecipientState, Sequence};

/// Messages in one volume transaction at the most.
const MAX_BATCH: usize = 500;
/// Bytes in one volume transaction at the most, unless one message alone has more.
const MAX_BATCH_BYTES: usize = 32 << 20;
/// About what the records hold of a message, beside its bytes.
const RECORD_BYTES: usize = 1 << 10;
/// Recently stored shared parts that are found without a look into the records.
const RECENT_PARTS: usize = 20_000;
/// On a small disk the reserve is at most this part of it.
const LARGEST_RESERVE: u64 = 4;

/// What the thread of the volume is told.
pub(super) enum Order {
    Take(Box<Intake>),
    Wipe(Wipe),
}

/// The messages of one call on their way to the volume: all of them become durable, or none.
pub(super) struct Intake {
    /// At least one.
    pub pieces: Vec<Piece>,
    pub once: Once,
    /// Rows of the logs, of a call of the admin API.
    pub slip: Option<Slip>,
    pub reply: oneshot::Sender<Result<Accepted, ArchiveError>>,
    pub on_the_way: OnTheWay,
}

/// What keeps a call from being made twice.
#[derive(Clone, Copy)]
pub(super) enum Once {
    Nothing,
    Key(RepeatKey),
    /// What follows from the journal up to here is made with it.
    Journal(Sequence),
}

/// One message of a call.
pub(super) struct Piece {
    pub acceptance: Acceptance,
    /// The message without its shared parts; `None` when it is the same as the one before it.
    pub own: Option<Packed>,
    pub shared: Vec<SharedPart>,
    pub duplicate_of: Option<MessageId>,
}

impl Intake {
    /// Bytes as submitted, what several messages have in common counted once.
    fn size_bytes(&self) -> usize {
        let own = self.pieces.iter().filter(|piece| piece.own.is_some());
        let records = self.pieces.len() * RECORD_BYTES;
        own.map(|piece| piece.acceptance.raw.len()).sum::<usize>() + records
    }
}

/// A part that is stored once.
pub(super) struct SharedPart {
    pub offset: u64,
    pub hash: [u8; 32],
    pub place: SharedPlace,
}

/// Whether it is already there.
pub(super) enum SharedPlace {
    Known(Location),
    New(Packed),
}

/// Where the bytes of one message are, durably.
struct StoredBytes {
    body: StoredBody,
    /// Shared parts that were not known before.
    new: Vec<([u8; 32], Location)>,
}

/// The spans that are worth sharing, checked: ascending, disjoint, inside the message.
pub(super) fn shared_spans(acceptance: &Acceptance) -> Vec<Range<usize>> {
    let mut end = 0;
    let mut spans = Vec::new();
    for span in &acceptance.shared {
        if span.start >= end && span.start < span.end && span.end <= acceptance.raw.len() {
            end = span.end;
            spans.push(span.clone());
        }
    }
    spans
}

/// The message without these spans.
pub(super) fn own_bytes(raw: &Bytes, spans: &[Range<usize>]) -> Bytes {
    if spans.is_empty() {
        return raw.clone();
    }
    let mut own = BytesMut::with_capacity(raw.len());
    let mut from = 0;
    for span in spans {
        own.extend_from_slice(&raw[from..span.start]);
        from = span.end;
    }
    own.extend_from_slice(&raw[from..]);
    own.freeze()
}

/// Whether an SMS has the very bytes of the one before it in its call, and nothing beside them.
/// Erasing relies on it: who else has the bytes of a message is told by what stands next to it.
fn has_same_bytes(one: &Acceptance, before: &Acceptance) -> bool {
    let is_sms = |acceptance: &Acceptance| acceptance.medium.sms().is_some();
    is_sms(one)
        && is_sms(before)
        && one.raw.as_ptr() == before.raw.as_ptr()
        && one.raw.len() == before.raw.len()
        && (one.accepted_at, one.digest) == (before.accepted_at, before.digest)
        && one.shared.is_empty()
        && before.shared.is_empty()
}

/// The thread of the volume.
pub(super) struct VolumeThread {
    pub writer: VolumeWriter,
    pub staging: Staging,
    pub records: Arc<Database>,
    pub files: Arc<dyn Files>,
    pub reserve_bytes: u64,
    pub intake: Receiver<Order>,
    pub jobs: Sender<Job>,
    pub closing: Closing,
    pub recent: HashMap<[u8; 32], Location>,
    /// Places of shared parts that were overwritten since the start.
    pub wiped: HashSet<Location>,
    /// Came while a batch was gathered.
    pub wipes: Vec<Wipe>,
}

impl VolumeThread {
    /// Ends when every handle of the archive is gone, or at the first failure.
    pub(super) fn run(mut self) {
        if self.contained(Self::wipe_leftovers).is_err() {
            return;
        }
        while let Some(first) = self.next() {
            let (mut size, mut messages) = (first.size_bytes(), first.pieces.len());
            let mut batch = vec![first];
            while messages < MAX_BATCH
                && size < MAX_BATCH_BYTES
                && let Some(next) = self.another()
            {
                size += next.size_bytes();
                messages += next.pieces.len();
                batch.push(next);
            }
            if self.closing.reason().is_some() {
                return;
            }
            batch.iter_mut().for_each(|intake| self.keep_shared(intake));
            if !self.has_room(size) {
                for intake in batch {
                    let _ = intake.reply.send(Err(ArchiveError::Full));
                }
                continue;
            }
            // A panic is our bug; without this the doors would stay open with nobody behind them.
            let stored = catch_unwind(AssertUnwindSafe(|| self.store(&batch)));
            let (staged, bodies) = match stored {
                Ok(Ok(stored)) => stored,
                Ok(Err(error)) => return self.closing.close(error.to_string()),
                Err(_) => return self.closing.close("the volume writer met a bug".into()),
            };
            if !staged.is_empty() {
                // In front of the messages that point into them, so in the same commit or before.
                let change: Change = Box::new(move |batch| {
                    stage(batch, &staged)?;
                    Ok(Box::new(|| {}))
                });
                let _ = self.jobs.send(Job { change, urgency: Urgency::Now });
            }
            let mut bodies = bodies.into_iter();
            for intake in batch {
                let stored = bodies.by_ref().take(intake.pieces.len()).collect();
                self.hand_on(*intake, stored);
            }
            if self.staging.staged_bytes > self.staging.limits.max_staged_bytes
                && self.settle().is_err()
            {
                return;
            }
        }
    }

    /// The next call. While none comes, staged bytes move to the volume.
    fn next(&mut self) -> Option<Box<Intake>> {
        loop {
            for wipe in std::mem::take(&mut self.wipes) {
                self.contained(|thread| thread.wipe(wipe)).ok()?;
            }
            let order = match self.staging.staged_bytes {
                0 => self.intake.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => self.intake.recv_timeout(self.staging.limits.settle_after),
            };
            match order {
                Ok(Order::Take(intake)) => return Some(intake),
                Ok(Order::Wipe(wipe)) => self.wipes.push(wipe),
                Err(RecvTimeoutError::Timeout) => self.settle().ok()?,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// One that is there already.
    fn another(&mut self) -> Option<Box<Intake>> {
        match self.intake.try_recv() {
            Ok(Order::Take(intake)) => Some(intake),
            Ok(Order::Wipe(wipe)) => {
                self.wipes.push(wipe);
                None
            }
            Err(_) => None,
        }
    }

    /// Moves the oldest staged bytes to the volume; an error has closed the archive.
    fn settle(&mut self) -> Result<(), ()> {
        self.contained(Self::move_oldest)
    }

    /// Does it; an error, or a panic, closes the archive.
    fn contained(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ()> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        let reason = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the volume writer met a bug".into(),
        };
        self.closing.close(reason);
        Err(())
    }

    fn move_oldest(&mut self) -> Result<(), ArchiveError> {
        let chunks = self.staging.oldest(&self.records)?;
        if chunks.is_empty() {
            return Ok(());
        }
        let blobs: Vec<&Packed> = chunks.iter().map(|(_, blob)| blob).collect();
        let locations = self.writer.append(&blobs)?;
        self.staging.taken(&chunks);
        let places: Vec<(u64, Location)> =
            chunks.iter().map(|(number, _)| *number).zip(locations).collect();
        let change: Change = Box::new(move |batch| {
            note_moved(batch, &places)?;
            Ok(Box::new(|| {}))
        });
        let _ = self.jobs.send(Job { change, urgency: Urgency::Soon });
        Ok(())
    }

    /// Copy-on-write files need room to change at all, so the reserve is kept free for relaying and
    /// deleting.
    fn has_room(&self, batch_bytes: usize) -> bool {
        match self.files.space() {
            Ok(space) => has_spare(space, self.reserve_bytes, 0, batch_bytes as u64),
            Err(error) => {
                tracing::error!(%error, "the free space of the archive's disk can not be read");
                false
            }
        }
    }

    /// A part that was there when a message came may have been erased meanwhile.
    fn keep_shared(&self, intake: &mut Intake) {
        if self.wiped.is_empty() {
            return;
        }
        for piece in &mut intake.pieces {
            for part in &mut piece.shared {
                if let SharedPlace::Known(place) = part.place
                    && self.wiped.contains(&place)
                {
                    let from = part.offset as usize;
                    let raw = piece.acceptance.raw.slice(from..from + place.raw_bytes as usize);
                    part.place = SharedPlace::New(Packed::new(raw));
                }
            }
        }
    }

    /// Makes the bytes of a batch durable, or, when they are few, gives the chunks that must become
    /// durable with their messages; and says for each message where its bytes lie.
    fn store(
        &mut self,
        batch: &[Box<Intake>],
    ) -> Result<(Vec<StagedChunk>, Vec<StoredBytes>), ArchiveError> {
        let mut blobs: Vec<&Packed> = Vec::new();
        let mut own: Vec<usize> = Vec::with_capacity(batch.len());
        let mut fresh: HashMap<[u8; 32], usize> = HashMap::new();
        for piece in batch.iter().flat_map(|intake| intake.pieces.iter()) {
            match &piece.own {
                Some(packed) => {
                    own.push(blobs.len());
                    blobs.push(packed);
                }
                // Only a message that is not the first of its call has no bytes of its own; the
                // pieces of a call follow each other, so the last ones are those before it.
                None => own.push(own.last().copied().unwrap_or_default()),
            }
            for part in &piece.shared {
                if let SharedPlace::New(packed) = &part.place
                    && !self.recent.contains_key(&part.hash)
                    && !fresh.contains_key(&part.hash)
                {
                    fresh.insert(part.hash, blobs.len());
                    blobs.push(packed);
                }
            }
        }
        let size: usize = blobs.iter().map(|blob| blob.len()).sum();
        let (staged, locations) = if size <= self.staging.limits.max_batch_bytes {
            let (chunks, locations) = lay_out(STAGING, self.staging.next_chunk, &blobs);
            self.staging.put(&chunks);
            (chunks, locations)
        } else {
            (Vec::new(), self.writer.append(&blobs)?)
        };
        drop(blobs);
        self.recent.extend(fresh.iter().map(|(hash, index)| (*hash, locations[*index])));
        let mut bodies = Vec::with_capacity(batch.len());
        for (piece, own) in batch.iter().flat_map(|intake| intake.pieces.iter()).zip(own) {
            let mut shared = Vec::with_capacity(piece.shared.len());
            let mut new = Vec::new();
            for part in &piece.shared {
                let location = match &part.place {
                    SharedPlace::Known(location) => *location,
                    SharedPlace::New(_) => {
                        // Every new part was stored just now or is recent.
                        let location = self.recent[&part.hash];
                        new.push((part.hash, location));
                        location
                    }
                };
                shared.push((part.offset, location));
            }
            let body = StoredBody { own: Some(locations[own]), shared };
            bodies.push(StoredBytes { body, new });
        }
        if self.recent.len() > RECENT_PARTS {
            self.recent.clear();
        }
        Ok((staged, bodies))
    }

    /// The bytes are durable or will be with it; the record follows. An error means that the records are closed, and
    /// then the dropped reply tells the caller.
    fn hand_on(&self, intake: Intake, stored: Vec<StoredBytes>) {
        let Intake { pieces, once, slip, reply, on_the_way } = intake;
        let change: Change = Box::new(move |batch| {
            let accepted = record_call(batch, pieces, stored, once)?;
            if let (Accepted::New(_), Some(slip)) = (&accepted, slip) {
                slip.append(batch.transaction, None)?;
            }
            Ok(Box::new(move || {
                let _ = reply.send(Ok(accepted));
            }))
        });
        let _ = self.jobs.send(Job { change, urgency: Urgency::Now });
        drop(on_the_way);
    }
}

impl Inner {
    /// The messages of a call. The same bytes of several are prepared and stored once.
    pub(super) fn prepare_all(
        &self,
        acceptances: Vec<Acceptance>,
    ) -> Result<Vec<Piece>, ArchiveError> {
        let mut pieces: Vec<Piece> = Vec::with_capacity(acceptances.len());
        for acceptance in acceptances {
            let before = pieces.last().map(|piece| &piece.acceptance);
            pieces.push(match before.is_some_and(|before| has_same_bytes(&acceptance, before)) {
                true => Piece { acceptance, own: None, shared: Vec::new(), duplicate_of: None },
                false => self.prepare(acceptance)?,
            });
        }
        Ok(pieces)
    }

    /// Everything about a message that needs no writer: what is shared, what is its own, compressed.
    fn prepare(&self, acceptance: Acceptance) -> Result<Piece, ArchiveError> {
        let spans = shared_spans(&acceptance);
        let own = Packed::new(own_bytes(&acceptance.raw, &spans));
        let mut shared = Vec::with_capacity(spans.len());
        for span in spans {
            let part = acceptance.raw.slice(span.clone());
            let hash = *blake3::hash(&part).as_bytes();
            let place = match self.shared_location(&hash)? {
                Some(location) => SharedPlace::Known(location),
                None => SharedPlace::New(Packed::new(part)),
            };
            shared.push(SharedPart { offset: span.start as u64, hash, place });
        }
        let message_id = acceptance.summary.message_id.as_deref();
        let duplicate_of = message_id.and_then(|id| {
            self.index.earliest(id).unwrap_or_else(|error| {
                // The index can be built anew; it is no reason to refuse a message.
                tracing::error!(%error, "the look-up index can not be read");
                None
            })
        });
        Ok(Piece { acceptance, own: Some(own), shared, duplicate_of })
    }

    fn shared_location(&self, hash: &[u8; 32]) -> Result<Option<Location>, ArchiveError> {
        let look = || -> Result<Option<Location>, Failure> {
            let table = self.database.begin_read()?.open_table(tables::SHARED)?;
            let found = table.get(hash)?;
            // A place that can not be read is as good as none: the part is stored again.
            Ok(found.and_then(|bytes| postcard::from_bytes(bytes.value()).ok()))
        };
        Ok(look()?)
    }
}

/// What is kept free on a disk of this size.
fn reserve(wanted_bytes: u64, space: Space) -> u64 {
    wanted_bytes.min(space.total_bytes / LARGEST_RESERVE)
}

/// Whether a disk has room for messages of so many bytes beside the reserve, and so much to spare. They are
/// counted twice, for the volume and for the records.
pub(super) fn has_spare(
    space: Space,
    reserve_bytes: u64,
    spare_bytes: u64,
    message_bytes: u64,
) -> bool {
    let kept = reserve(reserve_bytes, space).saturating_add(reserve(spare_bytes, space));
    space.free_bytes >= kept.saturating_add(message_bytes.saturating_mul(2))
}

/// Records all messages of a call in the transaction at hand, or finds that it was made before.
fn record_call(
    batch: &mut Batch<'_>,
    pieces: Vec<Piece>,
    stored: Vec<StoredBytes>,
    once: Once,
) -> Result<Accepted, Failure> {
    let key = match once {
        Once::Nothing => None,
        Once::Key(key) => Some(key),
        Once::Journal(until) if notices::advance(batch, until)? => None,
        Once::Journal(_) => return Ok(Accepted::Repeated(Vec::new())),
    };
    let times = pieces.first().map(|piece| {
        let kept = repeats::kept_for(piece.acceptance.direction);
        (piece.acceptance.accepted_at, kept)
    });
    if let (Some(key), Some((now, _))) = (key, times)
        && let Some(earlier) = repeats::find(batch.transaction, key, now)?
    {
        return Ok(earlier);
    }
    let mut ids = Vec::with_capacity(pieces.len());
    for (piece, stored) in pieces.iter().zip(stored) {
        ids.push(Durable(record(batch, &piece.acceptance, stored, piece.duplicate_of)?));
    }
    if let (Some(key), Some((now, kept))) = (key, times) {
        repeats::remember(batch.transaction, key, &ids, now, kept)?;
    }
    Ok(Accepted::New(ids))
}

fn record(
    batch: &mut Batch<'_>,
    acceptance: &Acceptance,
    stored: StoredBytes,
    duplicate_of: Option<MessageId>,
) -> Result<MessageId, Failure> {
    let at = acceptance.accepted_at;
    let (sequence, id) = batch.memory.next_message(at, random());
    let hash = acceptance.summary.message_id.as_deref().map(message_id_hash);
    let earlier = hash.and_then(|hash| batch.memory.remember(hash, id));
    let duplicate_of = duplicate_of.or(earlier);
    let proof = leaf(sequence, id, at, &acceptance.app, &acceptance.medium, acceptance.digest);
    let place = Place { sequence, leaf: proof, body: stored.body, duplicate_of };
    let bytes = StoredMessage::new(acceptance, place).encode();
    batch.messages.insert(id.as_u128(), &bytes[..])?;
    for (hash, location) in &stored.new {
        // Both parts are plain numbers; serialising them can not fail.
        let location = postcard::to_stdvec(location).unwrap_or_default();
        batch.shared.insert(hash, &location[..])?;
    }
    let states = acceptance.recipients.iter().map(|r| Entry::new(r.state.clone(), at));
    let valid_until = acceptance.medium.sms().and_then(|sms| sms.valid_until);
    let standing = Standing { id, entries: states.collect(), valid_until };
    let same = duplicate_of.map(|id| format!("it has the same Message-ID as {id}"));
    let said: Vec<String> = same.into_iter().chain(notices::not_sent(&standing)).collect();
    let detail = (!said.is_empty()).then(|| said.join("; "));
    let first = match acceptance.direction {
        Direction::Outbound => EventKind::Accepted,
        Direction::Inbound => EventKind::Received,
    };
    let accepted = Note { detail, ..Note::of(first) };
    StoredEvent::append(batch, event_of(id, at, None, accepted, None))?;
    if let Some(note) = held(&standing) {
        StoredEvent::append(batch, event_of(id, at, None, note, None))?;
    }
    standing.save(batch, None)?;
    if let Some(original) = acceptance.resend_of
        && batch.messages.get(original.as_u128())?.is_some()
    {
        let told = Note { detail: Some(format!("as {id}")), ..Note::of(EventKind::Resent) };
        let by = acceptance.client.authenticated.as_deref();
        StoredEvent::append(batch, event_of(original, at, None, told, by))?;
    }
    if acceptance.medium.sms().is_some() {
        let mut numbers = batch.transaction.open_table(tables::SMS_NUMBERS)?;
        numbers.insert(sequence.0, id.as_u128())?;
    }
    if acceptance.policy.track_opens || acceptance.policy.track_clicks {
        hits::track(batch, sequence, id)?;
    }
    let counters = batch.memory.counters();
    counters.messages += 1;
    counters.raw_bytes += acceptance.raw.len() as u64;
    Ok(id)
}

/// The event of a message that is kept back from the start.
fn held(standing: &Standing) -> Option<Note> {
    let first = standing.entries.iter().find_map(|entry| match &entry.progress.state {
        RecipientState::Held { hold } => Some(*hold),
        RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => None,
    })?;
    let detail = match first {
        Hold::Until(at) => format!("until {at}"),
        Hold::Manual => "until somebody releases it".into(),
    };
    Some(Note { detail: Some(detail), ..Note::of(EventKind::Held) })
}

/// 128 random bits for an id; all zero would only make ids of one millisecond guessable.
fn random() -> u128 {
    let mut bytes = [0; 16];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u128::from_be_bytes(bytes)
}
