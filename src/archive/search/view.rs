//! The index at one moment, read in the order of acceptance.
//!
//! Its segments follow each other without overlap, and so do the messages in each: the writer feeds
//! them in order, and only neighbours are merged. So a page of the newest is read from the end in
//! windows, from its cursor on: what it costs depends on how many it must look at, not on how many
//! there are or how deep it lies.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use tantivy::columnar::Column;
use tantivy::index::SegmentId;
use tantivy::query::{Bm25StatisticsProvider, EnableScoring, Query, Weight};
use tantivy::schema::Field;
use tantivy::{DocId, DocSet, Searcher, SegmentReader, TERMINATED, Term};

use super::patience::Patience;
use super::predicate::SEQUENCE;
use super::schema::{Schema, whole};
use crate::model::{MessageId, Sequence};

/// Documents in the first window.
const FIRST_WINDOW: DocId = 4_096;
/// A scorer goes on to what it finds next, over the end of its window: where there is little, one large
/// window costs less than some small ones.
const LARGEST_WINDOW: DocId = 1 << 17;
/// Found messages after which no more are ranked together: a word that everybody writes says little
/// about any of them.
pub(super) const MAX_RANKED: usize = 20_000;

/// Up to where the index is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub message: MessageId,
    pub event: Sequence,
}

impl Watermark {
    pub(super) const START: Watermark = Watermark { message: MessageId::MIN, event: Sequence(0) };
}

/// A message that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub sequence: u64,
    pub id: MessageId,
    pub score: f32,
}

/// What was found, and the last message that was looked at where that was not the end.
pub(super) struct Looked {
    pub hits: Vec<Hit>,
    pub stopped_at: Option<Hit>,
}

impl Looked {
    fn all(hits: Vec<Hit>) -> Looked {
        Looked { hits, stopped_at: None }
    }
}

struct Segment {
    reader: SegmentReader,
    id: SegmentId,
    sequence: Column<u64>,
    id_high: Column<u64>,
    id_low: Column<u64>,
    first: u64,
    last: u64,
}

/// Segments in order, with what is known of those seen before.
pub(super) struct View {
    pub searcher: Searcher,
    pub watermark: Watermark,
    segments: Vec<Segment>,
}

/// The first and last number of a segment, which never change.
pub(super) type Extents = HashMap<SegmentId, (u64, u64)>;

impl View {
    /// `None` where the segments are not in order: such an index is built anew.
    pub(super) fn new(
        searcher: Searcher,
        watermark: Watermark,
        known: &mut Extents,
    ) -> tantivy::Result<Option<View>> {
        let mut segments = Vec::new();
        for reader in searcher.segment_readers() {
            if reader.max_doc() == 0 {
                continue;
            }
            let fast = reader.fast_fields();
            let sequence = fast.u64(SEQUENCE)?;
            let id = reader.segment_id();
            let extent = match known.get(&id) {
                Some(extent) => Some(*extent),
                None => extent(&sequence, reader.max_doc()),
            };
            let Some((first, last)) = extent else { return Ok(None) };
            let (id_high, id_low) = (fast.u64("id_high")?, fast.u64("id_low")?);
            let reader = reader.clone();
            segments.push(Segment { reader, id, sequence, id_high, id_low, first, last });
        }
        segments.sort_by_key(|segment| segment.first);
        *known = segments.iter().map(|s| (s.id, (s.first, s.last))).collect();
        let in_order = segments.windows(2).all(|pair| pair[0].last < pair[1].first);
        Ok(in_order.then_some(View { searcher, watermark, segments }))
    }

    /// Opens what is known of each word's field, so that no question is the first that has to.
    pub(super) fn open_words(&self, schema: &Schema) -> tantivy::Result<()> {
        for segment in &self.segments {
            for field in schema.words() {
                segment.reader.inverted_index(field)?;
            }
        }
        Ok(())
    }

    /// The segments in order, with how many documents each has.
    pub(super) fn sizes(&self) -> Vec<(SegmentId, u32)> {
        self.segments.iter().map(|segment| (segment.id, segment.reader.max_doc())).collect()
    }

