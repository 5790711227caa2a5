//! `/api/v1/session`, `/api/v1/me` and what belongs to a person: logging in and out, sessions, the
//! second factor.
//!
//! The session's secret travels in a cookie that scripts can not read and that no other site can
//! send: `HttpOnly`, `SameSite=Strict`, and behind TLS `Secure` with the `__Host-` prefix (RFC 6265bis
//! §4.1.3.2). A request with it that is no GET must also show the CSRF token of the session, and come
//! from a page of the same origin.

use std::time::Instant;

use axum::extract::State;
use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::JsonBody;
use super::manage::app_words;
use super::parameters::{self, Segment};
use super::problem::{Problem, ProblemKind};
use super::state::{AdminState, read_accounts};
use super::views::PageView;
use crate::account::{
    AccountError, Actor, BegunSession, Identity, LoginAttempt, LoginRefusal, Session, TokenId,
    UserName, csrf_token,
};
use crate::archive::NewEntry;
use crate::model::Secret;
use crate::telemetry::record;

/// Behind TLS.
const SECURE_COOKIE: &str = "__Host-waybill";
/// In clear, on loopback.
const PLAIN_COOKIE: &str = "waybill";
/// Where the CSRF token is shown.
pub(super) const CSRF_FIELD: &str = "x-csrf-token";

/// Who somebody is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeView {
    /// `user anna`, `token 01J…`: what their events say.
    name: String,
    role: &'static str,
    /// `null`: all apps.
    apps: Option<Vec<String>>,
    /// Only of somebody who logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<MySessionView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MySessionView {
    id: String,
    expires_at: String,
    csrf_token: String,
    two_factor: bool,
    /// Nothing else is open until the second factor is on.
    two_factor_required: bool,
}

/// A session in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    id: String,
    created_at: String,
    seen_at: String,
    expires_at: String,
    client: String,
}

impl SessionView {
    pub(super) fn new(session: &Session) -> SessionView {
        SessionView {
            id: session.id.to_string(),
            created_at: session.created_at.to_string(),
            seen_at: session.seen_at.to_string(),
            expires_at: session.expires_at.to_string(),
            client: session.client.clone(),
        }
    }
}

/// `POST /session`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogInBody {
    user: String,
    password: String,
    otp: Option<String>,
}

/// `POST /me/2fa/confirm`, `DELETE /me/2fa`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeBody {
    otp: String,
}

/// An enrolment; shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct EnrolmentView {
    secret: String,
    otpauth_url: String,
}

/// What a step of the second factor gives.
#[derive(Serialize, ToSchema)]
pub(super) struct StepView {
    csrf_token: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// The cookie of a request; of two, the one that no neighbour could have set.
pub(super) fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let fields = || headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let find = |name: &str| {
        let pairs = fields().flat_map(|field| field.split(';'));
        let mut found = pairs.filter_map(|pair| pair.trim().split_once('='));
        found.find(|(key, _)| *key == name).map(|(_, value)| Secret::new(value.to_owned()))
    };
    // A page of another site says https about itself, which tells nothing about us.
    let is_foreign = is_same_origin(headers) == Some(false);
    let plain = || if is_behind_tls(headers) && !is_foreign { None } else { find(PLAIN_COOKIE) };
    find(SECURE_COOKIE).or_else(plain)
}

/// Whether the browser speaks TLS with whoever stands before us. Who lies about it only makes their
/// own cookie stricter.
fn is_behind_tls(headers: &HeaderMap) -> bool {
    let says = |name: &str, begins: &str| {
        let field = headers.get(name).and_then(|field| field.to_str().ok());
        field.is_some_and(|field| field.to_ascii_lowercase().starts_with(begins))
    };
    says("x-forwarded-proto", "https") || says("origin", "https://")
}

/// Whether a page of this origin made the request; `None` when nothing tells.
pub(super) fn is_same_origin(headers: &HeaderMap) -> Option<bool> {
    let field = |name: &str| headers.get(name).and_then(|field| field.to_str().ok());
    if let Some(site) = field("sec-fetch-site") {
        return Some(site == "same-origin");
    }
    let origin = field(ORIGIN.as_str())?;
    let (_, authority) = origin.split_once("://").unwrap_or(("", ""));
    let hosts = [field("x-forwarded-host"), field(HOST.as_str())];
    Some(hosts.into_iter().flatten().any(|host| host.eq_ignore_ascii_case(authority)))
}

