//! What is written into the two logs, and when.
//!
//! A call that changes something puts its rows on a slip, and the change carries them into its own
//! transaction. What changes nothing is gathered and written at most half a second later, and before an
//! orderly end; a crash, or a power cut, loses what was read in that half second. So are
//! failures, where equal ones become one row with a count, and where beyond so many a minute they are
//! no longer told apart: nobody fills the disk by failing. Secrets can not come here by their type;
//! what may be one in a path is hidden.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio_util::task::TaskTracker;

use super::problem::Problem;
use crate::account::{Identity, Permission};
use crate::archive::{Archive, ArchiveError, Log, MessageNote, NewEntry, Slip};
use crate::model::{EventKind, MessageId};

/// How long rows of reads wait for company.
const GATHER: Duration = Duration::from_millis(500);
/// Rows that may wait; whoever brings one more waits for the disk.
const MAX_PENDING: usize = 1_000;
/// Rows of failures that are told apart in one minute.
const MAX_FAILURES: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);
/// What a token begins with.
const TOKEN_PREFIX: &str = "wb_";

/// Gathers what is to be written; clones share it.
#[derive(Clone)]
pub(crate) struct Recorder {
    archive: Archive,
    inner: Arc<Inner>,
    tasks: TaskTracker,
}

struct Inner {
    pending: Mutex<Pending>,
    /// Held while rows are written, so that they keep their order.
    turn: tokio::sync::Mutex<()>,
    budget: Mutex<(Instant, u32)>,
}

#[derive(Default)]
struct Pending {
    entries: Vec<(Log, NewEntry)>,
    notes: Vec<MessageNote>,
    is_planned: bool,
}

impl Recorder {
    pub(super) fn new(archive: Archive) -> Recorder {
        let inner = Inner {
            pending: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            budget: Mutex::new((Instant::now(), 0)),
        };
        Recorder { archive, inner: Arc::new(inner), tasks: TaskTracker::new() }
    }

    /// Takes a row that no change carries.
    pub(super) async fn add(&self, log: Log, entry: NewEntry, note: Option<MessageNote>) {
        let is_full = {
            // A panic while the lock was held left a valid list behind.
            let mut pending = self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.take_in(log, entry, note);
            if !pending.is_planned {
                pending.is_planned = true;
                let recorder = self.clone();
                self.tasks.spawn(async move {
                    tokio::time::sleep(GATHER).await;
                    recorder.flush().await;
                });
            }
            pending.entries.len() >= MAX_PENDING
        };
        if is_full {
            self.flush().await;
        }
    }

    /// Takes a row of the security log that tells of a failure.
    pub(super) async fn failure(&self, entry: NewEntry) {
        let entry = match self.has_budget(Instant::now()) {
            true => entry,
            false => NewEntry {
                detail: Some("more than are told apart in a minute".to_owned()),
                ..NewEntry::of(entry.what, entry.at)
            },
        };
        self.add(Log::Security, entry, None).await;
    }

    fn has_budget(&self, now: Instant) -> bool {
        let mut budget = self.inner.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(budget.0) >= MINUTE {
            *budget = (now, 0);
        }
        budget.1 = budget.1.saturating_add(1);
        budget.1 <= MAX_FAILURES
    }

    /// Writes what waits.
    async fn flush(&self) {
        let turn = self.inner.turn.lock().await;
        let Pending { entries, notes, .. } =
            std::mem::take(&mut *self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if !entries.is_empty()
            && let Err(error) = self.archive.record(entries, notes).await
        {
            tracing::error!(%error, "rows of the logs could not be written");
        }
        drop(turn);
    }

    /// Writes what waits, and lets go of the archive.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.flush().await;
        self.tasks.wait().await;
    }

    /// Runs a call of somebody who may make it, with its rows.
    pub(super) async fn around(&self, call: Call, request: Request, next: Next) -> Response {
        if matches!(call.method, Method::GET | Method::HEAD) {
            let response = next.run(request).await;
            let status = response.status().as_u16();
            let note = call.note().filter(|_| response.status().is_success());
            self.add(Log::Operations, call.entry(status), note).await;
            return response;
        }
        let slip = Slip::new(call.entries(call.rule.promised));
        let response = slip.accompany(next.run(request)).await;
        match self.settle(&call, &slip, response.status().as_u16()).await {
            Ok(()) => response,
            // What can not be recorded is not told as done.
            Err(error) => Problem::from(error).into_response(),
        }
    }

    async fn settle(&self, call: &Call, slip: &Slip, status: u16) -> Result<(), ArchiveError> {
        let was_carried = slip.take().is_empty();
        match (was_carried, status) {
            (true, 200..=299) => Ok(()),
            (false, 200..=299) => self.archive.record(call.entries(status), Vec::new()).await,
            (_, _) => {
                self.add(Log::Operations, call.entry(status), None).await;
                if call.route.contains("/2fa") {
                    let entry = NewEntry { what: "two_factor_refused", ..call.entry(status) };
                    self.failure(NewEntry { status: None, ..entry }).await;
                }
                Ok(())
            }
        }
    }
}