    /// The newest with numbers in `span`, newest first.
    pub(super) fn newest(
        &self,
        query: &dyn Query,
        span: &Range<u64>,
        limit: usize,
        patience: Patience,
    ) -> tantivy::Result<Looked> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        let (mut hits, mut size) = (Vec::new(), FIRST_WINDOW);
        for segment in self.segments.iter().rev() {
            let docs = segment.docs(span);
            let mut end = docs.end;
            while docs.start < end {
                if hits.len() >= limit {
                    return Ok(Looked::all(hits));
                }
                let start = docs.start.max(end.saturating_sub(size));
                let mut found = Vec::new();
                segment.walk(&*weight, start..end, |doc| {
                    found.push(doc);
                    true
                })?;
                let room = limit - hits.len();
                size = next_window(end - start, found.len(), room);
                hits.extend(found.into_iter().rev().take(room).map(|doc| segment.hit(doc, 0.0)));
                if hits.len() < limit && patience.is_over() {
                    return Ok(Looked { hits, stopped_at: Some(segment.hit(start, 0.0)) });
                }
                end = start;
            }
        }
        Ok(Looked::all(hits))
    }

    /// The oldest with numbers in `span`, oldest first.
    pub(super) fn oldest(
        &self,
        query: &dyn Query,
        span: &Range<u64>,
        limit: usize,
        patience: Patience,
    ) -> tantivy::Result<Looked> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        let mut hits = Vec::new();
        for segment in &self.segments {
            let docs = segment.docs(span);
            segment.walk(&*weight, docs.clone(), |doc| {
                hits.push(segment.hit(doc, 0.0));
                hits.len() < limit
            })?;
            if hits.len() >= limit {
                break;
            }
            if !docs.is_empty() && patience.is_over() {
                return Ok(Looked { hits, stopped_at: Some(segment.hit(docs.end - 1, 0.0)) });
            }
        }
        Ok(Looked::all(hits))
    }

    /// The best with numbers in `span` that come behind `after`: the highest score first, and the
    /// newest of the same score. Where very many are found, or it takes long, the newest of them are
    /// ranked, and the number of the first that was looked at is given with them.
    pub(super) fn best(
        &self,
        query: &dyn Query,
        span: &Range<u64>,
        after: Option<(u32, u64)>,
        limit: usize,
        (most, patience): (usize, Patience),
    ) -> tantivy::Result<(Vec<Hit>, u64)> {
        let statistics = Steady(&self.searcher);
        let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &self.searcher);
        let weight = query.weight(scoring)?;
        let mut heap: BinaryHeap<Reverse<(u32, u64, usize, DocId)>> = BinaryHeap::new();
        let (mut ranked, mut floor, mut size) = (0, span.start, FIRST_WINDOW);
        'segments: for (place, segment) in self.segments.iter().enumerate().rev() {
            let docs = segment.docs(span);
            let mut end = docs.end;
            while docs.start < end {
                let start = docs.start.max(end.saturating_sub(size));
                let before = ranked;
                segment.score(&*weight, start..end, |doc, score| {
                    ranked += 1;
                    let key = (score.max(0.0).to_bits(), segment.number(doc));
                    if after.is_none_or(|after| key < after) {
                        heap.push(Reverse((key.0, key.1, place, doc)));
                        if heap.len() > limit {
                            heap.pop();
                        }
                    }
                })?;
                let room = most.saturating_sub(ranked);
                size = next_window(end - start, ranked - before, room);
                if room == 0 || patience.is_over() {
                    floor = segment.number(start).max(span.start);
                    break 'segments;
                }
                end = start;
            }
        }
        let older = span.start..floor;
        if self.segments.iter().all(|segment| segment.docs(&older).is_empty()) {
            floor = span.start;
        }
        let found = heap.into_sorted_vec().into_iter();
        let hits = found.map(|Reverse((score, _, place, doc))| {
            self.segments[place].hit(doc, f32::from_bits(score))
        });
        Ok((hits.collect(), floor))
    }
}

/// How common words are, in steps of four times: what is ranked on one page keeps its score on the next,
/// though messages have come in between, so that none comes twice.
struct Steady<'a>(&'a Searcher);

impl Steady<'_> {
    fn step(count: u64) -> u64 {
        count.checked_ilog(4).map_or(0, |steps| 4_u64.saturating_pow(steps))
    }
}

