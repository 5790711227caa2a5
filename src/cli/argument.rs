//! Kinds of arguments that several commands share.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::account::Role;
use crate::model::{AppName, parse_duration};

/// One of the four roles, named in the help.
pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    let words = PossibleValuesParser::new(Role::ALL.map(Role::as_str));
    // Only the words of roles get past the line above.
    words.map(|word| Role::parse(&word).unwrap_or(Role::Viewer))
}

/// The name of an app.
pub(super) fn app(text: &str) -> Result<AppName, String> {
    AppName::parse(text)
        .ok_or_else(|| String::from("a name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""))
}

/// A time such as `90d`, longer than nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration
        .ok_or_else(|| String::from("write a number with its unit (s, m, h, d, w), such as 90d"))
}
