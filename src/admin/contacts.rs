//! `GET /api/v1/contacts/{address}`: everything with one counterpart, in both directions, the newest
//! first: what it was sent, what it sent, and the calls and notes that name it.
//!
//! A mail address is compared without case; a number is written as `+4512345678`, with spaces, dots,
//! dashes and brackets as people write them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};

use super::cursor::{self, List};
use super::parameters::{Parameters, Segment};
use super::problem::Problem;
use super::state::AdminState;
use super::threads::{Item, ItemView, may_see};
use super::views::PageView;
use crate::account::{AppScope, Identity};
use crate::archive::{EntriesOf, Filter, Message, Order};
use crate::model::{AppName, MessageId};

/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 320;

pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(address): Segment<String>,
    uri: Uri,
) -> Result<Json<PageView<ItemView>>, Problem> {
    let address = normal(&address);
    let is_good = !address.is_empty() && address.len() <= MAX_ADDRESS_BYTES;
    if !is_good || address.chars().any(char::is_control) {
        return Err(Problem::not_found("contact"));
    }
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Contact, &address, text);
        let id = key.as_deref().and_then(cursor::read_message_key);
        id.ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let (items, next) = page(state, &identity.scope, &address, after, limit)?;
        if items.is_empty() && next.is_none() && after.is_none() {
            return Err(Problem::not_found("contact"));
        }
        let items = items.iter().map(ItemView::new).collect();
        let next =
            next.map(|last| cursor::encode(List::Contact, &address, &cursor::message_key(last)));
        Ok(Json(PageView { items, next }))
    };
    state.read(read).await
}

/// How an address is compared: mail in lower case, a number without what stands between its digits.
pub(super) fn normal(address: &str) -> String {
    let address = address.trim();
    let between = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
    match address.strip_prefix('+') {
        Some(digits) if digits.chars().all(|c| c.is_ascii_digit() || between(c)) => {
            let digits = digits.chars().filter(char::is_ascii_digit);
            std::iter::once('+').chain(digits).collect()
        }
        Some(_) | None => address.to_lowercase(),
    }
}

/// Two lists, of what it got and of what it sent, become one. Each may end before its end, so only
/// what is not older than where the shorter one stopped is shown now.
fn page(
    state: &AdminState,
    scope: &AppScope,
    address: &str,
    after: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<Item>, Option<MessageId>), Problem> {
    let apps = scope.names().map(<[AppName]>::to_vec);
    let all = Filter { apps, ..Filter::default() };
    let address = address.to_owned();
    let got = Filter { recipient: Some(address.clone()), ..all.clone() };
    let sent = Filter { sender: Some(address.clone()), ..all };
    let mut found: BTreeMap<MessageId, Message> = BTreeMap::new();
    let mut stopped_at: Option<MessageId> = None;
    for filter in [got, sent] {
        let page = state.archive.list(&filter, Order::Newest, after, limit)?;
        found.extend(page.items.into_iter().map(|message| (message.id, message)));
        stopped_at = stopped_at.max(page.next);
    }
    let shown = found.into_values().rev();
    let shown = shown.filter(|message| stopped_at.is_none_or(|stop| message.id >= stop));
    let mut shown: Vec<Message> = shown.collect();
    if shown.len() > limit {
        shown.truncate(limit);
        stopped_at = shown.last().map(|message| message.id);
    }
    let mut entries = state.archive.entries(EntriesOf::Address(&address))?;
    entries.retain(|entry| {
        let first = MessageId::first_at(entry.what.at);
        may_see(scope, entry)
            && after.is_none_or(|after| first <= after)
            && stopped_at.is_none_or(|stop| first > stop)
    });
    let mut entries = entries.into_iter().rev().peekable();
    let mut items = Vec::new();
    for message in shown {
        while let Some(entry) =
            entries.next_if(|entry| MessageId::first_at(entry.what.at) > message.id)
        {
            items.push(Item::Entry(Box::new(entry)));
        }
        items.push(Item::Message(Box::new(message)));
    }
    items.extend(entries.map(|entry| Item::Entry(Box::new(entry))));
    Ok((items, stopped_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_without_what_stands_between_their_digits() {
        let check = |given: &str, expected: &str| assert_eq!(normal(given), expected);
        check("45 12 34 56 78", "45 12 34 56 78");
        check("+45-a", "+45-a");
        check(" Kim@Example.ORG ", "kim@example.org");
        check("+45 12 34-56.78", "+4512345678");
        check("+1 (555) 010-999", "+1555010999");
    }
}
