//! A point in time, in milliseconds since the Unix epoch, UTC.
//!
//! It is written as RFC 3339 with exactly three decimals and a `Z`. There is no clock here: the
//! edge of the program reads it and passes it in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The last instant that RFC 3339 can write: 9999-12-30T22:00:00Z.
const LAST_MS: i64 = 253_402_207_200_000;

/// What the time is, for rooms that act by themselves; the edge of the program hands it in.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Timestamp {
    /// The earliest instant that Waybill knows, 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From milliseconds since the epoch, clamped to the years 1970 to 9999.
    pub fn from_millis(ms: i64) -> Timestamp {
        Timestamp(ms.clamp(0, LAST_MS))
    }

    /// Milliseconds since the epoch; never negative.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 with any offset; `None` when it is not a time in the years 1970 to 9999.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let at: jiff::Timestamp = text.trim().parse().ok()?;
        let ms = at.as_millisecond();
        (0..=LAST_MS).contains(&ms).then_some(Timestamp(ms))
    }

    /// The time as RFC 5322 §3.3 writes it, in UTC: `Sun, 22 Nov 2026 04:27:51 +0000`.
    pub fn to_rfc5322(self) -> String {
        self.broken_down().strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }

    /// Later by `duration`, clamped to the year 9999.
    pub fn plus(self, duration: Duration) -> Timestamp {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(LAST_MS);
        Timestamp::from_millis(self.0.saturating_add(ms))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    fn broken_down(self) -> jiff::Zoned {
        jiff::Timestamp::from_millisecond(self.0)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(jiff::tz::TimeZone::UTC)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.broken_down().strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_is_read_and_written() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                Timestamp::parse_rfc3339(text).map(|t| t.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check("yesterday", None);
        check("1969-12-31T23:59:59Z", None);
        check("2026-11-22", None);
        check("2026-11-22T04:27:51Z", Some("2026-11-22T04:27:51.000Z"));
        check("2026-11-22T05:27:51.25+01:00", Some("2026-11-22T04:27:51.250Z"));
    }

    #[test]
    fn rfc5322_is_written_in_utc() {
        assert_eq!(
            Timestamp::from_millis(1_795_321_671_000).to_rfc5322(),
            "Sun, 22 Nov 2026 04:27:51 +0000"
        );
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
        assert_eq!(late.since(early), Duration::from_millis(2_500));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.plus(Duration::MAX), Timestamp::from_millis(i64::MAX));
    }
}
