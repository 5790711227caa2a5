//! A disk that rots: what a turned bit hits is an error, and nothing else is harmed or given wrongly.

use std::sync::Arc;

use bytes::Bytes;

use super::acceptance;
use super::disk::{Chance, Disk};
use super::story::small;
use crate::archive::{Archive, ArchiveSettings, StagingLimits};
use crate::model::MessageId;

const MESSAGES: u64 = 30;

/// Half of them are such that compression pays.
fn raw(number: u64) -> Bytes {
    let length = 2_000 + 700 * number as usize;
    match number % 2 {
        0 => Chance::new(number).bytes(length).into(),
        _ => format!("{number} the quick brown fox ").repeat(length / 20).into(),
    }
}

async fn filled() -> (Disk, Vec<MessageId>, ArchiveSettings) {
    let disk = Disk::default();
    // Straight to the volume.
    let staging = StagingLimits { max_batch_bytes: 0, ..StagingLimits::default() };
    let settings = ArchiveSettings { staging, volume_bytes: 1 << 30, ..small() };
    let archive = Archive::open_on(Arc::new(disk.clone()), &settings).unwrap();
    let mut ids = Vec::new();
    for number in 0..MESSAGES {
        ids.push(archive.accept(acceptance(number, 1, raw(number))).await.unwrap().get());
    }
    archive.close().await;
    (disk, ids, settings)
}

#[tokio::test]
async fn a_bit_that_turned_over_is_never_taken_for_content() {
    let (disk, ids, settings) = filled().await;
    let mut chance = Chance::new(7);
    let (mut harmed, mut harmless, mut unopened) = (0, 0, 0);
    for _ in 0..400 {
        let copy = disk.copy();
        if !copy.rot("volumes/000001.redb", &mut chance) {
            continue;
        }
        let Ok(archive) = Archive::open_on(Arc::new(copy), &settings) else {
            unopened += 1;
            continue;
        };
        let mut lost = 0;
        for (number, id) in (0..).zip(&ids) {
            match archive.raw(*id) {
                // Whatever is given is what was submitted.
                Ok(found) => assert_eq!(found.unwrap(), raw(number)),
                Err(_) => lost += 1,
            }
        }
        match lost {
            0 => harmless += 1,
            _ => harmed += 1,
        }
        archive.close().await;
    }
    println!("bits: {harmed} harmed a message, {harmless} none, {unopened} kept it from opening");
    assert!(harmed > 0);
}