fn set_cookie(headers: &HeaderMap, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let (name, secure) = match is_behind_tls(headers) {
        true => (SECURE_COOKIE, "; Secure"),
        false => (PLAIN_COOKIE, ""),
    };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie)
        .map_err(|error| Problem::internal("write a cookie", &error))?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

fn with_session(
    headers: &HeaderMap,
    begun: &BegunSession,
    body: impl IntoResponse,
) -> Result<Response, Problem> {
    let seconds = begun.expires_at.since(super::now()).as_secs();
    let cookie = set_cookie(headers, begun.secret.expose(), seconds)?;
    let mut response = body.into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

pub(super) async fn log_in(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
    JsonBody(body): JsonBody<LogInBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    if is_same_origin(&headers) == Some(false) {
        return Err(Problem::new(ProblemKind::Forbidden, "Another site sent this login."));
    }
    let LogInBody { user, password, otp } = body;
    let attempt = LoginAttempt {
        user: user.clone(),
        password: Secret::new(password),
        code: otp.map(Secret::new),
        client: caller.client,
    };
    let (lifetime, now) = (state.rules.session, super::now());
    let judged = state.accounts.log_in(attempt, lifetime, now, Instant::now()).await;
    record::login(outcome(&judged));
    let begun = match judged? {
        Ok(begun) => begun,
        Err(refusal) => return Err(refused(&state, &caller, &user, refusal).await),
    };
    tracing::info!(user = %begun.user.name, client = %caller.client, "logged in");
    let required = state.rules.require_2fa.contains(&begun.user.role);
    let name = begun.user.name.clone();
    let secret = begun.secret.clone();
    let visitor =
        read_accounts(&state.accounts, move |accounts| accounts.visitor(secret.expose(), now));
    let two_factor = visitor.await?.is_some_and(|visitor| visitor.two_factor);
    let view = MeView {
        name: Actor::User(name).to_string(),
        role: begun.user.role.as_str(),
        apps: app_words(&begun.user.scope),
        session: Some(MySessionView {
            id: begun.id.to_string(),
            expires_at: begun.expires_at.to_string(),
            csrf_token: csrf_token(&begun.secret).expose().to_owned(),
            two_factor,
            two_factor_required: required && !two_factor,
        }),
    };
    with_session(&headers, &begun, Json(view))
}

/// The metric's word.
fn outcome(judged: &Result<Result<BegunSession, LoginRefusal>, AccountError>) -> &'static str {
    match judged {
        Ok(Ok(_)) => "success",
        Ok(Err(LoginRefusal::Wrong)) => "wrong",
        Ok(Err(LoginRefusal::Locked { .. })) => "locked",
        // No one's fault who tried: the places for hashing, or the archive.
        Err(_) => "busy",
    }
}

/// One answer for every reason but the wait: which it is, is nobody's business.
async fn refused(
    state: &AdminState,
    caller: &Caller,
    user: &str,
    refusal: LoginRefusal,
) -> Problem {
    // A text that is no user's name may be a password in the wrong field.
    let users = read_accounts(&state.accounts, |accounts| accounts.users()).await;
    let name = UserName::parse(user);
    let is_known = |name: &UserName| users.is_ok_and(|users| users.iter().any(|u| u.name == *name));
    let by = name.filter(is_known).map(|name| Actor::User(name).to_string());
    let (what, problem) = match refusal {
        LoginRefusal::Wrong => {
            let detail = "User, password or one-time code are not right; whoever has two-factor on gives all three.";
            ("login_failed", Problem::new(ProblemKind::Unauthenticated, detail))
        }
        LoginRefusal::Locked { retry_after_seconds } => {
            let detail = "Too many logins failed; wait, or have it unlocked.";
            let problem = Problem::new(ProblemKind::TooManyAttempts, detail);
            ("login_locked", problem.retry_after(retry_after_seconds))
        }
    };
    let client = Some(caller.network());
    let entry = NewEntry { by, client, ..NewEntry::of(what, super::now()) };
    state.recorder.failure(entry).await;
    problem
}