impl Bm25StatisticsProvider for Steady<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        Ok(Self::step(self.0.total_num_tokens(field)?))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(Self::step(self.0.total_num_docs()?))
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        Ok(Self::step(Bm25StatisticsProvider::doc_freq(self.0, term)?))
    }
}

impl Segment {
    /// The documents with numbers in `span`: they ascend.
    fn docs(&self, span: &Range<u64>) -> Range<DocId> {
        let at = |number: u64| -> DocId {
            let (mut low, mut high) = (0, self.reader.max_doc());
            while low < high {
                let middle = low + (high - low) / 2;
                match self.number(middle) < number {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            low
        };
        match self.last < span.start || self.first >= span.end {
            true => 0..0,
            false => at(span.start)..at(span.end),
        }
    }

    fn walk(
        &self,
        weight: &dyn Weight,
        docs: Range<DocId>,
        mut each: impl FnMut(DocId) -> bool,
    ) -> tantivy::Result<()> {
        if docs.is_empty() {
            return Ok(());
        }
        let mut scorer = weight.scorer(&self.reader, 1.0)?;
        let mut doc = scorer.doc();
        if doc < docs.start {
            doc = scorer.seek(docs.start);
        }
        while doc < docs.end && doc != TERMINATED {
            if self.is_there(doc) && !each(doc) {
                break;
            }
            doc = scorer.advance();
        }
        Ok(())
    }

    fn score(
        &self,
        weight: &dyn Weight,
        docs: Range<DocId>,
        mut each: impl FnMut(DocId, f32),
    ) -> tantivy::Result<()> {
        let mut scorer = weight.scorer(&self.reader, 1.0)?;
        let mut doc = scorer.doc();
        if doc < docs.start {
            doc = scorer.seek(docs.start);
        }
        while doc < docs.end && doc != TERMINATED {
            if self.is_there(doc) {
                each(doc, scorer.score());
            }
            doc = scorer.advance();
        }
        Ok(())
    }

    fn is_there(&self, doc: DocId) -> bool {
        self.reader.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
    }

    fn number(&self, doc: DocId) -> u64 {
        self.sequence.first(doc).unwrap_or(0)
    }

    fn hit(&self, doc: DocId, score: f32) -> Hit {
        let half = |column: &Column<u64>| column.first(doc).unwrap_or(0);
        let id = whole(half(&self.id_high), half(&self.id_low));
        Hit { sequence: self.number(doc), id, score }
    }
}

/// How many documents to look at next, when so many were found in the last window and so many more are
/// wanted.
fn next_window(last: DocId, found: usize, wanted: usize) -> DocId {
    if found == 0 {
        return LARGEST_WINDOW;
    }
    let enough = u64::from(last).saturating_mul(wanted as u64) / found as u64;
    let enough = DocId::try_from(enough.saturating_add(enough / 4)).unwrap_or(LARGEST_WINDOW);
    enough.clamp(FIRST_WINDOW, LARGEST_WINDOW)
}

/// The first and last number; `None` where they do not ascend.
fn extent(sequence: &Column<u64>, docs: DocId) -> Option<(u64, u64)> {
    let (mut first, mut last) = (None, 0);
    for doc in 0..docs {
        let number = sequence.first(doc)?;
        if number <= last {
            return None;
        }
        first = first.or(Some(number));
        last = number;
    }
    first.map(|first| (first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_more_messages_make_no_word_more_common() {
        assert_eq!([0, 1, 3, 4, 15, 16, 63].map(Steady::step), [0, 1, 1, 4, 4, 16, 16]);
        assert_eq!([120, 140].map(Steady::step), [64, 64]);
        assert!(Steady::step(u64::MAX) > u64::MAX / 4);
    }

    #[test]
    fn windows_are_as_large_as_what_is_wanted_needs() {
        let check = |last, found, wanted, expected| {
            assert_eq!(next_window(last, found, wanted), expected, "{last} {found} {wanted}");
        };
        check(4_096, 0, 50, LARGEST_WINDOW);
        check(4_096, 1, usize::MAX, LARGEST_WINDOW);
        check(4_096, 4_096, 0, FIRST_WINDOW);
        check(4_096, 4_096, 50, FIRST_WINDOW);
        check(4_096, 10, 50, 25_600);
    }
}
