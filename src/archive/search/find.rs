//! One page of what a question finds.
//!
//! First what the index does not have yet, message by message, then the index; for the oldest first
//! the other way round. A page ends when it has taken long (`patience`), so it may hold fewer than were
//! asked for and still have a next one.
//!
//! By relevance, what is ranked together is a *tier*: the newest that fit, until there are very many or
//! it has taken long, then those before them. The cursor knows its tier, so all of its pages rank the same.

use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{AccessGuard, ReadTransaction, StorageError};
use tantivy::TantivyError;
use tantivy::query::Query;

use super::document::{self, Fact};
use super::language::{Leaf, Node, Question, fact, unread};
use super::matches::{Candidate, matches};
use super::page::{NEWEST_SCORE, Page};
use super::patience::Patience;
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

pub use super::page::{Place, Tier};

/// With fewer of them, signatures spare nothing.
const FEW: usize = 64;
/// Signatures that a search makes itself.
const MAX_SIGNED: usize = 32;

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
            search.fill(&whole_question(request), &mut page)?;
            let mut note = page.note();
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
    pub(super) fn asking<T>(
        &self,
        request: &SearchRequest<'_>,
        ask: impl FnOnce(&Search<'_>) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        // The index first: everything that it has is in a snapshot that is taken later.
        let view = self.inner.search.view.load_full();
        let snapshot = self.snapshot()?;
        let reader = Reader::new(&snapshot)?;
        let (inner, view, patience) = (&*self.inner, view.as_deref(), Patience::for_page());
        let answer =
            ask(&Search { inner, view, reader: &reader, snapshot: &snapshot, request, patience });
        inner.search.maps.look();
        answer
    }
}

/// The question with all filters that the index can help with; the records decide about all of them.
pub(super) fn whole_question(request: &SearchRequest<'_>) -> Node {
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

type Candidates<'a> = Box<dyn Iterator<Item = Result<u128, ArchiveError>> + 'a>;
type Entry<'a> = Result<(AccessGuard<'a, u128>, AccessGuard<'a, &'static [u8]>), StorageError>;

/// One question over one snapshot.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    inner: &'a Inner,
    view: Option<&'a View>,
    reader: &'a Reader,
    snapshot: &'a ReadTransaction,
    pub request: &'a SearchRequest<'a>,
    pub patience: Patience,
}

