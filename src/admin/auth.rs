//! Who is asking, and may they: runs before every handler of the table.
//!
//! A program's token comes in `Authorization: Bearer` only (RFC 6750 §2.1), never in the URL, where
//! logs and histories would keep it. A person's session comes in a cookie, and with everything but
//! GET must come what no other site can send. The identity that was found is put into the request for
//! the handler, and the call goes into the logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limiter::{Verdict, network};
use super::problem::{Problem, ProblemKind};
use super::record::{Call, Rule};
use super::session::{self, CSRF_FIELD};
use super::state::{AdminState, read_accounts};
use crate::account::{Identity, Permission, Session, TokenRefusal, csrf_token};
use crate::archive::NewEntry;
use crate::model::Secret;

/// Lets the request through to its handler, or answers 401, 403 or 429.
pub(super) async fn authorize(
    State((state, rule)): State<(AdminState, Rule)>,
    mut request: Request,
    next: Next,
) -> Response {
    // Taken out first: a request can not be shared with another thread, and so not be borrowed
    // across the look-up.
    let asked = Asked::read(&request);
    if rule.permission == Permission::LogIn {
        request.extensions_mut().insert(Caller { client: asked.client, visit: None });
        return next.run(request).await;
    }
    match identify(&state, asked, rule.permission).await {
        Ok((identity, caller)) => {
            let route = request.extensions().get::<MatchedPath>().cloned();
            let route = route.as_ref().map_or("", MatchedPath::as_str);
            let client = caller.client.to_canonical().to_string();
            let call = Call::new(&identity, client, &request, (route, rule));
            request.extensions_mut().insert(identity);
            request.extensions_mut().insert(caller);
            state.recorder.around(call, request, next).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who is at the other end, for handlers that are about them.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub client: IpAddr,
    /// Only of somebody who logged in.
    pub visit: Option<Visit>,
}

/// A session in use.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub session: Session,
    pub secret: Secret,
    pub two_factor: bool,
}

impl Caller {
    /// The session, for what only a person can do.
    pub(super) fn session(&self) -> Result<&Session, Problem> {
        let detail = "This is for people who are logged in, not for tokens.";
        let no_person = || Problem::new(ProblemKind::Conflict, detail);
        self.visit.as_ref().map(|visit| &visit.session).ok_or_else(no_person)
    }

    /// The address, or the network of an IPv6 client.
    pub(super) fn network(&self) -> String {
        network(self.client).to_string()
    }
}

/// What was shown, to be looked at again while a long answer goes on: a right that is taken away ends
/// it.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Token(Secret),
    Session(Secret),
}

impl Proof {
    /// Of a request that was let through.
    pub(super) fn of(headers: &HeaderMap) -> Option<Proof> {
        match bearer(headers) {
            Some(token) => Some(Proof::Token(Secret::new(token.to_owned()))),
            None => session::cookie(headers).map(Proof::Session),
        }
    }

    /// Whether it still proves the same identity with the same rights. Reads the records.
    pub(super) fn holds(&self, state: &AdminState, identity: &Identity) -> Result<bool, Problem> {
        let now = super::now();
        Ok(match self {
            Proof::Token(token) => {
                state.accounts.identify(token.expose(), now)?.is_ok_and(|found| found == *identity)
            }
            Proof::Session(secret) => {
                let found = state.accounts.visitor(secret.expose(), now)?;
                let must = state.rules.require_2fa.contains(&identity.role);
                found
                    .is_some_and(|found| found.identity == *identity && (found.two_factor || !must))
            }
        })
    }
}

/// What is looked at, and what the log says of a denial.
struct Asked {
    token: Option<String>,
    /// Of a request without the field `Authorization`.
    cookie: Option<Secret>,
    csrf: Option<Secret>,
    same_origin: Option<bool>,
    client: IpAddr,
    method: Method,
    path: String,
}

