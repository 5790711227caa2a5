//! What the parameters of a request narrow messages to, and the pages of `GET /api/v1/messages`.

use std::borrow::Cow;

use axum::http::Uri;

use super::cursor::{self, List};
use super::parameters::Parameters;
use super::problem::Problem;
use crate::account::AppScope;
use crate::archive::{
    Absence, Archive, ArchiveError, Filter, Message, Narrowing, Order, Place, Question,
    QuestionError, ReadState, SearchOrder,
};
use crate::model::{AppName, Channel, Direction, Reference, Status, Tag, Timestamp};

/// What narrows messages wherever they are asked for, in the order in which it makes the cursor's
/// question.
const NARROWING: [&str; 13] = [
    "q",
    "read",
    "channel",
    "direction",
    "status",
    "app",
    "sender",
    "recipient",
    "reference",
    "tag",
    "attachment",
    "since",
    "until",
];
/// Longest text that is searched for: an address has at most 254.
const MAX_TEXT_CHARS: usize = 320;

/// One page that was asked for.
#[derive(Debug)]
pub(super) struct MessageQuery {
    pub narrowing: Narrowing,
    pub limit: usize,
    order: SearchOrder,
    after: Option<Place>,
    /// All parameters that the next page must have as well.
    question: String,
}

impl MessageQuery {
    /// Reads the parameters; `scope` is what the asker may see at all.
    pub(super) fn read(uri: &Uri, scope: &AppScope) -> Result<MessageQuery, Problem> {
        let (narrowing, mut parameters) = narrowing(uri, scope, &["order", "limit", "cursor"]);
        let question = question(&parameters);
        let order = parameters.take("order", |text| match text {
            "newest" => Ok(SearchOrder::Newest),
            "oldest" => Ok(SearchOrder::Oldest),
            "relevance" => Ok(SearchOrder::Relevance),
            _ => Err(String::from("order is newest, oldest or, with q, relevance.")),
        });
        let limit = parameters.limit();
        let after = parameters.take("cursor", |text| {
            let key = cursor::decode(List::Messages, &question, text);
            let place = key.as_deref().and_then(cursor::read_place_key);
            place.ok_or_else(|| cursor::NOT_OURS.to_owned())
        });
        parameters.finish()?;
        let order = match (order.unwrap_or_default(), &narrowing.question) {
            // Without words nothing is more to the point than anything else.
            (SearchOrder::Relevance, None) => SearchOrder::Newest,
            (order, _) => order,
        };
        Ok(MessageQuery { narrowing, limit, order, after, question })
    }

    /// Asks the archive: the messages, the cursor of the next page, and what there is to say.
    pub(super) fn page(&self, archive: &Archive) -> Result<MessagePage, ArchiveError> {
        let (items, next, note) = match (self.narrowing.is_filter_only(), self.order) {
            (true, order) => {
                let order = match order {
                    SearchOrder::Oldest => Order::Oldest,
                    SearchOrder::Newest | SearchOrder::Relevance => Order::Newest,
                };
                let after = self.after.map(|place| place.id);
                let page = archive.list(&self.narrowing.filter, order, after, self.limit)?;
                (page.items, page.next.map(Place::behind), None)
            }
            (false, order) => {
                let request = self.narrowing.request(order, self.after, self.limit);
                let found = archive.search(&request)?;
                (found.items, found.next, found.note)
            }
        };
        let mut page = MessagePage { items, next: None, note, absence: None };
        if page.items.is_empty() && next.is_none() && self.after.is_none() {
            page.note = self.why_empty(archive, page.note)?;
            page.absence = archive.absence(&self.narrowing, super::now())?;
        }
        page.next = next.map(|place| self.cursor(place));
        Ok(page)
    }

    /// What the search says about the words, and what the filters have to do with it.
    fn why_empty(
        &self,
        archive: &Archive,
        note: Option<String>,
    ) -> Result<Option<String>, ArchiveError> {
        let why = archive.why_empty(&self.narrowing)?;
        let Filter { since, until, .. } = &self.narrowing.filter;
        let period = match (since, until) {
            (Some(_), Some(_)) => "since and until",
            (Some(_), None) => "since",
            (None, _) => "until",
        };
        let names = |names: &[&'static str], between: &str| {
            let names = names.iter().map(|name| if *name == "period" { period } else { *name });
            names.collect::<Vec<_>>().join(between)
        };
        let mut notes: Vec<String> = note.into_iter().collect();
        if !why.nowhere.is_empty() {
            notes.push(format!("No message at all fits {}.", names(&why.nowhere, " or ")));
        }
        if !why.excluded_by.is_empty() {
            let names = names(&why.excluded_by, " or without ");
            notes.push(format!("There would be some without {names}."));
        }
        Ok((!notes.is_empty()).then(|| notes.join(" ")))
    }

    /// The cursor of the page after the one that ends at this place.
    fn cursor(&self, last: Place) -> String {
        cursor::encode(List::Messages, &self.question, &cursor::place_key(last))
    }
}

