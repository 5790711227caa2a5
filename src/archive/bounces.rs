//! Who tells the sender by mail that a message came back: the report that came by mail, which is passed on, or
//! one of ours, where a provider said it over HTTP.
//!
//! Both may come, in any order. Whoever is first writes it down in the transaction that makes it durable, and
//! the other one stays here; so the sender hears of a bounce once, whenever the daemon ends. What is written
//! down holds for the attempts that were made until then: what is sent again may come back again.
//! Not here: who wants to hear it (`policy`), and the words (`flow`, `intake`).

use redb::{ReadableTable, TableDefinition};

use super::accept::Once;
use super::standing::{Entry, Standing};
use super::writer::{Batch, Failure};
use super::{Acceptance, Accepted, Archive, ArchiveError, RepeatKey};
use crate::model::{MessageId, RecipientState};

/// Message and recipient to how many attempts had been made, and whether it is ours to tell.
pub(super) const BOUNCES: TableDefinition<(u128, u16), (u32, bool)> =
    TableDefinition::new("bounces");

/// What the event of a bounce ends with that the sender is told of by us.
pub const SENDER_IS_TOLD: &str = "; the sender is told by mail";

/// Whom a report by mail that is passed on says to have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedBounce {
    /// The message that came back.
    pub message: MessageId,
    pub recipients: Vec<u16>,
    /// It says something else too, so that it goes on in any case.
    pub has_other_news: bool,
}

impl Archive {
    /// Makes a report by mail durable, once, and with it the copy for the sender that it is about, unless he
    /// hears all that it says from us.
    pub async fn accept_report(
        &self,
        report: Acceptance,
        copy: Option<Acceptance>,
        bounce: Option<PassedBounce>,
        key: RepeatKey,
    ) -> Result<Accepted, ArchiveError> {
        let bounce = bounce.filter(|_| copy.is_some());
        let both = std::iter::once(report).chain(copy).collect();
        self.accept_once(both, Once::Report(key, bounce)).await
    }
}

/// Notes that a bounce is ours to tell; false where a report by mail tells it.
pub(super) fn owe(
    batch: &Batch<'_>,
    id: MessageId,
    recipient: u16,
    entry: &Entry,
) -> Result<bool, Failure> {
    let mut table = batch.transaction.open_table(BOUNCES)?;
    let (key, attempts) = ((id.as_u128(), recipient), attempts(entry));
    let known = table.get(key)?.map(|row| row.value());
    if known.is_some_and(|(of, _)| of == attempts) {
        return Ok(false);
    }
    table.insert(key, (attempts, true))?;
    Ok(true)
}

/// Notes whom a report that is passed on tells of; false where all of it is ours to tell. In doubt it goes on.
pub(super) fn pass_on(batch: &Batch<'_>, bounce: &PassedBounce) -> Result<bool, Failure> {
    let standing = match Standing::load(batch, bounce.message) {
        Ok(standing) => standing,
        Err(Failure::Corrupt(error)) => {
            tracing::error!(id = %bounce.message, %error, "a message that bounced can not be read");
            None
        }
        Err(failure @ Failure::Storage(_)) => return Err(failure),
    };
    let mut table = batch.transaction.open_table(BOUNCES)?;
    let mut is_news = bounce.has_other_news;
    for recipient in &bounce.recipients {
        let entries = standing.as_ref().map(|standing| &standing.entries[..]).unwrap_or_default();
        let Some(entry) = entries.get(usize::from(*recipient)) else {
            is_news = true;
            continue;
        };
        let (key, attempts) = ((bounce.message.as_u128(), *recipient), attempts(entry));
        let known = table.get(key)?.map(|row| row.value());
        if known == Some((attempts, true)) {
            continue;
        }
        is_news = true;
        table.insert(key, (attempts, false))?;
    }
    Ok(is_news)
}

/// With the one that is under way: its report may come before its judgement.
fn attempts(entry: &Entry) -> u32 {
    let is_claimed = matches!(entry.progress.state, RecipientState::Claimed { .. });
    entry.progress.attempts.saturating_add(u32::from(is_claimed))
}
