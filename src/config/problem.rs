//! What is wrong with a configuration file, where, and what to write instead.
//!
//! A problem is one line, `file:line:column: what is wrong; what to write instead`, so that editors
//! can jump to it. Errors stop a start; warnings and notices do not. Texts never hold a secret:
//! values are quoted only by kinds of value that are not secret.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration can not be used.
    Error,
    /// It can be used, but it probably does not do what was meant.
    Warning,
    /// Worth knowing, such as a key without effect in this version.
    Notice,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// The file as it was named on the command line; `None` when the built-in defaults are used.
    pub file: Option<String>,
    /// Line and column, both counted from 1, the column in characters; `None` when the finding is
    /// about something that is not in the file.
    pub position: Option<(usize, usize)>,
    pub what: String,
    /// What to write instead.
    pub advice: String,
    pub(super) scope: Scope,
}

/// What was looked at to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The text, which is not TOML from there on.
    Syntax,
    /// The text, which is not TOML there, but what follows can be read.
    SyntaxOfOneValue,
    /// One key or value.
    Value,
    /// Several keys together.
    Whole,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.position.is_some() {
            f.write_str(" ")?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Notice => f.write_str("notice: ")?,
        }
        write!(f, "{}; {}", self.what, self.advice)
    }
}

/// A place in the file, in bytes; `None` is the file as a whole.
pub(super) type Place = Option<Range<usize>>;

/// Collects what is found, in any order.
pub(super) struct Report<'s> {
    file: Option<String>,
    source: &'s str,
    found: RefCell<Vec<(usize, Problem)>>,
}

impl<'s> Report<'s> {
    pub(super) fn new(file: Option<String>, source: &'s str) -> Report<'s> {
        Report { file, source, found: RefCell::new(Vec::new()) }
    }

    /// The text is not TOML.
    pub(super) fn syntax(&self, place: Place, scope: Scope, what: String, advice: String) {
        self.add(Severity::Error, place, what, advice, scope);
    }

    /// A mistake in one key or value.
    pub(super) fn wrong(&self, place: Place, what: String, advice: String) {
        self.add(Severity::Error, place, what, advice, Scope::Value);
    }

    /// A mistake that shows only when several keys are looked at together.
    pub(super) fn error(&self, place: Place, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Error, place, what.into(), advice.into(), Scope::Whole);
    }

    pub(super) fn warning(&self, place: Place, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Warning, place, what.into(), advice.into(), Scope::Whole);
    }

    pub(super) fn notice(&self, place: Place, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Notice, place, what.into(), advice.into(), Scope::Whole);
    }

    fn add(&self, severity: Severity, place: Place, what: String, advice: String, scope: Scope) {
        let start = place.map(|range| range.start);
        let position = start.map(|at| position(self.source, at));
        let file = self.file.clone();
        let problem = Problem { severity, file, position, what, advice, scope };
        self.found.borrow_mut().push((start.unwrap_or(0), problem));
    }

    /// Everything, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        drop_consequences(&mut found);
        found.sort_by_key(|(start, _)| *start);
        let mut problems: Vec<Problem> = found.into_iter().map(|(_, problem)| problem).collect();
        problems.dedup();
        problems
    }
}

/// Where the text is not TOML, what was read from it is incomplete. Then only findings hold that
/// are about one value, on a line of its own, before the reader lost its way.
fn drop_consequences(found: &mut Vec<(usize, Problem)>) {
    let line = |problem: &Problem| problem.position.map(|(line, _)| line);
    let is_syntax =
        |problem: &Problem| matches!(problem.scope, Scope::Syntax | Scope::SyntaxOfOneValue);
    let broken: Vec<Option<usize>> =
        found.iter().filter(|(_, p)| is_syntax(p)).map(|(_, p)| line(p)).collect();
    let lost = found.iter().filter(|(_, problem)| problem.scope == Scope::Syntax);
    let lost_at = lost.map(|(start, _)| *start).min().unwrap_or(usize::MAX);
    found.retain(|(start, problem)| match problem.scope {
        Scope::Syntax | Scope::SyntaxOfOneValue => true,
        Scope::Value => *start < lost_at && !broken.contains(&line(problem)),
        Scope::Whole => broken.is_empty(),
    });
}

/// Line and column of a byte offset, both from 1; the byte order mark is no column.
pub(super) fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(offset.min(source.len()))];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[start..].trim_start_matches('\u{feff}').chars().count() + 1;
    (line, column)
}

/// The candidate that `word` was probably meant to be.
pub(super) fn closest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| {
        let other = candidate.to_lowercase();
        let edits = strsim::damerau_levenshtein(&word, &other);
        (edits, candidate, strsim::jaro_winkler(&word, &other))
    });
    let near = |(edits, candidate, similarity): &(usize, &str, f64)| {
        let longest = candidate.len().max(word.len());
        edits * 3 <= longest || *edits == 1 || *similarity >= 0.88
    };
    scored.filter(near).min_by_key(|(edits, _, _)| *edits).map(|(_, candidate, _)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let check = |source: &str, offset, expected| {
            assert_eq!(position(source, offset), expected, "{source:?} {offset}");
        };
        check("", 0, (1, 1));
        check("", 10, (1, 1));
        check("a = 1\nbå = 2", 6, (2, 1));
        check("a = 1\nbå = 2", 10, (2, 4));
        check("\u{feff}a = 1", 3, (1, 1));
    }

    #[test]
    fn far_words_are_not_suggested() {
        let keys = ["port", "host", "tls_ca", "connections"];
        assert_eq!(closest("retention", keys), None);
        assert_eq!(closest("x", keys), None);
        assert_eq!(closest("prot", keys), Some("port"));
        assert_eq!(closest("conections", keys), Some("connections"));
        assert_eq!(closest("tlsca", keys), Some("tls_ca"));
    }

    #[test]
    fn a_problem_is_one_line() {
        let report = Report::new(Some("w.toml".into()), "a = 1\nb = 2\n");
        report.warning(Some(6..7), "b is odd", "write 3");
        report.error(None, "there is no c", "write c");
        let lines: Vec<String> = report.into_sorted().iter().map(Problem::to_string).collect();
        assert_eq!(
            lines,
            ["w.toml: there is no c; write c", "w.toml:2:1: warning: b is odd; write 3"]
        );
    }
}