/// One page of messages.
#[derive(Debug)]
pub(super) struct MessagePage {
    pub items: Vec<Message>,
    pub next: Option<String>,
    /// Why there is nothing, where that is known; or what was left out.
    pub note: Option<String>,
    /// Of an answer that is empty: what is known about the app in the period.
    pub absence: Option<Absence>,
}

/// The mistake with its place, counted from 1.
fn tell(error: QuestionError) -> String {
    format!("At character {}: {}", error.position + 1, error.detail)
}

/// What narrows messages, for a route that has parameters of its own beside. The caller takes those,
/// and then finishes.
pub(super) fn narrowing(
    uri: &Uri,
    scope: &AppScope,
    own: &[&'static str],
) -> (Narrowing, Parameters) {
    let known: Vec<&'static str> = NARROWING.into_iter().chain(own.iter().copied()).collect();
    let mut parameters = Parameters::read(uri, &known);
    let narrowing = Narrowing {
        question: parameters.take("q", |text| Question::parse(text).map_err(tell)),
        filter: read_filter(&mut parameters, scope),
        read: parameters.take("read", |text| match text {
            "unread" => Ok(ReadState::Unread),
            "opened" => Ok(ReadState::Opened),
            "clicked" => Ok(ReadState::Clicked),
            _ => Err(String::from("read is unread, opened or clicked.")),
        }),
    };
    (narrowing, parameters)
}

fn read_filter(parameters: &mut Parameters, scope: &AppScope) -> Filter {
    Filter {
        channel: parameters
            .take("channel", |t| Channel::parse(t).ok_or("channel is email or sms.".into())),
        direction: parameters.take("direction", |t| {
            Direction::parse(t).ok_or("direction is outbound or inbound.".into())
        }),
        status: parameters.take("status", read_status),
        apps: scope.names().map(<[AppName]>::to_vec),
        app: parameters
            .take("app", |t| AppName::parse(t).ok_or("app is the name of an app.".into())),
        sender: parameters.take("sender", |t| read_text("sender", &with_plus(t))),
        recipient: parameters.take("recipient", |t| read_text("recipient", &with_plus(t))),
        reference: parameters.take("reference", |t| {
            Reference::parse(t).ok_or("reference is 1 to 64 characters of text.".into())
        }),
        tag: parameters
            .take("tag", |t| Tag::parse(t).ok_or("tag is 1 to 128 characters of text.".into())),
        attachment: parameters.take("attachment", |t| read_text("attachment", t)),
        since: parameters.take("since", |t| read_time("since", t)),
        until: parameters.take("until", |t| read_time("until", t)),
    }
}

pub(super) fn read_order(text: &str) -> Result<Order, String> {
    match text {
        "newest" => Ok(Order::Newest),
        "oldest" => Ok(Order::Oldest),
        _ => Err(String::from("order is newest or oldest.")),
    }
}

fn read_status(text: &str) -> Result<Status, String> {
    let words = Status::ALL.map(Status::as_str).join(", ");
    Status::parse(text).ok_or_else(|| format!("status is one of {words}."))
}

/// A number whose `+` nobody encoded: it arrives as a space, and no address begins with one.
fn with_plus(text: &str) -> Cow<'_, str> {
    match text.strip_prefix(' ') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Cow::Owned(format!("+{digits}"))
        }
        Some(_) | None => Cow::Borrowed(text),
    }
}

fn read_text(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    let good =
        (1..=MAX_TEXT_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| format!("{name} is 1 to 320 characters of text."))
}

/// RFC 3339, or a date, which is its first instant in UTC. A `+` that nobody encoded arrives as a
/// space; no time has a space there, so it is taken for what it was. Before 1970 there is nothing, so
/// an earlier time is the beginning.
pub(super) fn read_time(name: &str, text: &str) -> Result<Timestamp, String> {
    let text = text.trim().replace(' ', "+");
    let date = |text: &str| text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10;
    let time = if date(&text) { format!("{text}T00:00:00Z") } else { text };
    let read = time.parse::<jiff::Timestamp>().ok();
    read.map(|at| Timestamp::from_millis(at.as_millisecond())).ok_or_else(|| {
        format!("{name} is a time such as 2026-01-31T08:00:00Z, or a date such as 2026-01-31.")
    })
}

