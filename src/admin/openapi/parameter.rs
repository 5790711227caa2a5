//! The parameters of the API's description: those of the path by where they stand, those of the query
//! by their names.
//!
//! The same words, bounds and forms as in the handlers that read them (`parameters`, `query`).

use serde_json::{Value, json};

use crate::account::Role;
use crate::archive::Dimension;
use crate::model::{Channel, Direction, Status};

/// 26 characters of Crockford's Base32, without those that are taken for others.
pub(super) const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";
/// The name of an app or an upstream.
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
pub(super) const USER_NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$";
/// Text in one line that is not only space.
pub(super) const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

/// One parameter, as the document has it.
pub(in crate::admin) struct Parameter(pub(super) Value);

impl Parameter {
    fn query(name: &str, says: &str, schema: Value, example: &str) -> Parameter {
        Parameter(json!({
            "name": name, "in": "query", "description": says, "schema": schema, "example": example,
        }))
    }

    pub(super) fn required(mut self) -> Parameter {
        self.0["required"] = json!(true);
        self
    }
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({"type": "string", "enum": words.into_iter().collect::<Vec<_>>()})
}

fn line(max_length: u16) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max_length, "pattern": LINE})
}

/// A parameter of the path, by the segment before it.
pub(super) fn of_path(path: &str, name: &str) -> Value {
    let mut parts = path.split('/').rev().skip_while(|part| *part != format!("{{{name}}}"));
    let before = parts.nth(1).unwrap_or_default();
    let (says, schema, example) = match (before, name) {
        ("messages", _) => ("The id of a message.", ulid(), "01JD5VZ7Q4N7W4T6Y5M8R2K3B1"),
        ("sessions", _) => ("The id of a session.", ulid(), "01JD5VZ7Q4N7W4T6Y5M8R2K3B1"),
        ("tokens", _) => ("The id of a token.", ulid(), "01JD5VZ7Q4N7W4T6Y5M8R2K3B1"),
        ("attachments", _) => ("The index of an attachment.", index(), "0"),
        ("jobs", _) => ("The number of a job.", number(), "1"),
        ("deliveries", _) => ("The number of a delivery.", number(), "1"),
        ("upstreams", _) => (
            "The name of an upstream in the configuration.",
            json!({"type": "string", "pattern": NAME}),
            "provider",
        ),
        ("users", _) => (
            "The name of a user, in any case.",
            json!({"type": "string", "pattern": USER_NAME}),
            "anna",
        ),
        ("threads", _) => (
            "A reference code, with or without what stands between its parts.",
            line(64),
            "INV-12345",
        ),
        ("contacts", _) => {
            ("An e-mail address, or a number such as +4512345678.", line(320), "kim@example.org")
        }
        (_, _) => ("As a list gives it.", json!({"type": "string", "minLength": 1}), "x"),
    };
    json!({
        "name": name, "in": "path", "required": true, "description": says, "schema": schema,
        "example": example,
    })
}

fn ulid() -> Value {
    json!({"type": "string", "pattern": ULID})
}

fn index() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u16::MAX})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": i64::MAX})
}

/// A time, or a day.
fn moment(name: &str, says: &str) -> Parameter {
    let schema = json!({"anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date"},
    ]});
    Parameter::query(name, says, schema, "2026-01-31T08:00:00Z")
}

/// What narrows a list of messages in every route that has one.
pub(super) fn narrowing() -> Vec<Parameter> {
    let channels = [Channel::Email, Channel::Sms].map(Channel::as_str);
    let directions = [Direction::Outbound, Direction::Inbound].map(Direction::as_str);
    let name = json!({"type": "string", "pattern": NAME});
    let filters = [
        Parameter::query("channel", "How it travels.", words(channels), "email"),
        Parameter::query("direction", "Seen from the company.", words(directions), "outbound"),
        Parameter::query(
            "status",
            "Where the message stands.",
            words(Status::ALL.map(Status::as_str)),
            "sent",
        ),
        Parameter::query("app", "The app that submitted it.", name, "erp"),
        Parameter::query("sender", "A part of who it is from.", line(320), "anna@example.com"),
        Parameter::query("recipient", "A part of who it is to.", line(320), "kim@example.org"),
        Parameter::query("reference", "A reference code in it.", line(64), "INV-12345"),
        Parameter::query("tag", "The label that its app gave it.", line(128), "invoice"),
        Parameter::query("attachment", "A part of an attachment's name.", line(320), "pdf"),
        moment("since", "Accepted then or later."),
        moment("until", "Accepted before then."),
    ];
    searching().into_iter().chain(filters).collect()
}

