//! When the daemon ran: what proves later that it was there to take a message, or was not.
//!
//! Each run is a row with its begin and the time until which it is known to have lived. That time is
//! written at most once a minute and at an orderly end; after a crash the next begin moves it to the
//! last event that the crashed run made durable, which proves it as well. So a run is never told longer
//! than it was, and at most a minute shorter. A silence within a run (the machine slept, the clock
//! jumped) ends it as a crash does. Of more runs than are kept, the oldest are forgotten, and the time
//! before the first one that is known counts as down.

use std::time::Duration;

use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::stored::{Record, StoredEvent};
use super::tables::{EVENTS, RUNS};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError};
use crate::model::{Sequence, Timestamp};

/// How often a run is to say that it lives.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// After a longer silence it did not live in between; a machine under load may miss a beat or two.
const MAX_SILENCE: Duration = Duration::from_secs(180);
/// Runs that are kept: a restart each hour for eleven years.
const MAX_KEPT: u64 = 100_000;
/// Gaps that are told of one period.
pub(super) const MAX_GAPS: usize = 50;

/// One run of the daemon; its key is its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredRun {
    began_at: i64,
    alive_until: i64,
    /// It was ended in order.
    is_ended: bool,
}

impl Record for StoredRun {
    const KIND: &'static str = "run";
}

#[cfg(test)]
impl StoredRun {
    pub(super) fn is_possible(&self) -> bool {
        self.began_at <= self.alive_until
    }
}

/// A time in which no run is known to have lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Archive {
    /// The doors are open from now on.
    pub async fn begin_run(&self, now: Timestamp) -> Result<(), ArchiveError> {
        let before = self.inner.last_event_before;
        self.write(Urgency::Now, move |batch| begin(batch, before, now)).await
    }

    /// The run goes on; to be called every `ALIVE_INTERVAL`.
    pub async fn still_running(&self, now: Timestamp) -> Result<(), ArchiveError> {
        self.write(Urgency::Soon, move |batch| go_on(batch, now, false)).await
    }

    /// The doors were closed at `at`.
    pub async fn end_run(&self, at: Timestamp) -> Result<(), ArchiveError> {
        self.write(Urgency::Now, move |batch| go_on(batch, at, true)).await
    }

    /// The gaps in a period, oldest first, and whether there are more than are told. `now` is the
    /// end of the run that goes on.
    pub(super) fn gaps(
        &self,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> Result<(Vec<Gap>, bool), ArchiveError> {
        let lives = lives(&self.snapshot()?, now)?;
        let mut gaps = between(lives, from.as_millis(), to.as_millis());
        let has_more = gaps.len() > MAX_GAPS;
        gaps.truncate(MAX_GAPS);
        Ok((gaps, has_more))
    }

    /// When the first run began that is known.
    pub(super) fn first_run(&self) -> Result<Option<Timestamp>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Option<Timestamp>, Failure> {
            let runs = snapshot.open_table(RUNS)?;
            let Some((_, bytes)) = runs.first()? else { return Ok(None) };
            let run = StoredRun::decode(bytes.value())?;
            Ok(Some(Timestamp::from_millis(run.began_at)))
        };
        Ok(read(&self.snapshot()?)?)
    }
}

/// When the last event was that is durable.
pub(super) fn last_event(snapshot: &ReadTransaction) -> Result<Option<Timestamp>, Failure> {
    let events = snapshot.open_table(EVENTS)?;
    let Some((number, bytes)) = events.last()? else { return Ok(None) };
    // One that is damaged proves nothing.
    let event = StoredEvent::decode(bytes.value()).and_then(|e| e.event(Sequence(number.value())));
    Ok(event.ok().map(|event| event.at))
}

fn last(batch: &Batch<'_>) -> Result<Option<(u64, StoredRun)>, Failure> {
    let runs = batch.transaction.open_table(RUNS)?;
    let Some((number, bytes)) = runs.last()? else { return Ok(None) };
    match StoredRun::decode(bytes.value()) {
        Ok(run) => Ok(Some((number.value(), run))),
        Err(error) => {
            // It stays a gap; the runs to come are told all the same.
            tracing::error!(run = number.value(), %error, "a run can not be read");
            let run = StoredRun { began_at: i64::MAX, alive_until: i64::MAX, is_ended: true };
            Ok(Some((number.value(), run)))
        }
    }
}

