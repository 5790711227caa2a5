//! What STOP, START and HELP do: the suppression list, what is pending, and the answer.
//!
//! A STOP reaches as far as its writer can see: the number that it was sent to, and the originator of
//! the message that it answers, which may be a name or a pool. Every step can be done again, so that
//! a callback that comes again after a crash does no harm. Names can not be written back to,
//! so their messages are never keywords.

use super::Desk;
use crate::archive::{
    Action, ActionKind, ArchiveError, Filter, Message, MessageNote, Order, Suppression,
};
use crate::intake::{Keyword, SmsArrival, SmsSubmission};
use crate::model::{
    Channel, Dialect, Direction, EventKind, MessageId, Originator, SmsBody, Status,
};
use crate::sms::call::{Draft, Refusal};
use crate::sms::number::NumberStyle;

/// Who added an entry that START takes away again.
const BY: &str = "sms";
/// Who stopped what was pending.
const STOPPED_BY: &str = "suppression list";
/// Messages or entries looked at in one go.
const PAGE: usize = 100;

/// A keyword that was obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Obeyed {
    keyword: Keyword,
    /// Whether the list changed; only then STOP and START are answered.
    changed: bool,
}

/// From whom a person does or does not want messages; `None` is the provider's choice.
type Scope = Vec<Option<String>>;

/// Does what the text asks for, if it is a keyword.
pub(super) async fn obey(
    desk: &Desk,
    arrival: &SmsArrival,
) -> Result<Option<Obeyed>, ArchiveError> {
    let SmsBody::Text(text) = &arrival.inbound.body else { return Ok(None) };
    let Some(keyword) = desk.with.keywords.read(text) else { return Ok(None) };
    let person = &arrival.inbound.originator;
    if matches!(person, Originator::Alphanumeric(_) | Originator::Service(_)) {
        return Ok(None);
    }
    let changed = match keyword {
        Keyword::Help => false,
        Keyword::Start => start(desk, arrival).await?,
        Keyword::Stop => stop(desk, arrival).await?,
    };
    tracing::info!(upstream = %arrival.upstream, keyword = keyword.as_str(), changed, "keyword");
    Ok(Some(Obeyed { keyword, changed }))
}

/// Answers a keyword as the configuration says, in the thread of the message that it was.
pub(super) async fn confirm(
    desk: &Desk,
    arrival: &SmsArrival,
    answered: MessageId,
    obeyed: Obeyed,
) -> Result<(), ArchiveError> {
    let Obeyed { keyword, changed } = obeyed;
    let Some(text) = desk.with.keywords.reply(keyword) else { return Ok(()) };
    if !changed && keyword != Keyword::Help {
        return Ok(());
    }
    let Some(message) = desk.with.archive.message(answered)? else { return Ok(()) };
    let apps = desk.with.apps.load();
    let Some(app) = apps.0.iter().find(|app| app.name == message.app) else { return Ok(()) };
    let inbound = &arrival.inbound;
    let to = inbound.originator.to_string();
    let mut draft = Draft::new(to, NumberStyle::International, SmsBody::Text(text.to_owned()));
    draft.from = Some(inbound.destination.to_string());
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&answered.as_u128().to_be_bytes());
    let submission = SmsSubmission {
        app: app.clone(),
        client: message.client.clone(),
        dialect: Dialect::Waybill,
        account: None,
        raw: text.to_owned().into(),
        fingerprint,
        drafts: vec![draft],
        idempotency_key: Some(format!("keyword {answered}")),
        received_at: arrival.received_at,
        reply_to: Some(answered),
        confirms_opt_out: keyword == Keyword::Stop,
    };
    match desk.with.intake.submit_sms(submission).await {
        Ok(_) | Err(Refusal::OptedOut(_)) => {}
        // What the person asked for is done; that they are not told is no reason to take it back.
        Err(refusal) => {
            tracing::warn!(%answered, ?refusal, "a keyword could not be answered");
        }
    }
    Ok(())
}

/// Our number, and the originator of what is answered.
fn scope(desk: &Desk, arrival: &SmsArrival) -> Result<Scope, ArchiveError> {
    let inbound = &arrival.inbound;
    let mut scope = vec![Some(inbound.destination.to_string())];
    let answered = desk.with.intake.answered(&inbound.originator, &inbound.destination)?;
    if let Some(message) = answered {
        let originator = message.medium.sender();
        if !scope.contains(&originator) {
            scope.push(originator);
        }
    }
    Ok(scope)
}

fn reason(arrival: &SmsArrival) -> String {
    format!("STOP to {}", arrival.inbound.destination)
}

async fn stop(desk: &Desk, arrival: &SmsArrival) -> Result<bool, ArchiveError> {
    let (scope, person) = (scope(desk, arrival)?, arrival.inbound.originator.to_string());
    let mut changed = false;
    for originator in &scope {
        let entry = Suppression {
            channel: Channel::Sms,
            recipient: person.clone(),
            originator: originator.clone(),
            reason: reason(arrival),
            by: BY.to_owned(),
            at: arrival.received_at,
            expires_at: None,
        };
        changed |= desk.with.archive.suppress(entry).await?;
    }
    // From here nothing new is taken; what was taken before is stopped.
    stop_pending(desk, arrival, &person, &scope).await?;
    Ok(changed)
}

async fn stop_pending(
    desk: &Desk,
    arrival: &SmsArrival,
    person: &str,
    scope: &Scope,
) -> Result<(), ArchiveError> {
    let archive = &desk.with.archive;
    let filter = Filter {
        channel: Some(Channel::Sms),
        direction: Some(Direction::Outbound),
        status: Some(Status::Pending),
        recipient: Some(person.to_owned()),
        ..Filter::default()
    };
    let mut after = None;
    loop {
        let page = archive.list(&filter, Order::Newest, after, PAGE)?;
        for message in page.items.iter().filter(|message| is_within(message, scope)) {
            let (id, at) = (message.id, arrival.received_at);
            let by = STOPPED_BY.to_owned();
            let action = Action {
                kind: ActionKind::Stop,
                message: id,
                recipients: None,
                by,
                reason: None,
                at,
            };
            // What is being sent at this moment can not be stopped any more.
            if archive.act(action).await?.is_ok() {
                let (kind, detail) = (EventKind::Suppressed, Some(reason(arrival)));
                let by = Some(BY.to_owned());
                archive.note(MessageNote { message: id, kind, by, detail, at }).await?;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn is_within(message: &Message, scope: &Scope) -> bool {
    // An entry without an originator is for all of them.
    scope.contains(&None) || scope.contains(&message.medium.sender())
}

/// Takes away what a STOP to this number added, and what providers reported of it. What a person of
/// the company put on the list stays.
async fn start(desk: &Desk, arrival: &SmsArrival) -> Result<bool, ArchiveError> {
    let archive = &desk.with.archive;
    let (scope, person) = (scope(desk, arrival)?, arrival.inbound.originator.to_string());
    let (mut after, mut entries) = (None, Vec::new());
    loop {
        let page = archive.suppressions(Some(Channel::Sms), Some(&person), after, PAGE)?;
        entries.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut changed = false;
    for entry in entries {
        let is_ours = entry.by == BY && entry.reason == reason(arrival);
        let is_of_scope = scope.contains(&entry.originator)
            && (entry.by == BY || entry.by.starts_with("upstream "));
        if entry.recipient == person && (is_ours || is_of_scope) {
            let originator = entry.originator.as_deref();
            changed |= archive.unsuppress(Channel::Sms, &person, originator).await?;
        }
    }
    Ok(changed)
}
