//! Which message a report is about, and which of its recipients.
//!
//! The return path says it best: it was made for one recipient of one message, and nobody else can make
//! one (VERP). Then our own field in the original, its Message-ID, what is answered, and last the
//! address alone, where only one message can be meant. Recipients are compared without case.

use std::time::Duration;

use super::mail::kind_of;
use crate::archive::{Archive, ArchiveError, Filter, MailReportKind, Message, Order};
use crate::mime;
use crate::model::{
    Channel, Direction, EnhancedCode, Mailbox, MessageId, RecipientState, Timestamp,
};
use crate::report::{Clues, Finding, PerRecipient, Report};
use crate::rewrite::{SEVERAL, VerpKeys};

/// Messages with one Message-ID that are looked at.
const MAX_NAMESAKES: usize = 20;
/// Ids and addresses of a report that are looked up.
const MAX_LOOKED_UP: usize = 20;
/// How old a message may be that is known by its recipient's address alone.
const BY_ADDRESS_ALONE: Duration = Duration::from_secs(5 * 86_400);
/// Longest words of a diagnostic that are kept, in characters.
const MAX_WORDS_CHARS: usize = 500;

/// The message that is meant.
pub(super) struct Match {
    pub message: Message,
    /// The recipient that the return path names.
    pub recipient: Option<u16>,
    /// A return path of ours says so.
    pub is_proven: bool,
    /// Nothing but an address says so. Anybody can name one, so that nothing is recorded of it.
    pub is_guessed: bool,
}

impl Match {
    /// The return path was this recipient's. One of several is known to each of them, and must not
    /// let one silence the others.
    pub fn proves(&self, recipient: u16) -> bool {
        let is_alone = self.message.recipients.len() == 1;
        self.is_proven && (is_alone || self.recipient == Some(recipient))
    }
}

/// What is said of one recipient.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub recipient: u16,
    pub kind: MailReportKind,
    pub status: Option<EnhancedCode>,
    pub diagnostic: String,
    /// In words, one line.
    pub words: String,
}

/// The message that a report, or an answer without one, is about.
pub(super) fn find(
    archive: &Archive,
    (keys, base): (&VerpKeys, &Mailbox),
    report: Option<&Report>,
    forward: &Mailbox,
    raw: &[u8],
    now: Timestamp,
) -> Result<Option<Match>, ArchiveError> {
    let none = Clues::default();
    let clues = report.map_or(&none, |report| &report.clues);
    let paths = std::iter::once(forward).chain(&clues.return_paths);
    for path in paths.take(MAX_LOOKED_UP) {
        let Some((sequence, recipient)) = keys.read_return_path(base, path) else { continue };
        let Some(id) = archive.message_by_sequence(sequence)? else { continue };
        let Some(message) = outbound(archive.message(id)?) else { continue };
        let recipient = Some(recipient).filter(|index| *index != SEVERAL);
        return Ok(Some(Match { message, recipient, is_proven: true, is_guessed: false }));
    }
    let plain = |message| Match { message, recipient: None, is_proven: false, is_guessed: false };
    if let Some(id) = clues.waybill_id.as_deref().and_then(MessageId::parse)
        && let Some(message) = outbound(archive.message(id)?)
    {
        return Ok(Some(plain(message)));
    }
    let named = addresses(report);
    let answered = referenced(raw);
    let ids = clues.message_ids.iter().chain(&clues.referenced).chain(&answered);
    for id in ids.take(MAX_LOOKED_UP) {
        let namesakes = archive.with_message_id(id, MAX_NAMESAKES)?;
        let mut namesakes: Vec<Message> =
            namesakes.into_iter().filter_map(|message| outbound(Some(message))).collect();
        // A message that was sent again may bear the same id: it is about the one with the address.
        let goes_to = |message: &Message| named.iter().any(|one| index_of(message, one).is_some());
        let place = namesakes.iter().position(goes_to).unwrap_or(0);
        if place < namesakes.len() {
            return Ok(Some(plain(namesakes.swap_remove(place))));
        }
    }
    match report.map(|report| &report.finding) {
        Some(Finding::Delivery(_)) => {
            let found = by_address(archive, &named, now)?;
            Ok(found.map(|message| Match { is_guessed: true, ..plain(message) }))
        }
        Some(
            Finding::Disposition(_)
            | Finding::Feedback(_)
            | Finding::AutoReply(_)
            | Finding::Unknown,
        )
        | None => Ok(None),
    }
}

