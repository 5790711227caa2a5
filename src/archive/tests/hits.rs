//! Hits are kept as facts, bounded, counted by person and machine, and judged again.

use redb::ReadableTable;

use super::check::check;
use super::*;
use crate::archive::{
    ActionKind, Dimension, Erasure, ErasureKind, Filter, HitCounts, HitOf, NewHit, Ranking, ToldHit,
};
use crate::model::{EventKind, Hit, HitKind, HitMethod, Touch};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// Two recipients, the first of which it was sent to.
async fn tracked(archive: &Archive) -> MessageId {
    let mut message = acceptance(7, 2, "Subject: x\r\n\r\nx\r\n".into());
    message.policy.track_clicks = true;
    let id = archive.accept(message).await.unwrap().get();
    archive.claim(claim_of(id, &[0])).await.unwrap();
    archive.judge(judgement_of(id, 0, sent()), Default::default()).await.unwrap();
    id
}

fn hit(kind: HitKind, ms: i64, agent: &str) -> NewHit {
    let hit = Hit {
        kind,
        at: at(ms),
        client: Some("192.0.2.0/24".parse().unwrap()),
        user_agent: agent.into(),
        method: HitMethod::Get,
        purpose: None,
        delay_ms: None,
        told_automated: None,
    };
    NewHit { of: HitOf::Number(Sequence(1)), recipient: 0, hit }
}

#[tokio::test]
async fn opens_and_clicks_are_of_their_recipient() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    let unknown = NewHit { of: HitOf::Number(Sequence(9)), ..hit(HitKind::Open, 60_000, CHROME) };
    let nobody = NewHit { recipient: 2, ..hit(HitKind::Open, 60_000, CHROME) };
    let hits = vec![
        hit(HitKind::Open, 500, "Mozilla/5.0"),
        hit(HitKind::Open, 60_000, CHROME),
        hit(HitKind::Click { link: 3 }, 70_000, CHROME),
        unknown,
        nobody,
    ];
    let counts = archive.record_hits(hits).await.unwrap();
    let expected =
        HitCounts { opens: 1, automated_opens: 1, clicks: 1, automated_clicks: 0, unknown: 2 };
    assert_eq!(counts, expected);
    let message = archive.message(id).unwrap().unwrap();
    let seen = &message.recipients[0].engagement;
    assert_eq!((seen.opens, seen.automated_opens, seen.clicks), (1, 1, 1));
    assert_eq!((seen.opened_at, seen.clicked_at), (Some(at(60_000)), Some(at(70_000))));
    assert_eq!(seen.device.as_deref(), Some("Chrome on Windows"));
    assert_eq!(message.recipients[1].engagement, Default::default());
    let events = archive.events(id, None, 100).unwrap().items;
    let told: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Clicked).collect();
    assert_eq!((told.len(), told[0].recipient), (1, Some(0)));
    let said = "link 3: person (names a browser or mail program)";
    assert_eq!(told[0].detail.as_deref(), Some(said));
    let kept = archive.hits(id).unwrap();
    // The facts have the time since the upstream took it.
    assert_eq!((kept.len(), kept[1].hit.delay_ms), (3, Some(60_000 - 20)));
}

#[tokio::test]
async fn who_reads_after_an_unknown_outcome_is_still_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    let second = |ms| NewHit { recipient: 1, ..hit(HitKind::Open, ms, CHROME) };
    // Nothing was tried yet.
    let counts = archive.record_hits(vec![second(60_000)]).await.unwrap();
    assert_eq!((counts.opens, counts.automated_opens), (0, 1));
    archive.claim(claim_of(id, &[1])).await.unwrap();
    let unknown = Outcome::Unknown { detail: "cut".into() };
    archive.judge(judgement_of(id, 1, unknown), Default::default()).await.unwrap();
    let counts = archive.record_hits(vec![second(70_000)]).await.unwrap();
    assert_eq!((counts.opens, counts.automated_opens), (1, 0));
    assert_eq!(archive.hits(id).unwrap()[1].hit.delay_ms, None);
}