/// A text that is the same for two requests exactly when what they narrow to, and its order, is.
pub(super) fn question(parameters: &Parameters) -> String {
    let mut question = String::new();
    for name in NARROWING.into_iter().chain(["order"]) {
        if let Some(value) = parameters.given(name) {
            question.push_str(&format!("{name}={}:{value};", value.len()));
        }
    }
    question
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MessageId;
    use proptest::prelude::*;

    fn read(query: &str) -> Result<MessageQuery, Problem> {
        MessageQuery::read(&format!("/api/v1/messages?{query}").parse().unwrap(), &AppScope::All)
    }

    #[test]
    fn wrong_values_are_told_by_name() {
        let check = |query: &str, expected: &str| match read(query) {
            Ok(query) => panic!("{query:?}"),
            Err(problem) => {
                let text = format!("{problem:?}");
                assert!(text.contains(expected), "{query}: {text}");
            }
        };
        check("q=a%20%22b", "At character 3: this quote has no end; write");
        check("q=", "q is empty");
        check("read=both", "read is unread, opened or clicked.");
        check("statsu=sent", "did you mean");
        check("status=sended", "status is one of not_sent, pending, sent, stopped, failed.");
        check("channel=fax", "channel is email or sms.");
        check("direction=up", "direction is outbound or inbound.");
        check("order=random", "order is newest, oldest or, with q, relevance.");
        check("app=a%20b", "app is the name of an app.");
        check("sender=", "sender is 1 to 320 characters of text.");
        check("recipient=a%0d%0ab", "recipient is 1 to 320 characters of text.");
        check("attachment=%20", "attachment is 1 to 320");
        check(&format!("reference={}", "x".repeat(65)), "reference is 1 to 64 characters");
        check("tag=", "tag is 1 to 128 characters");
        check("since=yesterday", "since is a time such as");
        check("until=2026-13-01", "until is a time such as");
        check("since=20260131", "since is a time such as");
        check("cursor=AAAA", "begin again without it");
    }

    #[test]
    fn filters_are_read() {
        let query = read(
            "channel=email&status=failed&app=erp&sender=a%40b.c&since=2026-01-31\
             &until=2026-02-01T01:00:00+01:00&order=oldest&limit=7",
        )
        .unwrap();
        assert_eq!(query.narrowing.filter.channel, Some(Channel::Email));
        assert_eq!(query.narrowing.filter.status, Some(Status::Failed));
        assert_eq!(query.narrowing.filter.sender.as_deref(), Some("a@b.c"));
        assert_eq!(query.narrowing.filter.since.unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(query.narrowing.filter.until.unwrap().to_string(), "2026-02-01T00:00:00.000Z");
        assert_eq!(query.limit, 7);
        assert_eq!((query.order, query.after), (SearchOrder::Oldest, None));
        assert!(query.narrowing.is_filter_only());
        let plain = read("").unwrap();
        assert_eq!(plain.limit, 50);
        assert_eq!((plain.order, plain.after), (SearchOrder::Newest, None));
        assert_eq!(
            read("order=relevance").unwrap().order,
            SearchOrder::Newest,
            "nothing to rank by"
        );
        let asked = read("q=invoice&read=unread&order=relevance").unwrap();
        assert!(asked.narrowing.question.is_some());
        assert_eq!(
            (asked.narrowing.read, asked.order),
            (Some(ReadState::Unread), SearchOrder::Relevance)
        );
    }

    #[test]
    fn a_number_is_read_with_its_plus_however_it_was_encoded() {
        let recipient = |query: &str| read(query).unwrap().narrowing.filter.recipient.unwrap();
        assert_eq!(recipient("recipient=+4512345678"), "+4512345678");
        assert_eq!(recipient("recipient=%2B4512345678"), "+4512345678");
        assert_eq!(recipient("recipient=4512345678"), "4512345678");
        assert_eq!(recipient("recipient=+kim@example.org"), "kim@example.org");
        let sender = read("sender=+4512345678").unwrap().narrowing.filter.sender;
        assert_eq!(sender.as_deref(), Some("+4512345678"));
    }

    #[test]
    fn a_scope_narrows_every_list() {
        let erp = AppName::parse("erp").unwrap();
        let scope = AppScope::Only(vec![erp.clone()]);
        let query = MessageQuery::read(&"/?app=crm".parse().unwrap(), &scope).unwrap();
        assert_eq!(query.narrowing.filter.apps, Some(vec![erp]));
    }

    #[test]
    fn a_cursor_fits_its_own_question_only() {
        let place = Place { score: 9, ..Place::behind(MessageId::from_u128(77)) };
        let cursor = read("status=sent&read=unread&limit=1").unwrap().cursor(place);
        let after = |query: &str| {
            let query = read(&format!("{query}&cursor={cursor}"))?;
            Ok::<_, Problem>(query.after)
        };
        assert_eq!(after("status=sent&read=unread&limit=20").unwrap(), Some(place));
        assert!(after("status=sent&read=opened").is_err());
        assert!(after("status=sent&read=unread&q=x").is_err());
        assert!(after("status=failed").is_err());
        assert!(after("status=sent&order=oldest").is_err());
        assert!(after("limit=1").is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(
            name in prop::sample::select(NARROWING.to_vec()),
            value in "([a-z0-9:+.@-]|%[0-9a-f]{2}){0,40}",
            rest in "([a-z&=+;]|%[0-9a-f]{2}){0,40}",
        ) {
            if let Ok(query) = read(&format!("{name}={value}&{rest}")) {
                prop_assert!((1..=500).contains(&query.limit));
            }
        }
    }
}