fn outbound(message: Option<Message>) -> Option<Message> {
    message.filter(|message| {
        message.direction == Direction::Outbound && message.channel() == Channel::Email
    })
}

/// The one message of the last days that went to one of these addresses, if there is only one.
fn by_address(
    archive: &Archive,
    named: &[Mailbox],
    now: Timestamp,
) -> Result<Option<Message>, ArchiveError> {
    let earliest = now.as_millis().saturating_sub(BY_ADDRESS_ALONE.as_millis() as i64);
    for address in named.iter().take(MAX_LOOKED_UP) {
        let filter = Filter {
            channel: Some(Channel::Email),
            direction: Some(Direction::Outbound),
            recipient: Some(address.to_string()),
            since: Some(Timestamp::from_millis(earliest)),
            ..Filter::default()
        };
        let page = archive.list(&filter, Order::Newest, None, 2)?;
        let mut found = page.items.into_iter().filter(|message| {
            let index = index_of(message, address);
            let recipient = index.and_then(|index| message.recipients.get(usize::from(index)));
            recipient.is_some_and(|one| matches!(one.state, RecipientState::Sent { .. }))
        });
        if let (Some(message), None) = (found.next(), found.next()) {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Whom a report names, the surest first.
fn addresses(report: Option<&Report>) -> Vec<Mailbox> {
    let Some(report) = report else { return Vec::new() };
    let own: Vec<&Mailbox> = match &report.finding {
        Finding::Delivery(all) => {
            all.iter().flat_map(|one| one.original.iter().chain(&one.address)).collect()
        }
        Finding::Disposition(one) => one.original.iter().chain(&one.recipient).collect(),
        Finding::Feedback(one) => one.recipients.iter().collect(),
        Finding::AutoReply(one) => one.recipient.iter().collect(),
        Finding::Unknown => Vec::new(),
    };
    own.into_iter().chain(&report.clues.recipients).cloned().collect()
}

/// Message-IDs in `In-Reply-To` and `References`, the nearest first.
fn referenced(raw: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for field in mime::fields(raw).filter(|f| f.is("In-Reply-To") || f.is("References")) {
        let text = field.text();
        let ids = text.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        let mut ids: Vec<String> = ids.map(|(id, _)| id.trim().to_owned()).collect();
        ids.reverse();
        ids.truncate(MAX_LOOKED_UP);
        found.extend(ids);
    }
    found.truncate(MAX_LOOKED_UP);
    found
}

/// The recipient with this address, or whom the client had named before it was changed (ORCPT).
fn index_of(message: &Message, address: &Mailbox) -> Option<u16> {
    let envelope = message.medium.mail()?;
    let wanted = address.to_string();
    let is_it = |text: &str| text.eq_ignore_ascii_case(&wanted);
    let recipients = || (0_u16..).zip(&envelope.recipients);
    let by_path = recipients().find(|(_, one)| is_it(&one.path.to_string()));
    let by_original =
        || recipients().find(|(_, one)| one.original.as_ref().is_some_and(|o| is_it(&o.address)));
    by_path.or_else(by_original).map(|(index, _)| index)
}

/// What a report says of the recipients of the message that it is about.
pub(super) fn verdicts(report: &Report, found: &Match) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = match &report.finding {
        Finding::Delivery(all) => deliveries(all, report, found),
        Finding::Disposition(one) => {
            let named: Vec<&Mailbox> = one.original.iter().chain(&one.recipient).collect();
            let recipient = recipient(&named, report, found);
            let kind = kind_of(one.class);
            recipient.zip(kind).map(|(r, kind)| plain(r, kind)).into_iter().collect()
        }
        Finding::Feedback(one) => {
            let named: Vec<&Mailbox> = one.recipients.iter().collect();
            let recipient = recipient(&named, report, found);
            let kind = kind_of(one.class);
            recipient.zip(kind).map(|(r, kind)| plain(r, kind)).into_iter().collect()
        }
        Finding::AutoReply(_) | Finding::Unknown => Vec::new(),
    };
    let count = found.message.recipients.len();
    verdicts.retain(|verdict| usize::from(verdict.recipient) < count);
    verdicts
}

/// One for each recipient; where the return path names one, the report may speak of it under the
/// address that it was forwarded to.
fn deliveries(all: &[PerRecipient], report: &Report, found: &Match) -> Vec<Verdict> {
    if let Some(index) = found.recipient {
        let is_it = |one: &&PerRecipient| {
            let named = one.original.iter().chain(&one.address);
            named.into_iter().any(|address| index_of(&found.message, address) == Some(index))
        };
        let failed =
            |one: &&PerRecipient| matches!(kind_of(one.class), Some(MailReportKind::Failed { .. }));
        let one = all.iter().find(is_it).or_else(|| all.iter().find(failed)).or(all.first());
        return one.and_then(|one| of_delivery(index, one)).into_iter().collect();
    }
    let mut verdicts: Vec<Verdict> = Vec::new();
    for one in all {
        let named: Vec<&Mailbox> = one.original.iter().chain(&one.address).collect();
        let Some(index) = recipient(&named, report, found) else { continue };
        if !verdicts.iter().any(|verdict| verdict.recipient == index) {
            verdicts.extend(of_delivery(index, one));
        }
    }
    verdicts
}

/// By the return path, by the address, or because there is only one who can be meant.
fn recipient(named: &[&Mailbox], report: &Report, found: &Match) -> Option<u16> {
    let by_address = || named.iter().find_map(|address| index_of(&found.message, address));
    let is_alone = found.message.recipients.len() == 1;
    let alone = || is_alone.then_some(0);
    let by_original = || {
        let mut all: Vec<u16> =
            report.clues.recipients.iter().filter_map(|a| index_of(&found.message, a)).collect();
        all.dedup();
        match all[..] {
            [one] if named.is_empty() => Some(one),
            _ => None,
        }
    };
    found.recipient.or_else(by_address).or_else(alone).or_else(by_original)
}

fn plain(recipient: u16, kind: MailReportKind) -> Verdict {
    let words = match kind {
        MailReportKind::Failed { .. } => "not delivered",
        MailReportKind::Delayed => "delayed",
        MailReportKind::Delivered => "delivered",
        MailReportKind::Displayed => "the reader's program showed it",
        MailReportKind::Complained => "the reader complained",
    };
    let (status, diagnostic) = (None, String::new());
    Verdict { recipient, kind, status, diagnostic, words: words.to_owned() }
}

fn of_delivery(recipient: u16, one: &PerRecipient) -> Option<Verdict> {
    let kind = kind_of(one.class)?;
    let words = match kind {
        MailReportKind::Failed { is_hard: true } => "the address does not work",
        MailReportKind::Failed { is_hard: false } => "not delivered this time",
        MailReportKind::Delayed => "delayed over there",
        MailReportKind::Delivered => "delivered",
        MailReportKind::Displayed | MailReportKind::Complained => "told",
    };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let diagnostic: String = one.diagnostic.chars().map(clean).take(MAX_WORDS_CHARS).collect();
    let said = [one.status.map(|status| status.to_string()), Some(diagnostic.clone())];
    let said: Vec<String> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    let words = match said.is_empty() {
        true => words.to_owned(),
        false => format!("{words} ({})", said.join(" ")),
    };
    Some(Verdict { recipient, kind, status: one.status, diagnostic, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_read_from_the_nearest_on() {
        let check = |raw: &str, expected: &[&str]| assert_eq!(referenced(raw.as_bytes()), expected);
        check("", &[]);
        check("In-Reply-To: none\r\n\r\n<a@b>", &[]);
        check("References: <a@b> <c@d\r\n\r\n", &["a@b"]);
        check("References: <a@b>\r\n <c@d>\r\n\r\n", &["c@d", "a@b"]);
        check("In-Reply-To: <x@y> (yes)\r\nReferences: <a@b>\r\n\r\n", &["x@y", "a@b"]);
    }
}
