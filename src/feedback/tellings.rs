//! Events of mail providers, matched to a message and a recipient, and recorded.
//!
//! A message is found by its return path, where the provider repeats it and we made it (that names the
//! recipient as well); by the provider's id, which stood in its reply; else by our `Received` field or its
//! Message-ID among those that this upstream had last; and the recipient by the address. Deliveries, delays, bounces and complaints are
//! recorded as reports, opens and clicks as hits, each once however often it is told. What of it suppresses an
//! address is `lifecycle`'s to say. An event
//! that outran the judgement of its attempt is waited for. One of a message that nobody knows is counted
//! and taken: an account at a provider may send for others as well.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Desk;
use super::hits::kept_address;
use super::hooks::HookError;
use crate::archive::{
    Ground, HitOf, MailReport, MailReportKind, Message, NewHit, Reported, Suppression, ToldHit,
};
use crate::events::{MailEvent, MailEventKind, Visit};
use crate::model::envelope::Notice;
use crate::model::hit::FIRST_FOREIGN_LINK;
use crate::model::{
    Channel, Digest, Direction, EnhancedCode, Hit, HitKind, HitMethod, Mailbox, Medium, MessageId,
    RecipientState, ReversePath, Timestamp, UpstreamName,
};
use crate::rewrite::{SEVERAL, Stamp};
use crate::telemetry;

/// How long one call waits for attempts to be judged. Providers give up after 10 seconds or more.
const EARLY_TIMEOUT: Duration = Duration::from_secs(6);
/// An event that is older outran nothing.
const EARLY_AGE: Duration = Duration::from_secs(60);
const EARLY_PAUSE: Duration = Duration::from_millis(100);
/// Messages with one Message-ID that are looked at.
const MAX_CANDIDATES: usize = 20;
/// Reports that are written at one time, so that they share commits.
const MAX_AT_ONCE: usize = 32;

/// Whose an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    message: MessageId,
    recipient: u16,
    address: String,
    medium: Medium,
}

/// What a look for it came to.
enum Match {
    Found(Found),
    /// Its attempt is still to be judged.
    Claimed,
    Unknown,
}

/// Returns when all of it is durable.
pub(super) async fn record(
    desk: &Desk,
    upstream: &UpstreamName,
    events: Vec<MailEvent>,
    now: Timestamp,
) -> Result<(), HookError> {
    let deadline = Instant::now() + EARLY_TIMEOUT;
    let (mut hits, mut reports) = (Vec::new(), JoinSet::new());
    for event in events {
        let Some(found) = settled(desk, upstream, &event, now, deadline).await? else {
            telemetry::record::feedback("unknown");
            continue;
        };
        let key = key(upstream, &event);
        match &event.what {
            MailEventKind::Opened(visit) => {
                hits.push(told(desk, &found, &event, HitKind::Open, visit, key));
            }
            MailEventKind::Clicked { url, visit } => {
                let kind = HitKind::Click { link: foreign_link(url) };
                hits.push(told(desk, &found, &event, kind, visit, key));
            }
            MailEventKind::Unsubscribed => suppress(desk, &found, &event.what, now).await?,
            MailEventKind::Delivered { .. }
            | MailEventKind::Delayed { .. }
            | MailEventKind::Bounced { .. }
            | MailEventKind::Complained { .. } => {
                let Some(report) = report(desk, upstream, &found, &event, key) else { continue };
                let archive = desk.with.archive.clone();
                reports
                    .spawn(async move { (archive.record_mail_report(report).await, found, event) });
                if reports.len() >= MAX_AT_ONCE {
                    written(desk, upstream, &mut reports, now).await?;
                }
            }
        }
    }
    written(desk, upstream, &mut reports, now).await?;
    if !hits.is_empty() {
        let counts = desk.with.archive.record_told_hits(hits, now).await?;
        telemetry::record::hits(
            (counts.opens, counts.automated_opens),
            (counts.clicks, counts.automated_clicks),
        );
    }
    Ok(())
}

/// Reports that are being written.
type Reports = JoinSet<(Result<Reported, crate::archive::ArchiveError>, Found, MailEvent)>;

/// Waits until they are durable.
async fn written(
    desk: &Desk,
    upstream: &UpstreamName,
    reports: &mut Reports,
    now: Timestamp,
) -> Result<(), HookError> {
    while let Some(ended) = reports.join_next().await {
        // A task of ours that ended in a panic has said so; the provider comes again.
        let Ok((reported, found, event)) = ended else { return Err(HookError::NotNow) };
        match reported? {
            Reported::Changed(id) => {
                let kind = word(&event.what);
                telemetry::record::feedback(kind);
                tracing::info!(%id, recipient = found.recipient, %upstream, kind, "receipt");
            }
            Reported::TooEarly => {
                telemetry::record::feedback("early");
                return Err(HookError::NotNow);
            }
            Reported::Unchanged(_) | Reported::Unknown => {}
        }
        // Also when it is known: a crash may have come between the first time and this.
        suppress(desk, &found, &event.what, now).await?;
    }
    Ok(())
}

