//! The tables of users and API tokens, as plain records.
//!
//! What a role may do, what a password must be and whether a token is still good is judged in
//! `account`; this file only keeps the rows. A change is decided inside the transaction that writes
//! it, by a function that sees every row of its table: so two changes at one time can not both, say,
//! disable the last but one administrator. Both tables are small (`account` limits them), so a
//! change may read all of one.
//!
//! A record that can not be read fails the call that met it and nothing else: it never closes the
//! archive, which mail needs.

use redb::{ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::audit::{self, Log, NewEntry, Slip};
use super::sessions::{self, SessionChange};
use super::stored::{Corrupt, Record};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError};
use crate::model::{AppName, Digest, Timestamp};

/// Name to `StoredUser`.
pub(super) const USERS: TableDefinition<&str, &[u8]> = TableDefinition::new("users");
/// SHA-256 of the token to `StoredToken`.
pub(super) const TOKENS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("tokens");

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub name: String,
    pub role: String,
    /// `None`: all apps.
    pub apps: Option<Vec<AppName>>,
    /// In PHC string form.
    pub password_hash: String,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    pub second_factor: Option<SecondFactorRecord>,
}

/// What a user proves a second time with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorRecord {
    /// Encrypted; `account` has the key.
    pub sealed_seed: Vec<u8>,
    /// A code was shown that fits; before that it counts for nothing.
    pub confirmed: bool,
    /// The last time step of which a code was taken: no code of it or before is taken again.
    pub last_step: u64,
    /// SHA-256 of each recovery code that was not used yet.
    pub recovery: Vec<[u8; 32]>,
}

/// What was decided on a user, with everything that changes in the same transaction.
#[derive(Clone, Debug)]
pub struct UserChange {
    pub user: UserRecord,
    pub sessions: SessionChange,
    /// Rows of the security log.
    pub entries: Vec<NewEntry>,
}

/// One API token; the token itself is stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of the token.
    pub digest: Digest,
    /// What people call it by.
    pub id: u128,
    pub role: String,
    /// `None`: all apps.
    pub apps: Option<Vec<AppName>>,
    pub note: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Archive {
    /// Every user, by name.
    pub fn users(&self) -> Result<Vec<UserRecord>, ArchiveError> {
        let transaction = self.snapshot()?;
        match transaction.open_table(USERS) {
            Ok(table) => Ok(all_users(&table).map_err(read_failed)??),
            Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
            Err(error) => Err(read_failed(error)),
        }
    }

    /// Decides on one user with all users in view, and writes what was decided.
    pub async fn change_user<R: Send + 'static>(
        &self,
        decide: impl FnOnce(&[UserRecord]) -> Result<UserChange, R> + Send + 'static,
    ) -> Result<Result<UserRecord, R>, ArchiveError> {
        let slip = Slip::current();
        let change = move |batch: &mut Batch<'_>| {
            let transaction = batch.transaction;
            let mut table = transaction.open_table(USERS)?;
            let users = match all_users(&table)? {
                Ok(users) => users,
                Err(corrupt) => return Ok(Err(corrupt)),
            };
            let UserChange { user, sessions, entries } = match decide(&users) {
                Ok(change) => change,
                Err(refusal) => return Ok(Ok(Err(refusal))),
            };
            table.insert(user.name.as_str(), &StoredUser::new(&user).encode()[..])?;
            drop(table);
            sessions::apply(transaction, &user.name, sessions)?;
            for entry in &entries {
                audit::append(transaction, Log::Security, entry)?;
            }
            if let Some(slip) = slip {
                slip.append(transaction, Some(&format!("user {}, {}", user.name, user.role)))?;
            }
            Ok(Ok(Ok(user)))
        };
        Ok(self.write(Urgency::Now, change).await??)
    }

    /// Every token, oldest first.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, ArchiveError> {
        let transaction = self.snapshot()?;
        match transaction.open_table(TOKENS) {
            Ok(table) => Ok(all_tokens(&table).map_err(read_failed)??),
            Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
            Err(error) => Err(read_failed(error)),
        }
    }

    /// The token with this digest.
    pub fn token(&self, digest: Digest) -> Result<Option<TokenRecord>, ArchiveError> {
        let transaction = self.snapshot()?;
        let table = match transaction.open_table(TOKENS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(read_failed(error)),
        };
        let row = table.get(digest.0).map_err(read_failed)?;
        Ok(row.map(|row| StoredToken::decode(row.value())?.token(digest)).transpose()?)
    }

    /// Decides on one token with all tokens in view, and writes what was decided.
    pub async fn change_token<R: Send + 'static>(
        &self,
        decide: impl FnOnce(&[TokenRecord]) -> Result<TokenRecord, R> + Send + 'static,
    ) -> Result<Result<TokenRecord, R>, ArchiveError> {
        let slip = Slip::current();
        let change = move |batch: &mut Batch<'_>| {
            let mut table = batch.transaction.open_table(TOKENS)?;
            let tokens = match all_tokens(&table)? {
                Ok(tokens) => tokens,
                Err(corrupt) => return Ok(Err(corrupt)),
            };
            let token = match decide(&tokens) {
                Ok(token) => token,
                Err(refusal) => return Ok(Ok(Err(refusal))),
            };
            table.insert(token.digest.0, &StoredToken::new(&token).encode()[..])?;
            drop(table);
            if let Some(slip) = slip {
                let id = ulid::Ulid(token.id);
                slip.append(batch.transaction, Some(&format!("token {id}, {}", token.role)))?;
            }
            Ok::<_, Failure>(Ok(Ok(token)))
        };
        Ok(self.write(Urgency::Now, change).await??)
    }
}

