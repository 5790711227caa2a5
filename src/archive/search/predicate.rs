//! A query that asks a function about the number of each message: for what is not in the index.

use std::fmt;
use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::query::{EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::{DocId, DocSet, Score, SegmentReader, TERMINATED};

type Ask = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// The fast field with the number.
pub(super) const SEQUENCE: &str = "sequence";

#[derive(Clone)]
pub(super) struct Predicate(Ask);

impl Predicate {
    pub(super) fn new(ask: Ask) -> Predicate {
        Predicate(ask)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

impl Query for Predicate {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Predicate {
    fn scorer(&self, reader: &SegmentReader, _: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let numbers = reader.fast_fields().u64(SEQUENCE)?;
        let mut found = Asked { ask: self.0.clone(), numbers, doc: 0, end: reader.max_doc() };
        found.settle();
        Ok(Box::new(found))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("Predicate", 1.0))
    }
}

struct Asked {
    ask: Ask,
    numbers: Column<u64>,
    doc: DocId,
    end: DocId,
}

impl Asked {
    /// Goes on from `doc` to the next one that the function says yes to.
    fn settle(&mut self) -> DocId {
        while self.doc < self.end {
            if self.numbers.first(self.doc).is_some_and(|number| (self.ask)(number)) {
                return self.doc;
            }
            self.doc += 1;
        }
        self.doc = TERMINATED;
        self.doc
    }
}

impl DocSet for Asked {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        self.doc += 1;
        self.settle()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc < target {
            self.doc = target;
            return self.settle();
        }
        self.doc
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.end
    }
}

impl Scorer for Asked {
    fn score(&mut self) -> Score {
        0.0
    }
}
