//! Kinds of values: how a value is read, what is said when it is wrong, how it is written.
//!
//! Here are the plain ones; durations and sizes are in `measure`, addresses in `address`, globs,
//! regular expressions and URLs in `pattern`, secrets and key files in `secret` and `pem`.

use std::ops::{Range, RangeInclusive};

use toml::de::DeValue;

use super::section::Context;

/// One kind of value.
pub(super) trait Kind {
    type Value;

    /// Reads a value, or reports what is wrong with it.
    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Self::Value>;

    /// The value as `waybill check --print` writes it.
    fn show(&self, value: &Self::Value) -> toml::Value;

    /// A good value in TOML, for advice.
    fn example(&self) -> String;
}

/// The value that is being read: its key and where it stands.
pub(super) struct Spot<'c, 's> {
    pub(super) context: &'c Context<'s>,
    pub(super) key: &'c str,
    pub(super) span: Range<usize>,
}

impl<'c, 's> Spot<'c, 's> {
    /// The same key, a place inside its value.
    pub(super) fn at(&self, span: Range<usize>) -> Spot<'c, 's> {
        Spot { context: self.context, key: self.key, span }
    }

    /// Reports a mistake; there is no value then.
    pub(super) fn wrong<T>(&self, what: String, advice: impl Into<String>) -> Option<T> {
        self.context.report.wrong(Some(self.span.clone()), what, advice.into());
        None
    }

    /// Reports that the value is not what it has to be. Never for secrets: the value is quoted.
    pub(super) fn is_not<T>(
        &self,
        value: &DeValue<'_>,
        expected: &str,
        advice: impl Into<String>,
    ) -> Option<T> {
        self.wrong(format!("{} = {} is not {expected}", self.key, excerpt(value)), advice)
    }
}

/// What kind of thing a value is, with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The value in one short line without control characters.
fn excerpt(value: &DeValue<'_>) -> String {
    const MAX_CHARS: usize = 60;
    let text = match value {
        DeValue::String(text) => format!("{:?}", without_userinfo(text)),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => String::from("[…]"),
        DeValue::Table(_) => String::from("{…}"),
    };
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…\"", &text[..end]),
        None => text,
    }
}

/// A URL may have been written with a password in it, which must not be repeated.
fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A TOML integer that fits into 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<bool> {
        match value.as_bool() {
            Some(flag) => Some(flag),
            None => spot.is_not(value, "true or false", "write true or false, without quotes"),
        }
    }

    fn show(&self, value: &bool) -> toml::Value {
        (*value).into()
    }

    fn example(&self) -> String {
        String::from("true")
    }
}

/// A whole number within limits.
pub(super) struct Count(pub(super) RangeInclusive<u32>);

impl Kind for Count {
    type Value = u32;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<u32> {
        let (least, most) = (self.0.start(), self.0.end());
        let fits = |number: i64| u32::try_from(number).ok().filter(|n| self.0.contains(n));
        let expected = format!("a whole number from {least} to {most}");
        if let Some(number) = integer(value) {
            return fits(number).or_else(|| {
                let nearest = number.clamp((*least).into(), (*most).into());
                spot.is_not(value, &expected, format!("write {nearest}"))
            });
        }
        // Rounded, because half a connection can only be a slip.
        let decimals = value.as_float().and_then(|number| number.as_str().parse::<f64>().ok());
        if let Some(number) = decimals.and_then(|number| fits(number.round() as i64)) {
            return spot.is_not(value, &expected, format!("write {number}"));
        }
        match value.as_str().and_then(|text| text.trim().parse().ok()).and_then(fits) {
            Some(number) => spot.is_not(value, &expected, format!("write {number} without quotes")),
            None => spot.is_not(value, &expected, format!("write {}", self.example())),
        }
    }

    fn show(&self, value: &u32) -> toml::Value {
        i64::from(*value).into()
    }

    fn example(&self) -> String {
        (*self.0.start()).max(1).to_string()
    }
}

