//! The control socket: how commands on this machine reach a running daemon.
//!
//! HTTP over the Unix socket `DATA/control.sock`: users and tokens, served by the same handlers as on
//! the admin port, without tokens; and building the search index anew. Whoever is the daemon's user or root on this machine may do
//! everything there: they could read and write the archive's files anyway. That is checked twice, by
//! the socket's mode (0600) and by asking the kernel who is connected (SO_PEERCRED).
//!
//! The archive has been opened before the socket is bound, and only one process can open it: so a
//! socket that lies there is what a killed daemon left behind, and is replaced.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::account::{Accounts, Actor, AppScope, Identity, Role};
use crate::admin::manage;
use crate::admin::problem::{Problem, ProblemKind};
use crate::admin::record::Call;
use crate::admin::router::rule_of;
use crate::archive::{Archive, Slip};
use crate::net::http::{self, HttpLimits, UnixPeer};

/// The socket's name in the data folder.
const FILE: &str = "control.sock";
/// Commands are few and short.
const MAX_CONNECTIONS: usize = 16;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {path} could not be made")]
pub struct ControlSocketError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The socket of a running daemon; its file goes when this does.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    file: File,
}

/// Where a daemon with this data folder listens.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

impl ControlSocket {
    /// Binds the socket. The archive of this folder must be open already, in this process.
    pub fn bind(data_dir: &Path) -> Result<ControlSocket, ControlSocketError> {
        let path = path(data_dir);
        match bind(&path) {
            Ok(listener) => Ok(ControlSocket { listener, file: File(path) }),
            Err(source) => Err(ControlSocketError { path, source }),
        }
    }

    /// Serves commands until `stop` is cancelled.
    pub async fn serve(self, accounts: Accounts, archive: Archive, stop: CancellationToken) {
        let ControlSocket { listener, file } = self;
        let limits = HttpLimits { max_connections: MAX_CONNECTIONS, ..HttpLimits::default() };
        http::serve(listener, router(accounts, archive), limits, stop).await;
        drop(file);
    }
}

/// Removes the socket's file at the end.
#[derive(Debug)]
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // What is left behind is replaced by the next daemon.
        let _ = fs::remove_file(&self.0);
    }
}

/// Under another name first: nobody meets a socket whose mode is not set yet, and the rename
/// replaces what a killed daemon left.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let unready = path.with_extension("new");
    match fs::remove_file(&unready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&unready)?;
    fs::set_permissions(&unready, Permissions::from_mode(0o600))?;
    fs::rename(&unready, path)?;
    Ok(listener)
}

/// What the control socket serves; commands without a daemon call it in their own process.
pub(crate) fn router(accounts: Accounts, archive: Archive) -> Router {
    let search = Router::new().route("/reindex", get(progress).post(reindex)).with_state(archive);
    Router::new()
        .route("/users", get(manage::list_users).post(manage::add_user))
        .route("/users/{name}", patch(manage::edit_user))
        .route("/users/{name}/password", post(manage::set_password))
        .route("/users/{name}/disable", post(manage::disable_user))
        .route("/users/{name}/reset-2fa", post(manage::reset_two_factor))
        .route("/users/{name}/unlock", post(manage::unlock_user))
        .route("/verify", get(manage::verify))
        .route("/tokens", get(manage::list_tokens).post(manage::create_token))
        .route("/tokens/{id}", delete(manage::revoke_token))
        .with_state(accounts.clone())
        .merge(search)
        .fallback(async || Problem::not_found("route"))
        .layer(from_fn_with_state(accounts, check_peer))
}

/// How far the search index is.
#[derive(Serialize)]
struct ProgressView {
    indexed: u64,
    total: u64,
    rebuilding: bool,
    given_up: bool,
}

/// Orders the search index to be built anew.
async fn reindex(State(archive): State<Archive>) -> Result<Json<ProgressView>, Problem> {
    archive.reindex();
    progress(State(archive)).await
}

async fn progress(State(archive): State<Archive>) -> Result<Json<ProgressView>, Problem> {
    let progress = archive.search_progress()?;
    Ok(Json(ProgressView {
        indexed: progress.indexed,
        total: progress.total,
        rebuilding: progress.is_rebuilding,
        given_up: progress.is_given_up,
    }))
}

/// Lets the daemon's own user and root pass.
async fn check_peer(
    State(accounts): State<Accounts>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<UnixPeer>>().map(|peer| peer.0);
    match peer {
        Some(UnixPeer { uid }) if may_command(uid, rustix::process::geteuid().as_raw()) => {
            let actor = Actor::LocalUser { uid };
            let identity = Identity { actor, role: Role::Admin, scope: AppScope::All };
            let route = request.extensions().get::<MatchedPath>().cloned();
            let route = route.as_ref().map_or("", MatchedPath::as_str);
            let rule = rule_of(request.method(), route);
            let client = "control socket".to_owned();
            let call = Call::new(&identity, client, &request, (route, rule));
            request.extensions_mut().insert(identity);
            record(&accounts, &call, request, next).await
        }
        Some(_) | None => {
            tracing::warn!(?peer, "a command on the control socket was not allowed");
            let detail = "Only the daemon's user and root may use the control socket.";
            Problem::new(ProblemKind::Forbidden, detail).into_response()
        }
    }
}

/// A change carries its rows of the logs; a look at lists is nobody's business on this machine.
async fn record(accounts: &Accounts, call: &Call, request: Request, next: Next) -> Response {
    if call.method == Method::GET {
        return next.run(request).await;
    }
    let slip = Slip::new(call.entries(call.rule.promised));
    let response = slip.accompany(next.run(request)).await;
    let left = slip.take();
    if left.is_empty() || !response.status().is_success() {
        return response;
    }
    match accounts.record(left).await {
        Ok(()) => response,
        Err(error) => Problem::from(error).into_response(),
    }
}

fn may_command(peer: u32, daemon: u32) -> bool {
    peer == daemon || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_may_command() {
        assert!(!may_command(1_001, 1_000));
        assert!(!may_command(1_000, 0));
        assert!(may_command(1_000, 1_000));
        assert!(may_command(0, 1_000));
    }

    #[tokio::test]
    async fn the_socket_is_private_and_replaces_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path()), "stale").unwrap();
        fs::write(dir.path().join("control.new"), "half made").unwrap();
        let socket = ControlSocket::bind(dir.path()).unwrap();
        let mode = fs::metadata(path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        assert!(!path(dir.path()).exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(200));
        fs::create_dir(&long).unwrap();
        let error = ControlSocket::bind(&long).unwrap_err();
        assert!(error.to_string().contains("control.sock could not be made"), "{error}");
    }
}
