//! Questions to the numbers that the ledger keeps: how many messages of each value stand where, and how
//! many an app submitted.
//!
//! Sums lie by value, so an answer reads them one after the other and holds its own page and nothing
//! else. Filters that need more than app, channel, direction and whole days are not answered here.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableDatabase, TableError};

use super::ledger::{FACTS, Ledger, StoredFact, TOTALS};
use super::stored::Record;
use super::tally::{DAY_MS, Dimension, Ranking, Tallies, Tally, day, day_word, way};
use super::writer::Failure;
use super::{Archive, ArchiveError, Filter};
use crate::model::{AppName, Channel, Direction, MessageId, Timestamp};

impl Archive {
    /// The numbers by one dimension, and whether everything that was durable when the question came is
    /// counted. `None`: this filter needs a look at each message.
    pub fn tallies(
        &self,
        filter: &Filter,
        ranking: Ranking,
    ) -> Result<Option<(Tallies, bool)>, ArchiveError> {
        if !counts_for(filter) {
            return Ok(None);
        }
        let is_complete = self.catch_up()?;
        Ok(Some((self.inner.ledger.tallies(filter, ranking)?, is_complete)))
    }

    /// How many messages of an app were submitted in a period, from the begin on where there is no
    /// `since`. `None`: the numbers are being made anew.
    pub(super) fn submissions(
        &self,
        app: &AppName,
        since: Option<Timestamp>,
        until: Timestamp,
    ) -> Result<Option<u64>, ArchiveError> {
        match self.catch_up()? {
            true => Ok(Some(self.inner.ledger.submissions(app, since, until)?)),
            false => Ok(None),
        }
    }
}

/// Whether the ledger can answer for this filter; other filters need a look at each message.
fn counts_for(filter: &Filter) -> bool {
    // All fields by name: whoever adds one decides here.
    let Filter {
        channel: _,
        direction: _,
        apps: _,
        app: _,
        since,
        until,
        status,
        sender,
        recipient,
        reference,
        tag,
        attachment,
    } = filter;
    let is_day = |at: &Option<Timestamp>| at.is_none_or(|at| at.as_millis() % DAY_MS == 0);
    let texts = [sender, recipient, attachment];
    is_day(since)
        && is_day(until)
        && status.is_none()
        && reference.is_none()
        && tag.is_none()
        && texts.into_iter().all(Option::is_none)
}

impl Ledger {
    /// Values come one after the other, so only those of the page are held, and the sum of the one that
    /// is read. Days come once for each app, but there are not many of them.
    fn tallies(&self, filter: &Filter, mut ranking: Ranking) -> Result<Tallies, Failure> {
        let by = ranking.by();
        let table = match self.database.begin_read()?.open_table(TOTALS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(ranking.finish()),
            Err(error) => return Err(error.into()),
        };
        let mut sums: BTreeMap<String, Tally> = BTreeMap::new();
        let first = (by.number(), "", "", 0, 0);
        let ways = [Channel::Email, Channel::Sms].into_iter().flat_map(|channel| {
            [Direction::Outbound, Direction::Inbound].map(|direction| (channel, direction))
        });
        let ways: BTreeSet<u8> = ways
            .filter(|(channel, direction)| {
                filter.channel.is_none_or(|wanted| wanted == *channel)
                    && filter.direction.is_none_or(|wanted| wanted == *direction)
            })
            .map(|(channel, direction)| way(channel, direction))
            .collect();
        let (since, until) = (filter.since.map(day), filter.until.map(day));
        for row in table.range(first..)? {
            let (key, bytes) = row?;
            let (number, value, app, way, day) = key.value();
            if number != by.number() {
                break;
            }
            let is_wanted = ways.contains(&way)
                && since.is_none_or(|since| day >= since)
                && until.is_none_or(|until| day < until)
                && filter.app.as_ref().is_none_or(|wanted| wanted.as_str() == app)
                && filter.apps.as_ref().is_none_or(|a| a.iter().any(|a| a.as_str() == app));
            if is_wanted {
                let (value, is_whole_before) = match by {
                    Dimension::Sender | Dimension::Tag | Dimension::Subject => {
                        (value.to_owned(), true)
                    }
                    Dimension::App => (app.to_owned(), true),
                    Dimension::Day => (day_word(day), false),
                };
                if is_whole_before && !sums.contains_key(&value) {
                    ranking.add_all(std::mem::take(&mut sums));
                }
                sums.entry(value).or_default().add(Tally::decode(bytes.value())?);
            }
        }
        ranking.add_all(sums);
        Ok(ranking.finish())
    }

