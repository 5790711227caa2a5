//! Who must not be written to.
//!
//! An entry holds for one channel and one recipient, and for all originators or one. Addresses are
//! compared without case. An entry may have an end; from then on it does not count, and a new one takes
//! its place. Of two for the same, the one that ends later is kept, as it was entered.

use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::audit::Verdict;
use super::standing::Standing;
use super::stored::{Corrupt, Record};
use super::tables::SUPPRESSIONS;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, Page};
pub use crate::lifecycle::Ground;
use crate::lifecycle::Input;
use crate::model::{Channel, Medium, MessageId, Timestamp};

/// Longest reason of an entry that a report made, in characters.
const MAX_REASON_CHARS: usize = 200;
/// How the reason of a recipient that the list left out begins.
pub const ON_THE_LIST: &str = "on the suppression list: ";
/// Instead of a sender. No address is written so.
const NULL_PATH: &str = "<>";

/// One entry of the suppression list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub channel: Channel,
    /// In normal form: E.164, or an e-mail address in lower case.
    pub recipient: String,
    /// Only messages from this originator or address; `None` is all.
    pub originator: Option<String>,
    /// In words: `STOP`, `asked by telephone`.
    pub reason: String,
    /// `user anna`, `sms`, `upstream provider`.
    pub by: String,
    pub at: Timestamp,
    /// From when on it does not count; `None` is never.
    pub expires_at: Option<Timestamp>,
}

impl Suppression {
    /// The entry for a recipient of a message. `by` is who says so where the ground alone does not tell
    /// it, `words` what was said.
    pub fn because(
        ground: Ground,
        medium: &Medium,
        recipient: &str,
        (by, words): (Option<&str>, &str),
        at: Timestamp,
    ) -> Suppression {
        let reason = match by {
            Some(_) => words.to_owned(),
            None => format!("{}: {words}", ground.as_str()),
        };
        let originator = match ground.is_against_everybody() {
            true => None,
            false => Suppression::originator_of(medium),
        };
        Suppression {
            channel: medium.channel(),
            recipient: recipient.to_lowercase(),
            originator,
            reason: reason.chars().take(MAX_REASON_CHARS).collect(),
            by: by.unwrap_or(ground.as_str()).to_owned(),
            at,
            expires_at: ground.kept().map(|kept| at.plus(kept)),
        }
    }

    /// The reason of a recipient that it leaves out.
    pub fn why(&self) -> String {
        format!("{ON_THE_LIST}{}, added by {}", self.reason, self.by)
    }

    /// What entries against one sender are compared with. An SMS whose provider picks the originator has
    /// none; mail with the null reverse-path has one of its own, for entries against a sender say
    /// nothing of it.
    pub fn originator_of(medium: &Medium) -> Option<String> {
        match medium {
            Medium::Mail(_) => {
                Some(medium.sender().map_or_else(|| NULL_PATH.to_owned(), |one| one.to_lowercase()))
            }
            Medium::Sms(_) => medium.sender(),
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    fn outlasts(&self, other: &Suppression) -> bool {
        match (self.expires_at, other.expires_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(end), Some(other)) => end > other,
        }
    }
}

/// What became of an entry, with the one that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppressed {
    /// There was none.
    New(Suppression),
    /// It took the place of one that would have ended sooner.
    Longer(Suppression),
    /// The one that was there ends no sooner, and stays.
    Already(Suppression),
}

impl Verdict for Suppressed {
    fn is_change(&self) -> bool {
        !matches!(self, Suppressed::Already(_))
    }
}

/// An entry as it is stored; its key says for whom it holds, but for the case of letters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSuppression {
    recipient: String,
    originator: Option<String>,
    reason: String,
    by: String,
    at: i64,
    // Appended with version 2.
    expires_at: Option<i64>,
}

impl Record for StoredSuppression {
    const KIND: &'static str = "suppression";
    const VERSION: u8 = 2;
    const APPENDED: &'static [usize] = &[1];
}

impl StoredSuppression {
    fn new(entry: Suppression) -> StoredSuppression {
        let Suppression { channel: _, recipient, originator, reason, by, at, expires_at } = entry;
        let expires_at = expires_at.map(Timestamp::as_millis);
        StoredSuppression { recipient, originator, reason, by, at: at.as_millis(), expires_at }
    }

    fn suppression(self, channel: Channel) -> Suppression {
        let StoredSuppression { recipient, originator, reason, by, at, expires_at } = self;
        let at = Timestamp::from_millis(at);
        let expires_at = expires_at.map(Timestamp::from_millis);
        Suppression { channel, recipient, originator, reason, by, at, expires_at }
    }
}

/// Key of an entry: channel, recipient, originator (empty: all), both in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key(u8, String, String);

