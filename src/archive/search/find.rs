//! One page of what a question finds.
//!
//! First what the index does not have yet, message by message, then the index; for the oldest first
//! the other way round. A page looks at a bounded number of messages, so it may hold fewer than were
//! asked for and still have a next one.

use std::cell::Cell;
use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{AccessGuard, ReadTransaction, StorageError};
use tantivy::TantivyError;
use tantivy::query::Query;

use super::document::{self, Fact};
use super::language::{Leaf, Node, Question, fact, unread};
use super::matches::{Candidate, matches};
use super::schema::Translation;
use super::standings::{Mark, Standing, Standings};
use super::tail::{self, Sieve, Sifted};
use super::view::{Hit, MAX_RANKED, View};
use crate::archive::list;
use crate::archive::message::Message;
use crate::archive::read::Reader;
use crate::archive::writer::Failure;
use crate::archive::{Archive, ArchiveError, Filter, Inner, storage};
use crate::model::MessageId;

/// Messages without an index that one page reads: while it is empty, and when it has something to show.
const MAX_SCANNED: usize = 1_000;
const MAX_SCANNED_FOR_MORE: usize = 200;
/// With fewer of them, signatures spare nothing.
const FEW: usize = 64;
/// Signatures that a search makes itself.
const MAX_SIGNED: usize = 64;
/// Hits that one page reads from the records, because a filter says no to most.
const MAX_EXAMINED: usize = 20_000;
/// Terms that are looked at one by one when nothing was found.
const MAX_EXPLAINED: usize = 8;
/// The score of what the index does not have yet: it comes first.
const NEWEST_SCORE: u32 = u32::MAX;

/// Whether the recipient is known to have read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    Unread,
    Opened,
    Clicked,
}

/// Which answer comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchOrder {
    #[default]
    Newest,
    Oldest,
    Relevance,
}

/// A place between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: MessageId,
    /// The bits of its score; of no meaning but by relevance.
    pub score: u32,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct SearchRequest<'a> {
    pub question: Option<&'a Question>,
    pub filter: &'a Filter,
    pub read: Option<ReadState>,
    pub order: SearchOrder,
    pub after: Option<Place>,
    pub limit: usize,
}

/// A page of answers.
#[derive(Clone, Debug)]
pub struct Found {
    pub items: Vec<Message>,
    pub next: Option<Place>,
    /// Why there is nothing, where that is known; or what was left out.
    pub note: Option<String>,
}

impl Archive {
    /// Messages that are an answer, and may still be read: of what was erased nothing is found.
    pub fn search(&self, request: &SearchRequest<'_>) -> Result<Found, ArchiveError> {
        self.asking(request, |search| {
            let mut page = Page::new(request.limit);
            let left_out = search.fill(&whole_question(request), &mut page)?;
            let mut note = left_out.note();
            if page.items.is_empty() && page.next.is_none() && request.after.is_none() {
                note = search.why_nothing()?.or(note);
            }
            Ok(Found { items: page.items, next: page.next, note })
        })
    }

    /// The same without a word about why there is nothing: for those who go through all pages.
    pub(in crate::archive) fn search_page(
        &self,
        request: &SearchRequest<'_>,
    ) -> Result<(Vec<Message>, Option<Place>), ArchiveError> {
        self.asking(request, |search| {
            let mut page = Page::new(request.limit);
            search.fill(&whole_question(request), &mut page)?;
            Ok((page.items, page.next))
        })
    }

    /// The message with this id as it is now, if it is an answer; it is looked at itself.
    pub(in crate::archive) fn answer(
        &self,
        request: &SearchRequest<'_>,
        id: MessageId,
    ) -> Result<Option<Message>, ArchiveError> {
        self.asking(request, |search| {
            let (from, to) = search.span();
            match (from..=to).contains(&id.as_u128()) {
                true => search.answer(&whole_question(request), id),
                false => Ok(None),
            }
        })
    }

