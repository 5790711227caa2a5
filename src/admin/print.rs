//! `GET /api/v1/threads/{reference}/print`: a thread as one page of HTML that prints well.
//!
//! Made of texts alone, each escaped: no HTML of a message, no picture, no script, nothing that is
//! fetched; and a policy that forbids all of it once more. It is written while it is read, one page of
//! messages at a time.

use std::fmt::Write as _;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::export;
use super::parameters::{self, Segment};
use super::places::Place;
use super::problem::Problem;
use super::state::AdminState;
use super::streamed::{Cut, Feed, streamed};
use super::threads::{self, Item, Spot};
use crate::account::{AppScope, Identity};
use crate::archive::{Message, MessageNote, Tally, ThreadEntry};
use crate::mime;
use crate::model::{Direction, EventKind, MessageId, Reference};

/// What the page may do: show itself.
const POLICY: &str = "sandbox allow-modals; default-src 'none'; style-src 'unsafe-inline'";
/// Messages and entries that are read in one look into the archive.
const MESSAGES_AT_ONCE: usize = 20;
/// Longest text of one message on paper.
const MAX_TEXT_CHARS: usize = 50_000;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"referrer\" content=\"no-referrer\"><title>";
const STYLE: &str = "</title><style>\
body{font:14px/1.45 sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#111}\
h1{font-size:1.3rem}article{border:1px solid #bbb;border-radius:6px;margin:1rem 0;padding:.6rem .9rem;break-inside:avoid}\
article.outbound{margin-left:3rem}article.inbound{margin-right:3rem}article.entry{border-style:dashed}\
h2{font-size:1rem;margin:.2rem 0}p{margin:.2rem 0;color:#444;font-size:.85rem;overflow-wrap:anywhere}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.6rem 0 0}\
@media print{body{margin:0;max-width:none}}</style></head><body>\n";
const END: &str = "</body></html>\n";

pub(super) async fn page(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(reference): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let reference = threads::read_reference(&reference)?;
    let (scope, of) = (identity.scope.clone(), reference.clone());
    let first = state.read(move |state| chunk(state, &scope, &of, None)).await?;
    if first.text.is_empty() && first.next.is_none() {
        return Err(Problem::not_found("thread"));
    }
    let place = state.exports.take(identity.actor.to_string())?;
    let (feed, body) = streamed(export::PATIENCE);
    let tasks = state.tasks.clone();
    let by = identity.actor.to_string();
    tasks.spawn(write(state, (identity.scope, by), reference, first, feed, place));
    let fields = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    Ok((fields, body).into_response())
}

/// Some of the page, the messages in it, and where the next part begins.
struct Part {
    text: Bytes,
    shown: Vec<MessageId>,
    next: Option<Spot>,
}

/// Whose apps it is limited to, and who they are.
type Reader = (AppScope, String);

async fn write(
    state: AdminState,
    reader: Reader,
    reference: Reference,
    first: Part,
    feed: Feed,
    place: Place,
) {
    let stop = state.stop.clone();
    let written = tokio::select! {
        written = parts(&state, &reader, &reference, first, &feed) => written,
        () = feed.gone() => Err(Cut::Gone),
        () = stop.cancelled() => Err(Cut::Failed),
    };
    drop((state, place));
    match written {
        Ok(()) => drop(feed),
        Err(_) => feed.fail().await,
    }
}

async fn parts(
    state: &AdminState,
    (scope, by): &Reader,
    reference: &Reference,
    mut part: Part,
    feed: &Feed,
) -> Result<(), Cut> {
    let name = escaped(reference.as_str());
    feed.send(format!("{HEAD}{name}{STYLE}<h1>{name}</h1>\n").into()).await?;
    loop {
        let Part { text, shown, next } = part;
        // What can not be noted is not shown.
        let notes = shown.into_iter().map(|message| printed(message, by)).collect();
        state.archive.record(Vec::new(), notes).await.map_err(|_| Cut::Failed)?;
        feed.send(text).await?;
        let Some(next) = next else { break };
        let (scope, reference) = (scope.clone(), reference.clone());
        let read = state.read(move |state| chunk(state, &scope, &reference, Some(next)));
        part = read.await.map_err(|_| Cut::Failed)?;
    }
    feed.send(END.into()).await
}

