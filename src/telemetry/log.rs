//! Log set-up: one line for each event, on standard error, as text or as JSON.
//!
//! Takes the level and the format; installs the process's one subscriber. Colours are only used
//! on a terminal. Fields can hold what strangers wrote (addresses, replies of upstreams), so the
//! writer escapes every control and direction character: no field can begin a line of its own,
//! forge an entry, or steer a terminal. Rooms log milestones (one line each, by message id) with
//! `tracing`; nothing here knows what they say.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::settings::{LogFormat, LogLevel, LogSettings};

/// Why the logs could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the logs are already set up in this process")]
pub struct LogError(#[from] TryInitError);

/// Installs the subscriber; once in a process.
pub fn install(settings: &LogSettings) -> Result<(), LogError> {
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter(settings.level)))
        .with_target(settings.level >= LogLevel::Debug);
    match settings.format {
        LogFormat::Text => builder
            .with_ansi(terminal)
            .with_writer(OneLine { ansi: terminal })
            .finish()
            .try_init()?,
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(OneLine { ansi: false })
            .finish()
            .try_init()?,
    }
    Ok(())
}

/// Libraries say little below `trace`: their debug lines drown ours and may quote protocol bytes.
fn filter(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,waybill=info",
        LogLevel::Debug => "warn,waybill=debug",
        LogLevel::Trace => "info,waybill=trace",
    }
}

/// Makes writers to standard error that keep an event on one line.
struct OneLine {
    ansi: bool,
}

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = OneLineWriter<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter { inner: io::stderr(), ansi: self.ansi }
    }
}

/// The formatter hands over one event in one call, with a line break at its end.
struct OneLineWriter<W> {
    inner: W,
    ansi: bool,
}

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.inner.write_all(one_line(&String::from_utf8_lossy(event), self.ansi).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The event with every line break but the last, and every other character that could forge or
/// steer, written as an escape. ESC is kept where the formatter itself colours (it has escaped
/// those of the fields).
fn one_line(event: &str, ansi: bool) -> String {
    let body = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len() + 1);
    for c in body.chars() {
        let colour = ansi && c == '\u{1b}';
        if (c.is_control() && !colour) || is_direction(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// Characters that reorder or break text on a screen (Unicode TR9, and the two separators).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_never_starts_a_line_or_steers_a_terminal() {
        let check = |event: &str, ansi, expected: &str| assert_eq!(one_line(event, ansi), expected);
        check("a\nINFO forged\n", false, "a\\nINFO forged\n");
        check("a\r\n\n", false, "a\\r\\n\n");
        check("a\u{1b}[2J\n", false, "a\\u{1b}[2J\n");
        check("\u{1b}[32mINFO\u{1b}[0m a\u{9b}2J\n", true, "\u{1b}[32mINFO\u{1b}[0m a\\u{9b}2J\n");
        check("a\u{202e}b", false, "a\\u{202e}b\n");
        check("plain é 日本\n", false, "plain é 日本\n");
    }

    #[test]
    fn the_writer_takes_the_whole_event() {
        let mut writer = OneLineWriter { inner: Vec::new(), ansi: false };
        writer.write_all(b"one\ntwo\n").unwrap();
        writer.write_all(b"three\xff\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.inner, "one\\ntwo\nthree\u{fffd}\n".as_bytes());
    }
}
