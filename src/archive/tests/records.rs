//! What is read back is input like any other: a damaged record is an error, never a panic.

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable};

use super::calls::{call, key};
use super::disk::Disk;
use super::receipts::{report, sent_as};
use super::story::small;
use super::{acceptance, at, claim_of, judgement_of, sent};
use crate::archive::accounts::{StoredToken, StoredUser, TOKENS, USERS};
use crate::archive::audit::{SECURITY, StoredEntry};
use crate::archive::bulk::{StoredBulk, StoredBulkItem};
use crate::archive::entries::StoredThreadEntry;
use crate::archive::erase::StoredErasure;
use crate::archive::hits::{HITS, HitOf, NewHit, TRACES};
use crate::archive::memory::Counters;
use crate::archive::outbox::StoredDelivery;
use crate::archive::queue::StoredPause;
use crate::archive::read::assemble;
use crate::archive::repeats::StoredRepeat;
use crate::archive::runs::StoredRun;
use crate::archive::sessions::{SESSIONS, StoredSession};
use crate::archive::standing::Standing;
use crate::archive::stored::{
    Record, StoredEvent, StoredHit, StoredHits, StoredMessage, StoredStates, StoredTrace,
};
use crate::archive::suppressions::StoredSuppression;
use crate::archive::volume::Location;
use crate::archive::{
    Acceptance, Accepted, ActionKind, Archive, Attachment, BulkStep, Client, DeliveryKind, NewBulk,
    NewDelivery, NewEntry, NewThreadEntry, SecondFactorRecord, SessionChange, SessionRecord,
    Suppression, TokenRecord, UserChange, UserRecord, tables,
};
use crate::model::envelope::{DsnReturn, FutureRelease, Notify, OriginalRecipient};
use crate::model::{
    AppName, Channel, Digest, Hit, HitKind, HitMethod, Medium, MessageId, Named, ReceiptRequest,
    ReceiptState, Reference, Sequence, Tag,
};

/// A message with every field that it can have.
fn rich() -> Acceptance {
    let mut message = acceptance(7, 2, "Subject: x\r\n\r\nx\r\n".into());
    let Medium::Mail(envelope) = &mut message.medium else { panic!("no mail") };
    let to = &mut envelope.recipients[0];
    to.notify = Some(Notify::On { success: true, failure: false, delay: true });
    to.original =
        Some(OriginalRecipient { address_type: "rfc822".into(), address: "kim@x.test".into() });
    envelope.ret = Some(DsnReturn::Headers);
    envelope.envid = Some("QQ314159".into());
    envelope.release = Some(FutureRelease::HoldUntil(at(5)));
    message.client =
        Client { tls: Some("TLSv1.3".into()), authenticated: Some("erp".into()), ..message.client };
    let author = Named { name: Some("Änna".into()), address: "anna@example.com".into() };
    message.summary.author = Some(author);
    message.summary.subject = Some("Rechnung № 7".into());
    message.summary.defects = vec!["it has no Date".into()];
    message.summary.attachments = vec![Attachment {
        filename: Some("INV-7.pdf".into()),
        content_type: "application/pdf".into(),
        size_bytes: 7,
        sha256: Digest::of(b"7"),
        inline: false,
    }];
    message.tag = Tag::parse("invoice");
    message.on_behalf_of = Some("anna".into());
    message.resend_of = Some(MessageId::from_u128(5));
    message
}

/// One stored record of each kind, as bytes.
fn samples() -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = std::sync::Arc::new(Disk::default());
        let archive = Archive::open_on(disk, &small()).unwrap();
        let id = archive.accept(rich()).await.unwrap().get();
        archive.claim(claim_of(id, &[0, 1])).await.unwrap();
        let schedule = std::sync::Arc::default();
        archive.judge(judgement_of(id, 0, sent()), schedule).await.unwrap();
        let snapshot = archive.inner.database.begin_read().unwrap();
        let of_id = |table: redb::TableDefinition<u128, &'static [u8]>| {
            let table = snapshot.open_table(table).unwrap();
            table.get(id.as_u128()).unwrap().unwrap().value().to_vec()
        };
        let events = snapshot.open_table(tables::EVENTS).unwrap();
        let events = events.iter().unwrap().map(|entry| entry.unwrap().1.value().to_vec());
        let mut samples: Vec<Vec<u8>> = events.collect();
        samples.extend([of_id(tables::MESSAGES), of_id(tables::STATES)]);
        samples.extend(sms_samples(&archive).await);
        samples.extend(hit_samples(&archive, id).await);
        samples.extend(people_samples(&archive).await);
        samples.push(Counters::default().encode());
        samples.push(StoredPause { by: "user anna".into(), at: 5 }.encode());
        samples
    })
}

