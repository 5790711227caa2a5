//! The whole archive checked: every record against every other, every byte against its digest.
//!
//! Gives what is wrong, in words. Nothing is taken from the counters or the indexes that is not counted
//! or derived again from the messages, their states and their events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use redb::{ReadTransaction, ReadableTable};

use super::disk::Disk;
use crate::archive::files::Files;
use crate::archive::hits::{HITS, TOLD, TOLD_AT, TRACES, TRACKED};
use crate::archive::leaf::leaf;
use crate::archive::memory::Counters;
use crate::archive::read::{self, Reader};
use crate::archive::runs::StoredRun;
use crate::archive::standing::status_key;
use crate::archive::stored::{Record, StoredEvent, StoredHits, StoredTrace};
use crate::archive::volume::Location;
use crate::archive::{Archive, Event, Filter, Log, Message, Order, tables};
use crate::model::{
    Cause, Channel, Digest, Direction, EventKind, Medium, MessageId, RecipientState, Sequence,
};

/// What was found wrong.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn same<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    fn holds(&mut self, condition: bool, what: impl Into<String>) {
        if !condition {
            self.0.push(what.into());
        }
    }
}

/// Checks an open archive that nobody changes meanwhile. Panics with all that is wrong.
#[track_caller]
pub(super) fn check(archive: &Archive) {
    let mut findings = Findings::default();
    wait_for_erasures(archive);
    let snapshot = archive.snapshot().unwrap();
    let messages = messages(archive, &snapshot, &mut findings);
    queue(&snapshot, &messages, &mut findings);
    counters(&snapshot, &messages, &mut findings);
    let events = events(&snapshot, &mut findings);
    stories(&messages, &events, &mut findings);
    shared(archive, &snapshot, &mut findings);
    sms(&snapshot, &messages, &mut findings);
    outbox(archive, &snapshot, &events, &mut findings);
    moved(archive, &snapshot, &mut findings);
    runs(&snapshot, &mut findings);
    hits(&snapshot, &messages, &mut findings);
    findings.same("the journal", *archive.journal().borrow(), Sequence(events.len() as u64));
    lists(archive, &messages, &mut findings);
    for log in Log::ALL {
        findings.same(log.as_str(), archive.check_log(log).unwrap().broken, None);
    }
    assert!(findings.0.is_empty(), "the archive is damaged:\n{}", findings.0.join("\n"));
}

