//! What the calls of the dialects do, once it is known whose they are.
//!
//! A message is there only for the app that it belongs to; to every other it does not exist. A
//! callback may lead where `policy` says, and nowhere else.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use url::Url;

use super::sms_identity::Caller;
use crate::archive::{
    Action, ActionKind, ActionRefusal, Archive, ArchiveError, Client, Durable, Erasure,
    ErasureKind, Filter, Message, Order,
};
use crate::intake::{self, Intake, ReplyFate, SmsSubmission};
use crate::model::{Channel, Dialect, MessageId, ReceiptRequest, Sequence, Timestamp};
use crate::net::client::{Reach, check};
use crate::policy::{App, CallbackReach};
use crate::sms::Port;
use crate::sms::call::{Answer, Call, Draft, Handle, ListQuery, Operation, Refusal, Shown};

/// Every receipt there is, of those that Kannel's mask names.
const ALL_RECEIPTS: u8 = 31;
/// So many messages are read back without leaving the async threads.
const FEW_MESSAGES: usize = 16;
/// Pages that a list by page number skips at the most.
const MAX_PAGE: u32 = 1_000;

/// One call, with everything that is known of it.
pub(super) struct Doing<'a> {
    pub(super) intake: &'a Intake,
    pub(super) archive: &'a Archive,
    pub(super) port: &'static dyn Port,
    pub(super) request: &'a Request<Bytes>,
    pub(super) call: &'a Call,
    pub(super) caller: &'a Caller,
    pub(super) client: Client,
    pub(super) reply: Arc<dyn ReplyFate>,
    pub(super) now: Timestamp,
}

impl Doing<'_> {
    /// Does it, and says what came of it in the dialect's words.
    pub(super) async fn respond(self) -> Response<Bytes> {
        let (port, call) = (self.port, self.call);
        match self.perform().await {
            Ok(response) => response,
            Err(refusal) => port.answer(call, &Answer::Refused(&refusal)),
        }
    }

    async fn perform(self) -> Result<Response<Bytes>, Refusal> {
        let (port, call) = (self.port, self.call);
        let answer = |answer: Answer<'_>| Ok(port.answer(call, &answer));
        match &call.operation {
            Operation::Submit(Err(refusal)) => Err(refusal.clone()),
            Operation::Submit(Ok(drafts)) => {
                let shown = self.submit(drafts.clone()).await?;
                answer(Answer::Submitted(&shown))
            }
            Operation::Fetch(handle) => answer(Answer::Found(&show(&self.find(*handle).await?))),
            Operation::List(query) => {
                let (page, next) = self.list(query).await?;
                answer(Answer::Listed { page: &page, query, next })
            }
            Operation::Cancel(handle) => answer(Answer::Canceled(&self.cancel(*handle).await?)),
            Operation::Redact(handle) => {
                let erased = self.erase(*handle, ErasureKind::Redact).await?;
                let first = erased.first().ok_or(Refusal::UnknownMessage)?;
                answer(Answer::Redacted(first))
            }
            Operation::Delete(handle) => {
                self.erase(*handle, ErasureKind::Delete).await?;
                answer(Answer::Deleted)
            }
            Operation::Probe(probe) => answer(Answer::Probed(*probe)),
        }
    }

    async fn submit(&self, mut drafts: Vec<Draft>) -> Result<Vec<Shown>, Refusal> {
        let (app, dialect) = (&self.caller.app, self.port.dialect());
        let account = self.call.account.as_deref();
        // Of the call as it came: what the configuration adds is no part of it.
        let fingerprint = intake::fingerprint(&app.name, dialect, account, &drafts);
        give_callbacks(app, dialect, &mut drafts)?;
        let submission = SmsSubmission {
            app: Arc::clone(app),
            client: self.client.clone(),
            dialect,
            account: self.call.account.clone(),
            raw: self.port.masked(self.request),
            fingerprint,
            drafts,
            idempotency_key: self.call.idempotency_key.clone(),
            received_at: self.now,
            reply_to: None,
            confirms_opt_out: false,
        };
        let accepted = self.intake.submit_call(submission, Arc::clone(&self.reply)).await?;
        let archive = self.archive.clone();
        let many = accepted.ids.len() > FEW_MESSAGES;
        let read = move || {
            let ids = accepted.ids.iter().map(Durable::get);
            let messages = ids.filter_map(|id| archive.message(id).transpose());
            Ok(show(&messages.collect::<Result<Vec<_>, _>>()?))
        };
        if many { blocking(read).await } else { read().map_err(|error| not_now(&error)) }
    }

    /// The messages that a handle stands for, if they are this app's; never empty.
    async fn find(&self, handle: Handle) -> Result<Vec<Message>, Refusal> {
        let (archive, app) = (self.archive.clone(), Arc::clone(&self.caller.app));
        let found = blocking(move || match handle {
            Handle::Unknown => Ok(Vec::new()),
            Handle::Message(id) => Ok(own(&app, archive.message(id)?).into_iter().collect()),
            Handle::Batch(number) => batch(&archive, &app, number),
        });
        let found = found.await?;
        if found.is_empty() { Err(Refusal::UnknownMessage) } else { Ok(found) }
    }

    async fn list(&self, query: &ListQuery) -> Result<(Vec<Shown>, Option<MessageId>), Refusal> {
        let filter = Filter {
            channel: Some(Channel::Sms),
            app: Some(self.caller.app.name.clone()),
            sender: query.from.clone(),
            recipient: query.to.clone(),
            since: query.since,
            until: query.until,
            ..Filter::default()
        };
        let (archive, query) = (self.archive.clone(), query.clone());
        blocking(move || {
            let limit = query.page_size.clamp(1, 1_000);
            let mut after = query.after;
            // A page by its number alone: the pages before it are walked over.
            let skipped = if after.is_none() { query.page.min(MAX_PAGE) } else { 0 };
            for _ in 0..skipped {
                after = archive.list(&filter, Order::Newest, after, limit)?.next;
                if after.is_none() {
                    return Ok((Vec::new(), None));
                }
            }
            let mut page = archive.list(&filter, Order::Newest, after, limit)?;
            page.items.retain(is_there);
            Ok((show(&page.items), page.next))
        })
        .await
    }

    /// Stops what still can be stopped; of several messages one is enough for success.
    async fn cancel(&self, handle: Handle) -> Result<Vec<Shown>, Refusal> {
        let found = self.find(handle).await?;
        let mut shown = Vec::with_capacity(found.len());
        let mut stopped = false;
        for message in found {
            let action = Action {
                kind: ActionKind::Stop,
                message: message.id,
                recipients: None,
                by: format!("app {}", self.caller.app.name),
                reason: None,
                at: self.now,
            };
            let done = self.archive.act(action).await.map_err(|error| not_now(&error))?;
            stopped |= done.is_ok();
            let message = match done {
                Ok(message) => Some(message),
                Err(_) => self.archive.message(message.id).map_err(|error| not_now(&error))?,
            };
            shown.extend(message.as_ref().and_then(intake::shown));
        }
        if stopped { Ok(shown) } else { Err(Refusal::TooLate) }
    }

    async fn erase(&self, handle: Handle, kind: ErasureKind) -> Result<Vec<Shown>, Refusal> {
        let mut shown = Vec::new();
        for message in self.find(handle).await? {
            let erasure = Erasure {
                message: message.id,
                kind,
                by: format!("app {}", self.caller.app.name),
                reason: None,
                at: self.now,
            };
            match self.archive.erase(erasure).await.map_err(|error| not_now(&error))? {
                Ok(message) => shown.extend(intake::shown(&message)),
                Err(ActionRefusal::TooLate(_)) => return Err(Refusal::NotFinished),
                Err(ActionRefusal::NoSuchMessage | ActionRefusal::NoSuchRecipient(_)) => {
                    return Err(Refusal::UnknownMessage);
                }
            }
        }
        Ok(shown)
    }
}