#[tokio::test]
async fn of_two_attempts_the_later_one_says_how_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let temporary = Outcome::Temporary { scope: Scope::Recipient, reply: None, detail: "".into() };
    let unknown = Outcome::Unknown { detail: "cut".into() };
    let touch = Touch { settings: 1, signatures: Bytes::new(), report: Default::default() };
    for (number, (outcome, stays)) in
        (0..).zip([(sent(), false), (unknown.clone(), false), (temporary, true)])
    {
        let accepted = acceptance(number, 1, Bytes::from("x"));
        let id = archive.accept(accepted).await.unwrap().get();
        archive.claim(claim_of(id, &[0])).await.unwrap();
        let first = judgement_of(id, 0, unknown.clone());
        let touched = Judgement { touch: Some(touch.clone()), ..first };
        archive.judge(touched, Default::default()).await.unwrap();
        assert_eq!(archive.touch(id, 0).unwrap().as_ref(), Some(&touch));
        let later = ClaimRequest { now: at(90_000_000), ..claim_of(id, &[0]) };
        assert_eq!(archive.claim(later).await.unwrap(), [0]);
        archive.judge(judgement_of(id, 0, outcome), Default::default()).await.unwrap();
        assert_eq!(archive.touch(id, 0).unwrap().is_some(), stays, "{number}");
    }
}

#[tokio::test]
async fn a_flood_on_one_link_grows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    for round in 0..20 {
        let one = |n: i64| hit(HitKind::Click { link: 1 }, 60_000 + round * 1_000 + n, CHROME);
        archive.record_hits((0..100).map(one).collect()).await.unwrap();
    }
    let opens = (0..100).map(|n| hit(HitKind::Open, 90_000 + n, &"x".repeat(9_000))).collect();
    archive.record_hits(opens).await.unwrap();
    let many = (0..200).map(|link| hit(HitKind::Click { link }, 9_000_000, CHROME)).collect();
    archive.record_hits(many).await.unwrap();
    let seen = archive.message(id).unwrap().unwrap().recipients[0].engagement.clone();
    assert_eq!(seen.clicks + seen.automated_clicks, 2_200);
    assert_eq!(seen.opens + seen.automated_opens, 100);
    let kept = archive.hits(id).unwrap();
    assert!(kept.len() <= 64, "{}", kept.len());
    assert!(kept.iter().all(|kept| kept.hit.user_agent.len() <= 300));
    assert_eq!(kept.iter().filter(|k| k.hit.kind == HitKind::Click { link: 1 }).count(), 6);
    let events = archive.events(id, None, 1_000).unwrap().items;
    assert!(events.len() < 80, "{}", events.len());
    // The same facts come to the same, also after the next start.
    archive.rejudge_hits().await.unwrap();
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.rejudge_hits().await.unwrap(), 0);
    assert_eq!(archive.message(id).unwrap().unwrap().recipients[0].engagement, seen);
}

#[tokio::test]
async fn a_ring_of_keys_keeps_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let first = archive.key_ring("links").await.unwrap();
    assert_eq!((first.current.0, first.older.len()), (1, 0));
    assert_eq!(archive.key_ring("links").await.unwrap(), first);
    let turned = archive.turn_key_ring("links").await.unwrap();
    assert_eq!((turned.current.0, &turned.older[..]), (2, &[first.current][..]));
    assert_ne!(turned.current.1, first.current.1);
    assert_eq!(format!("{turned:?}"), "KeyRing { current: 2, older: [1] }");
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.key_ring("links").await.unwrap(), turned);
    assert_ne!(archive.key_ring("others").await.unwrap(), first);
}

fn counted(archive: &Archive) -> [u64; 4] {
    let ranking = Ranking::new(Dimension::App, None, 10);
    let (tallies, is_complete) = archive.tallies(&Filter::default(), ranking).unwrap().unwrap();
    assert!(is_complete);
    let tally = tallies.total;
    [tally.opened, tally.clicked, tally.opened_by_machines, tally.clicked_by_machines]
}

fn erasure(message: MessageId) -> Erasure {
    let by = "user anna".to_owned();
    Erasure { message, kind: ErasureKind::Delete, by, reason: None, at: at(99) }
}