/// What a crash left to be overwritten is overwritten soon after the start, by another thread.
fn wait_for_erasures(archive: &Archive) {
    for _ in 0..500 {
        let snapshot = archive.snapshot().unwrap();
        if snapshot.open_table(tables::ERASURES).unwrap().first().unwrap().is_none() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The numbers of the runs have no gap, and none lived shorter than nothing.
fn runs(snapshot: &ReadTransaction, findings: &mut Findings) {
    let mut before = None;
    for row in snapshot.open_table(tables::RUNS).unwrap().iter().unwrap() {
        let (number, bytes) = row.unwrap();
        let number = number.value();
        findings.holds(before.is_none_or(|b| b + 1 == number), format!("run {number} has a gap"));
        let is_good = StoredRun::decode(bytes.value()).is_ok_and(|run| run.is_possible());
        findings.holds(is_good, format!("run {number} is damaged"));
        before = Some(number);
    }
}

/// That hits are of recipients that are there, that no facts of an erased message are left, and that
/// what was told is found by its time.
fn hits(snapshot: &ReadTransaction, messages: &[Message], findings: &mut Findings) {
    let recipients: BTreeMap<u128, &Message> =
        messages.iter().map(|message| (message.id.as_u128(), message)).collect();
    let traces = snapshot.open_table(TRACES).unwrap();
    for row in snapshot.open_table(HITS).unwrap().iter().unwrap() {
        let (key, bytes) = row.unwrap();
        let (id, index) = key.value();
        let is_there = recipients.get(&id).is_some_and(|message| {
            message.recipients.len() > usize::from(index) && message.redacted_at.is_none()
        });
        findings.holds(is_there, format!("hits of {id} {index}, which is not there"));
        findings.holds(StoredHits::decode(bytes.value()).is_ok(), format!("hits of {id}"));
        let has_sum = traces.get((id, index)).unwrap().is_some();
        findings.holds(has_sum, format!("hits of {id} {index} have no sum"));
    }
    for row in traces.iter().unwrap() {
        let (key, bytes) = row.unwrap();
        let (id, index) = key.value();
        findings.holds(recipients.contains_key(&id), format!("a sum of {id} {index}"));
        findings.holds(StoredTrace::decode(bytes.value()).is_ok(), format!("the sum of {id}"));
    }
    for row in snapshot.open_table(TRACKED).unwrap().iter().unwrap() {
        let (number, id) = row.unwrap();
        let found = recipients.get(&id.value()).map(|message| message.sequence.0);
        findings.same("the number of a tracked mail", found, Some(number.value()));
    }
    let told = snapshot.open_table(TOLD).unwrap();
    let told: BTreeSet<(u64, [u8; 16])> = told
        .iter()
        .unwrap()
        .map(|row| row.map(|(key, at)| (at.value(), key.value())).unwrap())
        .collect();
    let by_time = snapshot.open_table(TOLD_AT).unwrap();
    let by_time = by_time.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    findings.same("what was told, by time", told, by_time);
}

/// Every message: its number, leaf, bytes, and one state for each recipient.
fn messages(
    archive: &Archive,
    snapshot: &ReadTransaction,
    findings: &mut Findings,
) -> Vec<Message> {
    let reader = Reader::new(snapshot).unwrap();
    let mut messages = Vec::new();
    for entry in reader.messages().iter().unwrap() {
        let id = MessageId::from_u128(entry.unwrap().0.value());
        let message = match reader.message(id) {
            Ok(Some(message)) => message,
            other => {
                findings.0.push(format!("{id} can not be read: {other:?}"));
                continue;
            }
        };
        let expected = Sequence(messages.len() as u64 + 1);
        findings.same(&format!("the number of {id}"), message.sequence, expected);
        let (at, digest) = (message.accepted_at, message.digest);
        let proof = leaf(message.sequence, id, at, &message.app, &message.medium, digest);
        findings.same(&format!("the leaf of {id}"), message.leaf, proof);
        let states = message.recipients.len();
        findings.same(&format!("the states of {id}"), states, message.medium.recipients().len());
        match archive.raw(id) {
            Ok(None) if message.redacted_at.is_some() => {}
            // `raw` itself compares the digest.
            Ok(Some(raw)) if message.redacted_at.is_none() => {
                findings.same(&format!("the size of {id}"), message.size_bytes, raw.len() as u64);
            }
            other => findings.0.push(format!("the bytes of {id}: {other:?}")),
        }
        messages.push(message);
    }
    let ids: Vec<u128> = messages.iter().map(|message| message.id.as_u128()).collect();
    let states = snapshot.open_table(tables::STATES).unwrap();
    let of_states: Vec<u128> =
        states.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the messages that have states", of_states, ids);
    messages
}

/// The rows of the queue, of claims and of each status, derived anew.
fn queue(snapshot: &ReadTransaction, messages: &[Message], findings: &mut Findings) {
    let (mut due, mut claims, mut by_status) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for message in messages {
        let id = message.id.as_u128();
        by_status.insert((status_key(message.status()), id));
        for recipient in &message.recipients {
            due.extend(recipient.state.wakes_at().map(|at| (at.as_millis() as u64, id)));
            if let RecipientState::Claimed { .. } = recipient.state {
                claims.insert(id);
            }
        }
    }
    let table = snapshot.open_table(tables::DUE).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the queue", found, due);
    let table = snapshot.open_table(tables::CLAIMS).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the claims", found, claims);
    let table = snapshot.open_table(tables::BY_STATUS).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the messages by status", found, by_status);
}

fn counters(snapshot: &ReadTransaction, messages: &[Message], findings: &mut Findings) {
    let mut expected = Counters { messages: messages.len() as u64, ..Counters::default() };
    for message in messages {
        expected.raw_bytes += message.size_bytes;
        message.recipients.iter().for_each(|recipient| expected.enter(&recipient.state));
    }
    let found = read::counters(snapshot).unwrap();
    findings.same("the counters", format!("{found:?}"), format!("{expected:?}"));
}

/// Every event, by its number; and that each is found again by its message.
fn events(snapshot: &ReadTransaction, findings: &mut Findings) -> Vec<Event> {
    let (mut events, mut of_messages) = (Vec::new(), BTreeSet::new());
    for entry in snapshot.open_table(tables::EVENTS).unwrap().iter().unwrap() {
        let (number, bytes) = entry.unwrap();
        let number = number.value();
        findings.same("the number of an event", number, events.len() as u64 + 1);
        let event = StoredEvent::decode(bytes.value()).unwrap().event(Sequence(number)).unwrap();
        of_messages.insert((event.message.as_u128(), number));
        events.push(event);
    }
    let table = snapshot.open_table(tables::EVENTS_OF).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the events of the messages", found, of_messages);
    events
}

/// That the events of each message lead to where its recipients stand.
fn stories(messages: &[Message], events: &[Event], findings: &mut Findings) {
    let mut of: BTreeMap<MessageId, Vec<&Event>> = BTreeMap::new();
    for event in events {
        of.entry(event.message).or_default().push(event);
    }
    for message in messages {
        let id = message.id;
        let story = of.remove(&id).unwrap_or_default();
        let first = story.first().map(|event| event.kind);
        let expected = match message.direction {
            Direction::Outbound => EventKind::Accepted,
            Direction::Inbound => EventKind::Received,
        };
        findings.same(&format!("the first event of {id}"), first, Some(expected));
        let erased = story.iter().any(|event| event.kind == EventKind::Deleted);
        findings.same(&format!("{id} is erased"), message.redacted_at.is_some(), erased);
        for recipient in &message.recipients {
            // What a reader did moves nothing.
            let moves = |event: &&&Event| {
                event.recipient == Some(recipient.index)
                    && !matches!(event.kind, EventKind::Opened | EventKind::Clicked)
            };
            let last = story.iter().rev().find(moves);
            let last = last.map(|event| (event.kind, event.digest));
            let fits = match (&recipient.state, last) {
                (RecipientState::Sent { digest, .. }, Some((EventKind::Sent, of))) => {
                    // Without one where only a receipt told of it.
                    of.unwrap_or(Digest::of(b"")) == *digest
                }
                (RecipientState::Sent { .. }, Some((EventKind::Delivered, None))) => {
                    recipient.delivered_at.is_some()
                }
                (RecipientState::Sent { .. }, _) => false,
                (RecipientState::Stopped { .. }, last) => last == Some((EventKind::Stopped, None)),
                (RecipientState::Failed { cause: Cause::Bounced { .. }, .. }, last) => {
                    matches!(last, Some((EventKind::Bounced, Some(_))))
                }
                (RecipientState::Failed { .. }, last) => {
                    matches!(last, Some((EventKind::Failed | EventKind::Expired, None)))
                }
                // Nothing was sent after which it would wait again.
                (_, last) => !matches!(
                    last,
                    Some((EventKind::Sent | EventKind::Stopped | EventKind::Failed, _))
                ),
            };
            let index = recipient.index;
            let state = &recipient.state;
            findings.holds(fits, format!("{id} recipient {index}: {state:?} after {last:?}"));
        }
    }
    findings.holds(of.is_empty(), format!("events of no message: {:?}", of.keys()));
}

/// That every SMS is found by its number and its parts, that the messages of a call are all there,
/// and that what waits for its validity, and nothing else, is in its table.
fn sms(snapshot: &ReadTransaction, messages: &[Message], findings: &mut Findings) {
    let (mut numbers, mut validity) = (BTreeMap::new(), BTreeSet::new());
    let parts = snapshot.open_table(tables::PARTS).unwrap();
    for message in messages {
        let Medium::Sms(sms) = &message.medium else { continue };
        let id = message.id.as_u128();
        numbers.insert(message.sequence.0, id);
        let recipient = &message.recipients[0];
        let is_waiting =
            matches!(recipient.state, RecipientState::Held { .. } | RecipientState::Due { .. });
        if let Some(at) = sms.valid_until.filter(|_| is_waiting) {
            validity.insert((at.as_millis() as u64, id));
        }
        let upstream = recipient.upstream.as_ref().map_or("", |upstream| upstream.as_str());
        for part in &recipient.parts {
            let key = part.provider_id.to_ascii_lowercase();
            let found = parts.get((upstream, key.as_str())).unwrap().map(|found| found.value());
            findings.same(&format!("part {key} of {id}"), found, Some(id));
        }
    }
    for message in messages {
        let Medium::Sms(sms) = &message.medium else { continue };
        let first = message.sequence.0 - u64::from(sms.batch.index);
        let missing =
            (first..first + u64::from(sms.batch.count)).find(|n| !numbers.contains_key(n));
        findings.same(&format!("what is missing of the call of {}", message.id), missing, None);
    }
    let table = snapshot.open_table(tables::SMS_NUMBERS).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap());
    let found = found.map(|(number, id)| (number.value(), id.value())).collect();
    findings.same("the numbers of the SMS", found, numbers);
    let table = snapshot.open_table(tables::VALIDITY).unwrap();
    let found: BTreeSet<(u64, u128)> =
        table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    // A restart after the end takes the end away.
    let is_known = found.is_subset(&validity);
    findings.holds(is_known, format!("what expires: found {found:?}, expected {validity:?}"));
    let left = snapshot.open_table(tables::ERASURES).unwrap().first().unwrap().is_none();
    findings.holds(left, "erased bytes were not overwritten");
}

/// That each delivery is due or given up, and that the same is found by time.
fn outbox(
    archive: &Archive,
    snapshot: &ReadTransaction,
    events: &[Event],
    findings: &mut Findings,
) {
    let (mut due, mut dead) = (BTreeSet::new(), BTreeSet::new());
    for delivery in archive.deliveries(None, None, usize::MAX).unwrap().items {
        match delivery.due_at {
            Some(at) => due.insert((at.as_millis() as u64, delivery.id)),
            None => dead.insert(delivery.id),
        };
        let is_told = delivery.what.event <= archive.planned_until().unwrap();
        findings.holds(is_told, format!("{delivery:?} is of an event that is not planned"));
    }
    let planned = archive.planned_until().unwrap().0;
    findings.holds(planned <= events.len() as u64, "events are planned that never happened");
    let table = snapshot.open_table(tables::OUTBOX_DUE).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the deliveries that are due", found, due);
    let table = snapshot.open_table(tables::OUTBOX_DEAD).unwrap();
    let found = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    findings.same("the deliveries that were given up", found, dead);
}

/// That every shared part is where it is said to be.
fn shared(archive: &Archive, snapshot: &ReadTransaction, findings: &mut Findings) {
    for entry in snapshot.open_table(tables::SHARED).unwrap().iter().unwrap() {
        let (hash, place) = entry.unwrap();
        let place: Location = postcard::from_bytes(place.value()).unwrap();
        let part = archive.inner.volumes.read(place);
        let is_it = part.as_ref().is_ok_and(|part| *blake3::hash(part).as_bytes() == hash.value());
        findings.holds(is_it, format!("a shared part is not at {place:?}: {:?}", part.err()));
    }
}

/// That every staged chunk that has moved is where it is said to be, and not staged any more.
fn moved(archive: &Archive, snapshot: &ReadTransaction, findings: &mut Findings) {
    let staged = snapshot.open_table(tables::STAGED).unwrap();
    for entry in snapshot.open_table(tables::MOVED).unwrap().iter().unwrap() {
        let (number, place) = entry.unwrap();
        let (number, place): (u64, Location) =
            (number.value(), postcard::from_bytes(place.value()).unwrap());
        let is_there = archive.inner.volumes.read(place).is_ok();
        findings.holds(is_there, format!("chunk {number} is not at {place:?}"));
        let is_staged = staged.get(number).unwrap().is_some();
        findings.holds(!is_staged, format!("chunk {number} is staged and has moved"));
    }
}

/// That lists find everything, through the records and through the look-up index.
fn lists(archive: &Archive, messages: &[Message], findings: &mut Findings) {
    let everything = Filter::default();
    let by_recipient = Filter { recipient: Some("r0@example.org".into()), ..Filter::default() };
    let expected: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    let mail = messages.iter().filter(|message| message.channel() == Channel::Email);
    let mail: Vec<MessageId> = mail.map(|message| message.id).collect();
    for (filter, expected) in [(everything, expected), (by_recipient, mail)] {
        let page = archive.list(&filter, Order::Oldest, None, messages.len() + 1).unwrap();
        let found: Vec<MessageId> = page.items.iter().map(|message| message.id).collect();
        findings.same("a list", found, expected);
    }
}

/// That redb finds nothing wrong with any file. Nothing may have it open.
#[track_caller]
pub(super) fn check_files(disk: &Disk) {
    for name in disk.file_names() {
        let mut database = disk.open(&name, 1 << 20).unwrap();
        assert!(database.check_integrity().unwrap(), "{name} is damaged");
    }
}

/// Where the recipients of a message stand, in words.
pub(super) fn stand(message: &Message) -> Vec<String> {
    let word = |state: &RecipientState| match state {
        RecipientState::Held { .. } => "held",
        RecipientState::Due { .. } => "due",
        RecipientState::Claimed { .. } => "claimed",
        RecipientState::Sent { .. } => "sent",
        RecipientState::Stopped { .. } => "stopped",
        RecipientState::Failed { .. } => "failed",
        RecipientState::NotSent { .. } => "not sent",
    };
    let recipients = message.recipients.iter();
    recipients.map(|r| format!("{} {}", word(&r.state), r.attempts)).collect()
}
