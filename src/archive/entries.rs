//! What happened elsewhere: calls and notes that somebody added to a thread.
//!
//! Entries are only ever added. Each belongs to a reference, and may name the counterpart that it was
//! with; it is found by both.

use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::stored::{Corrupt, Record};
use super::tables::{ENTRIES, ENTRIES_OF};
use super::writer::{Batch, Failure};
use super::{Archive, ArchiveError};
use crate::model::{AppName, Reference, Timestamp};

/// Entries of one reference or counterpart: more is a mistake of whoever writes them.
pub const MAX_ENTRIES_OF_ONE: usize = 1_000;

/// An entry to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThreadEntry {
    pub reference: Reference,
    /// Whom it was with: a mail address or a number.
    pub address: Option<String>,
    /// Who else may see it: those who may see this app. `None`: those who may see all apps.
    pub app: Option<AppName>,
    /// `call`, `note`, or another word.
    pub kind: String,
    pub text: String,
    /// When it happened.
    pub at: Timestamp,
    /// Who in the company it was, in words.
    pub by: String,
    /// Who added it: `user anna`, `token 01J…`.
    pub added_by: String,
    pub added_at: Timestamp,
}

/// An entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEntry {
    /// Grows with time; no two share it.
    pub id: u64,
    pub what: NewThreadEntry,
}

/// By what entries are found.
#[derive(Clone, Copy, Debug)]
pub enum EntriesOf<'a> {
    Reference(&'a Reference),
    Address(&'a str),
}

impl EntriesOf<'_> {
    fn key(self) -> String {
        match self {
            EntriesOf::Reference(reference) => format!("r{}", reference.canonical()),
            EntriesOf::Address(address) => format!("a{}", address.to_lowercase()),
        }
    }
}

/// An entry as it is stored; its key is its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredThreadEntry {
    reference: String,
    address: Option<String>,
    app: Option<String>,
    kind: String,
    text: String,
    at: i64,
    by: String,
    added_by: String,
    added_at: i64,
}

impl Record for StoredThreadEntry {
    const KIND: &'static str = "entry";
}

impl StoredThreadEntry {
    fn new(what: &NewThreadEntry) -> StoredThreadEntry {
        StoredThreadEntry {
            reference: what.reference.to_string(),
            address: what.address.clone(),
            app: what.app.as_ref().map(ToString::to_string),
            kind: what.kind.clone(),
            text: what.text.clone(),
            at: what.at.as_millis(),
            by: what.by.clone(),
            added_by: what.added_by.clone(),
            added_at: what.added_at.as_millis(),
        }
    }

    pub(super) fn entry(self, id: u64) -> Result<ThreadEntry, Corrupt> {
        let wrong = |text: &str| Corrupt::new("entry", text);
        let app = self.app.as_deref().map(|app| AppName::parse(app).ok_or_else(|| wrong(app)));
        let reference = Reference::parse(&self.reference).ok_or_else(|| wrong(&self.reference))?;
        let what = NewThreadEntry {
            reference,
            address: self.address,
            app: app.transpose()?,
            kind: self.kind,
            text: self.text,
            at: Timestamp::from_millis(self.at),
            by: self.by,
            added_by: self.added_by,
            added_at: Timestamp::from_millis(self.added_at),
        };
        Ok(ThreadEntry { id, what })
    }
}

impl Archive {
    /// Adds an entry; `None` when its reference or counterpart has as many as one may have.
    pub async fn add_entry(
        &self,
        what: NewThreadEntry,
    ) -> Result<Option<ThreadEntry>, ArchiveError> {
        self.write_recorded(move |batch| add(batch, what)).await
    }

