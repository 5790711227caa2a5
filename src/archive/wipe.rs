//! Overwriting bytes: what the volume's thread does with what was erased.
//!
//! That thread alone moves staged chunks and writes volumes, so while it overwrites nothing moves. It
//! asks the records first: these overwrite what is staged, and say where the rest lies by now.

use std::collections::BTreeSet;
use std::sync::mpsc;

use redb::{ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use super::accept::VolumeThread;
use super::erase::{StoredErasure, last_use, used};
use super::staging::STAGING;
use super::stored::Record;
use super::tables::{ERASURES, MOVED, STAGED};
use super::volume::{Location, Stretch};
use super::writer::{Batch, Change, Failure, Job, Urgency};
use super::{ArchiveError, storage};
use crate::model::MessageId;

/// Bytes of one message that are to be overwritten.
pub(super) struct Wipe {
    message: MessageId,
    own: Option<Location>,
    /// Nobody up to `scanned` has these.
    shared: Vec<Location>,
    scanned: u128,
    done: Option<oneshot::Sender<()>>,
}

impl Wipe {
    /// Without the shared places that are used, by their index.
    pub(super) fn new(
        message: MessageId,
        erased: StoredErasure,
        used: &BTreeSet<usize>,
        scanned: u128,
        done: Option<oneshot::Sender<()>>,
    ) -> Wipe {
        let shared = erased.shared.into_iter().enumerate();
        let shared = shared.filter(|(index, _)| !used.contains(index)).map(|(_, place)| place);
        Wipe { message, own: erased.own, shared: shared.collect(), scanned, done }
    }
}

impl VolumeThread {
    /// What a crash left to be overwritten.
    pub(super) fn wipe_leftovers(&mut self) -> Result<(), ArchiveError> {
        let look = || -> Result<Vec<Wipe>, Failure> {
            let snapshot = self.records.begin_read()?;
            let mut wipes = Vec::new();
            for entry in snapshot.open_table(ERASURES)?.iter()? {
                let (id, bytes) = entry?;
                let id = MessageId::from_u128(id.value());
                match StoredErasure::decode(bytes.value()) {
                    Ok(erased) => {
                        let (used, scanned) = last_use(&snapshot, &erased.shared)?;
                        wipes.push(Wipe::new(id, erased, &used, scanned, None));
                    }
                    Err(error) => tracing::error!(%id, %error, "bytes are not overwritten"),
                }
            }
            Ok(wipes)
        };
        for wipe in look()? {
            self.wipe(wipe)?;
        }
        Ok(())
    }

    /// Returns when the bytes are overwritten durably.
    pub(super) fn wipe(&mut self, wipe: Wipe) -> Result<(), ArchiveError> {
        let Wipe { message, own, shared, scanned, done } = wipe;
        // Messages that are on their way here may point there, because it was there when they came.
        self.recent.retain(|_, place| !shared.contains(place));
        self.wiped.extend(shared.iter().copied());
        let (tell, told) = mpsc::channel();
        let change: Change = Box::new(move |batch| {
            let stretches = wipe_staged(batch, own, &shared, scanned)?;
            Ok(Box::new(move || drop(tell.send(stretches))))
        });
        let closed = storage("overwrite what was erased");
        let _ = self.jobs.send(Job { change, urgency: Urgency::Now });
        let Ok(stretches) = told.recv() else { return Err(closed("the records are closed")) };
        self.writer.wipe(&stretches)?;
        let change: Change = Box::new(move |batch| {
            batch.transaction.open_table(ERASURES)?.remove(message.as_u128())?;
            Ok(Box::new(move || {
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }))
        });
        let _ = self.jobs.send(Job { change, urgency: Urgency::Now });
        Ok(())
    }
}

/// Overwrites what is staged; gives what lies in volumes. A shared place that came into use again
/// meanwhile is left as it is.
fn wipe_staged(
    batch: &mut Batch<'_>,
    own: Option<Location>,
    shared: &[Location],
    scanned: u128,
) -> Result<Vec<Stretch>, Failure> {
    let in_use = match scanned.checked_add(1) {
        Some(from) => used(&batch.messages, from, shared)?,
        None => BTreeSet::new(),
    };
    let free = shared.iter().enumerate().filter(|(index, _)| !in_use.contains(index));
    let mut stretches = Vec::new();
    let mut staged = batch.transaction.open_table(STAGED)?;
    let moved = batch.transaction.open_table(MOVED)?;
    for place in own.into_iter().chain(free.map(|(_, place)| *place)) {
        let whole = place.stretch();
        if whole.volume != STAGING {
            stretches.push(whole);
            continue;
        }
        let (mut number, mut skip, mut left) = (whole.chunk, whole.skip, whole.len);
        while left > 0 {
            let chunk = staged.get(number)?.map(|bytes| bytes.value().to_vec());
            let gone: Option<Location> = match &chunk {
                Some(_) => None,
                None => moved.get(number)?.and_then(|b| postcard::from_bytes(b.value()).ok()),
            };
            let len = match (&chunk, gone) {
                (Some(chunk), _) => chunk.len() as u64,
                (None, Some(place)) => place.stretch().len,
                (None, None) => break,
            };
            let take = len.saturating_sub(skip).min(left);
            match (chunk, gone) {
                (Some(mut chunk), _) => {
                    let from = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                    chunk.iter_mut().skip(from).take(take as usize).for_each(|byte| *byte = 0);
                    staged.insert(number, &chunk[..])?;
                }
                (None, Some(place)) => {
                    let of = place.stretch();
                    stretches.push(Stretch { skip: of.skip + skip, len: take, ..of });
                }
                (None, None) => {}
            }
            (number, skip, left) = (number.saturating_add(1), 0, left - take);
            if take == 0 {
                break;
            }
        }
    }
    Ok(stretches)
}
