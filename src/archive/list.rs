//! Lists of messages, newest or oldest first, with filters and cursors.
//!
//! A list walks one ordered source of candidates (all messages, one status, or one term of the
//! look-up index) from its cursor on, and keeps what matches. So a page costs the same however deep
//! it lies. A page looks at a bounded number of candidates, and ends where its messages have many
//! recipients or attachments; it may therefore hold fewer items than asked for, and still have a next
//! one.

use redb::ReadTransaction;

use super::index::{Index, Term};
use super::message::Message;
use super::read::Reader;
use super::standing::status_key;
use super::writer::Failure;
use super::{Filter, Order, Page, tables};
use crate::model::{MessageId, Status};

/// Candidates that one page looks at.
const MAX_EXAMINED: usize = 20_000;
/// Recipients and attachments of one page, and those of its last message: some megabytes. One message
/// may have ten thousand of them, and a page five hundred messages.
pub(super) const MAX_PARTICULARS: usize = 20_000;

type Candidates<'a> = Box<dyn Iterator<Item = Result<u128, Failure>> + 'a>;

pub(super) fn list(
    snapshot: &ReadTransaction,
    index: &Index,
    filter: &Filter,
    order: Order,
    after: Option<MessageId>,
    limit: usize,
) -> Result<Page<Message, MessageId>, Failure> {
    let reader = Reader::new(snapshot)?;
    let mut items = Vec::new();
    let mut last = None;
    let mut particulars = 0;
    let span = span(filter, order, after);
    for (examined, id) in candidates(snapshot, &reader, index, filter, order, span)?.enumerate() {
        let is_full = items.len() == limit || particulars >= MAX_PARTICULARS;
        if is_full || examined == MAX_EXAMINED {
            return Ok(Page { items, next: last });
        }
        let id = MessageId::from_u128(id?);
        last = Some(id);
        if let Some(message) = reader.readable(id)?
            && matches(filter, &message)
        {
            particulars += message.recipients.len() + message.summary.attachments.len();
            items.push(message);
        }
    }
    Ok(Page { items, next: None })
}

/// The ids that the times and the cursor leave, both ends included.
pub(super) fn span(filter: &Filter, order: Order, after: Option<MessageId>) -> (u128, u128) {
    let mut from = filter.since.map_or(0, |at| MessageId::first_at(at).as_u128());
    let mut to = match filter.until {
        Some(at) => MessageId::first_at(at).as_u128().saturating_sub(1),
        None => u128::MAX,
    };
    match (order, after) {
        (Order::Newest, Some(after)) => to = to.min(after.as_u128().saturating_sub(1)),
        (Order::Oldest, Some(after)) => from = from.max(after.as_u128().saturating_add(1)),
        (Order::Newest | Order::Oldest, None) => {}
    }
    (from, to)
}

fn candidates<'a>(
    snapshot: &ReadTransaction,
    reader: &'a Reader,
    index: &Index,
    filter: &Filter,
    order: Order,
    (from, to): (u128, u128),
) -> Result<Candidates<'a>, Failure> {
    let newest_first = order == Order::Newest;
    if from > to {
        return Ok(Box::new(std::iter::empty()));
    }
    match source(filter) {
        Source::All => all(reader, (from, to), newest_first),
        Source::Status(status) => {
            let table = snapshot.open_table(tables::BY_STATUS)?;
            let key = status_key(status);
            let range = table.range((key, from)..=(key, to))?;
            let ids = range.map(|entry| Ok(entry.map(|(key, _)| key.value().1)?));
            Ok(match newest_first {
                true => Box::new(ids.rev()),
                false => Box::new(ids),
            })
        }
        Source::Term(term) => {
            let watermark = index.watermark().map(MessageId::as_u128);
            let found = watermark.and_then(|watermark| {
                let span = (from, to.min(watermark));
                Ok((watermark, index.candidates(term, span, newest_first)?))
            });
            let (watermark, known) = match found {
                Ok(found) => found,
                Err(error) => {
                    // What the index knew can be found without it, only slower.
                    tracing::error!(%error, "the look-up index can not be read");
                    return all(reader, (from, to), newest_first);
                }
            };
            // What the index does not know yet is scanned, so a message is found from its 250 on.
            let tail_from = from.max(watermark.saturating_add(1));
            let tail: Candidates<'a> = match tail_from <= to {
                true => all(reader, (tail_from, to), newest_first)?,
                false => Box::new(std::iter::empty()),
            };
            Ok(match newest_first {
                true => Box::new(tail.chain(known)),
                false => Box::new(known.chain(tail)),
            })
        }
    }
}