    /// Asks over one snapshot.
    fn asking<T>(
        &self,
        request: &SearchRequest<'_>,
        ask: impl FnOnce(&Search<'_>) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        // The index first: everything that it has is in a snapshot that is taken later.
        let view = self.inner.search.view.load_full();
        let snapshot = self.snapshot()?;
        let reader = Reader::new(&snapshot)?;
        let (inner, view) = (&*self.inner, view.as_deref());
        ask(&Search { inner, view, reader: &reader, snapshot: &snapshot, request })
    }
}

/// What a page left out, so that its cost has an end.
#[derive(Clone, Debug, Default)]
struct LeftOut {
    /// Words that begin with what was asked for.
    words: bool,
    /// Messages older than those that were ranked.
    unranked: Cell<bool>,
}

impl LeftOut {
    fn note(&self) -> Option<String> {
        if self.words {
            return Some("A word is the beginning of too many; write more of it.".to_owned());
        }
        self.unranked.get().then(|| {
            format!(
                "Only the newest that fit, {MAX_RANKED} or more, are ranked; older ones are left out. Ask for more, \
                 for a shorter period, or for the newest first."
            )
        })
    }
}

/// The question with all filters that the index can help with; the records decide about all of them.
fn whole_question(request: &SearchRequest<'_>) -> Node {
    let filter = request.filter;
    let mut nodes: Vec<Node> =
        request.question.map(|question| question.root.clone()).into_iter().collect();
    nodes.extend(filter.channel.map(|channel| fact(&Fact::Channel(channel))));
    nodes.extend(filter.direction.map(|direction| fact(&Fact::Direction(direction))));
    nodes.extend(filter.app.iter().map(|app| fact(&Fact::App(app))));
    if let Some(apps) = &filter.apps {
        nodes.push(Node::Any(apps.iter().map(|app| fact(&Fact::App(app))).collect()));
    }
    nodes.extend(filter.tag.iter().map(|tag| fact(&Fact::Tag(tag))));
    nodes.extend(filter.sender.iter().map(|sender| fact(&Fact::Sender(sender))));
    nodes.extend(filter.recipient.iter().map(|recipient| fact(&Fact::Recipient(recipient))));
    nodes.extend(filter.reference.iter().map(|reference| fact(&Fact::Reference(reference))));
    nodes.extend(filter.status.map(|status| Node::Leaf(Leaf::Mark(Mark::Status(status)))));
    nodes.extend(request.read.map(|read| match read {
        ReadState::Unread => unread(),
        ReadState::Opened => Node::Leaf(Leaf::Mark(Mark::Opened)),
        ReadState::Clicked => Node::Leaf(Leaf::Mark(Mark::Clicked)),
    }));
    Node::All(nodes)
}

/// A page on its way.
struct Page {
    items: Vec<Message>,
    next: Option<Place>,
    limit: usize,
    particulars: usize,
}

impl Page {
    fn new(limit: usize) -> Page {
        Page { items: Vec::new(), next: None, limit, particulars: 0 }
    }

    fn push(&mut self, message: Message) {
        self.particulars += message.recipients.len() + message.summary.attachments.len();
        self.items.push(message);
    }

    /// The place of its last message, of those that the index does not have yet.
    fn last(&self) -> Option<Place> {
        self.items.last().map(|message| Place { id: message.id, score: NEWEST_SCORE })
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.particulars >= list::MAX_PARTICULARS
    }
}

/// Hits that are asked for.
struct Wanted {
    span: Range<u64>,
    after: Option<(u32, u64)>,
    limit: usize,
}

type Candidates<'a> = Box<dyn Iterator<Item = Result<u128, ArchiveError>> + 'a>;
type Entry<'a> = Result<(AccessGuard<'a, u128>, AccessGuard<'a, &'static [u8]>), StorageError>;

struct Search<'a> {
    inner: &'a Inner,
    view: Option<&'a View>,
    reader: &'a Reader,
    snapshot: &'a ReadTransaction,
    request: &'a SearchRequest<'a>,
}