#[tokio::test]
async fn statistics_count_recipients_who_opened_and_clicked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    assert_eq!(counted(&archive), [0; 4]);
    let opens = vec![hit(HitKind::Open, 60_000, CHROME), hit(HitKind::Open, 61_000, CHROME)];
    archive.record_hits(opens).await.unwrap();
    assert_eq!(counted(&archive), [1, 0, 0, 0]);
    archive.record_hits(vec![hit(HitKind::Open, 70_000, "Mozilla/5.0")]).await.unwrap();
    assert_eq!(counted(&archive), [1, 0, 1, 0]);
    archive.record_hits(vec![hit(HitKind::Click { link: 1 }, 80_000, CHROME)]).await.unwrap();
    assert_eq!(counted(&archive), [1, 1, 1, 0]);
    // Who only asks for the headers of two links at once shows that the click was no person's. No event
    // says so.
    let mut head = hit(HitKind::Click { link: 2 }, 80_100, CHROME);
    head.hit.method = HitMethod::Head;
    archive.record_hits(vec![head]).await.unwrap();
    assert_eq!(counted(&archive), [0, 0, 1, 1]);
    check(&archive);
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(counted(&archive), [0, 0, 1, 1]);
    stop(&archive, id, ActionKind::Stop).await;
    archive.erase(erasure(id)).await.unwrap().unwrap();
    assert_eq!(counted(&archive), [0, 0, 1, 1]);
    archive.close().await;
    // The numbers are made anew from the records.
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(counted(&archive), [0, 0, 1, 1]);
}

#[tokio::test]
async fn an_erased_message_keeps_its_numbers_and_no_facts() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    archive.record_hits(vec![hit(HitKind::Open, 60_000, CHROME)]).await.unwrap();
    stop(&archive, id, ActionKind::Stop).await;
    archive.erase(erasure(id)).await.unwrap().unwrap();
    assert_eq!(archive.hits(id).unwrap(), []);
    let other = NewHit { recipient: 1, ..hit(HitKind::Open, 61_000, CHROME) };
    let more = vec![hit(HitKind::Click { link: 1 }, 62_000, CHROME), other];
    archive.record_hits(more).await.unwrap();
    assert_eq!(archive.hits(id).unwrap(), []);
    assert_eq!(archive.rejudge_hits().await.unwrap(), 2);
    let message = archive.message(id).unwrap().unwrap();
    let seen = &message.recipients[0].engagement;
    assert_eq!((seen.opens, seen.clicks, seen.device.as_deref()), (1, 1, None));
    assert_eq!((seen.opened_at, seen.clicked_at), (Some(at(60_000)), Some(at(62_000))));
    let of_other = &message.recipients[1].engagement;
    assert_eq!(of_other.opens + of_other.automated_opens, 1);
    check(&archive);
    let snapshot = archive.snapshot().unwrap();
    let traces = snapshot.open_table(crate::archive::hits::TRACES).unwrap();
    for row in traces.iter().unwrap() {
        let bytes = row.unwrap().1.value().to_vec();
        assert!(!bytes.windows(6).any(|part| part == b"Chrome" || part == b"192.0."));
    }
}

#[tokio::test]
async fn what_a_provider_tells_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = tracked(&archive).await;
    let told = |key: u8, ms| {
        let mut new = NewHit { of: HitOf::Id(id), ..hit(HitKind::Open, ms, CHROME) };
        new.hit.told_automated = Some(false);
        ToldHit { key: [key; 16], hit: new }
    };
    let opens = || archive.message(id).unwrap().unwrap().recipients[0].engagement.opens;
    archive.record_told_hits(vec![told(1, 60_000), told(1, 60_000)], at(0)).await.unwrap();
    archive.record_told_hits(vec![told(1, 60_000), told(2, 70_000)], at(1)).await.unwrap();
    assert_eq!(opens(), 2);
    check(&archive);
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let opens = || archive.message(id).unwrap().unwrap().recipients[0].engagement.opens;
    archive.record_told_hits(vec![told(2, 70_000)], at(2)).await.unwrap();
    assert_eq!(opens(), 2);
    // After a month nobody tells again, and what was told is forgotten.
    let later = at(40 * 86_400_000);
    archive.record_told_hits(vec![told(3, 80_000)], later).await.unwrap();
    let snapshot = archive.snapshot().unwrap();
    let rows = snapshot.open_table(crate::archive::hits::TOLD).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&rows).unwrap(), 1);
    assert_eq!(opens(), 3);
    check(&archive);
}