fn all(
    reader: &Reader,
    (from, to): (u128, u128),
    newest_first: bool,
) -> Result<Candidates<'_>, Failure> {
    let range = reader.messages().range(from..=to)?;
    let ids = range.map(|entry| Ok(entry.map(|(id, _)| id.value())?));
    Ok(match newest_first {
        true => Box::new(ids.rev()),
        false => Box::new(ids),
    })
}

enum Source {
    All,
    Status(Status),
    Term(u64),
}

/// The source that is likely to have the fewest candidates.
fn source(filter: &Filter) -> Source {
    if let Some(reference) = &filter.reference {
        return Source::Term(Term::Reference(reference).hash());
    }
    if let Some(recipient) = &filter.recipient {
        return Source::Term(Term::Recipient(recipient).hash());
    }
    // Most messages end as sent or, without an upstream, as not sent; the others are few.
    if let Some(status @ (Status::Pending | Status::Stopped | Status::Failed)) = filter.status {
        return Source::Status(status);
    }
    if let Some(tag) = &filter.tag {
        return Source::Term(Term::Tag(tag).hash());
    }
    if let Some(sender) = &filter.sender {
        return Source::Term(Term::Sender(sender).hash());
    }
    if let Some(status) = filter.status {
        return Source::Status(status);
    }
    match (&filter.app, filter.apps.as_deref()) {
        (Some(app), _) | (None, Some([app])) => Source::Term(Term::App(app).hash()),
        (None, _) => Source::All,
    }
}

impl Filter {
    /// Whether a message is one of those that a list with this filter has.
    pub fn selects(&self, message: &Message) -> bool {
        let (from, to) = span(self, Order::Newest, None);
        (from..=to).contains(&message.id.as_u128()) && matches(self, message)
    }
}

pub(super) fn matches(filter: &Filter, message: &Message) -> bool {
    let same = |wanted: &str, found: &str| wanted.to_lowercase() == found.to_lowercase();
    let sender = |wanted: &String| {
        let author = message.summary.author.as_ref();
        author.is_some_and(|author| same(wanted, &author.address))
            || message.medium.sender().is_some_and(|path| same(wanted, &path))
    };
    let recipient =
        |wanted: &String| message.medium.recipients().iter().any(|address| same(wanted, address));
    let attachment = |wanted: &String| {
        let wanted = wanted.to_lowercase();
        let names = message.summary.attachments.iter().filter_map(|a| a.filename.as_ref());
        names.into_iter().any(|name| name.to_lowercase().contains(&wanted))
    };
    let reference = |wanted: &crate::model::Reference| {
        message.references.iter().any(|r| r.canonical() == wanted.canonical())
    };
    filter.channel.is_none_or(|channel| channel == message.channel())
        && filter.direction.is_none_or(|direction| direction == message.direction)
        && filter.status.is_none_or(|status| status == message.status())
        && filter.apps.as_ref().is_none_or(|apps| apps.contains(&message.app))
        && filter.app.as_ref().is_none_or(|app| *app == message.app)
        && filter.sender.as_ref().is_none_or(sender)
        && filter.recipient.as_ref().is_none_or(recipient)
        && filter.reference.as_ref().is_none_or(reference)
        && filter.tag.as_ref().is_none_or(|tag| message.tag.as_ref() == Some(tag))
        && filter.attachment.as_ref().is_none_or(attachment)
}
