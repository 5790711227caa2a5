//! Passwords: what they must be, and their Argon2id hashes (RFC 9106).
//!
//! One hash takes 19 MiB and tens of milliseconds by intent. So hashes are made on a few threads of
//! their own, and only so many may wait for these: a flood of logins waits or is told to come back,
//! and neither fills the memory nor takes the processors from the mail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, oneshot};

use super::accounts::{AccountError, AccountRefusal};
use super::user::UserName;
use super::{plain, token};
use crate::model::Secret;

/// Shortest password, in characters.
const MIN_PASSWORD_CHARS: usize = 12;
/// Longest password, in characters of four bytes at most: nobody shall make us hash a megabyte.
const MAX_PASSWORD_CHARS: usize = 1024;
pub const MAX_PASSWORD_BYTES: usize = 4 * MAX_PASSWORD_CHARS;
/// Fewer different characters than this are a held key, not a password.
const MIN_DISTINCT_CHARS: usize = 5;
/// Passwords that may wait to be hashed, beyond those that are being hashed.
const MAX_WAITING: usize = 64;
/// RFC 9106 §3.1.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Room that is asked for with each hash, in blocks of 1 KiB, of which only what is used costs memory.
/// From 32 MiB on an allocator maps memory for itself and gives it back at the end. What a hash needs
/// is less, and would lie among the small things of its thread, which break the hole that it leaves: two
/// hundred logins grew the process by 800 MiB.
const MAPPED_BLOCKS: usize = 33 << 10;
/// How today's hashes begin; one that begins otherwise is made anew when its password is seen.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// The hash of nothing in particular, with the same cost as every other: what an unknown user's
/// password is compared with, so that the time does not tell who exists.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBvdGhlciBzYWx0$\
    3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8";

/// Length, variety, and not one of those that everybody tries first; no rules of composition, which only make passwords alike.
pub(super) fn check_rule(name: &UserName, password: &Secret) -> Result<(), AccountRefusal> {
    let text = password.expose();
    if text.len() > MAX_PASSWORD_BYTES || text.chars().count() > MAX_PASSWORD_CHARS {
        return Err(AccountRefusal::PasswordTooLong);
    }
    if text.chars().count() < MIN_PASSWORD_CHARS {
        return Err(AccountRefusal::PasswordTooShort);
    }
    let mut distinct: Vec<char> = text.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let is_name = text.to_lowercase() == name.as_str();
    if distinct.len() < MIN_DISTINCT_CHARS || is_name || plain::is_plain(text) {
        return Err(AccountRefusal::PasswordTooPlain);
    }
    Ok(())
}

type Job = Box<dyn FnOnce() + Send>;

/// Makes and checks hashes; clones share the threads.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    jobs: Sender<Job>,
    /// Hashes under way, and whoever waits for one.
    queue: Arc<Semaphore>,
    /// How many were computed.
    #[cfg(test)]
    pub(super) computed: Arc<std::sync::atomic::AtomicU64>,
}

impl Hasher {
    pub(super) fn new() -> Hasher {
        let parallel = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..parallel {
            let waiting = waiting.clone();
            let thread = Builder::new().name("password".to_owned());
            if let Err(error) = thread.spawn(move || work(&waiting)) {
                tracing::error!(%error, "a thread for passwords could not be started");
            }
        }
        Hasher {
            jobs,
            queue: Arc::new(Semaphore::new(parallel + MAX_WAITING)),
            #[cfg(test)]
            computed: Arc::default(),
        }
    }

    /// Whether a stored hash is as costly as those of today.
    pub(super) fn is_current(&self, hash: &str) -> bool {
        hash.starts_with(CURRENT)
    }

