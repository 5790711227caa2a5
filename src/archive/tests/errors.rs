//! Errors of the disk: after the first one nothing is acknowledged, and what was is there.

use std::sync::Arc;
use std::time::Duration;

use super::check::{check, check_files};
use super::disk::{Cut, Disk, Fault};
use super::power::chosen;
use super::story::{MESSAGES, Story, live, small};
use super::{acceptance, action_of, at, claim_of, upstream};
use crate::archive::files::{INDEX, RECORDS};
use crate::archive::{ActionKind, Archive, ArchiveError, ArchiveSettings};
use crate::model::MessageId;

/// Operations that fail, when not all do.
const SAMPLE: usize = 18;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The archive says that it is closed, and why, and takes nothing more.
async fn check_closed(archive: &Archive) {
    let told = tokio::time::timeout(Duration::from_secs(10), archive.closed_by_failure()).await;
    let reason = told.expect("nobody was told that the archive closed");
    assert!(reason.contains("os error") || reason.contains("I/O"), "{reason}");
    let closed = |error: Option<ArchiveError>| matches!(error, Some(ArchiveError::Closed(_)));
    let message = acceptance(1_000, 1, "x".into());
    let id = MessageId::MIN;
    let stop = action_of(ActionKind::Stop, id);
    assert!(closed(archive.accept(message).await.err()));
    assert!(closed(archive.claim(claim_of(id, &[0])).await.err()));
    assert!(closed(archive.act(stop).await.err()));
    assert!(closed(archive.set_paused(upstream(), true, String::new(), at(0)).await.err()));
}

/// What the next process finds, and what is found after the power went as well.
async fn check_what_is_left(disks: &[Disk], story: Option<&Story>) {
    for left in disks {
        let archive = Archive::open_on(Arc::new(left.clone()), &small()).unwrap();
        check(&archive);
        if let Some(story) = story {
            story.check(&archive, usize::MAX);
        }
        archive.close().await;
        check_files(left);
    }
}

/// A day on which this goes wrong; gives which file met it.
async fn day(fault: Fault) -> String {
    let disk = Disk::default();
    let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
    let mut replay = disk.record();
    disk.fail(fault);
    let story = live(&archive, &disk).await;
    let struck = disk.struck().unwrap_or_default();
    match struck.as_str() {
        // It was met by nobody, or by what can be built anew; one that lasts is met by others as well.
        "" | INDEX if archive.inner.closing.reason().is_none() => {
            assert_eq!(story.acknowledged(), MESSAGES, "{fault:?} in {struck:?}");
            check(&archive);
        }
        "" => panic!("the archive closed without an error"),
        _ => {
            assert!(struck != INDEX || fault.lasts, "the index closed the archive");
            check_closed(&archive).await;
        }
    }
    archive.close().await;
    replay.finish(&disk);
    let left = [disk.copy(), replay.cut(Cut::Lost), replay.cut(Cut::Mixed(1))];
    check_what_is_left(&left, Some(&story)).await;
    struck
}

