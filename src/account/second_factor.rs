//! The second factor: time-based one-time codes (TOTP, RFC 6238) and recovery codes.
//!
//! A code has six digits, stands for 30 seconds, and is taken one step early or late, because clocks
//! differ. It works once: what was taken moves `last_step`, in the transaction that lets somebody in,
//! and no step up to it is taken again (RFC 6238 §5.2). The seed is stored encrypted with a key of the
//! archive, bound to its user; recovery codes are stored as their SHA-256 and go when they are used.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

use super::accounts::{AccountError, AccountRefusal};
use super::user::UserName;
use crate::archive::SecondFactorRecord;
use crate::model::{Digest, Secret, Timestamp};

/// RFC 4226 §4 asks for 160 bits.
const SEED_BYTES: usize = 20;
/// RFC 6238 §5.2.
const STEP_MS: u64 = 30_000;
/// Steps early and late that are taken.
const WINDOW: u64 = 1;
/// Codes of six digits, as every authenticator shows them.
const MODULUS: u32 = 1_000_000;
/// Recovery codes of one enrolment.
const RECOVERY_CODES: usize = 10;
/// 80 bits each: nobody guesses one, so a plain SHA-256 is enough.
const RECOVERY_BYTES: usize = 10;
/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a person needs to enrol; shown once.
#[derive(Debug)]
pub struct Enrolment {
    /// The seed in Base32, for typing.
    pub seed: Secret,
    /// The same as an `otpauth` URL, for scanning.
    pub url: Secret,
}

/// A fresh seed, sealed for its user and as it is shown.
pub(super) fn enrol(
    key: &[u8; 32],
    user: &UserName,
) -> Result<(SecondFactorRecord, Enrolment), AccountError> {
    let seed: [u8; SEED_BYTES] = super::token::random_bytes()?;
    let shown = base32(&seed);
    let url = format!(
        "otpauth://totp/Waybill:{user}?secret={shown}&issuer=Waybill&algorithm=SHA1&digits=6&period=30"
    );
    let record = SecondFactorRecord {
        sealed_seed: seal(key, user, &seed)?,
        confirmed: false,
        last_step: 0,
        recovery: Vec::new(),
    };
    Ok((record, Enrolment { seed: Secret::new(shown), url: Secret::new(url) }))
}

/// New recovery codes, as shown and as stored.
pub(super) fn recovery_codes() -> Result<(Vec<Secret>, Vec<[u8; 32]>), AccountError> {
    let (mut shown, mut stored) = (Vec::new(), Vec::new());
    for _ in 0..RECOVERY_CODES {
        let bytes: [u8; RECOVERY_BYTES] = super::token::random_bytes()?;
        let code = base32(&bytes);
        stored.push(Digest::of(code.as_bytes()).0);
        let parts: Vec<&str> =
            [0, 4, 8, 12].iter().filter_map(|at| code.get(*at..at + 4)).collect();
        shown.push(Secret::new(parts.join("-").to_ascii_lowercase()));
    }
    Ok((shown, stored))
}

/// What was shown as a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    Code,
    Recovery,
}

/// The record after this code was taken; `None` when it is not one that may be taken now.
pub(super) fn take(
    key: &[u8; 32],
    user: &UserName,
    record: &SecondFactorRecord,
    code: &Secret,
    now: Timestamp,
) -> Result<Option<(SecondFactorRecord, Used)>, AccountError> {
    let seed = open(key, user, &record.sealed_seed)?;
    if let Some(step) = step_of(&seed, code, now).filter(|step| *step > record.last_step) {
        return Ok(Some((SecondFactorRecord { last_step: step, ..record.clone() }, Used::Code)));
    }
    let digest = recovery_digest(code);
    let is_it = |stored: &&[u8; 32]| subtle::ConstantTimeEq::ct_eq(&stored[..], &digest[..]).into();
    let Some(found) = record.recovery.iter().find(is_it).copied() else { return Ok(None) };
    let mut left = record.clone();
    left.recovery.retain(|stored| *stored != found);
    Ok(Some((left, Used::Recovery)))
}

/// Whether a text can be a recovery code: these can not be guessed, so they are tried even while
/// codes are locked.
pub(super) fn can_be_recovery(code: &Secret) -> bool {
    code.expose().chars().filter(|c| c.is_ascii_alphanumeric()).count() == 16
}

fn recovery_digest(code: &Secret) -> [u8; 32] {
    let plain = code.expose().chars().filter(char::is_ascii_alphanumeric);
    let plain = Secret::new(plain.collect::<String>().to_ascii_uppercase());
    Digest::of(plain.expose().as_bytes()).0
}