/// What is stored of an open and a click.
async fn hit_samples(archive: &Archive, id: MessageId) -> Vec<Vec<u8>> {
    let hit = |kind| Hit {
        kind,
        at: at(90),
        client: Some("192.0.2.0/24".parse().unwrap()),
        user_agent: "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0".into(),
        method: HitMethod::Get,
        purpose: Some("prefetch".into()),
        delay_ms: None,
        told_automated: Some(true),
    };
    let new = |kind| NewHit { of: HitOf::Id(id), recipient: 0, hit: hit(kind) };
    let hits = vec![new(HitKind::Open), new(HitKind::Click { link: 7 })];
    archive.record_hits(hits).await.unwrap();
    let snapshot = archive.inner.database.begin_read().unwrap();
    let first = |table: redb::TableDefinition<(u128, u16), &'static [u8]>| {
        let table = snapshot.open_table(table).unwrap();
        table.first().unwrap().unwrap().1.value().to_vec()
    };
    vec![first(HITS), first(TRACES)]
}

/// What is stored of people and of what they did.
async fn people_samples(archive: &Archive) -> Vec<Vec<u8>> {
    let second_factor = SecondFactorRecord {
        sealed_seed: vec![7; 48],
        confirmed: true,
        last_step: 59_000_000,
        recovery: vec![[3; 32]],
    };
    let user = UserRecord {
        name: "anna".into(),
        role: "admin".into(),
        apps: Some(vec![AppName::parse("erp").unwrap()]),
        password_hash: "$argon2id$".into(),
        created_at: at(1),
        disabled_at: Some(at(2)),
        second_factor: Some(second_factor),
    };
    let session = SessionRecord {
        digest: Digest([5; 32]),
        id: 5,
        user: "anna".into(),
        created_at: at(1),
        seen_at: at(2),
        expires_at: at(3),
        client: "192.0.2.1".into(),
    };
    let entry = NewEntry {
        by: Some("user anna".into()),
        status: Some(200),
        ..NewEntry::of("login", at(1))
    };
    let sessions = SessionChange::Begin(session);
    let change = UserChange { user, sessions, entries: vec![entry] };
    archive.change_user(move |_| Ok::<_, ()>(change)).await.unwrap().unwrap();
    let token = TokenRecord {
        digest: Digest([6; 32]),
        id: 6,
        role: "viewer".into(),
        apps: None,
        note: Some("x".into()),
        created_by: "user anna".into(),
        created_at: at(1),
        expires_at: Some(at(2)),
        revoked_at: None,
    };
    archive.change_token(move |_| Ok::<_, ()>(token)).await.unwrap().unwrap();
    let snapshot = archive.inner.database.begin_read().unwrap();
    let users = snapshot.open_table(USERS).unwrap();
    let tokens = snapshot.open_table(TOKENS).unwrap();
    let sessions = snapshot.open_table(SESSIONS).unwrap();
    let log = snapshot.open_table(SECURITY).unwrap();
    vec![
        users.first().unwrap().unwrap().1.value().to_vec(),
        tokens.first().unwrap().unwrap().1.value().to_vec(),
        sessions.first().unwrap().unwrap().1.value().to_vec(),
        log.first().unwrap().unwrap().1.value().to_vec(),
    ]
}

/// What is stored of SMS, and beside messages.
async fn sms_samples(archive: &Archive) -> Vec<Vec<u8>> {
    let mut call = call(1, 2, "POST /x".into());
    let Medium::Sms(sms) = &mut call[0].medium else { panic!("no SMS") };
    sms.receipt = Some(ReceiptRequest { url: "https://app.test/".into(), mask: 31 });
    (sms.valid_until, sms.client_reference) = (Some(at(900)), Some("ref".into()));
    let Accepted::New(ids) = archive.accept_all(call, Some(key(1, 1))).await.unwrap() else {
        panic!("not new")
    };
    let id = ids[0].get();
    archive.claim(claim_of(id, &[0])).await.unwrap();
    let outcome = sent_as(&["SM1", "SM2"]);
    archive.judge(judgement_of(id, 0, outcome), std::sync::Arc::default()).await.unwrap();
    archive.report(report(Some("SM1"), None, ReceiptState::Delivered)).await.unwrap();
    let entry = Suppression {
        channel: Channel::Sms,
        recipient: "+4512345678".into(),
        originator: Some("Example".into()),
        reason: "STOP".into(),
        by: "sms".into(),
        at: at(1),
        expires_at: None,
    };
    archive.suppress(entry).await.unwrap();
    let what = NewDelivery {
        message: id,
        event: Sequence(1),
        kind: DeliveryKind::Receipt,
        url: "https://app.test/".into(),
    };
    archive.plan(vec![what], Sequence(1), at(5)).await.unwrap();
    archive.add_entry(entry_with_all()).await.unwrap().unwrap();
    let bulk = archive.begin_bulk(bulk_with_all()).await.unwrap().unwrap();
    let step = BulkStep { messages: vec![id], next: Some(id), at: at(6), ..BulkStep::default() };
    archive.step_bulk(bulk.id, step).await.unwrap().unwrap();
    archive.begin_run(at(7)).await.unwrap();
    archive.end_run(at(8)).await.unwrap();
    let snapshot = archive.inner.database.begin_read().unwrap();
    let of_id = |table: redb::TableDefinition<u128, &'static [u8]>| {
        let table = snapshot.open_table(table).unwrap();
        table.get(id.as_u128()).unwrap().unwrap().value().to_vec()
    };
    let entries = snapshot.open_table(tables::ENTRIES).unwrap();
    let bulks = snapshot.open_table(tables::BULKS).unwrap();
    let bulk_items = snapshot.open_table(tables::BULK_ITEMS).unwrap();
    let runs = snapshot.open_table(tables::RUNS).unwrap();
    let suppressions = snapshot.open_table(tables::SUPPRESSIONS).unwrap();
    let outbox = snapshot.open_table(tables::OUTBOX).unwrap();
    let repeats = snapshot.open_table(tables::REPEATS).unwrap();
    vec![
        of_id(tables::MESSAGES),
        of_id(tables::STATES),
        suppressions.first().unwrap().unwrap().1.value().to_vec(),
        outbox.first().unwrap().unwrap().1.value().to_vec(),
        repeats.first().unwrap().unwrap().1.value().to_vec(),
        StoredErasure::default().encode(),
        entries.first().unwrap().unwrap().1.value().to_vec(),
        bulks.first().unwrap().unwrap().1.value().to_vec(),
        bulk_items.first().unwrap().unwrap().1.value().to_vec(),
        runs.first().unwrap().unwrap().1.value().to_vec(),
    ]
}