/// Whose it is, waiting for an attempt that is still to be judged.
async fn settled(
    desk: &Desk,
    upstream: &UpstreamName,
    event: &MailEvent,
    now: Timestamp,
    deadline: Instant,
) -> Result<Option<Found>, HookError> {
    let mut place = None;
    loop {
        let is_claimed = match look(desk, upstream, event)? {
            Match::Found(found) => return Ok(Some(found)),
            Match::Claimed => true,
            Match::Unknown if now.since(event.at) > EARLY_AGE => return Ok(None),
            Match::Unknown => false,
        };
        if Instant::now() >= deadline {
            return match is_claimed {
                true => Err(HookError::NotNow),
                false => Ok(None),
            };
        }
        if place.is_none() {
            let waiting = desk.waiting.clone().try_acquire_owned();
            place = Some(waiting.map_err(|_| HookError::NotNow)?);
        }
        tokio::time::sleep(EARLY_PAUSE).await;
    }
}

fn look(desk: &Desk, upstream: &UpstreamName, event: &MailEvent) -> Result<Match, HookError> {
    let archive = &desk.with.archive;
    if let Some((message, index)) = by_return_path(desk, event)? {
        match of(&message, index, upstream, false) {
            Match::Unknown => {}
            found @ (Match::Found(_) | Match::Claimed) => return Ok(found),
        }
    }
    let named = archive.by_provider_id(upstream, &event.provider_ids)?;
    if let Some(message) = named.map(|id| archive.message(id)).transpose()?.flatten() {
        return Ok(match recipient(&message, event) {
            Some(index) => of(&message, index, upstream, true),
            None => Match::Unknown,
        });
    }
    let mut candidates = Vec::new();
    for stamp in event.received.iter().filter_map(|value| Stamp::read(value)) {
        let stamped = archive.message(stamp.id)?;
        candidates.extend(stamped.filter(|message| stamp.is_by(&message.client.gateway)));
    }
    if let Some(message_id) = &event.message_id {
        candidates.extend(archive.with_message_id(message_id, MAX_CANDIDATES)?);
    }
    let mut is_claimed = false;
    for message in candidates {
        let Some(index) = recipient(&message, event) else { continue };
        match of(&message, index, upstream, false) {
            Match::Found(found) => return Ok(Match::Found(found)),
            Match::Claimed => is_claimed = true,
            Match::Unknown => {}
        }
    }
    Ok(if is_claimed { Match::Claimed } else { Match::Unknown })
}

/// The message and the recipient that a return path of ours names; of several, the one with the address.
fn by_return_path(desk: &Desk, event: &MailEvent) -> Result<Option<(Message, u16)>, HookError> {
    let Some((keys, base)) = &desk.with.return_paths else { return Ok(None) };
    let path = event.return_path.as_deref().and_then(|path| Mailbox::parse(path).ok());
    let named = path.and_then(|path| keys.read_return_path(base, &path));
    let Some((sequence, index)) = named else { return Ok(None) };
    let archive = &desk.with.archive;
    let found = archive.message_by_sequence(sequence)?.map(|id| archive.message(id));
    let Some(message) = found.transpose()?.flatten() else { return Ok(None) };
    if (message.channel(), message.direction) != (Channel::Email, Direction::Outbound) {
        return Ok(None);
    }
    let index = match index {
        SEVERAL => recipient(&message, event),
        only => Some(only),
    };
    Ok(index.map(|index| (message, index)))
}

/// The recipient that an event is of; of a message with one recipient it need not say so.
fn recipient(message: &Message, event: &MailEvent) -> Option<u16> {
    if (message.channel(), message.direction) != (Channel::Email, Direction::Outbound) {
        return None;
    }
    let addresses = message.medium.recipients();
    let index = match &event.recipient {
        Some(wanted) => addresses.iter().position(|a| a.to_lowercase() == wanted.to_lowercase())?,
        None if addresses.len() == 1 => 0,
        None => return None,
    };
    u16::try_from(index).ok()
}

