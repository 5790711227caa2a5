//! The accounts of one archive: add, list, change, and tell who somebody is.
//!
//! Every rule that looks at more than one row (a name is taken, an administrator must remain) is
//! decided inside the writing transaction. Reads are synchronous, like the archive's. Tokens and
//! passwords are never logged; ids and names are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::identity::{Actor, AppScope, Identity};
use super::lockout::Lockout;
use super::password::{self, Hasher};
use super::role::Role;
use super::token::{self, MAX_NOTE_BYTES, NewToken, Token, TokenId, TokenRefusal};
use super::user::{NewUser, User, UserEdit, UserName};
use crate::archive::{
    Archive, ArchiveError, Log, LogCheck, NewEntry, SessionChange, TokenRecord, UserChange,
    UserRecord,
};
use crate::model::{AppName, Secret, Timestamp};

/// Users and tokens that one archive keeps, of each: a change reads all of them.
const MAX_ACCOUNTS: usize = 10_000;

/// Why an account was not changed; fit to be shown to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefusal {
    #[error("there is a user {0} already")]
    UserExists(UserName),
    #[error("there is no user {0}")]
    NoSuchUser(UserName),
    #[error("the user {0} is disabled; enable it first")]
    UserDisabled(UserName),
    #[error("{0} is the last administrator, and one must remain")]
    LastAdmin(UserName),
    #[error("there is no token {0}")]
    NoSuchToken(TokenId),
    #[error("there is no session {0}")]
    NoSuchSession(TokenId),
    #[error("two-factor is on already; take it away first")]
    TwoFactorExists,
    #[error("two-factor is not on, or its enrolment was not begun")]
    NoTwoFactor,
    #[error("the code is not right, or was used already")]
    WrongCode,
    #[error("the second factor can not be read; an administrator can reset it")]
    SecondFactorUnreadable,
    #[error("a password has at least 12 characters")]
    PasswordTooShort,
    #[error("a password has at most 1024 characters")]
    PasswordTooLong,
    #[error("this password is too easy to guess")]
    PasswordTooPlain,
    #[error("a note has at most 200 bytes and no control characters")]
    Note,
    #[error("the expiry is in the past")]
    ExpiryInThePast,
    #[error("there are 10000 of them already")]
    TooMany,
}

/// Why something about an account could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error(transparent)]
    Refused(#[from] AccountRefusal),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("a password could not be hashed: {0}")]
    Hash(String),
    #[error("the system gives no random numbers")]
    Random,
    #[error("too many passwords are being checked; try again in a moment")]
    Busy,
}

/// The accounts; clones share them.
#[derive(Clone)]
pub struct Accounts {
    pub(super) archive: Archive,
    pub(super) hasher: Hasher,
    pub(super) guard: Arc<Guard>,
    /// Encrypts the seeds of second factors.
    seal: Arc<OnceCell<[u8; 32]>>,
}

/// What keeps guesses slow.
pub(super) struct Guard {
    pub names: Lockout<String>,
    pub networks: Lockout<IpAddr>,
    pub codes: Lockout<String>,
}

/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

impl Accounts {
    /// The accounts that this archive keeps.
    pub fn new(archive: Archive) -> Accounts {
        let wait = Duration::from_secs(30);
        let guard = Guard {
            names: Lockout::new(5, wait, LONGEST_WAIT),
            // More people than one are behind an address.
            networks: Lockout::new(20, wait, LONGEST_WAIT),
            codes: Lockout::new(5, LONGEST_WAIT, 16 * LONGEST_WAIT),
        };
        Accounts { archive, hasher: Hasher::new(), guard: Arc::new(guard), seal: Arc::default() }
    }

    /// Writes rows of the logs that no change carried.
    pub async fn record(&self, entries: Vec<(Log, NewEntry)>) -> Result<(), AccountError> {
        Ok(self.archive.record(entries, Vec::new()).await?)
    }

    /// Reads a whole log and checks its chain.
    pub fn check_log(&self, log: Log) -> Result<LogCheck, AccountError> {
        Ok(self.archive.check_log(log)?)
    }

    pub(super) async fn seal_key(&self) -> Result<[u8; 32], AccountError> {
        Ok(*self.seal.get_or_try_init(|| self.archive.key("two_factor")).await?)
    }

