//! ESMTP parameters of MAIL and RCPT (RFC 5321 §4.1.1.11).
//!
//! Takes what follows the path, gives typed values or the reply that refuses them. A parameter that
//! is unknown is 555 5.5.4; one that is malformed, out of place or given twice is 501 5.5.4. The
//! values are rebuilt from types when a message is relayed, never copied.
//!
//! SIZE (RFC 1870), BODY (RFC 6152; BINARYMIME is not offered), SMTPUTF8 (RFC 6531), RET, ENVID,
//! NOTIFY and ORCPT (RFC 3461), HOLDFOR and HOLDUNTIL (RFC 4865), AUTH (RFC 4954 §5, accepted and
//! not believed).

use std::time::Duration;

use super::wire::reply;
use super::xtext;
use crate::model::envelope::{BodyType, DsnReturn, FutureRelease, Notify, OriginalRecipient};
use crate::model::{Reply, Timestamp};

/// RFC 3461 §4.4.
const MAX_ENVID_CHARS: usize = 100;
/// RFC 3461 §4.2.
const MAX_ORCPT_BYTES: usize = 500;
/// RFC 4865 §4: `1*9DIGIT`.
const MAX_HOLD_DIGITS: usize = 9;

/// What MAIL said beside its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    pub(super) size_bytes: Option<u64>,
    pub(super) body: Option<BodyType>,
    pub(super) smtputf8: bool,
    pub(super) ret: Option<DsnReturn>,
    pub(super) envid: Option<String>,
    pub(super) release: Option<FutureRelease>,
}

/// What RCPT said beside its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RcptParameters {
    pub(super) notify: Option<Notify>,
    pub(super) original: Option<OriginalRecipient>,
}

/// Reads the parameters of MAIL.
pub(super) fn mail(text: &str) -> Result<MailParameters, Reply> {
    let mut found = MailParameters::default();
    let mut seen = Vec::new();
    for parameter in parameters(text) {
        let (keyword, value) = parameter?;
        once(&mut seen, &keyword)?;
        match keyword.as_str() {
            "SIZE" => found.size_bytes = Some(read(&keyword, value, size)?),
            "BODY" => found.body = Some(body(value)?),
            "SMTPUTF8" if value.is_none() => found.smtputf8 = true,
            "SMTPUTF8" => return Err(malformed(&keyword)),
            "RET" => found.ret = Some(read(&keyword, value, ret)?),
            "ENVID" => found.envid = Some(read(&keyword, value, envid)?),
            "HOLDFOR" | "HOLDUNTIL" if found.release.is_some() => {
                return Err(malformed("HOLDFOR and HOLDUNTIL together"));
            }
            "HOLDFOR" => found.release = Some(read(&keyword, value, hold_for)?),
            "HOLDUNTIL" => found.release = Some(read(&keyword, value, hold_until)?),
            // The client vouches for an author whom we can not check, so it is read and forgotten.
            "AUTH" => read(&keyword, value, xtext::decode).map(drop)?,
            _ => return Err(unknown(&keyword)),
        }
    }
    Ok(found)
}

/// Reads the parameters of RCPT.
pub(super) fn rcpt(text: &str) -> Result<RcptParameters, Reply> {
    let mut found = RcptParameters::default();
    let mut seen = Vec::new();
    for parameter in parameters(text) {
        let (keyword, value) = parameter?;
        once(&mut seen, &keyword)?;
        match keyword.as_str() {
            "NOTIFY" => found.notify = Some(read(&keyword, value, notify)?),
            "ORCPT" => found.original = Some(read(&keyword, value, original)?),
            _ => return Err(unknown(&keyword)),
        }
    }
    Ok(found)
}

/// `keyword[=value]`, the keyword in upper case; the value holds no space, no second `=` outside
/// xtext and no control character.
fn parameters(text: &str) -> impl Iterator<Item = Result<(String, Option<&str>), Reply>> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let first = keyword.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_ok = value.is_none_or(|v| !v.is_empty() && !v.contains(['=', '\u{7f}']));
        match first && rest && value_ok {
            true => Ok((keyword.to_ascii_uppercase(), value)),
            false => Err(malformed("parameter")),
        }
    })
}

fn once(seen: &mut Vec<String>, keyword: &str) -> Result<(), Reply> {
    if seen.iter().any(|earlier| earlier == keyword) {
        return Err(malformed(&format!("repeated {keyword}")));
    }
    seen.push(keyword.to_owned());
    Ok(())
}

fn read<T>(
    keyword: &str,
    value: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Reply> {
    value.and_then(parse).ok_or_else(|| malformed(keyword))
}

fn malformed(what: &str) -> Reply {
    reply(501, (5, 5, 4), &format!("Syntax error: {what}"))
}

fn unknown(keyword: &str) -> Reply {
    reply(555, (5, 5, 4), &format!("{keyword} is not recognized here"))
}

/// RFC 1870 §4: up to 20 digits.
fn size(value: &str) -> Option<u64> {
    let ok = value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
    // A size that needs more than 64 bits is read as the largest, and so refused as too big.
    ok.then(|| value.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>) -> Result<BodyType, Reply> {
    match value.map(str::to_ascii_uppercase).as_deref() {
        Some("7BIT") => Ok(BodyType::SevenBit),
        Some("8BITMIME") => Ok(BodyType::EightBitMime),
        Some("BINARYMIME") => Err(unknown("BODY=BINARYMIME")),
        Some(_) | None => Err(malformed("BODY")),
    }
}

fn ret(value: &str) -> Option<DsnReturn> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(DsnReturn::Full),
        "HDRS" => Some(DsnReturn::Headers),
        _ => None,
    }
}