    /// The hash in PHC string form, with a salt of its own.
    pub(super) async fn hash(&self, password: Secret) -> Result<String, AccountError> {
        let salt: [u8; SALT_BYTES] = token::random_bytes()?;
        self.run(move || {
            let hash = computed(&Argon2::default(), &password, &salt, HASH_BYTES)?;
            let encode = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
            Ok(format!("{CURRENT}{}${}", encode(&salt), encode(&hash)))
        })
        .await
    }

    /// Whether the password is the one that was hashed; without a hash it takes as long and says no.
    pub(super) async fn matches(
        &self,
        password: Secret,
        hash: Option<String>,
    ) -> Result<bool, AccountError> {
        self.run(move || {
            let matches = is_hash_of(&password, hash.as_deref().unwrap_or(DECOY))?;
            Ok(matches && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| AccountError::Busy)?;
        #[cfg(test)]
        self.computed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = move || {
            // Whoever asked may be gone.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
            drop(place);
        };
        let no_thread = |_| AccountError::Hash("there is no thread for it".to_owned());
        self.jobs.send(Box::new(job)).map_err(no_thread)?;
        answer.await.map_err(|error| AccountError::Hash(error.to_string()))?
    }
}

fn is_hash_of(password: &Secret, stored: &str) -> Result<bool, AccountError> {
    let stored = PasswordHash::new(stored).map_err(failed)?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(AccountError::Hash("a stored hash is not whole".to_owned()));
    };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(failed)?;
    let version = stored.version.map(Version::try_from).transpose().map_err(failed)?;
    let params = Params::try_from(&stored).map_err(failed)?;
    let argon2 = Argon2::new(algorithm, version.unwrap_or_default(), params);
    let found = computed(&argon2, password, salt, expected.as_bytes().len())?;
    Ok(found.ct_eq(expected.as_bytes()).into())
}

fn computed(
    argon2: &Argon2<'_>,
    password: &Secret,
    salt: &[u8],
    bytes: usize,
) -> Result<Vec<u8>, AccountError> {
    let blocks = argon2.params().block_count();
    let mut memory = Vec::with_capacity(blocks.max(MAPPED_BLOCKS));
    memory.resize(blocks, Block::new());
    let mut hash = vec![0; bytes];
    let password = password.expose().as_bytes();
    argon2.hash_password_into_with_memory(password, salt, &mut hash, memory).map_err(failed)?;
    Ok(hash)
}

fn failed(error: impl std::fmt::Display) -> AccountError {
    AccountError::Hash(error.to_string())
}

/// A thread of the hasher, until the last handle of it is gone.
fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is let go before the job begins; nothing panics while it is held.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A bug in one ends its request, which sees the reply dropped, and nothing else.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_costs_as_much_as_every_other() {
        assert!(DECOY.starts_with(CURRENT));
    }

    #[test]
    fn short_long_and_plain_passwords_are_refused() {
        let name = UserName::parse("anna@example.com").unwrap();
        let check = |text: &str| check_rule(&name, &Secret::new(text.to_owned()));
        assert_eq!(check("elevenchars"), Err(AccountRefusal::PasswordTooShort));
        assert_eq!(check("ééééé"), Err(AccountRefusal::PasswordTooShort));
        assert_eq!(check(&"abcdef".repeat(171)), Err(AccountRefusal::PasswordTooLong));
        assert_eq!(check("aaaaaaaaaaaaaaaa"), Err(AccountRefusal::PasswordTooPlain));
        assert_eq!(check("Anna@Example.com"), Err(AccountRefusal::PasswordTooPlain));
        assert_eq!(check("twelve chars"), Ok(()));
    }

    #[tokio::test]
    async fn only_the_password_itself_matches_its_hash() {
        let hasher = Hasher::new();
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hasher.matches(secret("correct hors"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.matches(secret("correct horse"), None).await.unwrap());
        assert!(hasher.matches(secret("correct horse"), Some("rubbish".into())).await.is_err());
        assert!(hasher.matches(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert_ne!(hasher.hash(secret("correct horse")).await.unwrap(), hash, "no salt");
    }
}