    /// Adds a user. The name of a disabled user can be used again: it is then enabled with the new
    /// role, limit and password.
    pub async fn add_user(
        &self,
        new: NewUser,
        password: Secret,
        now: Timestamp,
    ) -> Result<User, AccountError> {
        password::check_rule(&new.name, &password)?;
        let hash = self.hasher.hash(password).await?;
        let record = UserRecord {
            name: new.name.as_str().to_owned(),
            role: new.role.as_str().to_owned(),
            apps: new.scope.names().map(<[AppName]>::to_vec),
            password_hash: hash,
            created_at: now,
            disabled_at: None,
            second_factor: None,
        };
        let decide = move |users: &[UserRecord]| match named(users, &new.name) {
            Some(user) if user.disabled_at.is_none() => Err(AccountRefusal::UserExists(new.name)),
            Some(user) => Ok(ended(UserRecord { created_at: user.created_at, ..record })),
            None if users.len() >= MAX_ACCOUNTS => Err(AccountRefusal::TooMany),
            None => Ok(ended(record)),
        };
        User::from_record(&self.archive.change_user(decide).await??)
    }

    /// Every user, by name.
    pub fn users(&self) -> Result<Vec<User>, AccountError> {
        self.archive.users()?.iter().map(User::from_record).collect()
    }

    /// Gives a user another password.
    pub async fn set_password(
        &self,
        name: UserName,
        password: Secret,
    ) -> Result<User, AccountError> {
        password::check_rule(&name, &password)?;
        let hash = self.hasher.hash(password).await?;
        let decide = move |users: &[UserRecord]| match named(users, &name) {
            None => Err(AccountRefusal::NoSuchUser(name)),
            Some(user) if user.disabled_at.is_some() => Err(AccountRefusal::UserDisabled(name)),
            Some(user) => Ok(ended(UserRecord { password_hash: hash, ..user.clone() })),
        };
        User::from_record(&self.archive.change_user(decide).await??)
    }

    /// Gives a user another role or another limit to apps, disables or enables it. It ends the
    /// sessions: nobody goes on with more or fewer rights than they began with. Whoever is enabled has
    /// the password and the second factor of before.
    pub async fn edit_user(
        &self,
        name: UserName,
        edit: UserEdit,
        now: Timestamp,
    ) -> Result<User, AccountError> {
        let decide = move |users: &[UserRecord]| {
            let Some(user) = named(users, &name) else {
                return Err(AccountRefusal::NoSuchUser(name));
            };
            let mut edited = user.clone();
            edited.disabled_at = match edit.disabled {
                Some(true) => user.disabled_at.or(Some(now)),
                Some(false) => None,
                None if user.disabled_at.is_some() => {
                    return Err(AccountRefusal::UserDisabled(name));
                }
                None => None,
            };
            if let Some(role) = edit.role {
                role.as_str().clone_into(&mut edited.role);
            }
            if let Some(scope) = edit.scope {
                edited.apps = scope.names().map(<[AppName]>::to_vec);
            }
            if is_last_admin(users, user) && !lets_in(&edited) {
                return Err(AccountRefusal::LastAdmin(name));
            }
            match edited == *user {
                true => Ok(UserChange { sessions: SessionChange::Keep, ..ended(edited) }),
                false => Ok(ended(edited)),
            }
        };
        User::from_record(&self.archive.change_user(decide).await??)
    }

    /// Disables a user; the last administrator can not be. Disabling twice keeps the first time.
    pub async fn disable_user(&self, name: UserName, now: Timestamp) -> Result<User, AccountError> {
        let decide = move |users: &[UserRecord]| {
            let Some(user) = named(users, &name) else {
                return Err(AccountRefusal::NoSuchUser(name));
            };
            if is_last_admin(users, user) {
                return Err(AccountRefusal::LastAdmin(name));
            }
            let disabled_at = user.disabled_at.or(Some(now));
            Ok(ended(UserRecord { disabled_at, ..user.clone() }))
        };
        User::from_record(&self.archive.change_user(decide).await??)
    }

    /// Who this is, if the password is right and the user is not disabled. It takes as long for an
    /// unknown user.
    pub async fn check_password(
        &self,
        name: &UserName,
        password: Secret,
    ) -> Result<Option<Identity>, AccountError> {
        let users = self.archive.users()?;
        let found = named(&users, name).filter(|user| user.disabled_at.is_none());
        let hash = found.map(|user| user.password_hash.clone());
        if !self.hasher.matches(password, hash).await? {
            return Ok(None);
        }
        let user = found.map(User::from_record).transpose()?;
        Ok(user.map(|user| Identity {
            actor: Actor::User(user.name),
            role: user.role,
            scope: user.scope,
        }))
    }

