//! The only room that knows how things are stored.

pub mod accounts;
pub mod message;
pub mod settings;
mod stored;

use bytes::Bytes;
use tokio::sync::watch;

pub use accounts::{TokenRecord, UserRecord};
pub use message::{Acceptance, Attachment, Client, Event, Message, MessagePolicy, NewRecipient};
pub use message::{Recipient, Summary};
pub use settings::ArchiveSettings;

use crate::model::{
    AppName, Channel, Direction, MessageId, Reference, Sequence, Status, Tag, Timestamp,
    UpstreamName,
};

/// The archive: clones share it.
#[derive(Clone)]
pub struct Archive {}

/// Proof that a value is on disk; only the archive's writer can make one.
#[derive(Clone, Copy, Debug)]
pub struct Durable<T>(T);

impl<T: Copy> Durable<T> {
    /// The value.
    pub fn get(&self) -> T {
        self.0
    }
}

/// Why nothing more is written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive is closed for writing: {0}")]
    Closed(String),
    #[error("there is too little free space on the disk of the archive")]
    Full,
    #[error("the archive could not {operation}")]
    Storage {
        operation: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a person does to a message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    Stop,
    Restart,
    Release,
}

/// An action on some recipients of one message.
#[derive(Clone, Debug)]
pub struct Action {
    pub kind: ActionKind,
    pub message: MessageId,
    /// `None`: all for which it is possible.
    pub recipients: Option<Vec<u16>>,
    /// Who: `user anna`, `token 01J…`.
    pub by: String,
    pub at: Timestamp,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefusal {
    #[error("there is no such message")]
    NoSuchMessage,
    #[error("the message has no recipient {0}")]
    NoSuchRecipient(u16),
    /// Nothing that was asked for can be done; the text says why, for each recipient.
    #[error("{0}")]
    TooLate(String),
}

/// What a list of messages is narrowed to; `None` is everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub channel: Option<Channel>,
    pub direction: Option<Direction>,
    pub status: Option<Status>,
    /// Only these apps (a limited token or user); beside `app`.
    pub apps: Option<Vec<AppName>>,
    pub app: Option<AppName>,
    /// The author's or the reverse-path's address, whole, without case.
    pub sender: Option<String>,
    /// A recipient's address, whole, without case.
    pub recipient: Option<String>,
    pub reference: Option<Reference>,
    pub tag: Option<Tag>,
    /// Part of an attachment's name, without case.
    pub attachment: Option<String>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Newest,
    Oldest,
}

/// Part of a list, and where the next part begins.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

/// The queue at a glance.
#[derive(Clone, Debug, Default)]
pub struct QueueView {
    /// Recipients in each status.
    pub recipients: Vec<(Status, u64)>,
    pub held: u64,
    pub claimed: u64,
    /// The oldest message that still has a pending recipient that is not held.
    pub oldest_pending: Option<(MessageId, Timestamp)>,
    /// The next wake-up times, soonest first, at most 10.
    pub next_attempts: Vec<(Timestamp, MessageId)>,
    pub paused: Vec<UpstreamName>,
}

impl Archive {
    /// Makes a message durable, with its recipients, events and queue entry, in one transaction.
    pub async fn accept(
        &self,
        _acceptance: Acceptance,
    ) -> Result<Durable<MessageId>, ArchiveError> {
        todo!()
    }
    /// Stop, restart, release.
    pub async fn act(
        &self,
        _action: Action,
    ) -> Result<Result<Message, ActionRefusal>, ArchiveError> {
        todo!()
    }
    /// Pauses or resumes an upstream; survives a restart.
    pub async fn set_paused(
        &self,
        _upstream: UpstreamName,
        _paused: bool,
        _by: String,
        _at: Timestamp,
    ) -> Result<(), ArchiveError> {
        todo!()
    }
    /// One message. Reads are synchronous and take microseconds to milliseconds.
    pub fn message(&self, _id: MessageId) -> Result<Option<Message>, ArchiveError> {
        todo!()
    }
    /// Its bytes as submitted.
    pub fn raw(&self, _id: MessageId) -> Result<Option<Bytes>, ArchiveError> {
        todo!()
    }
    /// Its events, oldest first.
    pub fn events(
        &self,
        _id: MessageId,
        _after: Option<Sequence>,
        _limit: usize,
    ) -> Result<Page<Event, Sequence>, ArchiveError> {
        todo!()
    }
    /// Messages that match; the cursor is the last id of the page before.
    pub fn list(
        &self,
        _filter: &Filter,
        _order: Order,
        _after: Option<MessageId>,
        _limit: usize,
    ) -> Result<Page<Message, MessageId>, ArchiveError> {
        todo!()
    }
    /// Depth by status, oldest, next attempts, what is paused.
    pub fn queue(&self) -> Result<QueueView, ArchiveError> {
        todo!()
    }
    /// The number of the last durable event; changes after each commit that wrote one.
    pub fn journal(&self) -> watch::Receiver<Sequence> {
        todo!()
    }
    /// Runs `change` inside the next durable transaction of the records file: for the small tables
    /// of other files of this room (users, tokens, logs). Returns after the commit.
    #[allow(dead_code)]
    pub(crate) async fn apply<T: Send + 'static>(
        &self,
        _change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        todo!()
    }
    /// A snapshot of the records file for reading.
    #[allow(dead_code)]
    pub(crate) fn snapshot(&self) -> Result<redb::ReadTransaction, ArchiveError> {
        todo!()
    }
}