fn envid(value: &str) -> Option<String> {
    xtext::decode(value).filter(|id| !id.is_empty() && id.len() <= MAX_ENVID_CHARS)
}

fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut success,
            "FAILURE" => &mut failure,
            "DELAY" => &mut delay,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    Some(Notify::On { success, failure, delay })
}

/// `type;address` (RFC 3461 §4.2; the type `utf-8` by RFC 6533 §3).
fn original(value: &str) -> Option<OriginalRecipient> {
    let (kind, address) = value.split_once(';')?;
    let kind_ok = (1..=40).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !kind_ok || value.len() > MAX_ORCPT_BYTES {
        return None;
    }
    let address_type = kind.to_ascii_lowercase();
    let address = match address_type.as_str() {
        "utf-8" => xtext::decode_utf8(address)?,
        _ => xtext::decode(address)?,
    };
    (!address.is_empty()).then_some(OriginalRecipient { address_type, address })
}

fn hold_for(value: &str) -> Option<FutureRelease> {
    let ok = value.len() <= MAX_HOLD_DIGITS && value.bytes().all(|b| b.is_ascii_digit());
    let seconds = ok.then(|| value.parse().ok()).flatten()?;
    Some(FutureRelease::HoldFor(Duration::from_secs(seconds)))
}

fn hold_until(value: &str) -> Option<FutureRelease> {
    Timestamp::parse_rfc3339(value).map(FutureRelease::HoldUntil)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_mail_parameters_are_refused() {
        let check = |text: &str, code: u16| {
            assert_eq!(mail(text).map_err(|reply| reply.code), Err(code), "{text}");
        };
        for malformed in [
            " SIZE",
            " SIZE=",
            " SIZE=1k",
            " SIZE=-1",
            " SIZE=123456789012345678901",
            " =1",
            " SIZE=1=2",
            " SIZE=1 SIZE=1",
            " BODY=9BIT",
            " BODY",
            " SMTPUTF8=1",
            " RET=ALL",
            " RET",
            " ENVID=",
            " ENVID=a+0D+0Ab",
            " ENVID=+4",
            " HOLDFOR=1234567890",
            " HOLDFOR=x",
            " HOLDUNTIL=soon",
            " HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z",
            " AUTH",
            " A*B=1",
            " -A=1",
        ] {
            check(malformed, 501);
        }
        check(&format!(" ENVID={}", "x".repeat(101)), 501);
        for unknown in
            [" BODY=BINARYMIME", " X=1", " NOTIFY=NEVER", " REQUIRETLS", " MT-PRIORITY=3"]
        {
            check(unknown, 555);
        }
    }

    #[test]
    fn mail_parameters_are_read() {
        let all = " size=1000 Body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb HOLDFOR=60 AUTH=<>";
        let expected = MailParameters {
            size_bytes: Some(1000),
            body: Some(BodyType::EightBitMime),
            smtputf8: true,
            ret: Some(DsnReturn::Headers),
            envid: Some("a+b".into()),
            release: Some(FutureRelease::HoldFor(Duration::from_secs(60))),
        };
        assert_eq!(mail(all), Ok(expected));
        assert_eq!(mail(""), Ok(MailParameters::default()));
        assert_eq!(mail(" SIZE=99999999999999999999").unwrap().size_bytes, Some(u64::MAX));
        let until = mail(" HOLDUNTIL=2030-01-01T00:00:00Z").unwrap().release;
        let at = Timestamp::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        assert_eq!(until, Some(FutureRelease::HoldUntil(at)));
    }

    #[test]
    fn bad_rcpt_parameters_are_refused() {
        let check = |text: &str, code: u16| {
            assert_eq!(rcpt(text).map_err(|reply| reply.code), Err(code), "{text}");
        };
        for malformed in [
            " NOTIFY",
            " NOTIFY=",
            " NOTIFY=NEVER,SUCCESS",
            " NOTIFY=SUCCESS,SUCCESS",
            " NOTIFY=,",
            " ORCPT=rfc822",
            " ORCPT=;a",
            " ORCPT=rfc822;",
            " ORCPT=rfc822;a+0D+0AMAIL",
            " ORCPT=r f;a",
            " NOTIFY=NEVER NOTIFY=NEVER",
            " ORCPT=rfc822;é",
        ] {
            check(malformed, 501);
        }
        check(&format!(" ORCPT=rfc822;{}", "x".repeat(500)), 501);
        check(" SIZE=1", 555);
    }

    #[test]
    fn rcpt_parameters_are_read() {
        let found = rcpt(" notify=success,Delay ORCPT=RFC822;kim+2Bx@example.org").unwrap();
        let on = Notify::On { success: true, failure: false, delay: true };
        assert_eq!(found.notify, Some(on));
        let original = found.original.unwrap();
        assert_eq!(
            (original.address_type.as_str(), original.address.as_str()),
            ("rfc822", "kim+x@example.org")
        );
    }
}