impl Search<'_> {
    /// The same for something else that is asked beside it.
    pub(super) fn with<'b>(
        &'b self,
        request: &'b SearchRequest<'b>,
        patience: Patience,
    ) -> Search<'b> {
        Search { request, patience, ..*self }
    }

    /// Fills the page.
    pub(super) fn fill(&self, node: &Node, page: &mut Page) -> Result<(), ArchiveError> {
        let (from, to) = self.span();
        let (first, last) = bounds(node);
        let (from, to) = (from.max(first), to.min(last));
        if from > to {
            return Ok(());
        }
        match self.request.order {
            SearchOrder::Oldest => {
                self.indexed(node, (from, to), page)?;
                if page.next.is_none() && !page.is_cut {
                    self.scan(node, (from, to), page)?;
                }
            }
            SearchOrder::Newest | SearchOrder::Relevance => {
                let is_behind_tail = self.request.order == SearchOrder::Relevance
                    && self.request.after.is_some_and(|after| after.score != NEWEST_SCORE);
                if !is_behind_tail {
                    self.scan(node, (from, to), page)?;
                }
                if page.next.is_none() && !page.is_cut {
                    self.indexed(node, (from, to), page)?;
                }
            }
        }
        Ok(())
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
            if page.is_full() {
                page.next = last;
                return Ok(());
            }
            if self.patience.is_over_after(scanned) {
                page.cut(last);
                return Ok(());
            }
            let id = MessageId::from_u128(id?);
            (last, scanned) = (Some(Place::in_tail(id)), scanned + 1);
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
        if missing.take(FEW).count() < FEW || tail::read(&shared.tail).is_empty() {
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
    ) -> Result<(), ArchiveError> {
        let Some(view) = self.view else { return Ok(()) };
        let (query, has_too_many_words) = self.translate(view, node)?;
        page.has_too_many_words = has_too_many_words;
        let span = self.number_at(MessageId::from_u128(from))?
            ..self.number_at(MessageId::from_u128(to.saturating_add(1)))?;
        match self.request.order {
            SearchOrder::Newest | SearchOrder::Oldest => self.in_order(view, &*query, span, page),
            SearchOrder::Relevance => self.ranked(view, &*query, span, page),
        }
    }

    fn in_order(
        &self,
        view: &View,
        query: &dyn Query,
        mut span: Range<u64>,
        page: &mut Page,
    ) -> Result<(), ArchiveError> {
        let (mut last, mut examined) = (page.last(), 0);
        let is_newest = self.request.order == SearchOrder::Newest;
        while !span.is_empty() {
            let wanted = page.wanted();
            let looked = self.guarded(|| match is_newest {
                true => view.newest(query, &span, wanted, self.patience),
                false => view.oldest(query, &span, wanted, self.patience),
            })?;
            let is_all = looked.hits.len() < wanted;
            for hit in looked.hits {
                if page.is_full() {
                    page.next = last;
                    return Ok(());
                }
                if self.patience.is_over_after(examined) {
                    page.cut(last);
                    return Ok(());
                }
                examined += 1;
                last = Some(Place::behind(hit.id));
                match is_newest {
                    true => span.end = hit.sequence,
                    false => span.start = hit.sequence + 1,
                }
                self.examine(&hit, page)?;
            }
            if let Some(at) = looked.stopped_at {
                page.cut(Some(Place::behind(at.id)));
                return Ok(());
            }
            if is_all {
                break;
            }
        }
        Ok(())
    }

    /// Tier after tier.
    fn ranked(
        &self,
        view: &View,
        query: &dyn Query,
        mut span: Range<u64>,
        page: &mut Page,
    ) -> Result<(), ArchiveError> {
        let (mut last, mut examined) = (page.last(), 0);
        // The first of a tier that was ranked before, and the place in it.
        let (mut known, mut after) = (None, None);
        if let Some(place) = self.request.after.filter(|place| place.score != NEWEST_SCORE) {
            let Tier { first, end } = place.tier;
            span.end = span.end.min(end);
            if first < end {
                (known, after) = (Some(first), Some((place.score, self.number_at(place.id)?)));
            }
        }
        while !span.is_empty() {
            let tier = known.map_or(span.start, |first| span.start.max(first))..span.end;
            let bound = match known {
                Some(_) => (usize::MAX, Patience::for_tier()),
                None => (MAX_RANKED, self.patience),
            };
            let wanted = page.wanted();
            let (hits, first) = self.guarded(|| view.best(query, &tier, after, wanted, bound))?;
            let tier = Tier { first, end: span.end };
            page.has_tiers |= first > span.start;
            let is_all = hits.len() < wanted;
            for hit in hits {
                if page.is_full() {
                    page.next = last;
                    return Ok(());
                }
                if self.patience.is_over_after(examined) {
                    page.cut(last);
                    return Ok(());
                }
                examined += 1;
                let score = hit.score.to_bits();
                last = Some(Place { id: hit.id, score, tier });
                (known, after) = (Some(first), Some((score, hit.sequence)));
                self.examine(&hit, page)?;
            }
            if is_all {
                (span.end, known, after) = (first, None, None);
                last = Some(Place {
                    tier: Tier { first, end: first },
                    ..Place::behind(MessageId::MIN)
                });
                if !span.is_empty() && self.patience.is_over() {
                    page.cut(last);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes what was found, if the records say the same.
    fn examine(&self, hit: &Hit, page: &mut Page) -> Result<(), ArchiveError> {
        let is_answer = |message: &Message| {
            message.redacted_at.is_none() && list::matches(self.request.filter, message)
        };
        if let Some(message) = self.reader.readable(hit.id)?.filter(is_answer) {
            page.push(message);
        }
        Ok(())
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
