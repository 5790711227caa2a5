//! The sessions of people who logged in, as plain records.
//!
//! What is stored is the SHA-256 of a session's secret, never the secret. How long a session lives is
//! judged in `account`. Sessions begin and end in the transaction that changes their user, so there is
//! no moment at which a password is new and an old session still good.

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::stored::Record;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError};
use crate::model::{Digest, Timestamp};

/// SHA-256 of the session's secret to `StoredSession`.
pub(super) const SESSIONS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("sessions");

/// Sessions of one user; a new one ends the oldest.
const MAX_OF_ONE_USER: usize = 20;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// What people call it by.
    pub id: u128,
    pub user: String,
    pub created_at: Timestamp,
    /// To the minute.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    /// Where it was begun from.
    pub client: String,
}

/// What becomes of a user's sessions when the user changes.
#[derive(Clone, Debug)]
pub enum SessionChange {
    Keep,
    EndAll,
    Begin(SessionRecord),
    /// All end, and this one begins.
    Replace(SessionRecord),
}

/// Which sessions end.
#[derive(Clone, Debug)]
pub enum EndedSessions {
    OfUser(String),
    /// One of a user, by its id.
    One(String, u128),
}

impl Archive {
    /// The session with this digest.
    pub fn session(&self, digest: Digest) -> Result<Option<SessionRecord>, ArchiveError> {
        let snapshot = self.snapshot()?;
        let read = || -> Result<Option<SessionRecord>, Failure> {
            let table = snapshot.open_table(SESSIONS)?;
            let Some(bytes) = table.get(digest.0)? else { return Ok(None) };
            Ok(Some(StoredSession::decode(bytes.value())?.session(digest)))
        };
        Ok(read()?)
    }

    /// The sessions of one user, oldest first.
    pub fn sessions_of(&self, user: &str) -> Result<Vec<SessionRecord>, ArchiveError> {
        let snapshot = self.snapshot()?;
        let read =
            || -> Result<Vec<SessionRecord>, Failure> { all(&snapshot.open_table(SESSIONS)?) };
        let mut sessions = read()?;
        sessions.retain(|session| session.user == user);
        Ok(sessions)
    }

    /// Ends sessions; true when there was one.
    pub async fn end_sessions(&self, ended: EndedSessions) -> Result<bool, ArchiveError> {
        let end = move |batch: &mut Batch<'_>| {
            let is_meant = |session: &SessionRecord| match &ended {
                EndedSessions::OfUser(user) => session.user == *user,
                EndedSessions::One(user, id) => session.user == *user && session.id == *id,
            };
            Ok(remove(batch.transaction, is_meant)? > 0)
        };
        self.write_recorded(end).await
    }

    /// Notes that a session is in use.
    pub async fn touch_session(&self, digest: Digest, at: Timestamp) -> Result<(), ArchiveError> {
        let touch = move |batch: &mut Batch<'_>| {
            let mut table = batch.transaction.open_table(SESSIONS)?;
            let found = table.get(digest.0)?.map(|bytes| StoredSession::decode(bytes.value()));
            // It may have ended meanwhile.
            let Some(mut stored) = found.transpose()? else { return Ok(()) };
            stored.seen_at = at.as_millis();
            table.insert(digest.0, &stored.encode()[..])?;
            Ok(())
        };
        self.write(Urgency::Soon, touch).await
    }
}

/// Does to a user's sessions what a change of the user asks for.
pub(super) fn apply(
    transaction: &WriteTransaction,
    user: &str,
    change: SessionChange,
) -> Result<(), Failure> {
    let begun = match change {
        SessionChange::Keep => return Ok(()),
        SessionChange::EndAll => {
            remove(transaction, |session| session.user == user)?;
            return Ok(());
        }
        SessionChange::Replace(session) => {
            remove(transaction, |session| session.user == user)?;
            session
        }
        SessionChange::Begin(session) => session,
    };
    let theirs = {
        let mut theirs = all(&transaction.open_table(SESSIONS)?)?;
        theirs.retain(|session| session.user == user);
        theirs
    };
    let surplus = (theirs.len() + 1).saturating_sub(MAX_OF_ONE_USER);
    let oldest: Vec<u128> = theirs.iter().take(surplus).map(|session| session.id).collect();
    let now = begun.created_at;
    remove(transaction, |session| oldest.contains(&session.id) || session.expires_at <= now)?;
    let mut table = transaction.open_table(SESSIONS)?;
    table.insert(begun.digest.0, &StoredSession::new(&begun).encode()[..])?;
    Ok(())
}

fn remove(
    transaction: &WriteTransaction,
    is_meant: impl Fn(&SessionRecord) -> bool,
) -> Result<usize, Failure> {
    let mut table = transaction.open_table(SESSIONS)?;
    let mut ended = all(&table)?;
    ended.retain(is_meant);
    for session in &ended {
        table.remove(session.digest.0)?;
    }
    Ok(ended.len())
}

/// Oldest first. One that can not be read is left out: it opens nothing.
fn all(table: &impl ReadableTable<[u8; 32], &'static [u8]>) -> Result<Vec<SessionRecord>, Failure> {
    let mut sessions = Vec::new();
    for row in table.iter()? {
        let (digest, bytes) = row?;
        if let Ok(stored) = StoredSession::decode(bytes.value()) {
            sessions.push(stored.session(Digest(digest.value())));
        }
    }
    sessions.sort_unstable_by_key(|session: &SessionRecord| session.id);
    Ok(sessions)
}

/// One row of the table; its key is the digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSession {
    id: u128,
    user: String,
    created_at: i64,
    seen_at: i64,
    expires_at: i64,
    client: String,
}

impl Record for StoredSession {
    const KIND: &'static str = "session";
}

impl StoredSession {
    fn new(session: &SessionRecord) -> StoredSession {
        StoredSession {
            id: session.id,
            user: session.user.clone(),
            created_at: session.created_at.as_millis(),
            seen_at: session.seen_at.as_millis(),
            expires_at: session.expires_at.as_millis(),
            client: session.client.clone(),
        }
    }

    fn session(self, digest: Digest) -> SessionRecord {
        SessionRecord {
            digest,
            id: self.id,
            user: self.user,
            created_at: Timestamp::from_millis(self.created_at),
            seen_at: Timestamp::from_millis(self.seen_at),
            expires_at: Timestamp::from_millis(self.expires_at),
            client: self.client,
        }
    }
}