    /// Creates a token; this is the only time that its secret is seen.
    pub async fn create_token(
        &self,
        new: NewToken,
        now: Timestamp,
    ) -> Result<(Token, Secret), AccountError> {
        check_note(new.note.as_deref())?;
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(AccountRefusal::ExpiryInThePast.into());
        }
        let secret = token::generate()?;
        // A token that was just generated always has the form of one.
        let digest = token::digest(secret.expose()).ok_or(AccountError::Random)?;
        let record = TokenRecord {
            digest,
            id: TokenId::random(now)?.as_u128(),
            role: new.role.as_str().to_owned(),
            apps: new.scope.names().map(<[AppName]>::to_vec),
            note: new.note,
            created_by: new.created_by,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let decide = move |tokens: &[TokenRecord]| match tokens.len() < MAX_ACCOUNTS {
            true => Ok(record),
            false => Err(AccountRefusal::TooMany),
        };
        let record = self.archive.change_token(decide).await??;
        Ok((Token::from_record(&record)?, secret))
    }

    /// Every token, oldest first, those that are no longer good included.
    pub fn tokens(&self) -> Result<Vec<Token>, AccountError> {
        self.archive.tokens()?.iter().map(Token::from_record).collect()
    }

    /// Revokes a token from now on; revoking twice keeps the first time.
    pub async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Token, AccountError> {
        let decide = move |tokens: &[TokenRecord]| {
            let token = tokens.iter().find(|token| token.id == id.as_u128());
            let token = token.ok_or(AccountRefusal::NoSuchToken(id))?;
            Ok(TokenRecord { revoked_at: token.revoked_at.or(Some(now)), ..token.clone() })
        };
        let changed: Result<TokenRecord, AccountRefusal> =
            self.archive.change_token(decide).await?;
        Token::from_record(&changed?)
    }

    /// Who shows this token.
    pub fn identify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<Identity, TokenRefusal>, AccountError> {
        let Some(digest) = token::digest(token) else {
            return Ok(Err(TokenRefusal::Unknown));
        };
        let Some(record) = self.archive.token(digest)? else {
            return Ok(Err(TokenRefusal::Unknown));
        };
        let token = Token::from_record(&record)?;
        Ok(token.judge(now).map(|()| Identity {
            actor: Actor::Token(token.id),
            role: token.role,
            scope: token.scope,
        }))
    }
}

/// A change after which no session of before is good.
fn ended(user: UserRecord) -> UserChange {
    UserChange { user, sessions: SessionChange::EndAll, entries: Vec::new() }
}

/// Whether nobody could let others in without this one.
pub(super) fn is_last_admin(users: &[UserRecord], user: &UserRecord) -> bool {
    lets_in(user) && users.iter().filter(|user| lets_in(user)).count() == 1
}

/// An administrator who is limited to apps can not let anybody in.
fn lets_in(user: &UserRecord) -> bool {
    user.disabled_at.is_none() && user.role == Role::Admin.as_str() && user.apps.is_none()
}

pub(super) fn named<'a>(users: &'a [UserRecord], name: &UserName) -> Option<&'a UserRecord> {
    users.iter().find(|user| user.name == name.as_str())
}

fn check_note(note: Option<&str>) -> Result<(), AccountRefusal> {
    let good = |note: &str| note.len() <= MAX_NOTE_BYTES && !note.chars().any(char::is_control);
    if note.is_none_or(good) { Ok(()) } else { Err(AccountRefusal::Note) }
}

/// A stored list of apps. An empty one means nothing was readable of a limit, which must never
/// widen into no limit at all.
pub(super) fn scope_of(apps: Option<Vec<AppName>>) -> Result<AppScope, AccountError> {
    match apps {
        None => Ok(AppScope::All),
        Some(apps) if apps.is_empty() => Err(AccountError::Archive(ArchiveError::Storage {
            operation: "read an account",
            source: "its list of apps is empty".into(),
        })),
        Some(apps) => Ok(AppScope::of(apps)),
    }
}
