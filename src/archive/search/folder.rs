//! The folder of the index: opened, built anew, put in the place of the old one.
//!
//! The commit's payload says up to which message and event the index is complete, and by which
//! version of the terms it was made. What can not be opened, or was made by another version, is an
//! error here, and its folder is emptied by whoever asked.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tantivy::index::SegmentId;
use tantivy::indexer::NoMergePolicy;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError};

use super::schema::Schema;
use super::unmapped::{Reads, Unmapped};
use super::view::{Extents, View, Watermark};
use crate::model::{MessageId, Sequence};

/// Which terms a message has; a change of folding, words or fields is a new version.
const VERSION: u32 = 3;
/// What the writer gathers in memory before it writes a segment.
const WRITER_BYTES: usize = 32 << 20;
/// Text that waits for the writer, and how long it is waited for: while it writes a segment, it takes
/// none.
const WAITING_BYTES: u64 = 8 << 20;
const WRITER_TIMEOUT: Duration = Duration::from_secs(60);
const WRITER_PAUSE: Duration = Duration::from_millis(1);
/// Neighbours that are merged together.
const MERGED_AT_ONCE: usize = 12;
/// A merge makes so many times of the largest that goes into it: then a message is written again no more
/// often than the index has grown by that much.
const GROWTH: u64 = 4;
/// Where so many segments have come to be all the same, beside the large ones, the cheapest neighbours are
/// merged.
const MAX_SEGMENTS: u64 = 100;
/// No larger segment is made: a merge has the words of all that it reads in memory.
const LARGEST_SEGMENT: u64 = 100_000;

/// An open index and its one writer.
pub(super) struct OpenIndex {
    pub writer: IndexWriter,
    pub watermark: Watermark,
    reader: IndexReader,
    folder: PathBuf,
    schema: Schema,
    extents: Extents,
    merging: Vec<SegmentId>,
    given: u64,
    taken: Arc<AtomicU64>,
}

impl OpenIndex {
    /// Opens the index of a folder, or makes an empty one.
    pub(super) fn open(folder: &Path, schema: &Schema) -> tantivy::Result<OpenIndex> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let directory = Unmapped::open(folder, Reads::Everything)?;
        let index = Index::open_or_create(directory, schema.fields.clone())?;
        let taken = Arc::default();
        Schema::register(&index, &taken);
        let metas = index.load_metas()?;
        let watermark = match &metas.payload {
            Some(payload) => read_payload(payload),
            None => metas.segments.is_empty().then_some(Watermark::START),
        };
        let watermark = watermark.ok_or_else(|| {
            TantivyError::InvalidArgument("it was made by another version".to_owned())
        })?;
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = mapped(folder, schema)?;
        let (folder, schema) = (folder.to_owned(), schema.clone());
        let (extents, merging) = (Extents::new(), Vec::new());
        Ok(OpenIndex {
            writer,
            watermark,
            reader,
            folder,
            schema,
            extents,
            merging,
            given: 0,
            taken,
        })
    }

    /// Maps the files anew, for the next view.
    pub(super) fn map_anew(&mut self) -> tantivy::Result<()> {
        self.reader = mapped(&self.folder, &self.schema)?;
        Ok(())
    }

    /// Adds a document with so many bytes of text, when those before it are nearly taken: the writer
    /// itself lets ten thousand wait for it, whatever their size.
    pub(super) fn add(&mut self, (document, bytes): (TantivyDocument, u64)) -> tantivy::Result<()> {
        let begin = Instant::now();
        while self.given.saturating_sub(self.taken.load(Ordering::Relaxed)) > WAITING_BYTES {
            // A writer that has ended takes nothing, and says so to whoever adds.
            if begin.elapsed() > WRITER_TIMEOUT {
                break;
            }
            thread::sleep(WRITER_PAUSE);
        }
        self.given += bytes;
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Makes what was added durable, complete up to `watermark`.
    pub(super) fn commit(&mut self, watermark: Watermark) -> tantivy::Result<()> {
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&payload(watermark));
        commit.commit()?;
        self.watermark = watermark;
        Ok(())
    }

    /// What is durable, to be searched.
    pub(super) fn view(&mut self) -> tantivy::Result<View> {
        self.reader.reload()?;
        let view = View::new(self.reader.searcher(), self.watermark, &mut self.extents)?;
        view.ok_or_else(|| TantivyError::InvalidArgument("its messages are not in order".into()))
    }

    /// The same for what is durable, where nobody looks yet; gives how many segments there are.
    pub(super) fn merge_more(&mut self) -> tantivy::Result<usize> {
        let view = self.view()?;
        self.merge(&view);
        Ok(view.sizes().len())
    }

    /// Whether neighbours are being merged.
    pub(super) fn is_merging(&self) -> bool {
        !self.merging.is_empty()
    }

    /// Begins to merge neighbours of one size, in the index's own threads. In any other order the
    /// segments would overlap.
    pub(super) fn merge(&mut self, view: &View) {
        let sizes = view.sizes();
        self.merging.retain(|id| sizes.iter().any(|(there, _)| there == id));
        if self.is_merging() {
            return;
        }
        let Some(group) = mergeable(&sizes) else { return };
        self.merging = group;
        // The future only tells the end, which the next view shows.
        drop(self.writer.merge(&self.merging));
    }
}