fn read_failed(error: impl Into<redb::Error>) -> ArchiveError {
    ArchiveError::Storage { operation: "read an account", source: Box::new(error.into()) }
}

/// The outer failure is the file's, the inner one a record's.
type Rows<T> = Result<Result<Vec<T>, Corrupt>, redb::StorageError>;

fn all_users(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Rows<UserRecord> {
    let mut users = Vec::new();
    for row in table.iter()? {
        let (name, bytes) = row?;
        match StoredUser::decode(bytes.value()).and_then(|user| user.user(name.value())) {
            Ok(user) => users.push(user),
            Err(corrupt) => return Ok(Err(corrupt)),
        }
    }
    Ok(Ok(users))
}

fn all_tokens(table: &impl ReadableTable<[u8; 32], &'static [u8]>) -> Rows<TokenRecord> {
    let mut tokens = Vec::new();
    for row in table.iter()? {
        let (digest, bytes) = row?;
        match StoredToken::decode(bytes.value()).and_then(|t| t.token(Digest(digest.value()))) {
            Ok(token) => tokens.push(token),
            Err(corrupt) => return Ok(Err(corrupt)),
        }
    }
    // Ids grow with time.
    tokens.sort_unstable_by_key(|token: &TokenRecord| token.id);
    Ok(Ok(tokens))
}

/// One row of the users table; its key is the name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredUser {
    role: String,
    apps: Option<Vec<String>>,
    password_hash: String,
    created_at: i64,
    disabled_at: Option<i64>,
    second_factor: Option<SecondFactorRecord>,
}

impl Record for StoredUser {
    const KIND: &'static str = "user";
    const VERSION: u8 = 2;
    const APPENDED: &'static [usize] = &[1];
}

impl StoredUser {
    fn new(user: &UserRecord) -> StoredUser {
        StoredUser {
            role: user.role.clone(),
            apps: user.apps.as_deref().map(app_words),
            password_hash: user.password_hash.clone(),
            created_at: user.created_at.as_millis(),
            disabled_at: user.disabled_at.map(Timestamp::as_millis),
            second_factor: user.second_factor.clone(),
        }
    }

    pub(super) fn user(self, name: &str) -> Result<UserRecord, Corrupt> {
        Ok(UserRecord {
            name: name.to_owned(),
            role: self.role,
            apps: self.apps.map(app_names).transpose()?,
            password_hash: self.password_hash,
            created_at: Timestamp::from_millis(self.created_at),
            disabled_at: self.disabled_at.map(Timestamp::from_millis),
            second_factor: self.second_factor,
        })
    }
}

/// One row of the tokens table; its key is the digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredToken {
    id: u128,
    role: String,
    apps: Option<Vec<String>>,
    note: Option<String>,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl Record for StoredToken {
    const KIND: &'static str = "token";
}

impl StoredToken {
    fn new(token: &TokenRecord) -> StoredToken {
        StoredToken {
            id: token.id,
            role: token.role.clone(),
            apps: token.apps.as_deref().map(app_words),
            note: token.note.clone(),
            created_by: token.created_by.clone(),
            created_at: token.created_at.as_millis(),
            expires_at: token.expires_at.map(Timestamp::as_millis),
            revoked_at: token.revoked_at.map(Timestamp::as_millis),
        }
    }

    fn token(self, digest: Digest) -> Result<TokenRecord, Corrupt> {
        Ok(TokenRecord {
            digest,
            id: self.id,
            role: self.role,
            apps: self.apps.map(app_names).transpose()?,
            note: self.note,
            created_by: self.created_by,
            created_at: Timestamp::from_millis(self.created_at),
            expires_at: self.expires_at.map(Timestamp::from_millis),
            revoked_at: self.revoked_at.map(Timestamp::from_millis),
        })
    }
}

fn app_words(apps: &[AppName]) -> Vec<String> {
    apps.iter().map(ToString::to_string).collect()
}

/// A name that is none must not be dropped: an account limited to it would be limited to less, or
/// with the last one gone to nothing, and nobody would know.
fn app_names(words: Vec<String>) -> Result<Vec<AppName>, Corrupt> {
    let name = |word: String| AppName::parse(&word).ok_or_else(|| Corrupt::new("app name", word));
    words.into_iter().map(name).collect()
}
