//! Who is asking, and may they: runs before every handler of the table.
//!
//! The token comes in `Authorization: Bearer` only (RFC 6750 §2.1), never in the URL, where logs and
//! histories would keep it. The identity that was found is put into the request for the handler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limiter::Verdict;
use super::problem::{Problem, ProblemKind};
use super::state::{AdminState, read_accounts};
use crate::account::{Identity, Permission, TokenRefusal};

/// Lets the request through to its handler, or answers 401, 403 or 429.
pub(super) async fn authorize(
    State((state, permission)): State<(AdminState, Permission)>,
    mut request: Request,
    next: Next,
) -> Response {
    // Taken out first: a request can not be shared with another thread, and so not be borrowed
    // across the look-up.
    let asked = Asked::read(&request);
    match identify(&state, asked, permission).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// What is looked at, and what the log says of a denial.
struct Asked {
    token: Option<String>,
    client: IpAddr,
    method: Method,
    path: String,
}

impl Asked {
    fn read(request: &Request) -> Asked {
        Asked {
            token: bearer(request.headers()).map(str::to_owned),
            client: client(request.extensions()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        }
    }
}

async fn identify(
    state: &AdminState,
    asked: Asked,
    permission: Permission,
) -> Result<Identity, Problem> {
    let Asked { token, client, method, path } = asked;
    let Some(token) = token else {
        // No attempt was made, so none is counted.
        let detail = "Send one header field 'Authorization: Bearer TOKEN'.";
        return Err(Problem::new(ProblemKind::Unauthenticated, detail));
    };
    let now = super::now();
    let found = read_accounts(&state.accounts, move |accounts| accounts.identify(&token, now));
    let identity = match found.await? {
        Ok(identity) => identity,
        Err(refusal) => return Err(refused(state, client, refusal)),
    };
    if !identity.may(permission) {
        tracing::warn!(by = %identity.actor, %client, %method, path, "a request was not allowed");
        return Err(forbidden(&identity, permission));
    }
    Ok(identity)
}

fn forbidden(identity: &Identity, permission: Permission) -> Problem {
    let role = identity.role;
    let detail = match role.may(permission) {
        true => "This needs a token that is not limited to apps.".to_owned(),
        false => format!("The role {} does not include this.", role.as_str()),
    };
    Problem::new(ProblemKind::Forbidden, detail)
}

fn refused(state: &AdminState, client: IpAddr, refusal: TokenRefusal) -> Problem {
    match state.attempts.add(client, Instant::now()) {
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