impl Key {
    fn new(channel: Channel, recipient: &str, originator: Option<&str>) -> Key {
        Key(number(channel), recipient.to_lowercase(), originator.unwrap_or("").to_lowercase())
    }

    fn row(&self) -> (u8, &str, &str) {
        (self.0, &self.1, &self.2)
    }

    /// In characters that pass through a URL as they are.
    fn cursor(&self) -> String {
        let text = format!("{}\0{}\0{}", self.0, self.1, self.2);
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `None` when it is no cursor of ours.
    fn from_cursor(cursor: &str) -> Option<Key> {
        let pairs = cursor.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let text = String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()?;
        let mut parts = text.splitn(3, '\0');
        let channel = parts.next()?.parse().ok()?;
        Some(Key(channel, parts.next()?.to_owned(), parts.next()?.to_owned()))
    }
}

/// The stored number of a channel; it never changes.
fn number(channel: Channel) -> u8 {
    match channel {
        Channel::Email => 0,
        Channel::Sms => 1,
    }
}

fn channel(number: u8) -> Result<Channel, Corrupt> {
    match number {
        0 => Ok(Channel::Email),
        1 => Ok(Channel::Sms),
        other => Err(Corrupt::new("suppression", format!("{other} is no channel"))),
    }
}

impl Archive {
    /// Adds an entry, or leaves the one that is there and ends no sooner; true when this one holds now.
    pub async fn suppress(&self, entry: Suppression) -> Result<bool, ArchiveError> {
        Ok(self.suppress_longest(entry).await?.is_change())
    }

    /// The same, and tells the entry that holds now.
    pub async fn suppress_longest(&self, entry: Suppression) -> Result<Suppressed, ArchiveError> {
        self.write_recorded(move |batch: &mut Batch<'_>| put(batch, entry)).await
    }

    /// Takes an entry away; true when there was one.
    pub async fn unsuppress(
        &self,
        channel: Channel,
        recipient: &str,
        originator: Option<&str>,
    ) -> Result<bool, ArchiveError> {
        let key = Key::new(channel, recipient, originator);
        let remove = move |batch: &mut Batch<'_>| {
            let mut table = batch.transaction.open_table(SUPPRESSIONS)?;
            let removed = table.remove(key.row())?.is_some();
            Ok(removed)
        };
        self.write_recorded(remove).await
    }

