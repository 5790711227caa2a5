//! What messages are narrowed to, in one shape for all who ask: lists, exports, the live stream, the
//! numbers and actions on many.
//!
//! Filters alone are answered by the records (`list`); with words or a state of reading the search
//! answers (`search`). A page costs the same however deep it lies, and an id is all that its cursor
//! needs: the order is that of acceptance. Order by relevance is not here; only one page at a time is
//! asked for in it (`search`).

use super::message::Message;
use super::search::{Place, Question, ReadState, SearchOrder, SearchRequest};
use super::{Archive, ArchiveError, Filter, Order, Page};
use crate::model::MessageId;

/// All that a request can narrow messages with; the default is all messages.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    pub filter: Filter,
    pub question: Option<Question>,
    pub read: Option<ReadState>,
}

impl Narrowing {
    /// Whether the records answer by themselves.
    pub fn is_filter_only(&self) -> bool {
        self.question.is_none() && self.read.is_none()
    }

    /// The same for the search.
    pub fn request(
        &self,
        order: SearchOrder,
        after: Option<Place>,
        limit: usize,
    ) -> SearchRequest<'_> {
        SearchRequest {
            question: self.question.as_ref(),
            filter: &self.filter,
            read: self.read,
            order,
            after,
            limit,
        }
    }
}

impl Archive {
    /// Messages that match, in the order of their acceptance. A page may hold fewer than asked for
    /// and still have a next one.
    pub fn narrowed(
        &self,
        narrowing: &Narrowing,
        order: Order,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message, MessageId>, ArchiveError> {
        if narrowing.is_filter_only() {
            return self.list(&narrowing.filter, order, after, limit);
        }
        let order = match order {
            Order::Newest => SearchOrder::Newest,
            Order::Oldest => SearchOrder::Oldest,
        };
        let after = after.map(Place::behind);
        let request = narrowing.request(order, after, limit);
        let (items, next) = self.search_page(&request)?;
        Ok(Page { items, next: next.map(|place| place.id) })
    }

    /// One message as it stands now, if it is one of them. It is looked at itself, with the words
    /// that a search has for what its index does not know yet.
    pub fn narrowed_one(
        &self,
        narrowing: &Narrowing,
        id: MessageId,
    ) -> Result<Option<Message>, ArchiveError> {
        match narrowing.is_filter_only() {
            true => Ok(self.message(id)?.filter(|message| narrowing.filter.selects(message))),
            false => self.answer(&narrowing.request(SearchOrder::Newest, None, 1), id),
        }
    }
}
