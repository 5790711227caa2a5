//! Logging in, and the sessions that come of it.
//!
//! A session's secret is 256 random bits, given out once and stored as its SHA-256. It is new at each
//! login and at each step of the second factor. It ends after 30 minutes without use, at its absolute
//! end, and with every change of its user's password, second factor or standing, in that same
//! transaction. What was wrong with a login is never told: name, password and code are one question.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::accounts::{AccountError, AccountRefusal, Accounts, is_last_admin, named};
use super::identity::{Actor, Identity};
use super::lockout;
use super::second_factor::{self, Enrolment, Used};
use super::token::{TokenId, random_bytes};
use super::user::{User, UserName};
use crate::archive::{
    EndedSessions, NewEntry, SecondFactorRecord, SessionChange, SessionRecord, UserChange,
    UserRecord,
};
use crate::model::{Digest, Secret, Timestamp};

/// A session that nobody used for so long is over (OWASP ASVS 7.3.1).
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Use is noted once a minute: a commit for each request would be too many.
const TOUCH: Duration = Duration::from_secs(60);
/// 256 bits in base64url.
const SECRET_CHARS: usize = 43;

/// What somebody gives to log in.
#[derive(Debug)]
pub struct LoginAttempt {
    pub user: String,
    pub password: Secret,
    pub code: Option<Secret>,
    pub client: IpAddr,
}

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    Wrong,
    /// Too many were wrong.
    Locked {
        retry_after_seconds: u64,
    },
}

/// A session that began; this is the only time that its secret is seen.
#[derive(Debug)]
pub struct BegunSession {
    pub secret: Secret,
    pub id: TokenId,
    pub user: User,
    pub expires_at: Timestamp,
}

/// A session, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: TokenId,
    pub user: UserName,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub client: String,
}

/// Who shows a good session.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub identity: Identity,
    pub session: Session,
    /// Its user has a second factor.
    pub two_factor: bool,
    /// Its use is to be noted.
    pub is_stale: bool,
}

