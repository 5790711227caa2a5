//! Durations (`"30s"`, `"1h30m"`) and sizes (`"50MiB"`). Plain numbers are refused: nobody can
//! tell from them whether seconds or minutes, kilobytes or bytes were meant.

use std::time::Duration;

use toml::de::DeValue;

use super::kind::{Kind, Spot, integer};
use crate::model::{parse_duration, write_duration};

/// Bytes in each unit; powers of 1024 first, because they are what is advised.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A hundred years: longer ones are mistakes, and sums with them would overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// Reads `"50MiB"`, `"10MB"`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(bytes)
}

/// Writes a size so that it reads back as the same.
fn write_size(bytes: u64) -> String {
    let binary = &SIZE_UNITS[..4];
    match binary.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// A duration within limits.
pub(super) struct Period {
    pub(super) least: Duration,
    pub(super) most: Duration,
    pub(super) example: &'static str,
}

impl Period {
    pub(super) const fn new(least: Duration, most: Duration, example: &'static str) -> Period {
        Period { least, most, example }
    }
}

impl Kind for Period {
    type Value = Duration;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Duration> {
        let Some(duration) = value.as_str().and_then(parse_duration) else {
            return spot.is_not(value, "a duration", duration_advice(value, self.example));
        };
        let (least, most) = (write_duration(self.least), write_duration(self.most));
        if duration < self.least {
            return spot.is_not(value, &format!("at least {least}"), format!("write {least:?}"));
        }
        if duration > self.most {
            return spot.is_not(value, &format!("at most {most}"), format!("write {most:?}"));
        }
        Some(duration)
    }

    fn show(&self, value: &Duration) -> toml::Value {
        write_duration(*value).into()
    }

    fn example(&self) -> String {
        format!("{:?}", self.example)
    }
}

/// What to write instead of something that is no duration.
pub(super) fn duration_advice(value: &DeValue<'_>, example: &str) -> String {
    let digits = value.as_str().map(str::trim).and_then(|text| text.parse::<i64>().ok());
    match integer(value).or(digits) {
        Some(number) if number > 0 => {
            format!(
                "write the unit too: \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\""
            )
        }
        Some(_) | None => {
            format!("write a number with its unit (ms, s, m, h, d, w), such as {example:?}")
        }
    }
}

/// A size within limits, in bytes.
pub(super) struct Size {
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) example: &'static str,
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<u64> {
        let Some(bytes) = value.as_str().and_then(parse_size) else {
            return spot.is_not(value, "a size", size_advice(value, self.example));
        };
        let (least, most) = (write_size(self.least), write_size(self.most));
        if bytes < self.least {
            return spot.is_not(value, &format!("at least {least}"), format!("write {least:?}"));
        }
        if bytes > self.most {
            return spot.is_not(value, &format!("at most {most}"), format!("write {most:?}"));
        }
        Some(bytes)
    }

    fn show(&self, value: &u64) -> toml::Value {
        write_size(*value).into()
    }

    fn example(&self) -> String {
        format!("{:?}", self.example)
    }
}

/// What to write instead of something that is no size; `"50M"` and `"50mb"` are understood.
fn size_advice(value: &DeValue<'_>, example: &str) -> String {
    let text = match integer(value) {
        Some(number) => number.to_string(),
        None => value.as_str().unwrap_or_default().trim().to_owned(),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim().to_lowercase());
    let meant = match unit.as_str() {
        "" => Some("MiB"),
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    };
    match meant.filter(|_| !number.is_empty()) {
        Some(_) if unit.is_empty() && number.len() > 6 => {
            let mebibytes = number.parse::<u64>().unwrap_or(u64::MAX) >> 20;
            format!(
                "write the unit too: \"{number}B\", or in round figures \"{}MiB\"",
                mebibytes.max(1)
            )
        }
        Some(_) if unit.is_empty() => {
            format!("write the unit too: \"{number}B\", \"{number}KiB\" or \"{number}MiB\"")
        }
        Some(unit) => format!("write \"{number}{unit}\""),
        None => format!("write a number with its unit (B, KiB, MiB, GiB), such as {example:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_in_order() {
        for bad in [
            "",
            " ",
            "5",
            "s",
            "5 s",
            "5x",
            "-5s",
            "1.5h",
            "30m1h",
            "1h1h",
            "99999999999999999999s",
            "5S",
            "18446744073709551615w",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
        let check = |text, ms| {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        };
        check("0s", 0);
        check("250ms", 250);
        check("1h30m", 5_400_000);
        check("1w", 604_800_000);
        check(" 5d ", 432_000_000);
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "250ms", "30s", "90m", "5d", "14d", "36500d"] {
            assert_eq!(parse_duration(text).map(write_duration).as_deref(), Some(text));
        }
    }

    #[test]
    fn sizes_need_units() {
        for bad in ["", "5", "MiB", "5M", "5mib", "1.5GiB", "-1B", "99999999999TiB"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
        assert_eq!(parse_size("50MiB"), Some(50 << 20));
        assert_eq!(parse_size("10 MB"), Some(10_000_000));
        for text in ["50MiB", "1GiB", "512KiB", "0B", "10000001B"] {
            assert_eq!(parse_size(text).map(write_size).as_deref(), Some(text));
        }
    }
}
