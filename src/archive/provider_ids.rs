//! The ids by which an upstream's events name mail: those in its reply to the message.
//!
//! No reply says which of its words is an id, so each word that may be one is kept, for the upstreams
//! that tell of events and for no others: their keys are scattered, and cost each judgement something.

use std::collections::HashSet;
use std::sync::Arc;

use redb::ReadableDatabase;

use super::provider_report::{folded, remember};
use super::writer::{Batch, Failure};
use super::{Archive, ArchiveError, tables};
use crate::model::{MessageId, Reply, UpstreamName};

/// Words of a reply that are kept.
const MAX_IDS: usize = 4;
/// A shorter word is no id, nor is one without a digit, unless it is as long as this and of both cases:
/// one of forty ids of 22 characters has no digit.
const MIN_ID_BYTES: usize = 12;
const MIN_LETTERS_BYTES: usize = 20;

/// Upstreams whose replies are kept.
pub(super) type Tellers = HashSet<UpstreamName>;

impl Archive {
    /// From now on the ids in the replies of these upstreams lead to their messages.
    pub fn keep_reply_ids_of(&self, upstreams: impl IntoIterator<Item = UpstreamName>) {
        self.inner.tellers.store(Arc::new(upstreams.into_iter().collect()));
    }

    /// The message that an upstream took under the first of these ids that is known.
    pub fn by_provider_id(
        &self,
        upstream: &UpstreamName,
        ids: &[String],
    ) -> Result<Option<MessageId>, ArchiveError> {
        let look = || -> Result<Option<MessageId>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(tables::PARTS)?;
            for id in ids.iter().filter_map(|id| folded(id)) {
                if let Some(found) = table.get((upstream.as_str(), id.as_str()))? {
                    return Ok(Some(MessageId::from_u128(found.value())));
                }
            }
            Ok(None)
        };
        Ok(look()?)
    }
}

/// Notes what a reply may name a mail by.
pub(super) fn keep(
    batch: &Batch<'_>,
    tellers: &Tellers,
    upstream: &UpstreamName,
    reply: &Reply,
    message: MessageId,
) -> Result<(), Failure> {
    match tellers.contains(upstream) {
        true => remember(batch, upstream, &ids(reply), message),
        false => Ok(()),
    }
}

/// `0102018f…-000000` of `250 Ok 0102018f…-000000`.
fn ids(reply: &Reply) -> Vec<String> {
    let words = reply.text().split(|c: char| c.is_whitespace() || "<>[]()\"',;=".contains(c));
    let words = words.map(|word| word.trim_matches(['.', ':']));
    let is_id = |word: &&str| {
        let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
        let is_mixed = word.len() >= MIN_LETTERS_BYTES
            && has(u8::is_ascii_lowercase)
            && word.bytes().skip(1).any(|b| b.is_ascii_uppercase());
        word.len() >= MIN_ID_BYTES && word.is_ascii() && (has(u8::is_ascii_digit) || is_mixed)
    };
    words.filter(is_id).take(MAX_IDS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_in_a_reply_is_found() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(ids(&Reply::new(250, None, text)), expected, "{text}");
        };
        check("", &[]);
        check("Great success", &[]);
        check("Ok: queued, size 123456", &[]);
        let ses = "0102018f2f7c5e1a-1b2c3d4e-0000-0000-0000-000000000000-000000";
        check(&format!("Ok {ses}"), &[ses]);
        check("Ok: queued as tq2vvLw8Q1-0abc.", &["tq2vvLw8Q1-0abc"]);
        check("Ok: queued as dDbOpPzJQZqimlFKSEMRUA", &["dDbOpPzJQZqimlFKSEMRUA"]);
        check("Internationalization accomplished", &[]);
        check(
            "OK: queued as <201798300811.57@relay.example.com>",
            &["201798300811.57@relay.example.com"],
        );
        check(
            "OK queued as 883953f4-6105-42a2-a16a-77a8eac79483\nid=12345678901234",
            &["883953f4-6105-42a2-a16a-77a8eac79483", "12345678901234"],
        );
        assert_eq!(ids(&Reply::new(250, None, &"0123456789abc ".repeat(100))).len(), MAX_IDS);
    }
}