impl Search<'_> {
    /// Fills the page.
    fn fill(&self, node: &Node, page: &mut Page) -> Result<LeftOut, ArchiveError> {
        let (from, to) = self.span();
        let (first, last) = bounds(node);
        let (from, to) = (from.max(first), to.min(last));
        if from > to {
            return Ok(LeftOut::default());
        }
        match self.request.order {
            SearchOrder::Oldest => {
                let left_out = self.indexed(node, (from, to), page)?;
                if page.next.is_none() {
                    self.scan(node, (from, to), page)?;
                }
                Ok(left_out)
            }
            SearchOrder::Newest | SearchOrder::Relevance => {
                let is_behind_tail = self.request.order == SearchOrder::Relevance
                    && self.request.after.is_some_and(|after| after.score != NEWEST_SCORE);
                if !is_behind_tail {
                    self.scan(node, (from, to), page)?;
                }
                match page.next {
                    Some(_) => Ok(LeftOut::default()),
                    None => self.indexed(node, (from, to), page),
                }
            }
        }
    }

    /// The ids that times and cursor leave, both ends included.
    fn span(&self) -> (u128, u128) {
        let order = match self.request.order {
            SearchOrder::Oldest => crate::archive::Order::Oldest,
            SearchOrder::Newest | SearchOrder::Relevance => crate::archive::Order::Newest,
        };
        let after = self.request.after.filter(|_| self.request.order != SearchOrder::Relevance);
        list::span(self.request.filter, order, after.map(|place| place.id))
    }

    /// Looks at what the index does not have yet.
    fn scan(
        &self,
        node: &Node,
        (from, to): (u128, u128),
        page: &mut Page,
    ) -> Result<(), ArchiveError> {
        let watermark = self.view.map_or(0, |view| view.watermark.message.as_u128());
        let from = from.max(watermark.saturating_add(1));
        let mut to = to;
        if let (SearchOrder::Relevance, Some(after)) = (self.request.order, self.request.after) {
            to = to.min(after.id.as_u128().saturating_sub(1));
        }
        if from > to {
            return Ok(());
        }
        let (mut last, mut scanned) = (page.last(), 0);
        for id in self.candidates(node, from..=to)? {
            let most = if page.items.is_empty() { MAX_SCANNED } else { MAX_SCANNED_FOR_MORE };
            if page.is_full() || scanned >= most {
                page.next = last;
                return Ok(());
            }
            let id = MessageId::from_u128(id?);
            (last, scanned) = (Some(Place { id, score: NEWEST_SCORE }), scanned + 1);
            if let Some(message) = self.answer(node, id)? {
                page.push(message);
            }
        }
        Ok(())
    }

    /// The messages of a span that signatures do not rule out, in the order that is wanted.
    fn candidates(
        &self,
        node: &Node,
        span: RangeInclusive<u128>,
    ) -> Result<Candidates<'_>, ArchiveError> {
        let (from, to) = span.into_inner();
        let all = |from: u128, to: u128| -> Result<Candidates<'_>, ArchiveError> {
            if from > to {
                return Ok(Box::new(std::iter::empty()));
            }
            let range = self.reader.messages().range(from..=to).map_err(Failure::from)?;
            let id = |entry: Entry<'_>| Ok(entry.map_err(Failure::from)?.0.value());
            Ok(match self.request.order {
                SearchOrder::Oldest => Box::new(range.map(id)),
                SearchOrder::Newest | SearchOrder::Relevance => Box::new(range.rev().map(id)),
            })
        };
        let Some(sifted) = self.sift(node, from)? else { return all(from, to) };
        let before = all(from, to.min(sifted.first.saturating_sub(1)))?;
        let behind = all(from.max(sifted.last.saturating_add(1)), to)?;
        let mut passed = sifted.passed;
        passed.retain(|id| (from..=to).contains(id));
        Ok(match self.request.order {
            SearchOrder::Oldest => Box::new(before.chain(passed.into_iter().map(Ok)).chain(behind)),
            SearchOrder::Newest | SearchOrder::Relevance => {
                Box::new(behind.chain(passed.into_iter().rev().map(Ok)).chain(before))
            }
        })
    }

    /// What the signatures say of the messages from an id on, where that can spare reading many.
    fn sift(&self, node: &Node, from: u128) -> Result<Option<Sifted>, ArchiveError> {
        let shared = &self.inner.search;
        let missing = self.reader.messages().range(from..).map_err(Failure::from)?;
        if missing.take(FEW).count() < FEW {
            return Ok(None);
        }
        let standings = match asks_for_marks(node) {
            true => {
                let mut standings = shared.standings();
                standings.catch_up(self.snapshot)?;
                standings.snapshot()
            }
            false => Arc::default(),
        };
        let has = |number: u64, mark: Mark| Standings::get(&standings, number).has(mark);
        let (tail, volumes) = (&shared.tail, &self.inner.volumes);
        tail::catch_up(tail, self.reader, volumes, shared.watermark(), MAX_SIGNED)?;
        Ok(tail::read(tail).sift(&Sieve::of(node), &has))
    }

    /// The message, if it is an answer.
    fn answer(&self, node: &Node, id: MessageId) -> Result<Option<Message>, ArchiveError> {
        let is_possible = |message: &Message| list::matches(self.request.filter, message);
        let found = document::read(self.reader, &self.inner.volumes, id, is_possible)?;
        let Some((message, document)) = found else { return Ok(None) };
        let candidate = Candidate { id, document: &document, standing: Standing::of(&message) };
        Ok(matches(node, &candidate).then_some(message))
    }

    /// Asks the index.
    fn indexed(
        &self,
        node: &Node,
        (from, to): (u128, u128),
        page: &mut Page,
    ) -> Result<LeftOut, ArchiveError> {
        let Some(view) = self.view else { return Ok(LeftOut::default()) };
        let (query, words) = self.translate(view, node)?;
        let left_out = LeftOut { words, ..LeftOut::default() };
        let mut span = self.number_at(MessageId::from_u128(from))?
            ..self.number_at(MessageId::from_u128(to.saturating_add(1)))?;
        let mut after = match (self.request.order, self.request.after) {
            (SearchOrder::Relevance, Some(place)) if place.score != NEWEST_SCORE => {
                Some((place.score, self.number_at(place.id)?))
            }
            _ => None,
        };
        let (mut last, mut examined) = (page.last(), 0);
        while !span.is_empty() {
            if examined >= MAX_EXAMINED {
                page.next = last;
                return Ok(left_out);
            }
            // One more than there is room for shows whether there is a next page.
            let limit = page.limit - page.items.len() + 1;
            let wanted = Wanted { span: span.clone(), after, limit };
            let hits = self.hits(view, &*query, &wanted, &left_out.unranked)?;
            let is_all = hits.len() < limit;
            for hit in hits {
                if page.is_full() {
                    page.next = last;
                    return Ok(left_out);
                }
                examined += 1;
                let score = hit.score.to_bits();
                last = Some(Place { id: hit.id, score });
                match self.request.order {
                    SearchOrder::Newest => span.end = hit.sequence,
                    SearchOrder::Oldest => span.start = hit.sequence + 1,
                    SearchOrder::Relevance => after = Some((score, hit.sequence)),
                }
                let message = self.reader.readable(hit.id)?;
                let is_answer = |message: &Message| {
                    message.redacted_at.is_none() && list::matches(self.request.filter, message)
                };
                if let Some(message) = message.filter(is_answer) {
                    page.push(message);
                }
            }
            if is_all {
                break;
            }
        }
        Ok(left_out)
    }

    fn hits(
        &self,
        view: &View,
        query: &dyn Query,
        wanted: &Wanted,
        unranked: &Cell<bool>,
    ) -> Result<Vec<Hit>, ArchiveError> {
        let Wanted { span, after, limit } = wanted;
        self.guarded(|| match self.request.order {
            SearchOrder::Newest => view.newest(query, span, *limit),
            SearchOrder::Oldest => view.oldest(query, span, *limit),
            SearchOrder::Relevance => view.best(query, span, *after, *limit, unranked),
        })
    }

    /// Asks the index; where its files are torn, tantivy may panic instead of saying so.
    fn guarded<T>(&self, ask: impl FnOnce() -> tantivy::Result<T>) -> Result<T, ArchiveError> {
        let answer = catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
            Err(TantivyError::InternalError("the reader of the index panicked".to_owned()))
        });
        answer.map_err(|error| {
            // The next question is answered without it.
            tracing::error!(%error, "the search index is damaged, and is built anew");
            self.inner.search.view.store(None);
            self.inner.search.progress.want();
            failed(error)
        })
    }

    fn translate(&self, view: &View, node: &Node) -> Result<(Box<dyn Query>, bool), ArchiveError> {
        let shared = &self.inner.search;
        let standings = match asks_for_marks(node) {
            true => {
                let mut standings = shared.standings();
                standings.catch_up(self.snapshot)?;
                standings.snapshot()
            }
            false => Arc::default(),
        };
        let number_at = |id: MessageId| self.number_at(id).unwrap_or(u64::MAX);
        let marked = |mark: Mark| -> Arc<dyn Fn(u64) -> bool + Send + Sync> {
            let standings = standings.clone();
            Arc::new(move |number| Standings::get(&standings, number).has(mark))
        };
        let translation = Translation {
            searcher: &view.searcher,
            marked: &marked,
            number_at: &number_at,
            cut: false.into(),
        };
        let query = self.guarded(|| Ok(shared.schema.query(node, &translation)))?;
        Ok((query, translation.cut.get()))
    }

    /// The number of the first message from `id` on.
    fn number_at(&self, id: MessageId) -> Result<u64, ArchiveError> {
        let range = self.reader.messages().range(id.as_u128()..).map_err(Failure::from)?;
        for entry in range {
            let id = MessageId::from_u128(entry.map_err(Failure::from)?.0.value());
            // A damaged one has no number to be read; the next one is as good.
            if let Some(message) = self.reader.readable(id)? {
                return Ok(message.sequence.0);
            }
        }
        Ok(u64::MAX)
    }

    /// Which term of a question no message has, when the whole question has no answer.
    fn why_nothing(&self) -> Result<Option<String>, ArchiveError> {
        let Some(question) = self.request.question else { return Ok(None) };
        let everything = Filter { apps: self.request.filter.apps.clone(), ..Filter::default() };
        let request = SearchRequest {
            question: None,
            filter: &everything,
            read: None,
            order: SearchOrder::Newest,
            after: None,
            limit: 1,
        };
        let alone = Search { request: &request, ..*self };
        let apps = whole_question(&request);
        let mut missing = Vec::new();
        for (written, node) in question.terms().into_iter().take(MAX_EXPLAINED) {
            let mut page = Page::new(1);
            alone.fill(&Node::All(vec![node, apps.clone()]), &mut page)?;
            if page.items.is_empty() && page.next.is_none() && !missing.contains(&written) {
                missing.push(written);
            }
        }
        Ok(match &missing[..] {
            [] => Some(
                "Each term is found in some message, but no message has all that was asked for."
                    .into(),
            ),
            missing => Some(format!("No message has {}.", missing.join(" or "))),
        })
    }
}