fn entry_with_all() -> NewThreadEntry {
    NewThreadEntry {
        reference: Reference::parse("INV-7").unwrap(),
        address: Some("kim@example.org".into()),
        app: AppName::parse("erp"),
        kind: "call".into(),
        text: "rang".into(),
        at: at(3),
        by: "Anna".into(),
        added_by: "user anna".into(),
        added_at: at(4),
    }
}

fn bulk_with_all() -> NewBulk {
    NewBulk {
        kind: ActionKind::Release,
        dry_run: false,
        query: "status=pending".into(),
        apps: AppName::parse("erp").map(|app| vec![app]),
        by: "user anna".into(),
        at: at(5),
    }
}

/// Reads the bytes as every kind of record, and all that is made of one.
fn read(bytes: &[u8]) {
    let id = MessageId::from_u128(7);
    let standing = Standing::decode(id, bytes);
    if let Ok(message) = StoredMessage::decode(bytes) {
        let standing = standing.unwrap_or(Standing { id, entries: Vec::new(), valid_until: None });
        let _ = assemble(id, &message, standing);
    }
    if let Ok(states) = StoredStates::decode(bytes) {
        states.recipients.iter().for_each(|stored| drop(stored.progress()));
    }
    if let Ok(event) = StoredEvent::decode(bytes) {
        let _ = event.event(Sequence(7));
    }
    let _ = (Counters::decode(bytes), StoredPause::decode(bytes));
    let _ = (StoredSuppression::decode(bytes), StoredDelivery::decode(bytes));
    let _ = (StoredUser::decode(bytes).map(|user| user.user("x")), StoredSession::decode(bytes));
    let _ = (StoredToken::decode(bytes), StoredEntry::decode(bytes));
    let _ = (StoredRepeat::decode(bytes), StoredErasure::decode(bytes));
    let _ = StoredThreadEntry::decode(bytes).and_then(|entry| entry.entry(7));
    let _ = StoredBulk::decode(bytes).and_then(|bulk| bulk.bulk(7));
    let _ = (StoredBulkItem::decode(bytes), StoredRun::decode(bytes));
    let _ = StoredHits::decode(bytes).map(|stored| stored.hits.iter().map(StoredHit::hit).count());
    let _ = StoredTrace::decode(bytes).map(|trace| trace.engagement());
    let _ = postcard::from_bytes::<Location>(bytes);
}

/// A change of a record: bytes set, some taken out, and cut short.
type Damage = (Vec<(prop::sample::Index, u8)>, prop::sample::Index, prop::sample::Index);

fn damaged(sample: &[u8], (set, from, to): &Damage) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for (place, value) in set {
        *place.get_mut(&mut bytes) = *value;
    }
    let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
    if from <= to {
        // Half of the time nothing is taken out.
        bytes.drain(from..to);
    }
    bytes
}

#[test]
fn damaged_records_are_errors() {
    let samples = samples();
    for sample in &samples {
        read(sample);
        (0..sample.len()).for_each(|end| read(&sample[..end]));
        for place in 0..sample.len() {
            for bit in 0..8 {
                let mut bytes = sample.clone();
                bytes[place] ^= 1 << bit;
                read(&bytes);
            }
        }
    }
    let set = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let damage = (set, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let strategy = (any::<prop::sample::Index>(), damage);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let damaged = runner.run(&strategy, |(sample, damage)| {
        let sample: &Vec<u8> = sample.get(&samples);
        read(&damaged(sample, &damage));
        Ok(())
    });
    damaged.unwrap();
    let random = prop::collection::vec(any::<u8>(), 0..200);
    let random = runner.run(&random, |mut bytes| {
        read(&bytes);
        // The version that makes it a record.
        for version in [1, 2] {
            bytes.insert(0, version);
            read(&bytes);
            bytes.remove(0);
        }
        Ok(())
    });
    random.unwrap();
}