impl Pending {
    fn take_in(&mut self, log: Log, entry: NewEntry, note: Option<MessageNote>) {
        let same = |(other_log, other): &&mut (Log, NewEntry)| {
            let other = NewEntry { at: entry.at, count: entry.count, ..other.clone() };
            *other_log == log && other == entry
        };
        match self.entries.iter_mut().rev().take(64).find(same) {
            Some((_, other)) => other.count = other.count.saturating_add(1),
            None => self.entries.push((log, entry)),
        }
        let Some(note) = note else { return };
        let is_known = |other: &MessageNote| {
            (other.message, other.kind, &other.by) == (note.message, note.kind, &note.by)
        };
        if !self.notes.iter().any(is_known) {
            self.notes.push(note);
        }
    }
}

/// What the table of routes says of every call of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub permission: Permission,
    /// The status of an answer to what was done.
    pub promised: u16,
    /// What it leaves in the history of its message.
    pub leaves: Option<EventKind>,
    /// What the security log calls it.
    pub security: Option<&'static str>,
}

/// A call of somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub rule: Rule,
    pub by: String,
    pub client: String,
    pub method: Method,
    /// As the table of routes writes it, without `/api/v1`.
    pub route: String,
    /// With the query.
    pub path: String,
}

impl Call {
    pub(crate) fn new(
        identity: &Identity,
        client: String,
        request: &Request,
        (route, rule): (&str, Rule),
    ) -> Call {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        Call {
            rule,
            by: identity.actor.to_string(),
            client,
            method: request.method().clone(),
            route: route.strip_prefix("/api/v1").unwrap_or(route).to_owned(),
            path: without_tokens(path),
        }
    }

    /// Its row of the operations log.
    fn entry(&self, status: u16) -> NewEntry {
        NewEntry {
            by: Some(self.by.clone()),
            client: Some(self.client.clone()),
            route: Some(self.route.clone()),
            path: Some(self.path.clone()),
            status: Some(status),
            ..NewEntry::of(method_word(&self.method), super::now())
        }
    }

    /// Its rows of both logs.
    pub(crate) fn entries(&self, status: u16) -> Vec<(Log, NewEntry)> {
        let operation = self.entry(status);
        let security = self.rule.security.map(|what| {
            (Log::Security, NewEntry { what, status: None, route: None, ..operation.clone() })
        });
        std::iter::once((Log::Operations, operation)).chain(security).collect()
    }

    /// What a message's history says of it.
    fn note(&self) -> Option<MessageNote> {
        let kind = self.rule.leaves?;
        let rest = self.route.strip_prefix("/messages/{id}/")?;
        let path = self.path.split('?').next().unwrap_or_default();
        let id = path.split('/').skip_while(|part| *part != "messages").nth(1)?;
        Some(MessageNote {
            message: MessageId::parse(id)?,
            kind,
            by: Some(self.by.clone()),
            detail: Some(rest.split('/').next().unwrap_or(rest).to_owned()),
            at: super::now(),
        })
    }
}

fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Somebody may have put a token where it does not belong.
fn without_tokens(path: &str) -> String {
    let mut parts = path.split(TOKEN_PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        shown.push_str("[hidden]");
        shown.push_str(part.trim_start_matches(is_of_token));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, route: &str, path: &str) -> Call {
        let permission = Permission::ReadMessages;
        let leaves = route.ends_with("/raw").then_some(EventKind::Viewed);
        Call {
            rule: Rule { permission, promised: 200, leaves, security: None },
            by: "user anna".into(),
            client: "192.0.2.1".into(),
            method,
            route: route.into(),
            path: path.into(),
        }
    }

    #[test]
    fn tokens_in_a_path_are_hidden() {
        let check = |path: &str, expected: &str| assert_eq!(without_tokens(path), expected);
        check("/api/v1/tokens/wb_aB-_9?x=wb_c&y=1", "/api/v1/tokens/[hidden]?x=[hidden]&y=1");
        check("/api/v1/messages?q=web", "/api/v1/messages?q=web");
    }

    #[test]
    fn only_content_is_viewed() {
        let viewed = |rule: Rule| rule.leaves == Some(EventKind::Viewed);
        let routes = crate::admin::routes();
        let paths: Vec<&str> =
            routes.iter().filter(|route| viewed(route.rule())).map(|route| route.path).collect();
        let of_one = ["raw", "html", "text", "attachments/{n}"];
        assert_eq!(paths, of_one.map(|rest| format!("/api/v1/messages/{{id}}/{rest}")));
        let path = "/api/v1/messages/01JD5VZ7Q4N7W4T6Y5M8R2K3B1/raw?sent_to=0";
        assert!(call(Method::GET, "/messages/{id}/events", path).note().is_none());
        let note = call(Method::GET, "/messages/{id}/raw", path).note().unwrap();
        assert_eq!((note.kind, note.detail.as_deref()), (EventKind::Viewed, Some("raw")));
    }

    #[test]
    fn the_security_log_tells_of_every_change_of_an_account() {
        for route in crate::admin::routes() {
            let is_change = route.method != Method::GET
                && matches!(route.permission, Permission::ManageAccounts | Permission::Identify);
            assert_eq!(route.rule().security.is_some(), is_change, "{}", route.path);
        }
    }

    #[test]
    fn equal_rows_become_one_with_a_count() {
        let mut pending = Pending::default();
        for path in ["/a", "/a", "/b", "/a"] {
            let entry = call(Method::GET, "/x", path).entry(200);
            pending.take_in(Log::Operations, entry, None);
        }
        let counts: Vec<u32> = pending.entries.iter().map(|(_, entry)| entry.count).collect();
        assert_eq!(counts, [3, 1]);
    }
}