    /// Entries in the order in which they happened; all of them, which are few.
    pub fn entries(&self, of: EntriesOf<'_>) -> Result<Vec<ThreadEntry>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Vec<ThreadEntry>, Failure> {
            let (key, entries) = (of.key(), snapshot.open_table(ENTRIES)?);
            let mut found = Vec::new();
            for row in snapshot.open_table(ENTRIES_OF)?.range((&*key, 0)..=(&*key, u64::MAX))? {
                let id = row?.0.value().1;
                let Some(bytes) = entries.get(id)? else { continue };
                match StoredThreadEntry::decode(bytes.value()).and_then(|entry| entry.entry(id)) {
                    Ok(entry) => found.push(entry),
                    // One that is damaged does not hide the others.
                    Err(error) => tracing::error!(id, %error, "an entry can not be read"),
                }
            }
            found.sort_by_key(|entry| (entry.what.at, entry.id));
            Ok(found)
        };
        Ok(read(&self.snapshot()?)?)
    }
}

fn add(batch: &mut Batch<'_>, what: NewThreadEntry) -> Result<Option<ThreadEntry>, Failure> {
    let mut entries = batch.transaction.open_table(ENTRIES)?;
    let mut of = batch.transaction.open_table(ENTRIES_OF)?;
    let mut keys = vec![EntriesOf::Reference(&what.reference).key()];
    keys.extend(what.address.as_deref().map(|address| EntriesOf::Address(address).key()));
    for key in &keys {
        if of.range((&**key, 0)..=(&**key, u64::MAX))?.count() >= MAX_ENTRIES_OF_ONE {
            return Ok(None);
        }
    }
    let id = entries.last()?.map_or(0, |(id, _)| id.value()).saturating_add(1);
    entries.insert(id, &StoredThreadEntry::new(&what).encode()[..])?;
    for key in &keys {
        of.insert((&**key, id), ())?;
    }
    Ok(Some(ThreadEntry { id, what }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{at, settings};

    #[tokio::test]
    async fn entries_are_found_by_reference_and_counterpart_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let entry = |reference: &str, address: Option<&str>, ms: i64| NewThreadEntry {
            reference: Reference::parse(reference).unwrap(),
            address: address.map(str::to_owned),
            app: None,
            kind: "call".into(),
            text: format!("at {ms}"),
            at: at(ms),
            by: "Anna".into(),
            added_by: "user anna".into(),
            added_at: at(99),
        };
        archive.add_entry(entry("INV-1", Some("Kim@example.org"), 5)).await.unwrap().unwrap();
        archive.add_entry(entry("inv1", None, 3)).await.unwrap().unwrap();
        archive.add_entry(entry("INV-12", Some("kim@example.org"), 1)).await.unwrap().unwrap();
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let texts = |of: EntriesOf<'_>| -> Vec<String> {
            archive.entries(of).unwrap().into_iter().map(|entry| entry.what.text).collect()
        };
        let reference = |text: &str| Reference::parse(text).unwrap();
        assert!(texts(EntriesOf::Reference(&reference("INV-2"))).is_empty());
        assert!(texts(EntriesOf::Address("kim@example.or")).is_empty());
        assert_eq!(texts(EntriesOf::Reference(&reference("INV-1"))), ["at 3", "at 5"]);
        assert_eq!(texts(EntriesOf::Address("kim@EXAMPLE.org")), ["at 1", "at 5"]);
    }

    #[tokio::test]
    async fn a_thread_does_not_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let entry = NewThreadEntry {
            reference: Reference::parse("INV-1").unwrap(),
            address: None,
            app: None,
            kind: "note".into(),
            text: "x".into(),
            at: at(1),
            by: "Anna".into(),
            added_by: "user anna".into(),
            added_at: at(1),
        };
        let mut adding = tokio::task::JoinSet::new();
        for _ in 0..MAX_ENTRIES_OF_ONE {
            let (archive, entry) = (archive.clone(), entry.clone());
            adding.spawn(async move { archive.add_entry(entry).await.unwrap().is_some() });
        }
        assert!(adding.join_all().await.into_iter().all(|added| added));
        assert_eq!(archive.add_entry(entry).await.unwrap(), None);
    }
}