/// The ids outside of which nothing is an answer, both included.
fn bounds(node: &Node) -> (u128, u128) {
    match node {
        Node::All(nodes) => nodes
            .iter()
            .map(bounds)
            .fold((0, u128::MAX), |all, one| (all.0.max(one.0), all.1.min(one.1))),
        Node::Leaf(Leaf::Since(id)) => (id.as_u128(), u128::MAX),
        // Before the first of all is nothing.
        Node::Leaf(Leaf::Until(id)) => match id.as_u128().checked_sub(1) {
            Some(last) => (0, last),
            None => (1, 0),
        },
        Node::Leaf(
            Leaf::Head(..) | Leaf::Phrase(..) | Leaf::Digits(..) | Leaf::Fact(_) | Leaf::Mark(_),
        )
        | Node::Any(_)
        | Node::Not(_) => (0, u128::MAX),
    }
}

fn asks_for_marks(node: &Node) -> bool {
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().any(asks_for_marks),
        Node::Not(node) => asks_for_marks(node),
        Node::Leaf(Leaf::Mark(_)) => true,
        Node::Leaf(
            Leaf::Head(..)
            | Leaf::Phrase(..)
            | Leaf::Digits(..)
            | Leaf::Fact(_)
            | Leaf::Since(_)
            | Leaf::Until(_),
        ) => false,
    }
}

fn failed(error: TantivyError) -> ArchiveError {
    storage("search")(error)
}