/// One upstream must not tell the end of what another one took.
fn of(message: &Message, index: u16, upstream: &UpstreamName, is_proven: bool) -> Match {
    let Some(recipient) = message.recipients.get(usize::from(index)) else { return Match::Unknown };
    let is_theirs = is_proven || recipient.upstream.as_ref() == Some(upstream);
    match &recipient.state {
        RecipientState::Claimed { upstream: by, .. } if by == upstream => Match::Claimed,
        RecipientState::Claimed { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. }
            if is_theirs =>
        {
            Match::Found(Found {
                message: message.id,
                recipient: index,
                address: message.medium.recipient(index).unwrap_or_default(),
                medium: message.medium.clone(),
            })
        }
        RecipientState::Claimed { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => Match::Unknown,
    }
}

/// What the same event is known by when it comes again.
fn key(upstream: &UpstreamName, event: &MailEvent) -> Digest {
    let kind = word(&event.what);
    let parts = [upstream.as_str(), kind, event.key.as_str()];
    Digest::of(parts.join("\0").as_bytes())
}

fn told(
    desk: &Desk,
    found: &Found,
    event: &MailEvent,
    kind: HitKind,
    visit: &Visit,
    Digest(key): Digest,
) -> ToldHit {
    let hit = Hit {
        kind,
        at: event.at,
        client: visit.client.map(|client| kept_address(client, desk.with.anonymize_ip)),
        user_agent: visit.user_agent.clone(),
        method: HitMethod::Get,
        purpose: None,
        delay_ms: None,
        told_automated: Some(visit.is_automated),
    };
    let mut short = [0; 16];
    short.copy_from_slice(&key[..16]);
    let hit = NewHit { of: HitOf::Id(found.message), recipient: found.recipient, hit };
    ToldHit { key: short, hit }
}

/// A number by which clicks on one URL are told from those on others.
fn foreign_link(url: &str) -> u16 {
    let Digest(digest) = Digest::of(url.as_bytes());
    let number = u16::from_be_bytes([digest[0], digest[1]]);
    // The last number is of the link that nobody sees.
    FIRST_FOREIGN_LINK | (number % (FIRST_FOREIGN_LINK - 1))
}

fn report(
    desk: &Desk,
    upstream: &UpstreamName,
    found: &Found,
    event: &MailEvent,
    key: Digest,
) -> Option<MailReport> {
    let (kind, status, diagnostic) = match &event.what {
        MailEventKind::Delivered { response } => (MailReportKind::Delivered, None, response),
        MailEventKind::Delayed { status, diagnostic } => {
            (MailReportKind::Delayed, status.as_deref(), diagnostic)
        }
        MailEventKind::Bounced { is_permanent, status, diagnostic } => {
            (MailReportKind::Failed { is_hard: *is_permanent }, status.as_deref(), diagnostic)
        }
        MailEventKind::Complained { kind } => (MailReportKind::Complained, None, kind),
        MailEventKind::Unsubscribed | MailEventKind::Opened(_) | MailEventKind::Clicked { .. } => {
            return None;
        }
    };
    Some(MailReport {
        message: found.message,
        recipient: found.recipient,
        kind,
        status: status.and_then(EnhancedCode::parse),
        diagnostic: diagnostic.clone().unwrap_or_default(),
        detail: format!("{}, told by upstream {upstream}", word(&event.what)),
        at: event.at,
        key,
        is_proven: true,
        owes_report: wants_to_hear(desk, found),
    })
}

/// Whether the sender is to be told by mail that this recipient failed.
fn wants_to_hear(desk: &Desk, found: &Found) -> bool {
    let Medium::Mail(envelope) = &found.medium else { return false };
    let recipient = envelope.recipients.get(usize::from(found.recipient));
    envelope.reverse_path != ReversePath::Null
        && recipient.is_some_and(|one| desk.with.failure_reports.wanted(one, Notice::Failure))
}

async fn suppress(
    desk: &Desk,
    found: &Found,
    what: &MailEventKind,
    now: Timestamp,
) -> Result<(), HookError> {
    let (ground, why) = match what {
        MailEventKind::Bounced { is_permanent: true, diagnostic, .. } => {
            (Ground::HardBounce, diagnostic.as_deref())
        }
        MailEventKind::Complained { kind } => (Ground::Complaint, kind.as_deref()),
        MailEventKind::Unsubscribed => (Ground::OptOut, None),
        MailEventKind::Bounced { is_permanent: false, .. }
        | MailEventKind::Delayed { .. }
        | MailEventKind::Delivered { .. }
        | MailEventKind::Opened(_)
        | MailEventKind::Clicked { .. } => return Ok(()),
    };
    let said = (None, why.unwrap_or("told by the provider"));
    let entry = Suppression::because(ground, &found.medium, &found.address, said, now);
    let by = ground.as_str();
    if desk.with.archive.suppress(entry).await? {
        if matches!(what, MailEventKind::Unsubscribed) {
            telemetry::record::feedback(word(what));
        }
        tracing::info!(id = %found.message, recipient = found.recipient, by, "suppressed");
    }
    Ok(())
}

fn word(what: &MailEventKind) -> &'static str {
    match what {
        MailEventKind::Delivered { .. } => "delivered",
        MailEventKind::Delayed { .. } => "deferred",
        MailEventKind::Bounced { .. } => "bounced",
        MailEventKind::Complained { .. } => "complained",
        MailEventKind::Unsubscribed => "unsubscribed",
        MailEventKind::Opened(_) => "opened",
        MailEventKind::Clicked { .. } => "clicked",
    }
}
