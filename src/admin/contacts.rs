//! `GET /api/v1/contacts/{address}`: everything with one counterpart, in both directions, the newest
//! first: what it was sent, what it sent, and the calls and notes that name it.
//!
//! A mail address is compared without case; a number is written as `+4512345678`, with spaces, dots,
//! dashes and brackets as people write them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};

use super::cursor::{self, List};
use super::parameters::{Parameters, Segment};
use super::problem::Problem;
use super::state::AdminState;
use super::threads::{Item, ItemView, Spot, may_see};
use super::views::PageView;
use crate::account::{AppScope, Identity};
use crate::archive::{EntriesOf, Filter, Message, Order};
use crate::model::{AppName, MessageId};

/// Longest address.
const MAX_ADDRESS_CHARS: usize = 320;

pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(address): Segment<String>,
    uri: Uri,
) -> Result<Json<PageView<ItemView>>, Problem> {
    let address = normal(&address);
    let is_good = !address.is_empty() && address.chars().count() <= MAX_ADDRESS_CHARS;
    if !is_good || address.chars().any(char::is_control) {
        return Err(Problem::not_found("contact"));
    }
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Contact, &address, text);
        key.as_deref().and_then(Spot::read).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let (items, next) = page(state, &identity.scope, &address, after, limit)?;
        if items.is_empty() && next.is_none() && after.is_none() {
            return Err(Problem::not_found("contact"));
        }
        let items = items.iter().map(ItemView::new).collect();
        let next = next.map(|last| cursor::encode(List::Contact, &address, &last.key()));
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
    after: Option<Spot>,
    limit: usize,
) -> Result<(Vec<Item>, Option<Spot>), Problem> {
    let apps = scope.names().map(<[AppName]>::to_vec);
    let all = Filter { apps, ..Filter::default() };
    let address = address.to_owned();
    let got = Filter { recipient: Some(address.clone()), ..all.clone() };
    let sent = Filter { sender: Some(address.clone()), ..all };
    let mut found: BTreeMap<MessageId, Message> = BTreeMap::new();
    let mut stopped_at: Option<MessageId> = None;
    for filter in [got, sent] {
        let page = state.archive.list(&filter, Order::Newest, after.map(Spot::message), limit)?;
        found.extend(page.items.into_iter().map(|message| (message.id, message)));
        stopped_at = stopped_at.max(page.next);
    }
    let mut next = stopped_at.map(Spot::of_message);
    let mut entries = state.archive.entries(EntriesOf::Address(&address))?;
    entries.retain(|entry| may_see(scope, entry));
    let messages = found.into_values().map(|message| Item::Message(Box::new(message)));
    let mut items: Vec<Item> =
        messages.chain(entries.into_iter().map(|entry| Item::Entry(Box::new(entry)))).collect();
    items.retain(|item| {
        let spot = item.spot();
        after.is_none_or(|after| spot < after) && next.is_none_or(|last| spot >= last)
    });
    items.sort_by_key(|item| Reverse(item.spot()));
    if items.len() > limit {
        items.truncate(limit);
        next = items.last().map(Item::spot);
    }
    Ok((items, next))
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
