//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limiter::FailedAttempts;
use super::places::Places;
use super::problem::{Problem, ProblemKind};
use super::record::Recorder;
use super::{bulk, export, stream};
use crate::account::{AccountError, Accounts, AppScope, Role};
use crate::archive::{Archive, Message};
use crate::intake::Resender;
use crate::model::{MessageId, Timestamp, UpstreamName};

/// Reads at one time: each may hold one message of the largest size in memory.
const MAX_PARALLEL_READS: usize = 16;

/// How a configured upstream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamHealth {
    pub name: UpstreamName,
    /// Open connections, idle ones included.
    pub connections: usize,
    pub idle_connections: usize,
    /// Connections that may be open at one time.
    pub max_connections: usize,
    /// It failed several times in a row, and nothing but a probe goes to it, then.
    pub down_until: Option<Timestamp>,
    /// Why the last attempt that failed did; `None` after one that got through.
    pub last_error: Option<String>,
}

/// Asks how the configured upstreams are doing now, in the order of the configuration. It must not
/// block: it is asked while a request waits.
pub type Upstreams = Arc<dyn Fn() -> Vec<UpstreamHealth> + Send + Sync>;

/// `[admin]`, as far as it is about people.
#[derive(Clone, Debug)]
pub struct LoginRules {
    /// How long a session lives.
    pub session: Duration,
    /// Roles that must use two factors.
    pub require_2fa: Vec<Role>,
}

impl Default for LoginRules {
    fn default() -> LoginRules {
        LoginRules { session: Duration::from_secs(12 * 3600), require_2fa: Vec::new() }
    }
}

/// Rows of the logs that are still to be written.
pub struct Records(Recorder);

impl Records {
    /// Writes them, and lets go of the archive.
    pub async fn finish(self) {
        self.0.finish().await;
    }
}

/// Shared by all requests; clones are cheap.
#[derive(Clone)]
pub struct AdminState {
    pub(super) archive: Archive,
    pub(super) accounts: Accounts,
    pub(super) upstreams: Upstreams,
    pub(super) attempts: Arc<FailedAttempts>,
    /// `None`: nothing can be sent again.
    pub(super) resender: Option<Resender>,
    pub(super) streams: Places,
    pub(super) exports: Places,
    /// Told when a job is there to go on with.
    pub(super) jobs: Arc<Notify>,
    /// What goes on behind answers; whoever closes the archive waits for it.
    pub(super) tasks: TaskTracker,
    /// Ends what goes on behind answers.
    pub(super) stop: CancellationToken,
    pub(super) recorder: Recorder,
    pub(super) rules: Arc<LoginRules>,
    reads: Arc<Semaphore>,
}

impl AdminState {
    /// The API over this archive; `upstreams` tells how the upstreams are doing.
    pub fn new(archive: Archive, accounts: Accounts, upstreams: Upstreams) -> AdminState {
        AdminState {
            recorder: Recorder::new(archive.clone()),
            rules: Arc::default(),
            archive,
            accounts,
            upstreams,
            attempts: Arc::new(FailedAttempts::default()),
            resender: None,
            streams: stream::places(),
            exports: export::places(),
            jobs: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            reads: Arc::new(Semaphore::new(MAX_PARALLEL_READS)),
        }
    }

    /// The same with a door through which messages are sent again.
    pub fn resending_through(self, resender: Resender) -> AdminState {
        AdminState { resender: Some(resender), ..self }
    }

    /// The same with the daemon's own end: what goes on behind answers runs among `tasks` and ends
    /// with `stop`.
    pub fn ending_with(self, tasks: TaskTracker, stop: CancellationToken) -> AdminState {
        AdminState { tasks, stop, ..self }
    }

    /// Goes on with the jobs that were left, and with those to come, until the end.
    pub fn run_jobs(&self) {
        self.tasks.spawn(bulk::run(self.clone()));
    }

    /// The same with rules for logins.
    pub fn with_rules(self, rules: LoginRules) -> AdminState {
        AdminState { rules: Arc::new(rules), ..self }
    }

    /// What is to be called when no request comes any more, before the archive is closed.
    pub fn records(&self) -> Records {
        Records(self.recorder.clone())
    }

    /// Runs a synchronous read where it may block, a few at one time.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&AdminState) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        // The semaphore is never closed; were it, the read would run without the limit.
        let permit = self.reads.clone().acquire_owned().await.ok();
        let state = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let answer = read(&state);
            drop(permit);
            answer
        });
        // A panic in there is a bug of ours; it ends this request and nothing else.
        task.await.unwrap_or_else(|error| Err(Problem::internal("read", &error)))
    }

    /// A message, if it is there for somebody with this scope. To anybody else it does not exist.
    pub(super) fn message(&self, id: MessageId, scope: &AppScope) -> Result<Message, Problem> {
        let message = self.archive.message(id)?;
        let visible = message.filter(|message| scope.contains(&message.app));
        visible.ok_or_else(|| Problem::not_found("message"))
    }

    /// Its bytes as submitted.
    pub(super) fn raw(&self, message: &Message) -> Result<Bytes, Problem> {
        // Asked of the archive even so: the content may go between the two reads.
        let raw = self.archive.raw(message.id)?;
        raw.ok_or_else(|| content_is_gone(message.redacted_at))
    }
}

/// The message is there, its content is not.
pub(super) fn content_is_gone(at: Option<Timestamp>) -> Problem {
    let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let detail = format!("The content was taken away{when}; its events say by whom and why.");
    Problem::new(ProblemKind::NotFound, detail)
}

/// Account handlers are served on the control socket as well, where there is nothing else.
impl FromRef<AdminState> for Accounts {
    fn from_ref(state: &AdminState) -> Accounts {
        state.accounts.clone()
    }
}

/// Runs one of the accounts' synchronous reads where it may block.
pub(super) async fn read_accounts<T: Send + 'static>(
    accounts: &Accounts,
    read: impl FnOnce(&Accounts) -> Result<T, AccountError> + Send + 'static,
) -> Result<T, Problem> {
    let accounts = accounts.clone();
    match tokio::task::spawn_blocking(move || read(&accounts)).await {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(Problem::internal("read accounts", &error)),
    }
}