/// Which step near `now` this is the code of. All are computed, so that the time tells nothing.
fn step_of(seed: &[u8], code: &Secret, now: Timestamp) -> Option<u64> {
    let current = u64::try_from(now.as_millis()).unwrap_or(0) / STEP_MS;
    let steps = current.saturating_sub(WINDOW)..=current.saturating_add(WINDOW);
    let matching = steps.map(|step| (step, code.matches(digits(seed, step).as_bytes())));
    matching.fold(None, |found, (step, matches)| if matches { Some(step) } else { found })
}

/// HOTP (RFC 4226 §5.3) of a time step.
fn digits(seed: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
    let four = tag.get(offset..offset + 4).and_then(|four| four.try_into().ok());
    let number = u32::from_be_bytes(four.unwrap_or_default()) & 0x7fff_ffff;
    format!("{:06}", number % MODULUS)
}

fn seal(key: &[u8; 32], user: &UserName, seed: &[u8]) -> Result<Vec<u8>, AccountError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| AccountError::Random)?;
    let mut sealed = seed.to_vec();
    let aad = Aad::from(user.as_str());
    let nonce = key.seal_in_place_append_tag(aad, &mut sealed).map_err(|_| AccountError::Random)?;
    Ok([&nonce.as_ref()[..], &sealed].concat())
}

fn open(key: &[u8; 32], user: &UserName, sealed: &[u8]) -> Result<Vec<u8>, AccountError> {
    let opened = || {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut seed = sealed.to_vec();
        let len = key.open_in_place(nonce, Aad::from(user.as_str()), &mut seed).ok()?.len();
        seed.truncate(len);
        Some(seed)
    };
    opened().ok_or(AccountError::Refused(AccountRefusal::SecondFactorUnreadable))
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let index = (held >> bits & 31) as usize;
            text.push(char::from(BASE32.get(index).copied().unwrap_or(b'A')));
        }
    }
    // Seeds and recovery codes are whole groups of five bits.
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn anna() -> UserName {
        UserName::parse("anna").unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn record() -> SecondFactorRecord {
        SecondFactorRecord {
            sealed_seed: seal(&KEY, &anna(), b"12345678901234567890").unwrap(),
            confirmed: true,
            last_step: 0,
            recovery: vec![],
        }
    }

    /// RFC 6238 appendix B, its last six digits.
    #[test]
    fn the_vectors_of_the_rfc_hold() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(digits(b"12345678901234567890", seconds / 30), expected, "{seconds}");
        };
        check(59, "287082");
        check(1_111_111_109, "081804");
        check(1_111_111_111, "050471");
        check(1_234_567_890, "005924");
        check(2_000_000_000, "279037");
        check(20_000_000_000, "353130");
    }

    #[test]
    fn a_code_is_taken_once_and_one_step_early_or_late() {
        let take = |record: &SecondFactorRecord, code: &str, seconds| {
            take(&KEY, &anna(), record, &secret(code), at(seconds)).unwrap()
        };
        assert!(take(&record(), "287082", 59 + 61).is_none());
        assert!(take(&record(), "287083", 59).is_none());
        assert!(take(&record(), "", 59).is_none());
        assert!(take(&record(), "287082", 59 + 30).is_some());
        assert!(take(&record(), "287082", 29).is_some());
        let (used, how) = take(&record(), "287082", 59).unwrap();
        assert_eq!((used.last_step, how), (1, Used::Code));
        assert!(take(&used, "287082", 59).is_none());
        assert!(take(&used, &digits(b"12345678901234567890", 0), 59).is_none(), "before the last");
        assert!(take(&used, &digits(b"12345678901234567890", 2), 59).is_some());
    }

    #[test]
    fn a_recovery_code_goes_when_it_is_used() {
        let (shown, stored) = recovery_codes().unwrap();
        let with = SecondFactorRecord { recovery: stored, ..record() };
        let code = &shown[3];
        assert_eq!(code.expose().len(), 19);
        assert!(can_be_recovery(code) && !can_be_recovery(&secret("123456")));
        let (left, how) = take(&KEY, &anna(), &with, code, at(59)).unwrap().unwrap();
        assert_eq!((left.recovery.len(), how), (9, Used::Recovery));
        assert!(take(&KEY, &anna(), &left, code, at(59)).unwrap().is_none());
    }

    #[test]
    fn a_seed_is_sealed_for_its_user() {
        let (record, shown) = enrol(&KEY, &anna()).unwrap();
        assert_eq!(shown.seed.expose().len(), 32);
        assert!(shown.url.expose().contains(shown.seed.expose()));
        assert!(open(&KEY, &anna(), &record.sealed_seed).is_ok());
        assert!(open(&[8; 32], &anna(), &record.sealed_seed).is_err());
        assert!(open(&KEY, &UserName::parse("bo").unwrap(), &record.sealed_seed).is_err());
        assert!(open(&KEY, &anna(), &record.sealed_seed[..20]).is_err());
        assert_eq!(base32(b"foobarfoob"), "MZXW6YTBOJTG633C");
    }
}
