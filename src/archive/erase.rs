//! Taking content away for good, and leaving what proves that it was there.
//!
//! First one transaction of the records takes the text and the way to the bytes out of the record,
//! and notes which bytes are to be overwritten; then the volume's thread overwrites them (`wipe`). A
//! crash between leaves the note, and the next start goes on with it. Bytes that another message has
//! as well stay: those of its call, or an attachment that is stored once.
//! What redb frees is written over by what comes later; until then only a look at the raw file, and
//! not the archive, could find it. The same holds for bytes in a volume that nothing points to: of a
//! call that lost a race with the same call, and of staged bytes whose move a crash cut off.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::accept::Order;
use super::standing::{Standing, event_of};
use super::stored::{Record, StoredEvent, StoredMessage};
use super::volume::Location;
use super::wipe::Wipe;
use super::writer::{Batch, Failure};
use super::{ActionRefusal, Archive, ArchiveError, Inner, Message, hits, storage, tables};
use crate::lifecycle::Note;
use crate::model::{Channel, EventKind, MessageId, Status, Timestamp};

/// Longest reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 500;

/// How much goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureKind {
    /// The text and the bytes; addresses, times, states, segments, length and digest stay.
    Redact,
    /// The same, and the message is marked as deleted (tombstone).
    Delete,
}

/// An order to erase.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub message: MessageId,
    pub kind: ErasureKind,
    pub by: String,
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// Bytes that are still to be overwritten, of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredErasure {
    /// Nobody else has these.
    pub own: Option<Location>,
    /// Somebody else may have these.
    pub shared: Vec<Location>,
}

impl Record for StoredErasure {
    const KIND: &'static str = "erasure";
}