fn show(messages: &[Message]) -> Vec<Shown> {
    messages.iter().filter_map(intake::shown).collect()
}

fn own(app: &App, message: Option<Message>) -> Option<Message> {
    let is_own = |message: &Message| {
        message.app == app.name && message.channel() == Channel::Sms && is_there(message)
    };
    message.filter(is_own)
}

/// What was deleted is there for the archive alone.
fn is_there(message: &Message) -> bool {
    message.deleted_at.is_none()
}

/// The messages of one batch by the number of its first.
fn batch(archive: &Archive, app: &App, number: Sequence) -> Result<Vec<Message>, ArchiveError> {
    let by_number = |number: Sequence| match archive.sms_by_sequence(number)? {
        Some(id) => Ok::<_, ArchiveError>(own(app, archive.message(id)?)),
        None => Ok(None),
    };
    let Some(first) = by_number(number)? else { return Ok(Vec::new()) };
    let Some(place) = first.medium.sms().map(|sms| sms.batch).filter(|batch| batch.index == 0)
    else {
        return Ok(Vec::new());
    };
    let mut messages = vec![first];
    for offset in 1..u64::from(place.count) {
        messages.extend(by_number(Sequence(number.0.saturating_add(offset)))?);
    }
    Ok(messages)
}

/// Checks where receipts are to go, and gives those drafts that name no place their account's.
fn give_callbacks(app: &App, dialect: Dialect, drafts: &mut [Draft]) -> Result<(), Refusal> {
    let usual = app.sms.callback_urls(dialect).and_then(|urls| urls.status.clone());
    let mut checked: Option<String> = None;
    for draft in drafts {
        match &draft.receipt {
            None => {
                let request = |url| ReceiptRequest { url, mask: ALL_RECEIPTS };
                draft.receipt = usual.clone().map(request);
            }
            Some(receipt) if checked.as_ref() == Some(&receipt.url) => {}
            Some(receipt) => {
                check_callback(app, &receipt.url)?;
                checked = Some(receipt.url.clone());
            }
        }
    }
    Ok(())
}

fn check_callback(app: &App, text: &str) -> Result<(), Refusal> {
    let bad = |why: &str| Refusal::BadCallback(why.to_owned());
    // A parser takes line breaks and tabs out without a word; what is sent must be what was judged.
    if text.chars().any(char::is_control) {
        return Err(bad("it holds a control character"));
    }
    let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it is no http or https URL"));
    }
    match app.sms.callback_reach(&url) {
        Some(CallbackReach::Listed) => Ok(()),
        Some(CallbackReach::Public) => {
            check(&url, Reach::Public).map_err(|why| Refusal::BadCallback(clean(&why).into_owned()))
        }
        None => Err(bad("it is none of those that the configuration allows")),
    }
}

fn clean(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_control) {
        true => text.chars().filter(|c| !c.is_control()).collect::<String>().into(),
        false => text.into(),
    }
}

/// Reads the archive where it may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(read).await {
        Ok(done) => done.map_err(|error| not_now(&error)),
        Err(bug) => {
            tracing::error!(error = %bug, "reading the archive met a bug");
            Err(Refusal::NotNow)
        }
    }
}

fn not_now(error: &ArchiveError) -> Refusal {
    tracing::error!(%error, "a call about SMS could not be done");
    Refusal::NotNow
}
