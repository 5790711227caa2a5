//! Lengths of time as people write them: `30s`, `1h30m`, `5d`.
//!
//! One grammar for the configuration, the steering fields and the command line. Plain numbers are
//! refused: nobody can tell from them whether seconds or minutes were meant.

use std::time::Duration;

/// Milliseconds in each unit, the largest first.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `30s`, `250ms`, `1h30m`: whole numbers, each with its unit (`w`, `d`, `h`, `m`, `s`, `ms`),
/// larger units first. `None` for anything else, and for what does not fit a `u64` of milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (_, unit_ms) = UNITS.into_iter().find(|(unit, _)| *unit == &tail[..end])?;
        if unit_ms >= smallest {
            return None;
        }
        smallest = unit_ms;
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = &tail[end..];
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(total_ms))
}

/// Writes a duration so that it reads back as the same.
pub fn write_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return String::from("0s");
    }
    let exact = UNITS[1..].iter().find(|(_, unit_ms)| ms.is_multiple_of(*unit_ms));
    exact.map(|(unit, unit_ms)| format!("{}{unit}", ms / unit_ms)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let check = |text: &str, ms: Option<u64>| {
            assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text:?}");
        };
        let bad = [
            "",
            "s",
            "5",
            "5 s",
            "-5s",
            "+5s",
            "1.5h",
            "5S",
            "soon",
            "５s",
            "5µ",
            "30m1h",
            "1h1h",
            "1h 30m",
            "99999999999999999999d",
            "18446744073709551615s",
        ];
        for bad in bad {
            check(bad, None);
        }
        check("0s", Some(0));
        check(" 30s ", Some(30_000));
        check("250ms", Some(250));
        check("1h30m", Some(5_400_000));
        check("5d", Some(432_000_000));
        check("2w", Some(1_209_600_000));
    }

    #[test]
    fn what_is_written_reads_back() {
        for ms in [0, 1, 250, 1_000, 90_000, 5_400_000, 86_400_000, 604_800_000, u64::MAX] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&write_duration(duration)), Some(duration), "{ms}");
        }
    }
}
