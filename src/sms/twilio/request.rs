//! An application's request, read into a call: which resource, which account, what is wanted of it.
//!
//! `/2010-04-01/Accounts/<sid>/…`, with `.json` at the end or, without it, for XML. Unknown paths and
//! methods, and queries that mean nothing, are answered here; what is wrong with a new
//! message is a refusal inside the call, so that the caller's account is checked first.

use bytes::Bytes;
use http::{Method, Request, Response};

use super::body;
use super::draft;
use super::refusal;
use super::sid;
use crate::model::{MessageId, Timestamp};
use crate::sms::call::{Call, Format, Handle, ListQuery, Operation, Probe, Refusal};
use crate::sms::form::Fields;
use crate::sms::number::{self, Country, NumberStyle};

/// The version that every path begins with.
pub(super) const VERSION: &str = "2010-04-01";
const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 1_000;
/// Page tokens are `PA` and the SID after which the page begins.
pub(super) const TOKEN_PREFIX: &str = "PA";
const DAY_MS: i64 = 86_400_000;

type Finished = Box<Response<Bytes>>;

/// What a path names below an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource<'a> {
    Account,
    Balance,
    Numbers,
    Messages,
    Message(&'a str),
}

/// A path, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub account: &'a str,
    pub format: Format,
    resource: Resource<'a>,
}

/// Whether a path is of this API at all.
pub(super) fn is_ours(path: &str) -> bool {
    let rest = path.trim_start_matches('/').strip_prefix(VERSION);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
}

/// The form that a path asks for, whatever else it says.
pub(super) fn format_of(path: &str) -> Format {
    match path.ends_with(".json") {
        true => Format::Json,
        false => Format::Xml,
    }
}

/// Takes a path apart.
pub(super) fn target(path: &str) -> Option<Target<'_>> {
    let format = format_of(path);
    let bare = path.strip_suffix(".json").or_else(|| path.strip_suffix(".xml")).unwrap_or(path);
    let mut parts = bare.trim_start_matches('/').split('/');
    if parts.next() != Some(VERSION) || parts.next() != Some("Accounts") {
        return None;
    }
    let account = parts.next().filter(|account| sid::is_account(account))?;
    let mut rest: Vec<&str> = parts.take(4).collect();
    // Clients of the first years say `SMS/Messages`.
    if rest.first() == Some(&"SMS") {
        rest.remove(0);
    }
    let resource = match rest[..] {
        [] => Resource::Account,
        ["Balance"] => Resource::Balance,
        ["IncomingPhoneNumbers"] => Resource::Numbers,
        ["Messages"] => Resource::Messages,
        ["Messages", message] => Resource::Message(message),
        _ => return None,
    };
    Some(Target { account, format, resource })
}

/// Reads a request.
pub(super) fn read(request: &Request<Bytes>) -> Result<Call, Finished> {
    let path = request.uri().path();
    let format = format_of(path);
    let refuse = |refusal: &Refusal| Box::new(refusal::response(refusal, format, path));
    let Some(target) = target(path) else { return Err(refuse(&Refusal::UnknownMessage)) };
    let Ok(fields) = body::fields(request) else {
        return Err(refuse(&Refusal::Malformed("The body is no form and no JSON object".into())));
    };
    let method = request.method();
    let operation = match (target.resource, method) {
        (Resource::Account, &Method::GET) => Operation::Probe(Probe::Account),
        (Resource::Balance, &Method::GET) => Operation::Probe(Probe::Balance),
        (Resource::Numbers, &Method::GET) => Operation::Probe(Probe::Numbers),
        (Resource::Messages, &Method::GET) => {
            Operation::List(list(&fields).map_err(|refusal| refuse(&refusal))?)
        }
        (Resource::Messages, &Method::POST) => {
            Operation::Submit(draft::read(&fields).map(|draft| vec![draft]))
        }
        (Resource::Message(text), &Method::GET) => Operation::Fetch(handle(text)),
        (Resource::Message(text), &Method::DELETE) => Operation::Delete(handle(text)),
        (Resource::Message(text), &Method::POST) => {
            update(handle(text), &fields).map_err(|refusal| refuse(&refusal))?
        }
        _ => return Err(Box::new(refusal::method_not_allowed(format))),
    };
    Ok(Call::new(request, operation, format, Some(target.account.to_owned())))
}

fn handle(text: &str) -> Handle {
    sid::parse(text).map_or(Handle::Unknown, Handle::Message)
}

/// `Status=canceled` stops, and an empty `Body` redacts; nothing else can be changed.
fn update(handle: Handle, fields: &Fields) -> Result<Operation, Refusal> {
    let wrong = |name: &'static str, why: &str| Refusal::Field { name, why: why.to_owned() };
    match (fields.get("Status").as_deref(), fields.get("Body").as_deref()) {
        (Some("canceled"), _) => Ok(Operation::Cancel(handle)),
        (Some(_), _) => Err(wrong("Status", "The only status that can be set is 'canceled'")),
        (None, Some("")) => Ok(Operation::Redact(handle)),
        (None, Some(_)) => Err(wrong("Body", "A body can only be replaced by an empty one")),
        (None, None) => Err(wrong("Body", "Either 'Body' or 'Status' is required")),
    }
}

fn list(fields: &Fields) -> Result<ListQuery, Refusal> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let wrong = |name: &'static str| Refusal::Field { name, why: "The value is not valid".into() };
    let mut query = ListQuery {
        to: given("To").map(|text| normal_destination(&text)),
        from: given("From").map(|text| normal_originator(&text)),
        page_size: DEFAULT_PAGE_SIZE,
        ..ListQuery::default()
    };
    if let Some(text) = given("PageSize") {
        let size: usize = text.parse().map_err(|_| wrong("PageSize"))?;
        query.page_size = size.clamp(1, MAX_PAGE_SIZE);
    }
    if let Some(text) = given("Page") {
        query.page = text.parse().map_err(|_| wrong("Page"))?;
    }
    if let Some(text) = given("PageToken") {
        let after = text.strip_prefix(TOKEN_PREFIX).and_then(sid::parse);
        query.after = Some(after.ok_or_else(|| wrong("PageToken"))?);
    }
    let instant = |name: &'static str| match given(name) {
        Some(text) => moment(&text).map(Some).ok_or_else(|| wrong(name)),
        None => Ok(None),
    };
    query.since = instant("DateSent>")?;
    query.until = instant("DateSent<")?;
    if let Some(at) = instant("DateSent")? {
        // One day, in UTC, whatever the hour.
        let start = at.as_millis() - at.as_millis() % DAY_MS;
        query.since = Some(Timestamp::from_millis(start));
        query.until = Some(Timestamp::from_millis(start + DAY_MS - 1));
    }
    Ok(query)
}

/// What can be no number is kept, and is found in no message.
fn normal_destination(text: &str) -> String {
    number::destination(text, NumberStyle::International, &Country::NONE)
        .map_or_else(|| text.to_owned(), |found| found.to_string())
}

fn normal_originator(text: &str) -> String {
    number::originator(text, NumberStyle::International, &Country::NONE)
        .map_or_else(|| text.to_owned(), |found| found.to_string())
}

/// ISO 8601, or a date, which is its first instant. What names no zone is UTC.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    Timestamp::parse_rfc3339(text)
        .or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
        .or_else(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")))
}

/// The token of the page that begins after this message.
pub(super) fn page_token(after: MessageId) -> String {
    format!("{TOKEN_PREFIX}{}", sid::of(after))
}
