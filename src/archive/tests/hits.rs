//! Hits are kept as facts, bounded, counted by person and machine, and judged again.

use super::*;
use crate::archive::{HitCounts, HitOf, NewHit};
use crate::model::{EventKind, Hit, HitKind, HitMethod};

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
    assert_eq!((first.len(), first[0].0), (1, 1));
    assert_eq!(archive.key_ring("links").await.unwrap(), first);
    let turned = archive.turn_key_ring("links").await.unwrap();
    assert_eq!((turned.len(), turned[1].0, turned[0]), (2, 2, first[0]));
    assert_ne!(turned[1].1, turned[0].1);
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.key_ring("links").await.unwrap(), turned);
    assert_ne!(archive.key_ring("others").await.unwrap(), first);
}
