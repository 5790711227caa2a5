//! Templates: text with `{placeholders}`.
//!
//! A brace, a name of small letters and underscores, and a brace is a placeholder; every other brace is
//! text, so JSON needs no escaping. A name that nobody knows is an error.

use super::Place;

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

impl Template {
    /// The error says which name is unknown, and which there are.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            pieces.push(Piece::Text(before.to_owned()));
            let name = from.get(1..).and_then(|inner| inner.split_once('}')).map(|(name, _)| name);
            let is_name = |name: &&str| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let Some(name) = name.filter(is_name) else {
                pieces.push(Piece::Text("{".to_owned()));
                rest = &from[1..];
                continue;
            };
            pieces.push(Piece::Place(Place::parse(name).ok_or_else(|| unknown(name))?));
            rest = &from[name.len() + 2..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Template(pieces))
    }

    /// Reads a part of a URL, where braces may have become escapes.
    pub(super) fn parse_url(text: &str) -> Result<Template, String> {
        let mut plain = text.to_owned();
        for (_, name) in Place::ALL {
            for escaped in [format!("%7B{name}%7D"), format!("%7b{name}%7d")] {
                plain = plain.replace(&escaped, &format!("{{{name}}}"));
            }
        }
        Template::parse(&plain)
    }

    /// Puts the values in; the error is that of a value which can not stand there.
    pub(super) fn fill(
        &self,
        value: impl Fn(Place) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Place(place) => out.push_str(&value(*place)?),
            }
        }
        Ok(out)
    }

    /// Whether it is one placeholder and nothing else but white space.
    pub(super) fn is_lone_place(&self) -> bool {
        let mut places = 0;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) if text.trim().is_empty() => {}
                Piece::Text(_) => return false,
                Piece::Place(_) => places += 1,
            }
        }
        places == 1
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = Place::ALL.iter().map(|(_, name)| format!("{{{name}}}")).collect();
    format!("unknown placeholder {{{name}}}; there are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_are_placeholders() {
        let error = Template::parse("a{txt}").unwrap_err();
        assert!(error.starts_with("unknown placeholder {txt}; there are {to}"), "{error}");
        let fill = |text: &str| {
            let template = Template::parse(text).unwrap();
            template.fill(|place| Ok(format!("<{place:?}>"))).unwrap()
        };
        for text in ["", "{", "}", "{}", "{\"a\": {}}", "{To}", "{ to }", "{to", "{{1}"] {
            assert_eq!(fill(text), text);
        }
        assert_eq!(fill("{\"a\":\"{to}\"}{text}{"), "{\"a\":\"<To>\"}<Text>{");
        assert_eq!(fill("{{to}}"), "{<To>}");
    }
}