/// One word of a short list.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<T> {
        let words: Vec<&'static str> = self.0.iter().map(|(word, _)| *word).collect();
        if let Some(text) = value.as_str() {
            if let Some((_, choice)) = self.0.iter().find(|(word, _)| *word == text) {
                return Some(*choice);
            }
            if let Some(word) = super::problem::closest(text, words.iter().copied()) {
                return spot.is_not(value, &one_of(&words), format!("did you mean {word:?}?"));
            }
        }
        spot.is_not(value, &one_of(&words), format!("write {}", self.example()))
    }

    fn show(&self, value: &T) -> toml::Value {
        let word = self.0.iter().find(|(_, choice)| choice == value).map(|(word, _)| *word);
        word.unwrap_or_default().into()
    }

    fn example(&self) -> String {
        self.0.first().map(|(word, _)| format!("{word:?}")).unwrap_or_default()
    }
}

/// `one of "a", "b" and "c"`
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("one of {} and {last}", rest.join(", "))
        }
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// A list of values of one kind.
pub(super) struct List<K>(pub(super) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Vec<K::Value>> {
        match value.as_array() {
            Some(items) => {
                let read = |item: &toml::Spanned<DeValue<'_>>| {
                    self.0.read(item.get_ref(), &spot.at(item.span()))
                };
                Some(items.iter().filter_map(read).collect())
            }
            None => spot.is_not(value, "a list", format!("write [{}]", excerpt(value))),
        }
    }

    fn show(&self, value: &Vec<K::Value>) -> toml::Value {
        toml::Value::Array(value.iter().map(|item| self.0.show(item)).collect())
    }

    fn example(&self) -> String {
        format!("[{}]", self.0.example())
    }
}

/// Why a text was not taken: added to the message, and in place of the example.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) why: Option<String>,
    pub(super) advice: Option<String>,
}

impl Complaint {
    /// No more than that it is not what it has to be.
    pub(super) fn plain() -> Complaint {
        Complaint::default()
    }

    pub(super) fn because(why: impl Into<String>) -> Complaint {
        Complaint { why: Some(why.into()), advice: None }
    }

    pub(super) fn instead(advice: impl Into<String>) -> Complaint {
        Complaint { why: None, advice: Some(advice.into()) }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Complaint {
        Complaint { advice: Some(advice.into()), ..self }
    }
}

/// A text with a form of its own.
pub(super) struct Word<T: 'static> {
    /// With its article: `an address`.
    pub(super) expected: &'static str,
    /// Without quotes.
    pub(super) example: &'static str,
    pub(super) parse: fn(&str) -> Result<T, Complaint>,
    pub(super) write: fn(&T) -> String,
}

impl<T> Kind for Word<T> {
    type Value = T;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<T> {
        let parsed = match (value.as_str(), integer(value)) {
            (Some(text), _) => (self.parse)(text),
            // A number without quotes may be the right text.
            (None, Some(number)) => match (self.parse)(&number.to_string()) {
                Ok(_) => Err(Complaint::instead(format!("write \"{number}\""))),
                Err(complaint) => Err(complaint),
            },
            (None, None) => Err(Complaint::plain()),
        };
        parsed.map_or_else(
            |complaint| {
                let why = complaint.why.map(|why| format!(": {why}")).unwrap_or_default();
                let advice =
                    complaint.advice.unwrap_or_else(|| format!("write {}", self.example()));
                spot.is_not(value, &format!("{}{why}", self.expected), advice)
            },
            Some,
        )
    }

    fn show(&self, value: &T) -> toml::Value {
        (self.write)(value).into()
    }

    fn example(&self) -> String {
        format!("{:?}", self.example)
    }
}

/// A short text for people or protocols: one line, nothing invisible.
pub(super) const TEXT: Word<String> = Word {
    expected: "a text of one line",
    example: "text",
    parse: |text| match text.trim() {
        "" => Err(Complaint::because("it is empty")),
        _ if text.chars().any(char::is_control) => {
            Err(Complaint::because("it holds a control character"))
        }
        _ if text.len() > MAX_TEXT_BYTES => Err(Complaint::because("it is longer than 400 bytes")),
        _ => Ok(text.to_owned()),
    },
    write: String::clone,
};

/// An SMTP reply line has 512 octets with its code and CRLF (RFC 5321 §4.5.3.1.5).
const MAX_TEXT_BYTES: usize = 400;
