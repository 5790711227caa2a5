//! The parameters of `GET /api/v1/messages`, as the archive's filter.

use axum::http::Uri;

use super::cursor::{self, List};
use super::parameters::Parameters;
use super::problem::{Problem, ProblemKind};
use crate::account::AppScope;
use crate::archive::{Filter, Order};
use crate::model::{AppName, Channel, Direction, MessageId, Reference, Status, Tag, Timestamp};

/// What narrows the list, in the order in which it makes the cursor's question.
const FILTERS: [&str; 12] = [
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
    "order",
];
/// Longest text that is searched for, in bytes: an address has at most 254.
const MAX_TEXT_BYTES: usize = 320;

/// One page that was asked for.
#[derive(Debug)]
pub(super) struct MessageQuery {
    pub filter: Filter,
    pub order: Order,
    pub limit: usize,
    pub after: Option<MessageId>,
    /// All parameters that the next page must have as well.
    question: String,
}

impl MessageQuery {
    /// Reads the parameters; `scope` is what the asker may see at all.
    pub(super) fn read(uri: &Uri, scope: &AppScope) -> Result<MessageQuery, Problem> {
        let known: Vec<&'static str> =
            FILTERS.into_iter().chain(["limit", "cursor", "q", "read"]).collect();
        let mut parameters = Parameters::read(uri, &known);
        for later in ["q", "read"] {
            if parameters.given(later).is_some() {
                let detail = format!("The parameter {later} is not available in this version.");
                return Err(Problem::of_field(ProblemKind::NotAvailable, later, detail));
            }
        }
        let question = question(&parameters);
        let filter = read_filter(&mut parameters, scope);
        let order = parameters.take("order", read_order);
        let limit = parameters.limit();
        let after = parameters.take("cursor", |text| {
            let key = cursor::decode(List::Messages, &question, text);
            let id = key.as_deref().and_then(cursor::read_message_key);
            id.ok_or_else(|| cursor::NOT_OURS.to_owned())
        });
        parameters.finish()?;
        let order = order.unwrap_or_default();
        Ok(MessageQuery { filter, order, limit, after, question })
    }

    /// The cursor of the page after the one that ends with `last`.
    pub(super) fn cursor(&self, last: MessageId) -> String {
        cursor::encode(List::Messages, &self.question, &cursor::message_key(last))
    }
}

/// The filters of the list for another route, which has parameters of its own beside them. The caller
/// takes those, and then finishes.
pub(super) fn narrowing(uri: &Uri, scope: &AppScope, own: &[&'static str]) -> (Filter, Parameters) {
    let filters = FILTERS.into_iter().filter(|name| *name != "order");
    let known: Vec<&'static str> = filters.chain(own.iter().copied()).collect();
    let mut parameters = Parameters::read(uri, &known);
    let filter = read_filter(&mut parameters, scope);
    (filter, parameters)
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
        sender: parameters.take("sender", |t| read_text("sender", t)),
        recipient: parameters.take("recipient", |t| read_text("recipient", t)),
        reference: parameters.take("reference", |t| {
            Reference::parse(t).ok_or("reference is 1 to 64 bytes of text.".into())
        }),
        tag: parameters
            .take("tag", |t| Tag::parse(t).ok_or("tag is 1 to 128 bytes of text.".into())),
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

fn read_text(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| format!("{name} is 1 to 320 bytes of text."))
}

/// RFC 3339, or a date, which is its first instant in UTC. A `+` that nobody encoded arrives as a
/// space; no time has a space there, so it is taken for what it was.
fn read_time(name: &str, text: &str) -> Result<Timestamp, String> {
    let text = text.trim().replace(' ', "+");
    let date = |text: &str| text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10;
    let time = if date(&text) { format!("{text}T00:00:00Z") } else { text };
    Timestamp::parse_rfc3339(&time).ok_or_else(|| {
        format!("{name} is a time such as 2026-01-31T08:00:00Z, or a date such as 2026-01-31.")
    })
}

/// A text that is the same for two requests exactly when their lists are.
fn question(parameters: &Parameters) -> String {
    let mut question = String::new();
    for name in FILTERS {
        if let Some(value) = parameters.given(name) {
            question.push_str(&format!("{name}={}:{value};", value.len()));
        }
    }
    question
}

#[cfg(test)]
mod tests {
    use super::*;
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
        check("q=invoice", "The parameter q is not available in this version.");
        check("read=opened", "The parameter read is not available in this version.");
        check("statsu=sent", "did you mean");
        check("status=sended", "status is one of not_sent, pending, sent, stopped, failed.");
        check("channel=fax", "channel is email or sms.");
        check("direction=up", "direction is outbound or inbound.");
        check("order=random", "order is newest or oldest.");
        check("app=a%20b", "app is the name of an app.");
        check("sender=", "sender is 1 to 320 bytes of text.");
        check("recipient=a%0d%0ab", "recipient is 1 to 320 bytes of text.");
        check("attachment=%20", "attachment is 1 to 320");
        check(&format!("reference={}", "x".repeat(65)), "reference is 1 to 64 bytes");
        check("tag=", "tag is 1 to 128 bytes");
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
        assert_eq!(query.filter.channel, Some(Channel::Email));
        assert_eq!(query.filter.status, Some(Status::Failed));
        assert_eq!(query.filter.sender.as_deref(), Some("a@b.c"));
        assert_eq!(query.filter.since.unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(query.filter.until.unwrap().to_string(), "2026-02-01T00:00:00.000Z");
        assert_eq!((query.order, query.limit, query.after), (Order::Oldest, 7, None));
        let plain = read("").unwrap();
        assert_eq!((plain.order, plain.limit), (Order::Newest, 50));
    }

    #[test]
    fn a_scope_narrows_every_list() {
        let erp = AppName::parse("erp").unwrap();
        let scope = AppScope::Only(vec![erp.clone()]);
        let query = MessageQuery::read(&"/?app=crm".parse().unwrap(), &scope).unwrap();
        assert_eq!(query.filter.apps, Some(vec![erp]));
    }

    #[test]
    fn a_cursor_fits_its_own_question_only() {
        let id = MessageId::from_u128(77);
        let cursor = read("status=sent&limit=1").unwrap().cursor(id);
        let after = |query: &str| read(&format!("{query}&cursor={cursor}")).map(|q| q.after);
        assert_eq!(after("status=sent&limit=20").unwrap(), Some(id));
        assert!(after("status=failed").is_err());
        assert!(after("status=sent&order=oldest").is_err());
        assert!(after("limit=1").is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(
            name in prop::sample::select(FILTERS.to_vec()),
            value in "([a-z0-9:+.@-]|%[0-9a-f]{2}){0,40}",
            rest in "([a-z&=+;]|%[0-9a-f]{2}){0,40}",
        ) {
            if let Ok(query) = read(&format!("{name}={value}&{rest}")) {
                prop_assert!((1..=500).contains(&query.limit));
            }
        }
    }
}