/// What a cookie-bearing request must say besides: only a page that may read our answers knows it.
pub fn csrf_token(secret: &Secret) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, b"waybill csrf");
    Secret::new(BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// A session's record with its secret.
fn fresh(
    user: &UserName,
    client: IpAddr,
    lifetime: Duration,
    now: Timestamp,
) -> Result<(SessionRecord, Secret), AccountError> {
    let bytes: [u8; 32] = random_bytes()?;
    let secret = Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let record = SessionRecord {
        digest: Digest::of(secret.expose().as_bytes()),
        id: TokenId::random(now)?.as_u128(),
        user: user.as_str().to_owned(),
        created_at: now,
        seen_at: now,
        expires_at: now.plus(lifetime),
        client: client.to_canonical().to_string(),
    };
    Ok((record, secret))
}

fn begun(
    user: &UserRecord,
    record: &SessionRecord,
    secret: Secret,
) -> Result<BegunSession, AccountError> {
    let user = User::from_record(user)?;
    let expires_at = record.expires_at;
    Ok(BegunSession { secret, id: TokenId::from_u128(record.id), user, expires_at })
}

impl Session {
    fn from_record(record: &SessionRecord) -> Option<Session> {
        Some(Session {
            id: TokenId::from_u128(record.id),
            user: UserName::parse(&record.user)?,
            created_at: record.created_at,
            seen_at: record.seen_at,
            expires_at: record.expires_at,
            client: record.client.clone(),
        })
    }

    fn is_good(&self, now: Timestamp) -> bool {
        now < self.expires_at && now.since(self.seen_at) < IDLE
    }
}

impl Accounts {
    /// Lets somebody in, or says no. It takes as long for an unknown user. `now` is the time on the
    /// wall, `at` the same moment on the clock that never jumps.
    pub async fn log_in(
        &self,
        attempt: LoginAttempt,
        lifetime: Duration,
        now: Timestamp,
        at: Instant,
    ) -> Result<Result<BegunSession, LoginRefusal>, AccountError> {
        let users = self.archive.users()?;
        let name = UserName::parse(&attempt.user);
        let found = name.as_ref().and_then(|name| named(&users, name));
        let found = found.filter(|user| user.disabled_at.is_none()).cloned();
        let who: String = attempt.user.chars().take(64).collect::<String>().to_lowercase();
        let network = lockout::network(attempt.client);
        // Anybody's name may be locked but that of the last one who could let the others in again:
        // else whoever knows the name could keep everybody out. The guesser's network is locked all
        // the same.
        let exempt = found.as_ref().is_some_and(|user| is_last_admin(&users, user));
        if let Some(wait) = self.wait((!exempt).then_some(&who), network, at) {
            return Ok(Err(LoginRefusal::Locked { retry_after_seconds: wait.as_secs() + 1 }));
        }
        self.guard.names.count(&who, at);
        network.iter().for_each(|network| self.guard.networks.count(network, at));
        let hash = found.as_ref().map(|user| user.password_hash.clone());
        if !self.hasher.matches(attempt.password.clone(), hash).await? {
            return Ok(Err(LoginRefusal::Wrong));
        }
        let (Some(user), Some(name)) = (found, name) else { return Ok(Err(LoginRefusal::Wrong)) };
        if has_two_factors(&user) {
            let Some(code) = &attempt.code else { return Ok(Err(LoginRefusal::Wrong)) };
            // Said like any other no: else it would tell that the password was right.
            let locked = self.guard.codes.wait(&who, at).is_some();
            if locked && !second_factor::can_be_recovery(code) {
                return Ok(Err(LoginRefusal::Wrong));
            }
            self.guard.codes.count(&who, at);
            // Looked at before the transaction that takes it: with a wrong code a right password
            // must not cost a turn of the writer, which a wrong password does not.
            if taken(&self.seal_key().await?, &name, &user, code, now).is_err() {
                return Ok(Err(LoginRefusal::Wrong));
            }
        }
        let entered = self.enter(&name, user, attempt, lifetime, now).await?;
        if entered.is_ok() {
            self.guard.names.forgive(&who);
            self.guard.codes.forgive(&who);
            network.iter().for_each(|network| self.guard.networks.take_back(network));
        }
        Ok(entered)
    }

    fn wait(&self, who: Option<&String>, network: Option<IpAddr>, at: Instant) -> Option<Duration> {
        let network = network.and_then(|network| self.guard.networks.wait(&network, at));
        who.and_then(|who| self.guard.names.wait(who, at)).max(network)
    }

    /// The password was right: the code is taken and the session begins in one transaction, so that
    /// of two who show one code at one time exactly one is let in.
    async fn enter(
        &self,
        name: &UserName,
        checked: UserRecord,
        attempt: LoginAttempt,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Result<BegunSession, LoginRefusal>, AccountError> {
        let rehashed = match self.hasher.is_current(&checked.password_hash) {
            true => None,
            false => Some(self.hasher.hash(attempt.password).await?),
        };
        let key = self.seal_key().await?;
        let (record, secret) = fresh(name, attempt.client, lifetime, now)?;
        let (who, session, code) = (name.clone(), record.clone(), attempt.code);
        let decide = move |users: &[UserRecord]| {
            // It may have changed since it was checked.
            let is_same = |user: &&UserRecord| {
                user.disabled_at.is_none() && user.password_hash == checked.password_hash
            };
            let user = named(users, &who).filter(is_same).ok_or(LoginRefusal::Wrong)?;
            let mut user = user.clone();
            let mut detail = None;
            if has_two_factors(&user) {
                let code = code.ok_or(LoginRefusal::Wrong)?;
                let (left, used) = taken(&key, &who, &user, &code, now)?;
                user.second_factor = Some(left);
                detail = Some(match used {
                    Used::Code => "with a one-time code",
                    Used::Recovery => "with a recovery code",
                });
            }
            user.password_hash = rehashed.unwrap_or(user.password_hash);
            let entry = NewEntry {
                by: Some(Actor::User(who).to_string()),
                client: Some(session.client.clone()),
                detail: detail.map(str::to_owned),
                ..NewEntry::of("login", now)
            };
            let sessions = SessionChange::Begin(session);
            Ok(UserChange { user, sessions, entries: vec![entry] })
        };
        match self.archive.change_user(decide).await? {
            Ok(user) => Ok(Ok(begun(&user, &record, secret)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Who shows this session, if it is still good.
    pub fn visitor(&self, secret: &str, now: Timestamp) -> Result<Option<Visitor>, AccountError> {
        if secret.len() != SECRET_CHARS {
            return Ok(None);
        }
        let Some(record) = self.archive.session(Digest::of(secret.as_bytes()))? else {
            return Ok(None);
        };
        let session = Session::from_record(&record).filter(|session| session.is_good(now));
        let Some(session) = session else { return Ok(None) };
        let users = self.archive.users()?;
        let user = named(&users, &session.user).filter(|user| user.disabled_at.is_none());
        let Some(record) = user else { return Ok(None) };
        let user = User::from_record(record)?;
        let identity =
            Identity { actor: Actor::User(user.name), role: user.role, scope: user.scope };
        let is_stale = now.since(session.seen_at) >= TOUCH;
        Ok(Some(Visitor { identity, session, two_factor: has_two_factors(record), is_stale }))
    }

    /// Notes that a session is in use.
    pub async fn touch(&self, secret: &Secret, now: Timestamp) -> Result<(), AccountError> {
        Ok(self.archive.touch_session(Digest::of(secret.expose().as_bytes()), now).await?)
    }

    /// The good sessions of a user, oldest first.
    pub fn sessions(&self, name: &UserName, now: Timestamp) -> Result<Vec<Session>, AccountError> {
        let records = self.archive.sessions_of(name.as_str())?;
        let sessions = records.iter().filter_map(Session::from_record);
        Ok(sessions.filter(|session| session.is_good(now)).collect())
    }

    /// Ends one session of a user.
    pub async fn end_session(&self, name: &UserName, id: TokenId) -> Result<(), AccountError> {
        let ended = EndedSessions::One(name.as_str().to_owned(), id.as_u128());
        match self.archive.end_sessions(ended).await? {
            true => Ok(()),
            false => Err(AccountRefusal::NoSuchSession(id).into()),
        }
    }

    /// Ends every session of a user; false when there was none.
    pub async fn end_sessions(&self, name: &UserName) -> Result<bool, AccountError> {
        Ok(self.archive.end_sessions(EndedSessions::OfUser(name.as_str().to_owned())).await?)
    }

    /// Forgets failed logins of a user, so that the next one is judged at once.
    pub fn unlock(&self, name: &UserName) -> Result<User, AccountError> {
        let users = self.archive.users()?;
        let no_such = || AccountRefusal::NoSuchUser(name.clone());
        let user = User::from_record(named(&users, name).ok_or_else(no_such)?)?;
        self.guard.names.forgive(&name.as_str().to_owned());
        self.guard.codes.forgive(&name.as_str().to_owned());
        Ok(user)
    }

    /// Begins an enrolment; one that was begun before is forgotten.
    pub async fn begin_two_factor(&self, name: &UserName) -> Result<Enrolment, AccountError> {
        let (record, shown) = second_factor::enrol(&self.seal_key().await?, name)?;
        let who = name.clone();
        let decide = move |users: &[UserRecord]| {
            let user = named(users, &who).ok_or(AccountRefusal::NoSuchUser(who.clone()))?;
            if has_two_factors(user) {
                return Err(AccountRefusal::TwoFactorExists);
            }
            let user = UserRecord { second_factor: Some(record), ..user.clone() };
            Ok(UserChange { user, sessions: SessionChange::Keep, entries: Vec::new() })
        };
        self.archive.change_user(decide).await??;
        Ok(shown)
    }

    /// Ends an enrolment with the first code: gives the recovery codes, and a new session in place of
    /// all others.
    pub async fn confirm_two_factor(
        &self,
        name: &UserName,
        code: Secret,
        client: IpAddr,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(Vec<Secret>, BegunSession), AccountError> {
        let (shown, stored) = second_factor::recovery_codes()?;
        let confirm = move |user: &UserRecord, key: &[u8; 32], who: &UserName| {
            let pending = user.second_factor.as_ref().filter(|record| !record.confirmed);
            if pending.is_none() {
                return Err(AccountRefusal::NoTwoFactor);
            }
            let wrong = |_| AccountRefusal::WrongCode;
            let (left, _) = taken(key, who, user, &code, now).map_err(wrong)?;
            Ok(Some(SecondFactorRecord { confirmed: true, recovery: stored, ..left }))
        };
        let session = self.step(name, client, lifetime, now, confirm).await?;
        Ok((shown, session))
    }

    /// Takes the second factor away, against one more code of it.
    pub async fn drop_two_factor(
        &self,
        name: &UserName,
        code: Secret,
        client: IpAddr,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<BegunSession, AccountError> {
        let remove = move |user: &UserRecord, key: &[u8; 32], who: &UserName| {
            if !has_two_factors(user) {
                return Err(AccountRefusal::NoTwoFactor);
            }
            taken(key, who, user, &code, now).map_err(|_| AccountRefusal::WrongCode)?;
            Ok(None)
        };
        self.step(name, client, lifetime, now, remove).await
    }

    /// A step of the second factor: at most a few wrong codes, and then a new session.
    async fn step(
        &self,
        name: &UserName,
        client: IpAddr,
        lifetime: Duration,
        now: Timestamp,
        change: impl FnOnce(
            &UserRecord,
            &[u8; 32],
            &UserName,
        ) -> Result<Option<SecondFactorRecord>, AccountRefusal>
        + Send
        + 'static,
    ) -> Result<BegunSession, AccountError> {
        let key = self.seal_key().await?;
        let (who, at) = (name.as_str().to_owned(), Instant::now());
        if self.guard.codes.wait(&who, at).is_some() {
            return Err(AccountRefusal::WrongCode.into());
        }
        self.guard.codes.count(&who, at);
        let (record, secret) = fresh(name, client, lifetime, now)?;
        let (name, session) = (name.clone(), record.clone());
        let decide = move |users: &[UserRecord]| {
            let user = named(users, &name).ok_or(AccountRefusal::NoSuchUser(name.clone()))?;
            let user = UserRecord { second_factor: change(user, &key, &name)?, ..user.clone() };
            Ok(UserChange { user, sessions: SessionChange::Replace(session), entries: Vec::new() })
        };
        let changed: Result<UserRecord, AccountRefusal> = self.archive.change_user(decide).await?;
        let user = changed?;
        self.guard.codes.forgive(&who);
        begun(&user, &record, secret)
    }

    /// Takes the second factor of somebody away who lost it.
    pub async fn reset_two_factor(&self, name: UserName) -> Result<User, AccountError> {
        let who = name.clone();
        let decide = move |users: &[UserRecord]| {
            let user = named(users, &who).ok_or(AccountRefusal::NoSuchUser(who.clone()))?;
            let user = UserRecord { second_factor: None, ..user.clone() };
            Ok(UserChange { user, sessions: SessionChange::EndAll, entries: Vec::new() })
        };
        let changed: Result<UserRecord, AccountRefusal> = self.archive.change_user(decide).await?;
        self.guard.codes.forgive(&name.as_str().to_owned());
        User::from_record(&changed?)
    }
}

fn has_two_factors(user: &UserRecord) -> bool {
    user.second_factor.as_ref().is_some_and(|record| record.confirmed)
}

fn taken(
    key: &[u8; 32],
    who: &UserName,
    user: &UserRecord,
    code: &Secret,
    now: Timestamp,
) -> Result<(SecondFactorRecord, Used), LoginRefusal> {
    let record = user.second_factor.as_ref().ok_or(LoginRefusal::Wrong)?;
    match second_factor::take(key, who, record, code, now) {
        Ok(taken) => taken.ok_or(LoginRefusal::Wrong),
        Err(error) => {
            tracing::error!(%error, user = %who, "a second factor could not be checked");
            Err(LoginRefusal::Wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::Ordering;

    use crate::account::{AppScope, NewUser, Role};
    use crate::archive::{Archive, ArchiveSettings, StagingLimits};

    /// The time that a login takes is that of its hashes: whoever is refused is refused after one,
    /// whether there is such a user or not.
    #[tokio::test]
    async fn every_refused_login_costs_one_hash() {
        let dir = tempfile::tempdir().unwrap();
        let settings = ArchiveSettings {
            data_dir: dir.path().to_owned(),
            cache_bytes: 1 << 20,
            volume_bytes: 1 << 20,
            reserve_bytes: 0,
            staging: StagingLimits::default(),
        };
        let accounts = Accounts::new(Archive::open(&settings).unwrap());
        let now = Timestamp::from_millis(0);
        for name in ["anna", "gone"] {
            let name = UserName::parse(name).unwrap();
            let new = NewUser { name, role: Role::Admin, scope: AppScope::All };
            let password = Secret::new("seven quiet lighthouse keepers".to_owned());
            accounts.add_user(new, password, now).await.unwrap();
        }
        accounts.disable_user(UserName::parse("gone").unwrap(), now).await.unwrap();
        let long = "x".repeat(500);
        for user in ["anna", "gone", "nobody", "", "a b", &long] {
            let before = accounts.hasher.computed.load(Ordering::Relaxed);
            let attempt = LoginAttempt {
                user: user.to_owned(),
                password: Secret::new("not the password".to_owned()),
                code: None,
                client: Ipv4Addr::LOCALHOST.into(),
            };
            let lifetime = Duration::from_secs(60);
            let refused = accounts.log_in(attempt, lifetime, now, Instant::now()).await.unwrap();
            assert_eq!(refused.unwrap_err(), LoginRefusal::Wrong, "{user}");
            assert_eq!(accounts.hasher.computed.load(Ordering::Relaxed), before + 1, "{user}");
        }
    }
}
