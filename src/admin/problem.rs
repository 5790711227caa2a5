//! Errors as clients see them: `application/problem+json` (RFC 9457).
//!
//! A kind gives the stable `type`, the title and the status; the detail says it in words for this
//! request; `errors` names parameters and fields. What went wrong inside is logged where the problem
//! is made and never told.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::account::AccountError;
use crate::archive::ArchiveError;

/// What kind of error; each is one `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    Unauthenticated,
    Forbidden,
    TwoFactorRequired,
    NotFound,
    MethodNotAllowed,
    InvalidParameter,
    InvalidBody,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    TooManyAttempts,
    RateLimited,
    Busy,
    Timeout,
    Unavailable,
    Internal,
}

impl ProblemKind {
    /// The last part of `type`.
    pub(super) fn slug(self) -> &'static str {
        self.row().0
    }

    pub(super) fn status(self) -> StatusCode {
        self.row().1
    }

    pub(super) fn title(self) -> &'static str {
        self.row().2
    }

    /// `type`, which never changes.
    pub(super) fn urn(self) -> String {
        format!("urn:waybill:problem:{}", self.slug())
    }

    /// One as a client gets it.
    pub(super) fn example(self) -> serde_json::Value {
        let (field, detail) = match self {
            ProblemKind::InvalidParameter => (Some("limit"), "limit is a number from 1 to 500."),
            ProblemKind::InvalidBody => (Some("role"), "role is not given."),
            ProblemKind::Unauthenticated => (None, "The token is not valid."),
            ProblemKind::Forbidden => (None, "The role viewer does not include this."),
            ProblemKind::TwoFactorRequired => {
                (None, "This role must use two-factor: enrol at /api/v1/me/2fa first.")
            }
            ProblemKind::NotFound => (None, "There is no such message."),
            ProblemKind::MethodNotAllowed => (None, "This route does not take PUT."),
            ProblemKind::Conflict => (None, "It is too late: everything was sent."),
            ProblemKind::TooLarge => (None, "A body has at most 1048576 bytes."),
            ProblemKind::UnsupportedMediaType => {
                (None, "Send the field 'Content-Type: application/json'.")
            }
            ProblemKind::TooManyAttempts => {
                (None, "Too many tokens from this address were not valid.")
            }
            ProblemKind::RateLimited => {
                (None, "Not now: its app erp sends as much as it may; try again in 3 seconds.")
            }
            ProblemKind::Busy => (None, "There are at most 4 of these at one time."),
            ProblemKind::Timeout => (None, "The request was given up after 30 seconds."),
            ProblemKind::Unavailable => (None, "The disk of the archive is too full to write."),
            ProblemKind::Internal => (None, "The request failed; the log of the server says why."),
        };
        let errors: Vec<FieldError> = field
            .map(|f| FieldError { field: f.into(), detail: detail.into() })
            .into_iter()
            .collect();
        serde_json::json!({
            "type": self.urn(),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": detail,
            "errors": errors,
        })
    }

    /// The last part of `type`, the status, and the title.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use ProblemKind as Kind;
        match self {
            Kind::Unauthenticated => {
                ("unauthenticated", StatusCode::UNAUTHORIZED, "A valid token or login is needed")
            }
            Kind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Not allowed"),
            Kind::TwoFactorRequired => {
                ("two-factor-required", StatusCode::FORBIDDEN, "Two-factor must be on")
            }
            Kind::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Kind::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not with this method")
            }
            Kind::InvalidParameter => {
                ("invalid-parameter", StatusCode::BAD_REQUEST, "A parameter is wrong")
            }
            Kind::InvalidBody => ("invalid-body", StatusCode::BAD_REQUEST, "The body is wrong"),
            Kind::Conflict => ("conflict", StatusCode::CONFLICT, "Not possible as things stand"),
            Kind::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Kind::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not JSON",
            ),
            Kind::TooManyAttempts => {
                ("too-many-attempts", StatusCode::TOO_MANY_REQUESTS, "Too many wrong attempts")
            }
            Kind::RateLimited => {
                ("rate-limited", StatusCode::TOO_MANY_REQUESTS, "More than the app may send")
            }
            Kind::Busy => ("busy", StatusCode::TOO_MANY_REQUESTS, "Too many at one time"),
            Kind::Timeout => ("timeout", StatusCode::SERVICE_UNAVAILABLE, "It took too long"),
            Kind::Unavailable => {
                ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not possible now")
            }
            Kind::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here")
            }
        }
    }
}

/// A parameter or field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    pub field: String,
    pub detail: String,
}