/// The search beside the filters.
fn searching() -> [Parameter; 2] {
    let says = "Words, \"phrases\", from:, to:, subject:, ref:, tag:, app:, filename:, status:, is:, has:attachment, channel:, before:, after:, -word, OR; a mistake is told with its place.";
    let query = json!({"type": "string", "minLength": 1, "format": "waybill-query"});
    let states = words(["unread", "opened", "clicked"]);
    [
        Parameter::query("q", says, query, "invoice from:anna -draft"),
        Parameter::query("read", "Whether somebody read it.", states, "opened"),
    ]
}

/// Newest or oldest first; by relevance where there are words to search for.
pub(super) fn order(with_relevance: bool) -> Parameter {
    let says = match with_relevance {
        true => "What comes first; `relevance` needs `q`.",
        false => "What comes first.",
    };
    let all = ["newest", "oldest", "relevance"];
    let given = all.into_iter().filter(|word| with_relevance || *word != "relevance");
    Parameter::query("order", says, words(given), "newest")
}

/// The parts of a list.
pub(super) fn paging() -> Vec<Parameter> {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50});
    let cursor = json!({
        "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 2048,
        "format": "waybill-cursor",
    });
    let says = "`next` of the page before, with the same parameters; the first page has none.";
    let mut limit = Parameter::query("limit", "How many entries a page has.", limit, "");
    limit.0["example"] = json!(20);
    let mut cursor = Parameter::query("cursor", says, cursor, "");
    // None that is written here could be good.
    if let Some(cursor) = cursor.0.as_object_mut() {
        cursor.remove("example");
    }
    vec![limit, cursor]
}

/// Of `GET …/raw`.
pub(super) fn sent_to() -> Parameter {
    let says = "The index of a recipient: the bytes as they were relayed to them.";
    let mut parameter = Parameter::query("sent_to", says, index(), "");
    parameter.0["example"] = json!(0);
    parameter
}

/// Of `GET /statistics`.
pub(super) fn dimension() -> Parameter {
    let schema = words(Dimension::ALL.map(Dimension::as_str));
    Parameter::query("by", "What is counted.", schema, "sender").required()
}

/// Of `GET /stream`.
pub(super) fn resuming() -> [Parameter; 2] {
    let says = "The id of the last event that was read; the header field of the same name wins.";
    let mut query = Parameter::query("last_event_id", says, number(), "");
    query.0["example"] = json!(0);
    let header = Parameter(json!({
        "name": "Last-Event-ID", "in": "header", "description": says, "schema": number(),
        "example": 0,
    }));
    [query, header]
}

/// Of `GET /suppressions`.
pub(super) fn suppressed() -> [Parameter; 2] {
    let channels = words([Channel::Email, Channel::Sms].map(Channel::as_str));
    [
        Parameter::query("channel", "How it travels.", channels, "email"),
        Parameter::query(
            "recipient",
            "Exactly this address or number.",
            json!({"type": "string"}),
            "kim@example.org",
        ),
    ]
}

/// Of `GET /deliveries`.
pub(super) fn delivery_status() -> Parameter {
    let says = "Still to be told, or given up.";
    Parameter::query("status", says, words(["pending", "given_up"]), "given_up")
}

/// Of the two logs.
pub(super) fn of_logs() -> [Parameter; 3] {
    [
        moment("since", "Then or later."),
        moment("until", "Before then."),
        Parameter::query(
            "by",
            "Whose: `user anna`, `token 01J…`.",
            json!({"type": "string"}),
            "user anna",
        ),
    ]
}

/// The four words for roles.
pub(super) fn roles() -> Value {
    words(Role::ALL.map(Role::as_str))
}