impl Archive {
    /// Overwrites the content. Refused while a recipient is pending. When this returns, the archive
    /// can not give it any more, not even after a crash.
    pub async fn erase(
        &self,
        erasure: Erasure,
    ) -> Result<Result<Message, ActionRefusal>, ArchiveError> {
        let id = erasure.message;
        let inner = self.inner.clone();
        let hashes = tokio::task::spawn_blocking(move || inner.hashes_of_shared(id));
        let hashes = hashes.await.map_err(storage("read a message"))??;
        let change = move |batch: &mut Batch<'_>| erase(batch, &erasure, &hashes);
        let erased = match self.write_recorded(change).await? {
            Ok(erased) => erased,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(erased) = erased {
            let inner = self.inner.clone();
            let wanted = erased.shared.clone();
            let look = move || last_use(&inner.database.begin_read()?, &wanted);
            let looked: Result<_, Failure> =
                tokio::task::spawn_blocking(look).await.map_err(storage("read the records"))?;
            let (used, scanned) = looked?;
            let (done, answer) = oneshot::channel();
            let wipe = Wipe::new(id, erased, &used, scanned, Some(done));
            if self.inner.intake.send(Order::Wipe(wipe)).is_err() {
                return Err(self.closed());
            }
            answer.await.map_err(|_| self.closed())?;
        }
        Ok(self.message(id)?.ok_or(ActionRefusal::NoSuchMessage))
    }
}

impl Inner {
    /// By what the parts of a message are found that are stored once.
    fn hashes_of_shared(&self, id: MessageId) -> Result<Vec<([u8; 32], Location)>, ArchiveError> {
        let look = || -> Result<Vec<Location>, Failure> {
            let table = self.database.begin_read()?.open_table(tables::MESSAGES)?;
            let Some(bytes) = table.get(id.as_u128())? else { return Ok(Vec::new()) };
            let stored = StoredMessage::decode(bytes.value())?;
            Ok(stored.body.shared.into_iter().map(|(_, location)| location).collect())
        };
        let mut hashes = Vec::new();
        for location in look()? {
            // What can not be read will not be found again by its hash either.
            if let Ok(part) = self.volumes.read(location) {
                hashes.push((*blake3::hash(&part).as_bytes(), location));
            }
        }
        Ok(hashes)
    }
}

/// Which of these places are used by messages, and the last message that was looked at. Reads the
/// whole archive where there is a place to look for; only parts that are stored once bring that.
pub(super) fn last_use(
    snapshot: &ReadTransaction,
    wanted: &[Location],
) -> Result<(BTreeSet<usize>, u128), Failure> {
    let table = snapshot.open_table(tables::MESSAGES)?;
    let last = table.last()?.map_or(0, |(id, _)| id.value());
    Ok((used(&table, 0, wanted)?, last))
}

/// Which of these places messages from `from` on use, by their index.
pub(super) fn used(
    table: &impl ReadableTable<u128, &'static [u8]>,
    from: u128,
    wanted: &[Location],
) -> Result<BTreeSet<usize>, Failure> {
    let mut used = BTreeSet::new();
    if wanted.is_empty() {
        return Ok(used);
    }
    for entry in table.range(from..)? {
        // One that can not be read has no way to its bytes.
        let Ok(stored) = StoredMessage::decode(entry?.1.value()) else { continue };
        for (index, place) in wanted.iter().enumerate() {
            if stored.body.shared.iter().any(|(_, location)| location == place) {
                used.insert(index);
            }
        }
    }
    Ok(used)
}

/// Takes the content out of the record. Gives what is to be overwritten; `None` when it is gone.
fn erase(
    batch: &mut Batch<'_>,
    erasure: &Erasure,
    hashes: &[([u8; 32], Location)],
) -> Result<Result<Option<StoredErasure>, ActionRefusal>, Failure> {
    let id = erasure.message;
    let Some(mut stored) = load(batch, id)? else {
        return Ok(Err(ActionRefusal::NoSuchMessage));
    };
    let standing = Standing::load(batch, id)?;
    if standing.is_some_and(|standing| standing.status() == Status::Pending) {
        let why = "it is still to be sent; stop it first, or wait for its end";
        return Ok(Err(ActionRefusal::TooLate(why.into())));
    }
    let was = (stored.redacted_at, stored.deleted_at);
    let at = erasure.at.as_millis();
    let body = stored.redact(erasure.at);
    if erasure.kind == ErasureKind::Delete {
        stored.deleted_at = stored.deleted_at.or(Some(at));
    }
    if was == (stored.redacted_at, stored.deleted_at) {
        return Ok(Ok(None));
    }
    let is_theirs = match body.own {
        Some(own) => has_sibling_with(batch, &stored, own)?,
        None => true,
    };
    batch.messages.insert(id.as_u128(), &stored.encode()[..])?;
    hits::forget(batch, id, stored.sequence)?;
    let erased = StoredErasure {
        own: body.own.filter(|_| !is_theirs),
        shared: body.shared.into_iter().map(|(_, location)| location).collect(),
    };
    for (hash, location) in hashes {
        let found =
            batch.shared.get(hash)?.and_then(|bytes| postcard::from_bytes(bytes.value()).ok());
        if found == Some(*location) {
            batch.shared.remove(hash)?;
        }
    }
    tell(batch, erasure)?;
    if erased == StoredErasure::default() {
        return Ok(Ok(None));
    }
    let mut table = batch.transaction.open_table(tables::ERASURES)?;
    table.insert(id.as_u128(), &erased.encode()[..])?;
    Ok(Ok(Some(erased)))
}

fn load(batch: &Batch<'_>, id: MessageId) -> Result<Option<StoredMessage>, Failure> {
    let Some(bytes) = batch.messages.get(id.as_u128())? else { return Ok(None) };
    Ok(Some(StoredMessage::decode(bytes.value())?))
}

/// Whether another message of the same call still has these bytes. The messages of a call follow each
/// other, with one time and one digest. The ones behind are looked at first: whoever erases a call
/// from its beginning is told at once.
fn has_sibling_with(
    batch: &Batch<'_>,
    stored: &StoredMessage,
    own: Location,
) -> Result<bool, Failure> {
    if stored.channel() != Channel::Sms {
        return Ok(false);
    }
    let numbers = batch.transaction.open_table(tables::SMS_NUMBERS)?;
    let has_it = |id: u128| -> Result<Option<bool>, Failure> {
        let Some(bytes) = batch.messages.get(id)? else { return Ok(None) };
        Ok(match StoredMessage::decode(bytes.value()) {
            Ok(one) if is_of_one_call(&one, stored) => Some(one.body.own == Some(own)),
            Ok(_) => None,
            // One that can not be read may have them.
            Err(_) => Some(true),
        })
    };
    let walk = |neighbours: &mut dyn Iterator<Item = u64>| -> Result<bool, Failure> {
        for neighbour in neighbours {
            let Some(id) = numbers.get(neighbour)? else { return Ok(false) };
            match has_it(id.value())? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => return Ok(false),
            }
        }
        Ok(false)
    };
    let at = stored.sequence;
    Ok(walk(&mut (at.saturating_add(1)..u64::MAX))? || walk(&mut (0..at).rev())?)
}