/// One error answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    errors: &'a [FieldError],
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), errors: Vec::new(), retry_after_seconds: None }
    }

    /// A message, user or token that is not there, or not there for this identity.
    pub(crate) fn not_found(what: &str) -> Problem {
        Problem::new(ProblemKind::NotFound, format!("There is no such {what}."))
    }

    /// One field of the path, the query or the body.
    pub(crate) fn of_field(kind: ProblemKind, field: &str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        let errors = vec![FieldError { field: field.to_owned(), detail: detail.clone() }];
        Problem { errors, ..Problem::new(kind, detail) }
    }

    /// Several fields at one time.
    pub(crate) fn of_fields(kind: ProblemKind, errors: Vec<FieldError>) -> Problem {
        let detail = errors.iter().map(|e| e.detail.as_str()).collect::<Vec<_>>().join(" ");
        Problem { errors, ..Problem::new(kind, detail) }
    }

    /// Our own failure: logged in full, told in general.
    pub(crate) fn internal(operation: &str, error: &dyn std::error::Error) -> Problem {
        tracing::error!(operation, error = %chain(error), "a request failed");
        Problem::new(ProblemKind::Internal, "The request failed; the log of the server says why.")
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.kind == ProblemKind::NotFound
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after_seconds: Some(seconds), ..self }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Problem {
        tracing::error!(error = %chain(&error), "the archive failed a request");
        let detail = match error {
            ArchiveError::Full => "The disk of the archive is too full to write.",
            ArchiveError::Closed(_) => "The archive takes no changes now.",
            ArchiveError::Storage { .. } => "The archive could not answer.",
        };
        Problem::new(ProblemKind::Unavailable, detail)
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Problem {
        use crate::account::AccountRefusal as Refusal;
        let refusal = match error {
            AccountError::Refused(refusal) => refusal,
            AccountError::Archive(error) => return error.into(),
            AccountError::Busy => {
                let problem = Problem::new(ProblemKind::Unavailable, error.to_string());
                return problem.retry_after(1);
            }
            AccountError::Hash(_) | AccountError::Random => {
                return Problem::internal("account", &error);
            }
        };
        let detail = refusal.to_string();
        match refusal {
            Refusal::NoSuchUser(_) | Refusal::NoSuchToken(_) | Refusal::NoSuchSession(_) => {
                Problem::new(ProblemKind::NotFound, detail)
            }
            Refusal::UserExists(_)
            | Refusal::UserDisabled(_)
            | Refusal::LastAdmin(_)
            | Refusal::TwoFactorExists
            | Refusal::NoTwoFactor
            | Refusal::SecondFactorUnreadable
            | Refusal::TooMany => Problem::new(ProblemKind::Conflict, detail),
            Refusal::PasswordTooShort | Refusal::PasswordTooLong | Refusal::PasswordTooPlain => {
                Problem::of_field(ProblemKind::InvalidBody, "password", detail)
            }
            Refusal::WrongCode => Problem::of_field(ProblemKind::InvalidBody, "otp", detail),
            Refusal::Note => Problem::of_field(ProblemKind::InvalidBody, "note", detail),
            Refusal::ExpiryInThePast => {
                Problem::of_field(ProblemKind::InvalidBody, "expires_at", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title) = (self.kind.status(), self.kind.title());
        let body = Json(ProblemBody {
            r#type: self.kind.urn(),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        });
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == ProblemKind::Unauthenticated {
            // RFC 9110 §11.6.1: a 401 says how to authenticate.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"waybill\""));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_problem_has_the_shape_of_rfc_9457() {
        let problem =
            Problem::of_field(ProblemKind::InvalidParameter, "limit", "limit is 1 to 500.");
        let response = problem.into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:waybill:problem:invalid-parameter",
                "title": "A parameter is wrong",
                "status": 400,
                "detail": "limit is 1 to 500.",
                "errors": [{"field": "limit", "detail": "limit is 1 to 500."}],
            })
        );
    }

    #[test]
    fn our_failures_are_not_told() {
        let source: Box<dyn std::error::Error + Send + Sync> = "/var/lib/waybill is gone".into();
        let problem = Problem::from(ArchiveError::Storage { operation: "read", source });
        assert!(!problem.detail.contains("/var"), "{}", problem.detail);
        let closed = Problem::from(ArchiveError::Closed("disk sda1".into()));
        assert!(!closed.detail.contains("sda1"), "{}", closed.detail);
    }

    #[test]
    fn a_401_says_how_and_a_429_says_when() {
        let answer = Problem::new(ProblemKind::Unauthenticated, "").into_response();
        assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
        let answer = Problem::new(ProblemKind::TooManyAttempts, "").retry_after(7).into_response();
        assert_eq!(answer.headers()[RETRY_AFTER], "7");
    }
}