fn chunk(
    state: &AdminState,
    scope: &AppScope,
    reference: &Reference,
    after: Option<Spot>,
) -> Result<Part, Problem> {
    let page = threads::page(state, scope, reference, after, MESSAGES_AT_ONCE)?;
    let (mut text, mut shown) = (String::new(), Vec::new());
    for item in &page.items {
        match item {
            Item::Message(one) => {
                shown.push(one.id);
                message(&mut text, one, &text_of(state, one));
            }
            Item::Entry(one) => entry(&mut text, one),
        }
    }
    Ok(Part { text: text.into(), shown, next: page.next })
}

/// What the history of a message on paper says of it.
fn printed(message: MessageId, by: &str) -> MessageNote {
    MessageNote {
        message,
        kind: EventKind::Exported,
        by: Some(by.to_owned()),
        detail: Some("print".to_owned()),
        at: super::now(),
    }
}

/// What stands on paper; of a mail without a text, what its HTML says.
fn text_of(state: &AdminState, message: &Message) -> String {
    if message.redacted_at.is_some() {
        return String::from("(its content was deleted)");
    }
    if let Some(sms) = message.medium.sms() {
        return sms.text().to_owned();
    }
    match state.archive.raw(message.id) {
        Ok(Some(raw)) => mime::searchable(&raw, MAX_TEXT_CHARS * 4),
        Ok(None) => String::new(),
        Err(error) => {
            tracing::error!(id = %message.id, %error, "a message can not be read");
            String::from("(it can not be read)")
        }
    }
}

fn message(page: &mut String, message: &Message, text: &str) {
    let class = match message.direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    };
    let sender = match &message.summary.author {
        Some(author) => match &author.name {
            Some(name) => format!("{name} <{}>", author.address),
            None => author.address.clone(),
        },
        None => message.medium.sender().unwrap_or_default(),
    };
    let shown: Vec<String> = (0..50).map_while(|index| message.medium.recipient(index)).collect();
    let more = message.recipients.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = writeln!(page, "<article class=\"{class}\">");
    let subject = message.summary.subject.as_deref().unwrap_or_default();
    if !subject.is_empty() {
        let _ = writeln!(page, "<h2>{}</h2>", escaped(subject));
    }
    let _ = writeln!(
        page,
        "<p>{} · {} · {} → {}{more} · {}</p>",
        message.accepted_at,
        message.channel().as_str(),
        escaped(&sender),
        escaped(&shown.join(", ")),
        message.status().as_str(),
    );
    if let Some(words) = seen(message) {
        let _ = writeln!(page, "<p>{words}</p>");
    }
    for attachment in &message.summary.attachments {
        let name = attachment.filename.as_deref().unwrap_or("(without a name)");
        let size = attachment.size_bytes;
        let _ = writeln!(page, "<p>Attachment: {} ({size} bytes)</p>", escaped(name));
    }
    let cut: String = text.chars().take(MAX_TEXT_CHARS).collect();
    let dots = if cut.len() < text.len() { " …" } else { "" };
    let _ = writeln!(page, "<pre>{}{dots}</pre>\n<p>{}</p></article>", escaped(&cut), message.id);
}

/// Who is known to have had it in front of them, in numbers of recipients.
fn seen(message: &Message) -> Option<String> {
    let tally = Tally::of(message);
    let by_people = tally.opened.saturating_add(tally.clicked);
    let by_machines = tally.opened_by_machines.saturating_add(tally.clicked_by_machines);
    (by_people.saturating_add(by_machines) > 0).then(|| {
        format!(
            "Opened by {} and clicked by {} of {} recipients; by machines: opened for {}, clicked for {}",
            tally.opened,
            tally.clicked,
            tally.recipients,
            tally.opened_by_machines,
            tally.clicked_by_machines,
        )
    })
}

fn entry(page: &mut String, entry: &ThreadEntry) {
    let what = &entry.what;
    let (kind, by, text) = (escaped(&what.kind), escaped(&what.by), escaped(&what.text));
    let _ = writeln!(
        page,
        "<article class=\"entry\"><p>{} · {kind} · {by}</p><pre>{text}</pre></article>",
        what.at
    );
}

/// Text that is nothing but text in HTML, in an element or a quoted attribute. Characters that turn
/// the direction of others are shown as what they are.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "[<>&\"'a-z/=\u{202e}\r\n]{0,60}") {
            let shown = escaped(&text);
            let is_markup = shown.contains(['<', '>', '"', '\'', '\u{202e}']);
            prop_assert!(!is_markup);
        }
    }
}
