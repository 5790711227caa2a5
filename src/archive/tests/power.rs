//! Power cuts: at every operation of a scripted day, and again while the archive is opened after one.
//!
//! What a crash may leave is thereby covered from the first byte of a commit to the orderly end: nothing of what was not
//! answered or all of it, a message that waits, is claimed, was sent and not yet judged, was stopped before a claim; and
//! the same again when the recovery is cut.
//!
//! By default a sample of the operations is cut, so that the tests stay quick; with `WAYBILL_CUTS=all` it is
//! every one, and `WAYBILL_SEEDS` says how many random choices of what survives are tried at each.

use std::sync::Arc;

use super::check::{check, check_files};
use super::disk::{Cut, Disk, Replay};
use super::story::{Story, live, small};
use crate::archive::Archive;
use crate::lifecycle::RetrySchedule;

use super::at;

/// Cuts of each kind when not all are tried.
const SAMPLE: usize = 80;

/// Which of `total` operations are cut.
pub(super) fn chosen(total: usize, sample: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var("WAYBILL_CUTS").is_ok_and(|cuts| cuts == "all");
    // An odd stride, so that it does not keep step with what a commit does.
    let stride = if all { 1 } else { (total / sample) | 1 };
    (0..=total).step_by(stride)
}

fn seeds() -> u64 {
    std::env::var("WAYBILL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1)
}

async fn day() -> (Disk, Story) {
    let disk = Disk::recording();
    let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
    let story = live(&archive, &disk).await;
    check(&archive);
    story.check(&archive, disk.operations());
    archive.close().await;
    (disk, story)
}

/// Opens the archive on what a cut left, and checks everything; `recover` as the daemon does.
async fn reopen(disk: &Disk, story: &Story, operations: usize) {
    let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
    check(&archive);
    story.check(&archive, operations);
    archive.recover(Arc::new(RetrySchedule::default()), at(1_000)).await.unwrap();
    assert_eq!(archive.queue().unwrap().claimed, 0);
    check(&archive);
    archive.close().await;
    check_files(disk);
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let (disk, story) = day().await;
    let total = disk.operations();
    let (mut replay, mut done, mut cuts) = (Replay::new(), 0, 0);
    for operations in chosen(total, SAMPLE) {
        replay.advance(&disk, done, operations);
        done = operations;
        let mixed = (0..seeds()).map(|seed| Cut::Mixed(seed << 32 | operations as u64));
        for cut in [Cut::Lost, Cut::Kept].into_iter().chain(mixed) {
            reopen(&replay.cut(cut), &story, operations).await;
            cuts += 1;
        }
    }
    println!("{cuts} power cuts at {total} operations of {} messages", story.acknowledged());
}

#[tokio::test]
async fn a_second_power_cut_while_it_opens_changes_nothing() {
    let (disk, story) = day().await;
    let total = disk.operations();
    let (mut replay, mut done, mut cuts) = (Replay::new(), 0, 0);
    for operations in chosen(total, SAMPLE / 12) {
        replay.advance(&disk, done, operations);
        done = operations;
        for first in [Cut::Lost, Cut::Mixed(operations as u64)] {
            let found = replay.cut(first);
            let mut opening = found.record();
            Archive::open_on(Arc::new(found.clone()), &small()).unwrap().close().await;
            let steps = found.operations();
            let mut seen = 0;
            for step in chosen(steps, 8) {
                opening.advance(&found, seen, step);
                seen = step;
                for second in [Cut::Lost, Cut::Mixed(step as u64)] {
                    reopen(&opening.cut(second), &story, operations).await;
                    cuts += 1;
                }
            }
        }
    }
    println!("{cuts} second power cuts while the archive was opened");
}