    /// The entry that forbids a message from this originator to this recipient now. Where the
    /// provider picks the originator, every entry of the recipient does, because it may pick that
    /// one.
    pub fn suppressed(
        &self,
        channel: Channel,
        recipient: &str,
        originator: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Suppression>, ArchiveError> {
        let look = |snapshot: &ReadTransaction| -> Result<Option<Suppression>, Failure> {
            let table = snapshot.open_table(SUPPRESSIONS)?;
            let all = Key::new(channel, recipient, None);
            if originator.is_none() {
                for entry in table.range(all.row()..)? {
                    let (key, bytes) = entry?;
                    let (number, person, _) = key.value();
                    if (number, person) != (all.0, &all.1) {
                        break;
                    }
                    let found = StoredSuppression::decode(bytes.value())?.suppression(channel);
                    if !found.is_over(now) {
                        return Ok(Some(found));
                    }
                }
                return Ok(None);
            }
            for key in [all, Key::new(channel, recipient, originator)] {
                let Some(bytes) = table.get(key.row())? else { continue };
                let found = StoredSuppression::decode(bytes.value())?.suppression(channel);
                if !found.is_over(now) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        Ok(look(&self.snapshot()?)?)
    }

    /// Leaves a recipient that waits out for good, with the reason; false when it no longer waits.
    pub async fn leave_out(
        &self,
        message: MessageId,
        recipient: u16,
        (by, why): (&'static str, String),
        at: Timestamp,
    ) -> Result<bool, ArchiveError> {
        let leave_out = move |batch: &mut Batch<'_>| {
            let Some(before) = Standing::load(batch, message)? else { return Ok(false) };
            let (mut standing, input) = (before.clone(), Input::LeaveOut { why: &why });
            if standing.step(batch, recipient, at, &input, Some(by))?.is_err() {
                return Ok(false);
            }
            standing.save(batch, Some(&before))?;
            Ok(true)
        };
        self.write(Urgency::Soon, leave_out).await
    }

    /// The list, by channel and recipient; the cursor is an opaque key.
    pub fn suppressions(
        &self,
        channel: Option<Channel>,
        recipient: Option<&str>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Suppression, String>, ArchiveError> {
        let after = after.as_deref().and_then(Key::from_cursor);
        Ok(list(&self.snapshot()?, channel, recipient, after, limit)?)
    }
}

/// Adds an entry as [`Archive::suppress_longest`] does, in the transaction at hand. A damaged one stays, and nothing is written.
pub(super) fn put(batch: &Batch<'_>, entry: Suppression) -> Result<Suppressed, Failure> {
    let key = Key::new(entry.channel, &entry.recipient, entry.originator.as_deref());
    let mut table = batch.transaction.open_table(SUPPRESSIONS)?;
    let stored = match table.get(key.row())? {
        Some(bytes) => Some(StoredSuppression::decode(bytes.value())?),
        None => None,
    };
    let earlier = stored.map(|stored| stored.suppression(entry.channel));
    let earlier = earlier.filter(|earlier| !earlier.is_over(entry.at));
    let is_new = earlier.is_none();
    if let Some(earlier) = earlier.filter(|earlier| !entry.outlasts(earlier)) {
        return Ok(Suppressed::Already(earlier));
    }
    let bytes = StoredSuppression::new(entry.clone()).encode();
    table.insert(key.row(), &bytes[..])?;
    Ok(match is_new {
        true => Suppressed::New(entry),
        false => Suppressed::Longer(entry),
    })
}

fn list(
    snapshot: &ReadTransaction,
    wanted: Option<Channel>,
    recipient: Option<&str>,
    after: Option<Key>,
    limit: usize,
) -> Result<Page<Suppression, String>, Failure> {
    let table = snapshot.open_table(SUPPRESSIONS)?;
    let recipient = recipient.map(str::to_lowercase);
    let first = match (wanted, &recipient) {
        (Some(channel), recipient) => {
            Key::new(channel, recipient.as_deref().unwrap_or_default(), None)
        }
        (None, _) => Key(0, String::new(), String::new()),
    };
    let first = match &after {
        Some(after) if after.row() > first.row() => after.clone(),
        Some(_) | None => first,
    };
    let mut page = Page { items: Vec::new(), next: None };
    let mut last = None;
    for entry in table.range(first.row()..)? {
        let (key, bytes) = entry?;
        let (number, address, originator) = key.value();
        let key = Key(number, address.to_owned(), originator.to_owned());
        if wanted.is_some_and(|channel| self::number(channel) != number) {
            break;
        }
        if after.as_ref() == Some(&key) || recipient.as_deref().is_some_and(|one| one != address) {
            // The rows of one recipient of one channel lie together.
            match wanted.is_some() && recipient.as_deref().is_some_and(|one| one < address) {
                true => break,
                false => continue,
            }
        }
        if page.items.len() >= limit {
            page.next = last;
            break;
        }
        page.items.push(StoredSuppression::decode(bytes.value())?.suppression(channel(number)?));
        last = Some(key.cursor());
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{at, settings};

    fn entry(channel: Channel, recipient: &str, originator: Option<&str>) -> Suppression {
        Suppression {
            channel,
            recipient: recipient.into(),
            originator: originator.map(str::to_owned),
            reason: "STOP".into(),
            by: "sms".into(),
            at: at(1),
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn an_entry_holds_for_its_recipient_and_originator_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let sms = |recipient, originator| entry(Channel::Sms, recipient, originator);
        assert!(archive.suppress(sms("+4512345678", Some("Shop"))).await.unwrap());
        assert!(!archive.suppress(sms("+4512345678", Some("SHOP"))).await.unwrap());
        assert!(archive.suppress(sms("+4587654321", None)).await.unwrap());
        assert!(archive.suppress(entry(Channel::Email, "Kim@Example.org", None)).await.unwrap());
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let is = |channel, recipient, originator| {
            archive.suppressed(channel, recipient, originator, at(1)).unwrap().is_some()
        };
        assert!(!is(Channel::Sms, "+4512345678", Some("Bank")));
        assert!(!is(Channel::Sms, "+451234567", None) && !is(Channel::Sms, "+45123456789", None));
        assert!(!is(Channel::Email, "+4512345678", Some("Shop")));
        assert!(is(Channel::Sms, "+4512345678", Some("shop")));
        assert!(is(Channel::Sms, "+4512345678", None), "the provider may pick that one");
        assert!(is(Channel::Sms, "+4587654321", Some("Bank")));
        assert!(is(Channel::Email, "kim@example.ORG", Some("anna@example.com")));
        assert!(!archive.unsuppress(Channel::Sms, "+4512345678", None).await.unwrap());
        assert!(archive.unsuppress(Channel::Sms, "+4512345678", Some("shop")).await.unwrap());
        assert!(!is(Channel::Sms, "+4512345678", Some("Shop")));
    }

    #[tokio::test]
    async fn an_entry_that_is_over_does_not_count_and_gives_its_place_to_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let until = |end, from| Suppression {
            expires_at: Some(at(end)),
            at: at(from),
            ..entry(Channel::Email, "kim@example.org", None)
        };
        let is = |now, originator| {
            let kim = "kim@example.org";
            archive.suppressed(Channel::Email, kim, originator, at(now)).unwrap().is_some()
        };
        assert!(archive.suppress(until(10, 1)).await.unwrap());
        assert!(!archive.suppress(until(10, 9)).await.unwrap());
        for originator in [None, Some("anna@example.com")] {
            assert!(is(9, originator) && !is(10, originator));
        }
        let anna = entry(Channel::Email, "kim@example.org", Some("anna@example.com"));
        assert!(archive.suppress(anna).await.unwrap());
        assert!(is(10, None) && is(10, Some("anna@example.com")) && !is(10, Some("x@y.example")));
        assert!(archive.suppress(until(30, 10)).await.unwrap());
        assert!(is(29, Some("x@y.example")));
    }

    #[tokio::test]
    async fn the_entry_that_ends_later_is_kept_whichever_came_first() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let named = |recipient: &str, by: &str, end: Option<i64>| Suppression {
            by: by.into(),
            reason: format!("as {by} said"),
            expires_at: end.map(at),
            ..entry(Channel::Email, recipient, None)
        };
        let held = |recipient: &str| {
            archive.suppressed(Channel::Email, recipient, None, at(2)).unwrap().unwrap()
        };
        for (first, later, keeps_later) in [
            (Some(90), None, true),
            (Some(90), Some(91), true),
            (Some(90), Some(90), false),
            (Some(90), Some(10), false),
            (None, Some(90), false),
            (None, None, false),
        ] {
            let kim = format!("{first:?}{later:?}@example.org").to_lowercase();
            let (bounce, anna) = (named(&kim, "bounce", first), named(&kim, "user anna", later));
            let found = archive.suppress_longest(bounce.clone()).await.unwrap();
            assert_eq!(found, Suppressed::New(bounce.clone()));
            let expected = match keeps_later {
                true => Suppressed::Longer(anna.clone()),
                false => Suppressed::Already(bounce.clone()),
            };
            assert_eq!(archive.suppress_longest(anna.clone()).await.unwrap(), expected);
            assert_eq!(held(&kim), if keeps_later { anna } else { bounce });
        }
        // Who says STOP while a provider's entry still runs means it for good, and is answered.
        let sms = |by: &str, end: Option<i64>| Suppression {
            channel: Channel::Sms,
            ..named("+4512345678", by, end)
        };
        assert!(archive.suppress(sms("upstream a", Some(90))).await.unwrap());
        assert!(archive.suppress(sms("sms", None)).await.unwrap());
        assert!(!archive.suppress(sms("upstream a", Some(95))).await.unwrap());
        let found = archive.suppressed(Channel::Sms, "+4512345678", None, at(1000)).unwrap();
        assert_eq!(found.unwrap().by, "sms");
    }

    #[test]
    fn entries_of_the_first_version_never_end() {
        let mut bytes = StoredSuppression::new(entry(Channel::Sms, "+4512345678", None)).encode();
        bytes[0] = 1;
        bytes.pop();
        let back = StoredSuppression::decode(&bytes).unwrap().suppression(Channel::Sms);
        assert_eq!(back, entry(Channel::Sms, "+4512345678", None));
    }

    #[tokio::test]
    async fn the_list_follows_its_cursor() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        for number in 0..5 {
            for originator in [None, Some("Shop")] {
                let one = entry(Channel::Sms, &format!("+451234567{number}"), originator);
                archive.suppress(one).await.unwrap();
            }
        }
        archive.suppress(entry(Channel::Email, "kim@example.org", None)).await.unwrap();
        let count = |channel, recipient, limit| {
            let (mut found, mut after) = (0, None);
            loop {
                let page = archive.suppressions(channel, recipient, after, limit).unwrap();
                assert!(page.items.len() <= limit);
                found += page.items.len();
                after = page.next;
                if after.is_none() {
                    return found;
                }
            }
        };
        for limit in [1, 3, 100] {
            assert_eq!(count(None, None, limit), 11);
            assert_eq!(count(Some(Channel::Sms), None, limit), 10);
            assert_eq!(count(Some(Channel::Sms), Some("+4512345673"), limit), 2);
            assert_eq!(count(None, Some("+4512345673"), limit), 2);
            assert_eq!(count(Some(Channel::Email), Some("+4512345673"), limit), 0);
        }
        for no_cursor in ["", "x", "zz", "ff", "é"] {
            assert!(archive.suppressions(None, None, Some(no_cursor.into()), 1).is_ok());
        }
    }
}