pub(super) async fn log_out(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let session = caller.session()?;
    state.accounts.end_session(&session.user, session.id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(SET_COOKIE, set_cookie(&headers, "", 0)?);
    Ok(response)
}

pub(super) async fn me(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<MeView>, Problem> {
    parameters::none(&uri)?;
    let session = caller.visit.as_ref().map(|visit| MySessionView {
        id: visit.session.id.to_string(),
        expires_at: visit.session.expires_at.to_string(),
        csrf_token: csrf_token(&visit.secret).expose().to_owned(),
        two_factor: visit.two_factor,
        two_factor_required: !visit.two_factor && state.rules.require_2fa.contains(&identity.role),
    });
    Ok(Json(MeView {
        name: identity.actor.to_string(),
        role: identity.role.as_str(),
        apps: app_words(&identity.scope),
        session,
    }))
}

pub(super) async fn list(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<PageView<SessionView>>, Problem> {
    parameters::none(&uri)?;
    let user = caller.session()?.user.clone();
    let sessions =
        read_accounts(&state.accounts, move |accounts| accounts.sessions(&user, super::now()));
    Ok(Json(PageView { items: sessions.await?.iter().map(SessionView::new).collect(), next: None }))
}

pub(super) async fn end(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    parameters::none(&uri)?;
    let id = TokenId::parse(&id).ok_or_else(|| Problem::not_found("session"))?;
    state.accounts.end_session(&caller.session()?.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn begin_two_factor(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<EnrolmentView>, Problem> {
    parameters::none(&uri)?;
    let shown = state.accounts.begin_two_factor(&caller.session()?.user).await?;
    let secret = shown.seed.expose().to_owned();
    Ok(Json(EnrolmentView { secret, otpauth_url: shown.url.expose().to_owned() }))
}

pub(super) async fn confirm_two_factor(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
    JsonBody(body): JsonBody<CodeBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let (user, code) = (&caller.session()?.user, Secret::new(body.otp));
    let (client, lifetime) = (caller.client, state.rules.session);
    let confirmed = state.accounts.confirm_two_factor(user, code, client, lifetime, super::now());
    let (codes, begun) = confirmed.await?;
    let codes = codes.iter().map(|code| code.expose().to_owned()).collect();
    with_session(&headers, &begun, Json(StepView::new(&begun, Some(codes))))
}

pub(super) async fn drop_two_factor(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
    JsonBody(body): JsonBody<CodeBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let (user, code) = (&caller.session()?.user, Secret::new(body.otp));
    let (client, lifetime) = (caller.client, state.rules.session);
    let begun = state.accounts.drop_two_factor(user, code, client, lifetime, super::now()).await?;
    with_session(&headers, &begun, Json(StepView::new(&begun, None)))
}

impl StepView {
    fn new(begun: &BegunSession, recovery_codes: Option<Vec<String>>) -> StepView {
        StepView {
            csrf_token: csrf_token(&begun.secret).expose().to_owned(),
            expires_at: begun.expires_at.to_string(),
            recovery_codes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_pages_of_the_same_origin_count_as_ours() {
        let check = |fields: &[(&'static str, &'static str)], expected: Option<bool>| {
            assert_eq!(is_same_origin(&headers(fields)), expected, "{fields:?}");
        };
        check(&[("host", "w.test")], None);
        check(&[("host", "w.test"), ("origin", "null")], Some(false));
        check(&[("host", "w.test"), ("origin", "https://evil.test")], Some(false));
        check(&[("host", "w.test"), ("origin", "https://w.test.evil.test")], Some(false));
        check(&[("sec-fetch-site", "same-site"), ("origin", "http://w.test")], Some(false));
        check(&[("sec-fetch-site", "cross-site")], Some(false));
        check(&[("host", "w.test"), ("origin", "https://w.test")], Some(true));
        check(&[("sec-fetch-site", "same-origin")], Some(true));
    }

    #[test]
    fn the_cookie_is_strict_and_behind_tls_only_the_strictest_is_read() {
        let plain = set_cookie(&headers(&[]), "x", 60).unwrap();
        let plain = plain.to_str().unwrap();
        assert_eq!(plain, "waybill=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict");
        let tls = set_cookie(&headers(&[("origin", "https://w.test")]), "x", 60).unwrap();
        assert!(tls.to_str().unwrap().starts_with("__Host-waybill=x; Path=/;"));
        assert!(tls.to_str().unwrap().ends_with("; Secure"));
        let read = |fields| cookie(&headers(fields)).map(|secret| secret.expose().to_owned());
        assert_eq!(read(&[("cookie", "a=b; waybill=x")]).as_deref(), Some("x"));
        assert_eq!(read(&[("cookie", "waybill=x; __Host-waybill=y")]).as_deref(), Some("y"));
        assert_eq!(read(&[("cookie", "waybill=x"), ("x-forwarded-proto", "https")]), None);
        assert_eq!(read(&[("cookie", "xwaybill=x")]), None);
    }
}
