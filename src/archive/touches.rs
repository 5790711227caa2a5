//! How mails were changed on their way out: with what settings, and link by link.
//!
//! Relayed bytes are stored nowhere. They can be made again because the settings that were in force
//! have a number here, and each recipient of a touched mail a row that names it. Settings are only ever
//! added.

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::stored::{Corrupt, Record};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError};
use crate::model::{MessageId, Outcome, SkipReason, Touch, TouchReport, Untouched};

/// Message and recipient to `StoredTouch`; only judgements of touched mails write it.
const TOUCHES: TableDefinition<(u128, u16), &[u8]> = TableDefinition::new("touches");
/// Number to `StoredRendering`.
const RENDERINGS: TableDefinition<u32, &[u8]> = TableDefinition::new("renderings");

/// Settings by which mails are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The rules of the program itself: it counts on when they change.
    pub rules: u16,
    /// The key of the tokens.
    pub key: u8,
    pub public_url: String,
    /// Links that are left alone.
    pub exclude: Vec<String>,
    /// A link that no person sees.
    pub honeypot: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredRendering {
    rules: u16,
    key: u8,
    public_url: String,
    exclude: Vec<String>,
    honeypot: bool,
}

impl Record for StoredRendering {
    const KIND: &'static str = "rendering";
}

impl StoredRendering {
    fn new(rendering: Rendering) -> StoredRendering {
        let Rendering { rules, key, public_url, exclude, honeypot } = rendering;
        StoredRendering { rules, key, public_url, exclude, honeypot }
    }

    fn rendering(self) -> Rendering {
        let StoredRendering { rules, key, public_url, exclude, honeypot } = self;
        Rendering { rules, key, public_url, exclude, honeypot }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredTouch {
    settings: u32,
    signatures: Vec<u8>,
    links: u32,
    rewritten: u32,
    has_pixel: bool,
    skipped: Vec<(String, u32)>,
    untouched: Option<String>,
}

impl Record for StoredTouch {
    const KIND: &'static str = "touch";
}

impl StoredTouch {
    fn new(touch: &Touch) -> StoredTouch {
        let report = &touch.report;
        let skipped = report.skipped.iter();
        StoredTouch {
            settings: touch.settings,
            signatures: touch.signatures.to_vec(),
            links: report.links,
            rewritten: report.rewritten,
            has_pixel: report.pixel,
            skipped: skipped.map(|(why, count)| (why.as_str().to_owned(), *count)).collect(),
            untouched: report.untouched_because.map(|why| why.as_str().to_owned()),
        }
    }

    pub(super) fn touch(self) -> Result<Touch, Corrupt> {
        let no_word = |word: &str| Corrupt::new(Self::KIND, format!("{word:?} is no reason"));
        let skipped = self.skipped.into_iter().map(|(word, count)| {
            SkipReason::parse(&word).map(|why| (why, count)).ok_or_else(|| no_word(&word))
        });
        let untouched =
            self.untouched.map(|word| Untouched::parse(&word).ok_or_else(|| no_word(&word)));
        Ok(Touch {
            settings: self.settings,
            signatures: Bytes::from(self.signatures),
            report: TouchReport {
                links: self.links,
                rewritten: self.rewritten,
                pixel: self.has_pixel,
                skipped: skipped.collect::<Result<_, _>>()?,
                untouched_because: untouched.transpose()?,
            },
        })
    }
}

/// Notes how a mail was changed for the recipients that may have it now; where it was not, nothing of an
/// earlier attempt stays, which would tell of other bytes.
pub(super) fn remember(
    batch: &Batch<'_>,
    message: MessageId,
    outcomes: &[(u16, Outcome)],
    touch: Option<&Touch>,
) -> Result<(), Failure> {
    let may_have_it = |outcome: &Outcome| match outcome {
        Outcome::Sent { .. } | Outcome::Unknown { .. } => true,
        Outcome::Rejected { .. } | Outcome::Temporary { .. } | Outcome::Permanent { .. } => false,
    };
    let mut table = batch.transaction.open_table(TOUCHES)?;
    let bytes = touch.map(|touch| StoredTouch::new(touch).encode());
    for (recipient, _) in outcomes.iter().filter(|(_, outcome)| may_have_it(outcome)) {
        let key = (message.as_u128(), *recipient);
        match &bytes {
            Some(bytes) => drop(table.insert(key, &bytes[..])?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}

impl Archive {
    /// The number of these settings; they get the next one when they were never used.
    pub async fn rendering_number(&self, rendering: Rendering) -> Result<u32, ArchiveError> {
        let bytes = StoredRendering::new(rendering).encode();
        let find = move |batch: &mut Batch<'_>| {
            let mut table = batch.transaction.open_table(RENDERINGS)?;
            let mut last = 0;
            for row in table.iter()?.rev() {
                let (number, known) = row?;
                if known.value() == bytes {
                    return Ok(number.value());
                }
                last = last.max(number.value());
            }
            let number = last.saturating_add(1);
            table.insert(number, &bytes[..])?;
            Ok(number)
        };
        self.write(Urgency::Now, find).await
    }

    /// The settings with this number.
    pub fn rendering(&self, number: u32) -> Result<Option<Rendering>, ArchiveError> {
        let look = || -> Result<Option<Rendering>, Failure> {
            let table = match self.inner.database.begin_read()?.open_table(RENDERINGS) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let Some(bytes) = table.get(number)? else { return Ok(None) };
            Ok(Some(StoredRendering::decode(bytes.value())?.rendering()))
        };
        Ok(look()?)
    }

    /// How a mail was changed for its recipients, as far as it was sent.
    pub fn touches(&self, id: MessageId) -> Result<Vec<(u16, Touch)>, ArchiveError> {
        let look = || -> Result<Vec<(u16, Touch)>, Failure> {
            let table = match self.inner.database.begin_read()?.open_table(TOUCHES) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let rows = table.range((id.as_u128(), 0)..=(id.as_u128(), u16::MAX))?;
            let read = rows.map(|row| {
                let (key, bytes) = row?;
                Ok((key.value().1, StoredTouch::decode(bytes.value())?.touch()?))
            });
            read.collect()
        };
        Ok(look()?)
    }

    /// How a mail was changed for a recipient; `None` when nothing was, or it was not sent yet.
    pub fn touch(&self, id: MessageId, recipient: u16) -> Result<Option<Touch>, ArchiveError> {
        let look = || -> Result<Option<Touch>, Failure> {
            let table = match self.inner.database.begin_read()?.open_table(TOUCHES) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let Some(bytes) = table.get((id.as_u128(), recipient))? else { return Ok(None) };
            Ok(Some(StoredTouch::decode(bytes.value())?.touch()?))
        };
        Ok(look()?)
    }
}