#[tokio::test]
async fn after_an_error_of_the_disk_nothing_is_acknowledged() {
    let disk = Disk::default();
    let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
    let before = disk.operations();
    live(&archive, &disk).await;
    archive.close().await;
    let mut met = std::collections::BTreeMap::new();
    for at in chosen(disk.operations() - before, SAMPLE) {
        for (code, lasts) in [(EIO, false), (ENOSPC, true)] {
            *met.entry(day(Fault { at, code, lasts, only: None }).await).or_insert(0) += 1;
        }
    }
    println!("errors of the disk, by the file that met them: {met:?}");
    // Which file meets the n-th operation is a matter of time; that each of them closes it is not.
    // The first volume is full from the start.
    for only in [RECORDS, "volumes/000002.redb"] {
        for at in [0, 3, 10] {
            let fault = Fault { at, code: EIO, lasts: false, only: Some(only) };
            assert_eq!(day(fault).await, only, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn trouble_of_the_look_up_index_refuses_no_mail() {
    for at in (0..24).step_by(3) {
        let disk = Disk::default();
        let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
        disk.fail(Fault { at, code: EIO, lasts: true, only: Some(INDEX) });
        for number in 0..10 {
            archive.accept(acceptance(number, 1, "x".into())).await.unwrap();
        }
        // It is fed a while after; a later message finds it broken.
        for _ in 0..500 {
            if disk.struck().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let second = archive.accept(acceptance(3, 1, "x".into())).await.unwrap().get();
        assert!(archive.message(second).unwrap().unwrap().duplicate_of.is_some());
        check(&archive);
        archive.close().await;
        check_what_is_left(&[disk.copy()], None).await;
    }
}

#[tokio::test]
async fn an_archive_that_fails_while_it_opens_can_be_opened_later() {
    let settings = small();
    let fresh = Disk::default();
    Archive::open_on(Arc::new(fresh.clone()), &settings).unwrap().close().await;
    for at in 0..fresh.operations() {
        let disk = Disk::default();
        disk.fail(Fault { at, code: EIO, lasts: true, only: None });
        if let Ok(archive) = Archive::open_on(Arc::new(disk.clone()), &settings) {
            archive.close().await;
        }
        let archive = Archive::open_on(Arc::new(disk.copy()), &settings).unwrap();
        archive.accept(acceptance(1, 1, "x".into())).await.unwrap();
        check(&archive);
        archive.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = Disk::default();
    let settings = ArchiveSettings { reserve_bytes: 1 << 20, ..small() };
    let archive = Archive::open_on(Arc::new(disk.clone()), &settings).unwrap();
    let id = archive.accept(acceptance(1, 1, "x".into())).await.unwrap().get();
    disk.set_free(100);
    assert!(!archive.has_room());
    for number in 2..10 {
        let refused = archive.accept(acceptance(number, 1, "x".into())).await.unwrap_err();
        assert!(matches!(refused, ArchiveError::Full), "{refused}");
    }
    // What is there can go out.
    assert_eq!(archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
    disk.set_free(1 << 30);
    assert!(archive.has_room());
    archive.accept(acceptance(10, 1, "x".into())).await.unwrap();
    assert_eq!(archive.extent().unwrap().messages, 2);
    check(&archive);
}

#[tokio::test]
async fn what_must_leave_room_to_others_stops_before_them() {
    let disk = Disk::default();
    let settings = ArchiveSettings { reserve_bytes: 1 << 20, ..small() };
    let archive = Archive::open_on(Arc::new(disk.clone()), &settings).unwrap();
    disk.set_free(3 << 20);
    for (spare_bytes, message_bytes, expected) in [
        ((2 << 20) + 1, 0, false),
        (2 << 20, 1, false),
        (u64::MAX, 0, false),
        (0, u64::MAX, false),
        (2 << 20, 0, true),
        (1 << 20, 1 << 19, true),
        (0, 1 << 20, true),
    ] {
        let has_spare = archive.has_spare(spare_bytes, message_bytes);
        assert_eq!(has_spare, expected, "{spare_bytes} {message_bytes}");
        assert!(archive.has_room());
    }
}

#[tokio::test]
async fn a_large_message_does_not_eat_the_reserve() {
    let disk = Disk::default();
    let settings = ArchiveSettings { reserve_bytes: 1 << 20, ..small() };
    let archive = Archive::open_on(Arc::new(disk.clone()), &settings).unwrap();
    disk.set_free(3 << 20);
    let mut large = acceptance(1, 1, vec![b'x'; 2 << 20].into());
    // Its weight lies in a part that is stored once.
    large.shared = std::iter::once(10..2 << 20).collect();
    let refused = archive.accept(large).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Full), "{refused}");
    archive.accept(acceptance(1, 1, "x".into())).await.unwrap();
}
