//! What stands in the URL: query parameters, read strictly (each at most once, none unknown, all
//! mistakes told at one time), and the varying segments of the path.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{FieldError, Problem, ProblemKind};

/// Entries of a list without `limit`.
const DEFAULT_LIMIT: usize = 50;
/// Most entries of a list.
const MAX_LIMIT: usize = 500;
/// How alike two names must be (Jaro-Winkler) for one to be suggested for the other.
const LIKENESS: f64 = 0.8;

/// The varying segments of the path. One that is no UTF-8 names nothing that there is.
pub(crate) struct Segment<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment<T>, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Segment(segment)).map_err(|_| Problem::not_found("route"))
    }
}

/// The parameters of one request, until each was taken.
pub(super) struct Parameters {
    given: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// Reads the query; a name that is not in `known` is an error with a suggestion.
    pub(super) fn read(uri: &Uri, known: &[&'static str]) -> Parameters {
        let mut errors = Vec::new();
        let given = match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(given)) => given,
            Err(error) => {
                errors.push(FieldError { field: "query".into(), detail: error.body_text() });
                Vec::new()
            }
        };
        for (at, (name, _)) in given.iter().enumerate() {
            let detail = if !known.contains(&name.as_str()) {
                unknown(name, known)
            } else if given.iter().take(at).any(|(earlier, _)| earlier == name) {
                format!("{name} is given more than once.")
            } else {
                continue;
            };
            errors.push(FieldError { field: name.clone(), detail });
        }
        Parameters { given, errors }
    }

    /// One parameter. `parse` says in words what is wrong with the value.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(detail) => {
                self.errors.push(FieldError { field: name.to_owned(), detail });
                None
            }
        }
    }

    /// How many entries a list shall have.
    pub(super) fn limit(&mut self) -> usize {
        let parse = |text: &str| match text.parse::<usize>() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Ok(_) | Err(_) => Err(format!("limit is a number from 1 to {MAX_LIMIT}.")),
        };
        self.take("limit", parse).unwrap_or(DEFAULT_LIMIT)
    }

    /// The value as it was given, for what depends on all of them.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// All mistakes, or none.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem::of_fields(ProblemKind::InvalidParameter, self.errors)),
        }
    }
}

/// For routes that take no parameters.
pub(super) fn none(uri: &Uri) -> Result<(), Problem> {
    Parameters::read(uri, &[]).finish()
}

/// Quoting what came in is safe: it goes out as JSON. It is cut so that no error is a megabyte.
fn unknown(name: &str, known: &[&'static str]) -> String {
    let shown: String = name.chars().take(64).collect();
    let likeness = |candidate: &str| strsim::jaro_winkler(&shown.to_lowercase(), candidate);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best {
        Some(best) if likeness(best) >= LIKENESS => {
            format!("There is no parameter {shown:?}; did you mean {best:?}?")
        }
        Some(_) => {
            format!("There is no parameter {shown:?}; there are {}.", known.join(", "))
        }
        None => format!("There is no parameter {shown:?}; this route takes none."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[&str]) {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        let mut parameters = Parameters::read(&uri, &["channel", "limit"]);
        parameters.limit();
        match parameters.finish() {
            Ok(()) => assert!(expected.is_empty(), "{query}"),
            Err(problem) => {
                let text = format!("{problem:?}").replace("\\\"", "'");
                for words in expected {
                    assert!(text.contains(words), "{query}: {text}");
                }
                assert!(!expected.is_empty(), "{query}: {text}");
            }
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_errors() {
        check("chanel=x", &["There is no parameter 'chanel'; did you mean 'channel'?"]);
        check("zzz=x", &["there are channel, limit."]);
        check("limit=1&limit=2", &["limit is given more than once."]);
        check("limit=0", &["limit is a number from 1 to 500."]);
        check("limit=501", &["limit is a number"]);
        check("limit=-1", &["limit is a number"]);
        check("limit=&zzz", &["limit is a number", "There is no parameter 'zzz'"]);
        check("limit=500&channel=email", &[]);
        check("", &[]);
        check(&format!("{}=1", "x".repeat(5_000)), &["There is no parameter"]);
    }
}