/// For searches.
fn mapped(folder: &Path, schema: &Schema) -> tantivy::Result<IndexReader> {
    let directory = Unmapped::open(folder, Reads::Words)?;
    let index = Index::open_or_create(directory, schema.fields.clone())?;
    index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()
}

/// The neighbours that cost least of those that are worth it.
fn mergeable(sizes: &[(SegmentId, u32)]) -> Option<Vec<SegmentId>> {
    let cost = |group: &[(SegmentId, u32)]| -> u64 {
        group.iter().map(|(_, docs)| u64::from(*docs)).sum()
    };
    let large = 4 * cost(sizes) / LARGEST_SEGMENT;
    let is_crowded = sizes.len() as u64 >= MAX_SEGMENTS + large;
    let is_worth_it = |group: &[(SegmentId, u32)]| {
        let largest = group.iter().map(|(_, docs)| u64::from(*docs)).max().unwrap_or_default();
        let total = cost(group);
        total <= LARGEST_SEGMENT && (is_crowded || total >= GROWTH * largest)
    };
    let groups = sizes.windows(MERGED_AT_ONCE).filter(|group| is_worth_it(group));
    let group = groups.min_by_key(|group| cost(group))?;
    Some(group.iter().map(|(id, _)| *id).collect())
}

/// Empties the place of an index.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts a finished index in the place of another. A crash between leaves none, which is built anew.
pub(super) fn replace(folder: &Path, finished: &Path) -> io::Result<()> {
    remove(folder)?;
    fs::rename(finished, folder)?;
    match folder.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn payload(watermark: Watermark) -> String {
    format!("{VERSION} {} {}", watermark.message, watermark.event.0)
}

fn read_payload(payload: &str) -> Option<Watermark> {
    let mut words = payload.split(' ');
    let version: u32 = words.next()?.parse().ok()?;
    let message = MessageId::parse(words.next()?)?;
    let event = Sequence(words.next()?.parse().ok()?);
    (version == VERSION && words.next().is_none()).then_some(Watermark { message, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_another_version_is_refused() {
        let watermark = Watermark { message: MessageId::from_u128(7), event: Sequence(9) };
        assert_eq!(read_payload(&payload(watermark)), Some(watermark));
        for wrong in ["", "2", "0 x y", "1 00000000000000000000000007 9", "2 7 9", "seq=7"] {
            assert_eq!(read_payload(wrong), None, "{wrong}");
        }
    }

    fn sizes(docs: &[u32]) -> Vec<(SegmentId, u32)> {
        docs.iter().map(|docs| (SegmentId::generate_random(), *docs)).collect()
    }

    #[test]
    fn only_neighbours_that_grow_together_are_merged() {
        assert_eq!(mergeable(&sizes(&[9; MERGED_AT_ONCE - 1])), None);
        let mut many = sizes(&[100_000]);
        many.extend(sizes(&[9; MERGED_AT_ONCE - 1]));
        assert_eq!(mergeable(&many), None, "the large one would be written again for little");
        many.extend(sizes(&[9]));
        let ids: Vec<SegmentId> = many[1..].iter().map(|(id, _)| *id).collect();
        assert_eq!(mergeable(&many), Some(ids));
        assert_eq!(mergeable(&sizes(&[30_000; MERGED_AT_ONCE])), None);
    }

    /// Documents that are written, with all merges, and the most segments at one time.
    fn grow(flushed: impl Iterator<Item = u32>) -> (u64, usize) {
        let (mut index, mut written, mut most) = (Vec::new(), 0, 0);
        for docs in flushed {
            index.push((SegmentId::generate_random(), docs));
            written += u64::from(docs);
            most = most.max(index.len());
            if let Some(group) = mergeable(&index) {
                let first = index.iter().position(|(id, _)| *id == group[0]).unwrap();
                let merged = index.splice(first..first + group.len(), []).map(|(_, docs)| docs);
                let merged = merged.sum();
                index.insert(first, (SegmentId::generate_random(), merged));
                written += u64::from(merged);
            }
        }
        (written, most)
    }

    #[test]
    fn a_message_is_written_again_a_few_times_only() {
        let total = 1_000_000;
        let (written, most) = grow(std::iter::repeat_n(3_400, total / 3_400));
        assert!(written < 3 * total as u64 && most < 50, "{written} {most}");
        // A writer that is interrupted leaves small ones between large ones.
        let (written, most) = grow((0..300_u32).map(|i| if i % 2 == 0 { 3_400 } else { 7 }));
        assert!(written < 4 * 150 * 3_407 && most < 40, "{written} {most}");
        // One message a second, for a day.
        let (written, most) = grow(std::iter::repeat_n(1, 86_400));
        assert!(written < 8 * 86_400 && most < 80, "{written} {most}");
    }

    #[test]
    fn there_are_never_too_many_segments() {
        // Each is so much larger than those behind it that none would be worth it.
        let large = |i: u32| if i.is_multiple_of(11) { 30_000 } else { 1 };
        let documents: u64 = (0..2_000).map(|i| u64::from(large(i))).sum();
        let most = grow((0..2_000).map(large)).1 as u64;
        assert!(most <= MAX_SEGMENTS + 4 * documents / LARGEST_SEGMENT, "{most}");
    }
}