fn begin(
    batch: &mut Batch<'_>,
    last_event: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Failure> {
    let last = last(batch)?;
    let mut runs = batch.transaction.open_table(RUNS)?;
    if let (Some((number, run)), Some(event)) = (&last, last_event)
        && !run.is_ended
    {
        let proven = event.as_millis().min(now.as_millis());
        let run = StoredRun { alive_until: run.alive_until.max(proven), ..run.clone() };
        runs.insert(number, &run.encode()[..])?;
    }
    let number = last.map_or(0, |(number, _)| number).saturating_add(1);
    let now = now.as_millis();
    let run = StoredRun { began_at: now, alive_until: now, is_ended: false };
    runs.insert(number, &run.encode()[..])?;
    runs.retain_in(..=number.saturating_sub(MAX_KEPT), |_, _| false)?;
    Ok(())
}

fn go_on(batch: &mut Batch<'_>, now: Timestamp, is_ended: bool) -> Result<(), Failure> {
    let Some((number, run)) = last(batch)? else { return Ok(()) };
    let silence = now.as_millis().saturating_sub(run.alive_until);
    let is_heard = u64::try_from(silence).is_ok_and(|ms| u128::from(ms) <= MAX_SILENCE.as_millis());
    if run.is_ended || !is_heard {
        begin(batch, None, now)?;
        return match is_ended {
            true => go_on(batch, now, true),
            false => Ok(()),
        };
    }
    let run = StoredRun { alive_until: now.as_millis(), is_ended, ..run };
    batch.transaction.open_table(RUNS)?.insert(number, &run.encode()[..])?;
    Ok(())
}

/// From when until when each run lived; the last one that was not ended lives now.
fn lives(snapshot: &ReadTransaction, now: Timestamp) -> Result<Vec<(i64, i64)>, Failure> {
    let mut lives = Vec::new();
    let mut is_going_on = false;
    for row in snapshot.open_table(RUNS)?.iter()? {
        let (number, bytes) = row?;
        match StoredRun::decode(bytes.value()) {
            Ok(run) => {
                is_going_on = !run.is_ended;
                lives.push((run.began_at, run.alive_until));
            }
            Err(error) => {
                is_going_on = false;
                tracing::error!(run = number.value(), %error, "a run can not be read");
            }
        }
    }
    if let Some((_, until)) = lives.last_mut().filter(|_| is_going_on)
        && now.as_millis().saturating_sub(*until)
            <= i64::try_from(MAX_SILENCE.as_millis()).unwrap_or(0)
    {
        *until = (*until).max(now.as_millis());
    }
    Ok(lives)
}

/// What the lives leave of a period.
fn between(mut lives: Vec<(i64, i64)>, from: i64, to: i64) -> Vec<Gap> {
    // A clock that went back leaves them in another order.
    lives.sort_unstable();
    let (mut gaps, mut known) = (Vec::new(), from);
    for (began, ended) in lives {
        let began = began.min(to);
        if began > known {
            gaps.push((known, began));
        }
        known = known.max(ended);
    }
    if known < to {
        gaps.push((known, to));
    }
    let gap =
        |(from, to)| Gap { from: Timestamp::from_millis(from), to: Timestamp::from_millis(to) };
    gaps.into_iter().map(gap).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::archive::tests::{acceptance, at, settings};

    #[test]
    fn gaps_are_what_no_run_covers() {
        let check = |lives: &[(i64, i64)], from: i64, to: i64, expected: &[(i64, i64)]| {
            let found = between(lives.to_vec(), from, to);
            let found: Vec<(i64, i64)> =
                found.iter().map(|gap| (gap.from.as_millis(), gap.to.as_millis())).collect();
            assert_eq!(found, expected, "{lives:?} in {from}..{to}");
        };
        check(&[], 10, 20, &[(10, 20)]);
        check(&[(0, 5)], 10, 20, &[(10, 20)]);
        check(&[(30, 50)], 10, 20, &[(10, 20)]);
        check(&[(0, 15)], 10, 20, &[(15, 20)]);
        check(&[(12, 15), (16, 30)], 10, 20, &[(10, 12), (15, 16)]);
        check(&[(16, 30), (0, 15), (2, 3)], 10, 20, &[(15, 16)]);
        check(&[(0, 30)], 10, 20, &[]);
        check(&[(10, 14), (14, 20)], 10, 20, &[]);
    }

    fn gaps(archive: &Archive, from: i64, to: i64, now: i64) -> Vec<(i64, i64)> {
        let (found, _) = archive.gaps(at(from), at(to), at(now)).unwrap();
        let ms = |time: Timestamp| time.as_millis() - at(0).as_millis();
        found.iter().map(|gap| (ms(gap.from), ms(gap.to))).collect()
    }

    #[tokio::test]
    async fn a_crash_ends_a_run_at_the_last_thing_that_it_made_durable() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        assert_eq!(gaps(&archive, 0, 9_000, 9_000), [(0, 9_000)], "nobody said that it ran");
        archive.begin_run(at(1_000)).await.unwrap();
        archive.still_running(at(2_000)).await.unwrap();
        let mut message = acceptance(1, 1, Bytes::from("Subject: x\r\n\r\nx\r\n"));
        message.accepted_at = at(5_000);
        archive.accept(message).await.unwrap();
        assert_eq!(gaps(&archive, 1_000, 9_000, 9_000), [], "it runs");
        archive.close().await;
        // No orderly end was noted: to the next start this one is a crash.
        let archive = Archive::open(&settings(dir.path())).unwrap();
        archive.begin_run(at(8_000)).await.unwrap();
        assert_eq!(gaps(&archive, 0, 9_000, 9_000), [(0, 1_000), (5_000, 8_000)]);
        archive.end_run(at(10_000)).await.unwrap();
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        archive.begin_run(at(11_000)).await.unwrap();
        assert_eq!(gaps(&archive, 8_000, 12_000, 12_000), [(10_000, 11_000)]);
        archive.still_running(at(999_000)).await.unwrap();
        assert_eq!(gaps(&archive, 11_000, 999_000, 999_000), [(11_000, 999_000)], "a long sleep");
        archive.still_running(at(500_000)).await.unwrap();
        archive.still_running(at(510_000)).await.unwrap();
        let back = gaps(&archive, 500_000, 999_000, 510_000);
        assert_eq!(back, [(510_000, 999_000)], "the clock went back");
        assert_eq!(archive.first_run().unwrap(), Some(at(1_000)));
        archive.close().await;
    }
}