impl Asked {
    fn read(request: &Request) -> Asked {
        let headers = request.headers();
        Asked {
            token: bearer(headers).map(str::to_owned),
            cookie: match headers.contains_key(AUTHORIZATION) {
                true => None,
                false => session::cookie(headers),
            },
            csrf: headers
                .get(CSRF_FIELD)
                .and_then(|field| field.to_str().ok())
                .map(|field| Secret::new(field.to_owned())),
            same_origin: session::is_same_origin(headers),
            client: client(request.extensions()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        }
    }
}

async fn identify(
    state: &AdminState,
    mut asked: Asked,
    permission: Permission,
) -> Result<(Identity, Caller), Problem> {
    let (identity, visit) = match (asked.token.take(), asked.cookie.take()) {
        (Some(token), _) => (bearer_of(state, asked.client, token).await?, None),
        (None, Some(cookie)) => {
            let (identity, visit) = visitor(state, &asked, cookie).await?;
            (identity, Some(visit))
        }
        (None, None) => {
            // No attempt was made, so none is counted.
            let detail = "Send one header field 'Authorization: Bearer TOKEN', or log in.";
            return Err(Problem::new(ProblemKind::Unauthenticated, detail));
        }
    };
    let by = identity.actor.to_string();
    let is_bare = visit.as_ref().is_some_and(|visit| !visit.two_factor);
    let must_enrol = is_bare && state.rules.require_2fa.contains(&identity.role);
    if must_enrol && permission != Permission::Identify {
        deny(state, &asked, "two_factor_missing", Some(by)).await;
        let detail = "This role must use two-factor: enrol at /api/v1/me/2fa first.";
        return Err(Problem::new(ProblemKind::TwoFactorRequired, detail));
    }
    if !identity.may(permission) {
        let Asked { client, method, path, .. } = &asked;
        tracing::warn!(by, %client, %method, path, "a request was not allowed");
        deny(state, &asked, "denied", Some(by)).await;
        return Err(forbidden(&identity, permission));
    }
    Ok((identity, Caller { client: asked.client, visit }))
}

async fn bearer_of(state: &AdminState, client: IpAddr, token: String) -> Result<Identity, Problem> {
    let now = super::now();
    let found = read_accounts(&state.accounts, move |accounts| accounts.identify(&token, now));
    match found.await? {
        Ok(identity) => Ok(identity),
        Err(refusal) => Err(refused(state, client, refusal).await),
    }
}

/// Who shows a session. What changes something must also come from a page of ours: the browser sends
/// the cookie by itself, but no other site can read the CSRF token or lie about the origin.
async fn visitor(
    state: &AdminState,
    asked: &Asked,
    cookie: Secret,
) -> Result<(Identity, Visit), Problem> {
    let (now, shown) = (super::now(), cookie.clone());
    let found =
        read_accounts(&state.accounts, move |accounts| accounts.visitor(shown.expose(), now));
    let Some(visitor) = found.await? else {
        let detail = "The session is over; log in again.";
        return Err(Problem::new(ProblemKind::Unauthenticated, detail));
    };
    if !matches!(asked.method, Method::GET | Method::HEAD) {
        let is_ours = asked.same_origin == Some(true);
        let is_told = asked.csrf.as_ref().is_some_and(|csrf| *csrf == csrf_token(&cookie));
        if !is_ours || !is_told {
            let by = visitor.identity.actor.to_string();
            deny(state, asked, "cross_site_refused", Some(by)).await;
            let detail = match is_ours {
                true => "With a session, send the field 'X-CSRF-Token' as GET /api/v1/me gives it.",
                false => {
                    "With a session, this comes from a page of this origin only: the field 'Origin' says which, and is the address of this API."
                }
            };
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
    }
    if visitor.is_stale {
        state.accounts.touch(&cookie, now).await?;
    }
    let two_factor = visitor.two_factor;
    Ok((visitor.identity, Visit { session: visitor.session, secret: cookie, two_factor }))
}

/// A row about a request that was not let through.
async fn deny(state: &AdminState, asked: &Asked, what: &'static str, by: Option<String>) {
    let path: String = asked.path.split('/').take(4).collect::<Vec<_>>().join("/");
    let entry = NewEntry {
        by,
        client: Some(network(asked.client).to_string()),
        // Only the beginning: what varies would make each row another one.
        path: Some(format!("{} {path}", asked.method)),
        ..NewEntry::of(what, super::now())
    };
    state.recorder.failure(entry).await;
}

fn forbidden(identity: &Identity, permission: Permission) -> Problem {
    let role = identity.role;
    let detail = match role.may(permission) {
        true => "This needs somebody who is not limited to apps.".to_owned(),
        false => format!("The role {} does not include this.", role.as_str()),
    };
    Problem::new(ProblemKind::Forbidden, detail)
}

async fn refused(state: &AdminState, client: IpAddr, refusal: TokenRefusal) -> Problem {
    let verdict = state.attempts.add(client, Instant::now());
    let what = match verdict {
        Verdict::Tell => "token_refused",
        Verdict::TooMany { .. } => "rate_limited",
    };
    let by = match refusal {
        TokenRefusal::Unknown => None,
        TokenRefusal::Expired(token) | TokenRefusal::Revoked(token) => {
            Some(format!("token {token}"))
        }
    };
    let client_shown = Some(network(client).to_string());
    let entry = NewEntry { by, client: client_shown, ..NewEntry::of(what, super::now()) };
    state.recorder.failure(entry).await;
    match verdict {
        Verdict::Tell => {
            match refusal {
                TokenRefusal::Unknown => tracing::warn!(%client, "an unknown token was shown"),
                TokenRefusal::Expired(token) => {
                    tracing::warn!(%client, %token, "an expired token was shown");
                }
                TokenRefusal::Revoked(token) => {
                    tracing::warn!(%client, %token, "a revoked token was shown");
                }
            }
            // One answer for all three: which of them it is, is nobody's business.
            Problem::new(ProblemKind::Unauthenticated, "The token is not valid.")
        }
        Verdict::TooMany { retry_after_seconds } => {
            let detail = "Too many tokens from this address were not valid.";
            Problem::new(ProblemKind::TooManyAttempts, detail).retry_after(retry_after_seconds)
        }
    }
}

/// The token, when there is exactly one `Authorization` field with the scheme `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Who is connected. Header fields like `Forwarded` are not believed: anybody can write them.
fn client(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_field_counts() {
        let check = |fields: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(AUTHORIZATION, field.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected, "{fields:?}");
        };
        check(&[], None);
        check(&["wb_x"], None);
        check(&["Basic wb_x"], None);
        check(&["Bearer"], None);
        check(&["Bearer  "], None);
        check(&["Bearer wb_x", "Bearer wb_y"], None);
        check(&["bearer wb_x"], Some("wb_x"));
        check(&["Bearer  wb_x"], Some("wb_x"));
    }
}