    /// Whole days from the totals, the days at both ends message by message.
    fn submissions(
        &self,
        app: &AppName,
        since: Option<Timestamp>,
        until: Timestamp,
    ) -> Result<u64, Failure> {
        let snapshot = self.database.begin_read()?;
        let (totals, facts) = match (snapshot.open_table(TOTALS), snapshot.open_table(FACTS)) {
            (Ok(totals), Ok(facts)) => (totals, facts),
            (Err(TableError::TableDoesNotExist(_)), _)
            | (_, Err(TableError::TableDoesNotExist(_))) => return Ok(0),
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        // Nothing is older than 1970, which days are counted from.
        let epoch = Timestamp::from_millis(0);
        let (since, until) = (since.unwrap_or(epoch).max(epoch), until.max(epoch));
        let ways = [Channel::Email, Channel::Sms].map(|channel| way(channel, Direction::Outbound));
        let start = |day: u32| Timestamp::from_millis(i64::from(day).saturating_mul(DAY_MS));
        // The first whole day, and the first one that is not whole any more.
        let is_whole = since.as_millis() % DAY_MS == 0;
        let first = day(since).saturating_add(u32::from(!is_whole));
        let end = day(until).max(first);
        let mut count: u64 = 0;
        for way in ways {
            let by = Dimension::App.number();
            let (name, value) = (app.as_str(), "");
            for row in totals.range((by, value, name, way, first)..(by, value, name, way, end))? {
                count = count.saturating_add(Tally::decode(row?.1.value())?.messages);
            }
        }
        for (from, to) in [(since, until.min(start(first))), (start(end).max(since), until)] {
            let (from, to) = (MessageId::first_at(from), MessageId::first_at(to));
            if from >= to {
                continue;
            }
            for row in facts.range(from.as_u128()..to.as_u128())? {
                let fact = StoredFact::decode(row?.1.value())?;
                count += u64::from(fact.app == app.as_str() && ways.contains(&fact.way));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use redb::{Database, TableDefinition};

    use crate::archive::tests::{acceptance, settings};

    async fn fill(archive: &Archive) {
        for number in 0..40 {
            let mut mail = acceptance(number, 1, Bytes::from("Subject: x\r\n\r\nx\r\n"));
            mail.summary.subject = Some(format!("subject {}", number % 8));
            archive.accept(mail).await.unwrap();
        }
    }

    fn first(archive: &Archive, limit: usize) -> Tallies {
        let ranking = Ranking::new(Dimension::Subject, None, limit);
        let (tallies, is_complete) = archive.tallies(&Filter::default(), ranking).unwrap().unwrap();
        assert!(is_complete);
        tallies
    }

    #[tokio::test]
    async fn what_was_laid_out_in_another_way_is_counted_anew() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        fill(&archive).await;
        let before = first(&archive, 3);
        assert_eq!((before.rows.len(), before.has_more, before.total.messages), (3, true, 40));
        archive.close().await;
        let file = Database::open(dir.path().join("index.redb")).unwrap();
        let transaction = file.begin_write().unwrap();
        // As the first layout left it: watermarks without a word about it, and sums of another shape.
        transaction.delete_table(TOTALS).unwrap();
        let old: TableDefinition<(u8, &str, u8, u32, &str), &[u8]> = TableDefinition::new("totals");
        transaction.open_table(old).unwrap().insert((3, "erp", 0, 1, "x"), &b"x"[..]).unwrap();
        let until: TableDefinition<u8, u64> = TableDefinition::new("ledger_until");
        transaction.open_table(until).unwrap().remove(2).unwrap();
        transaction.commit().unwrap();
        drop(file);
        let archive = Archive::open(&settings(dir.path())).unwrap();
        assert_eq!(first(&archive, 3), before);
        assert_eq!(first(&archive, 100).rows.len(), 8);
    }
}
