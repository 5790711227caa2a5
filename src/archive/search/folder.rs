//! The folder of the index: opened, built anew, put in the place of the old one.
//!
//! The commit's payload says up to which message and event the index is complete, and by which
//! version of the terms it was made. What can not be opened, or was made by another version, is an
//! error here, and its folder is emptied by whoever asked.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentId;
use tantivy::indexer::NoMergePolicy;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError};

use super::schema::Schema;
use super::view::{Extents, View, Watermark};
use crate::model::{MessageId, Sequence};

/// Which terms a message has; a change of folding, words or fields is a new version.
const VERSION: u32 = 3;
/// What the writer gathers in memory before it writes a segment.
const WRITER_BYTES: usize = 48 << 20;
/// Text that waits for the writer, and how long it is waited for: while it writes a segment, it takes
/// none.
const WAITING_BYTES: u64 = 8 << 20;
const WRITER_TIMEOUT: Duration = Duration::from_secs(60);
const WRITER_PAUSE: Duration = Duration::from_millis(1);
/// Neighbours of one size that are merged.
const MERGED_AT_ONCE: usize = 8;
/// Documents of the smallest size; each next size is eight times as large.
const SMALLEST_SIZE: u32 = 256;
/// No larger segment is made.
const LARGEST_SEGMENT: u32 = 4_000_000;

/// An open index and its one writer.
pub(super) struct OpenIndex {
    pub writer: IndexWriter,
    pub watermark: Watermark,
    reader: IndexReader,
    extents: Extents,
    merging: Vec<SegmentId>,
    given: u64,
    taken: Arc<AtomicU64>,
}

impl OpenIndex {
    /// Opens the index of a folder, or makes an empty one.
    pub(super) fn open(folder: &Path, schema: &Schema) -> tantivy::Result<OpenIndex> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let directory = MmapDirectory::open(folder)?;
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
        let reader: IndexReader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let (extents, merging) = (Extents::new(), Vec::new());
        Ok(OpenIndex { writer, watermark, reader, extents, merging, given: 0, taken })
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

/// The first neighbours that are all of the smallest size of which there are enough.
fn mergeable(sizes: &[(SegmentId, u32)]) -> Option<Vec<SegmentId>> {
    let level = |docs: u32| (docs / SMALLEST_SIZE).max(1).ilog(8);
    (0..=level(LARGEST_SEGMENT)).find_map(|wanted| {
        let group = sizes.windows(MERGED_AT_ONCE).find(|group| {
            group.iter().all(|(_, docs)| level(*docs) <= wanted)
                && group.iter().map(|(_, docs)| *docs).sum::<u32>() <= LARGEST_SEGMENT
        })?;
        Some(group.iter().map(|(id, _)| *id).collect())
    })
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

    #[test]
    fn only_neighbours_of_one_size_are_merged() {
        let sizes = |docs: &[u32]| -> Vec<(SegmentId, u32)> {
            docs.iter().map(|docs| (SegmentId::generate_random(), *docs)).collect()
        };
        assert_eq!(mergeable(&sizes(&[9; 7])), None);
        let mut many = sizes(&[100_000]);
        many.extend(sizes(&[9; 8]));
        let ids: Vec<SegmentId> = many[1..].iter().map(|(id, _)| *id).collect();
        assert_eq!(mergeable(&many), Some(ids));
        assert_eq!(mergeable(&sizes(&[1_000_000; 8])), None);
    }
}