/// Whether two messages that follow each other may have the same bytes.
fn is_of_one_call(one: &StoredMessage, other: &StoredMessage) -> bool {
    (one.accepted_at, one.digest) == (other.accepted_at, other.digest)
}

fn tell(batch: &mut Batch<'_>, erasure: &Erasure) -> Result<(), Failure> {
    let what = match erasure.kind {
        ErasureKind::Redact => "redacted: only its text and bytes are gone",
        ErasureKind::Delete => "deleted",
    };
    let reason = erasure.reason.as_deref().unwrap_or_default();
    let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
    let detail = match reason.is_empty() {
        true => what.to_owned(),
        false => format!("{what}; {reason}"),
    };
    let note = Note { detail: Some(detail), ..Note::of(EventKind::Deleted) };
    let event = event_of(erasure.message, erasure.at, None, note, Some(&erasure.by));
    StoredEvent::append(batch, event)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::archive::tests::{acceptance, at, call, settings, sms, stop};
    use crate::archive::{Accepted, ActionKind, Durable, Filter, Order as Sorted};

    fn order(message: MessageId, kind: ErasureKind) -> Erasure {
        Erasure { message, kind, by: "user anna".into(), reason: Some("GDPR".into()), at: at(90) }
    }

    /// Whether these bytes, or a message with them, come out of any place of the archive.
    fn is_anywhere(archive: &Archive, wanted: &[u8]) -> bool {
        let within = |bytes: &[u8]| bytes.windows(wanted.len()).any(|part| part == wanted);
        let snapshot = archive.snapshot().unwrap();
        let messages = snapshot.open_table(tables::MESSAGES).unwrap();
        let staged = snapshot.open_table(tables::STAGED).unwrap();
        let in_volumes = archive.inner.volumes.chunks_for_tests();
        messages.iter().unwrap().any(|row| within(row.unwrap().1.value()))
            || staged.iter().unwrap().any(|row| within(row.unwrap().1.value()))
            || in_volumes.iter().any(|chunk| within(chunk))
    }

    /// Text that does not compress, so that it can be looked for.
    fn secret(seed: u64, len: usize) -> Bytes {
        let mut state = seed.wrapping_mul(77) + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..len).map(|_| next()).collect::<Vec<u8>>().into()
    }

    async fn settled(archive: &Archive) {
        for _ in 0..500 {
            let snapshot = archive.snapshot().unwrap();
            let staged = snapshot.open_table(tables::STAGED).unwrap();
            if staged.first().unwrap().is_none() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("staged bytes did not move");
    }

    #[tokio::test]
    async fn what_is_pending_or_not_there_is_not_erased() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let nobody = order(MessageId::from_u128(5), ErasureKind::Redact);
        let refusal = archive.erase(nobody).await.unwrap().unwrap_err();
        assert_eq!(refusal, ActionRefusal::NoSuchMessage);
        let id = archive.accept(sms(1, (0, 1), Bytes::from("x"))).await.unwrap().get();
        let refusal = archive.erase(order(id, ErasureKind::Delete)).await.unwrap().unwrap_err();
        assert!(refusal.to_string().contains("still to be sent"), "{refusal}");
        assert!(archive.raw(id).unwrap().is_some());
    }

    #[tokio::test]
    async fn erased_bytes_are_nowhere_whether_staged_moved_or_in_chunks_of_their_own() {
        for (size, wait) in [(3_000, false), (3_000, true), (60_000, true), (700_000, false)] {
            let dir = tempfile::tempdir().unwrap();
            let archive = Archive::open(&settings(dir.path())).unwrap();
            let mut ids = Vec::new();
            for number in 0..3 {
                let raw = secret(number, size);
                let id = archive.accept(sms(number, (0, 1), raw.clone())).await.unwrap().get();
                stop(&archive, id, ActionKind::Stop).await;
                ids.push((id, raw));
            }
            if wait {
                settled(&archive).await;
            }
            let (id, raw) = ids.remove(1);
            assert!(is_anywhere(&archive, &raw[..100]) && is_anywhere(&archive, b"Your code is 1"));
            let erased = archive.erase(order(id, ErasureKind::Redact)).await.unwrap().unwrap();
            assert_eq!((erased.redacted_at, erased.deleted_at), (Some(at(90)), None));
            assert_eq!((erased.size_bytes, erased.status()), (size as u64, Status::Stopped));
            assert_eq!(erased.medium.recipient(0).as_deref(), Some("+4500000001"));
            for part in [&raw[..100], &raw[size / 2..size / 2 + 100], &raw[size - 100..]] {
                assert!(!is_anywhere(&archive, part));
            }
            assert!(!is_anywhere(&archive, b"Your code is 1"));
            assert_eq!(archive.raw(id).unwrap(), None);
            let again = archive.erase(order(id, ErasureKind::Redact)).await.unwrap();
            assert!(again.is_ok());
            let gone = archive.erase(order(id, ErasureKind::Delete)).await.unwrap().unwrap();
            assert_eq!(gone.deleted_at, Some(at(90)));
            let events = archive.events(id, None, 9).unwrap().items;
            let told: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Deleted).collect();
            assert_eq!(told.len(), 2);
            assert!(told[0].detail.as_deref().unwrap().ends_with("gone; GDPR"));
            for (other, raw) in &ids {
                assert_eq!(archive.raw(*other).unwrap().as_ref(), Some(raw), "others keep theirs");
            }
            settled(&archive).await;
            archive.close().await;
            let archive = Archive::open(&settings(dir.path())).unwrap();
            assert!(!is_anywhere(&archive, &raw[..100]));
            for (other, raw) in &ids {
                assert_eq!(archive.raw(*other).unwrap().as_ref(), Some(raw));
            }
            let page = archive.list(&Filter::default(), Sorted::Oldest, None, 9).unwrap();
            assert_eq!(page.items.len(), 3, "a deleted message says that it was there");
        }
    }

    #[tokio::test]
    async fn the_bytes_of_a_call_go_with_its_last_message() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let raw = secret(9, 5_000);
        let Accepted::New(ids) = archive.accept_all(call(1, 3, raw.clone()), None).await.unwrap()
        else {
            panic!("not new")
        };
        let ids: Vec<MessageId> = ids.iter().map(Durable::get).collect();
        for (done, id) in [ids[1], ids[2], ids[0]].into_iter().enumerate() {
            stop(&archive, id, ActionKind::Stop).await;
            archive.erase(order(id, ErasureKind::Redact)).await.unwrap().unwrap();
            assert_eq!(archive.raw(id).unwrap(), None);
            assert_eq!(is_anywhere(&archive, &raw[..100]), done < 2);
        }
    }

    #[tokio::test]
    async fn an_attachment_that_another_mail_has_stays_and_the_last_one_takes_it_away() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let part = secret(4, 40_000);
        let mail = |number: u64| {
            let raw = [&b"Subject: x\r\n\r\n"[..], &part, b"\r\n"].concat();
            let mut mail = acceptance(number, 1, raw.into());
            mail.shared = std::iter::once(14..14 + part.len()).collect();
            mail
        };
        let mut ids = Vec::new();
        for number in 0..2 {
            let id = archive.accept(mail(number)).await.unwrap().get();
            stop(&archive, id, ActionKind::Stop).await;
            ids.push(id);
        }
        archive.erase(order(ids[0], ErasureKind::Delete)).await.unwrap().unwrap();
        assert_eq!(archive.raw(ids[1]).unwrap().unwrap().len(), 40_016);
        archive.erase(order(ids[1], ErasureKind::Delete)).await.unwrap().unwrap();
        assert!(!is_anywhere(&archive, &part[..100]));
        let id = archive.accept(mail(3)).await.unwrap().get();
        assert_eq!(archive.raw(id).unwrap().unwrap().len(), 40_016, "it is stored anew");
    }
}
