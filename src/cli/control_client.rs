//! How commands reach the accounts and the archive: through a running daemon's control socket, or else by opening
//! the archive in this process.
//!
//! Both ways run the same handlers: without a daemon the control socket's router is called in this
//! process, so a command prints and refuses the same beside a running daemon and without one. A
//! socket that a killed daemon left behind refuses the connection and counts as none.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as HttpBody;
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Failure;
use crate::account::Accounts;
use crate::archive::{Archive, ArchiveError, ArchiveSettings};
use crate::daemon::control;
use crate::net::http::UnixPeer;

/// A command waits no longer than this for the daemon.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer: a page of 500 tokens is far below.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The handlers refused it; their words.
    #[error("{0}")]
    Refused(String),
    #[error("only the user that runs the daemon, or root, may use {0}")]
    NotAllowed(PathBuf),
    #[error(
        "the data folder {dir} belongs to the user with uid {owner}: run this as that user, or start the daemon first"
    )]
    NotOwner { dir: PathBuf, owner: u32 },
    #[error("the archive could not be opened, and no daemon answers at {socket}")]
    Archive {
        socket: PathBuf,
        #[source]
        source: ArchiveError,
    },
    #[error("the daemon did not answer as it should: {0}")]
    Broken(String),
}

/// The way to the accounts.
pub(super) struct ControlClient {
    way: Way,
}

enum Way {
    /// A daemon listens here.
    Socket(PathBuf),
    /// No daemon runs; the archive is open here.
    Here { router: Router, archive: Archive },
}

impl ControlClient {
    /// Finds the daemon of this data folder, or opens its archive.
    pub(super) async fn connect(settings: &ArchiveSettings) -> Result<ControlClient, ControlError> {
        let socket = control::path(&settings.data_dir);
        match UnixStream::connect(&socket).await {
            Ok(_) => Ok(ControlClient { way: Way::Socket(socket) }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ControlError::NotAllowed(socket))
            }
            // No socket, or nobody behind it.
            Err(_) => ControlClient::open(settings, socket),
        }
    }

    fn open(settings: &ArchiveSettings, socket: PathBuf) -> Result<ControlClient, ControlError> {
        // Files that root makes in another user's folder would lock that user's daemon out.
        if let Ok(folder) = std::fs::metadata(&settings.data_dir)
            && folder.uid() != rustix::process::geteuid().as_raw()
        {
            let dir = settings.data_dir.clone();
            return Err(ControlError::NotOwner { dir, owner: folder.uid() });
        }
        let archive =
            Archive::open(settings).map_err(|source| ControlError::Archive { socket, source })?;
        let router = control::router(Accounts::new(archive.clone()), archive.clone());
        Ok(ControlClient { way: Way::Here { router, archive } })
    }

    /// Asks for one thing and gives the JSON of the answer.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ControlError> {
        let request = request(method, path, body)?;
        let answer = async {
            match &self.way {
                Way::Socket(socket) => ask_daemon(socket, request).await,
                Way::Here { router, .. } => ask_here(router.clone(), request).await,
            }
        };
        let (status, bytes) = tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| ControlError::Broken("it took longer than a minute".into()))??;
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|_| ControlError::Broken(format!("status {status} without JSON")))?;
        match status.is_success() {
            true => Ok(json),
            false => Err(ControlError::Refused(refusal(&json))),
        }
    }

    /// Every entry of a list, page by page.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, ControlError> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}?limit=500{cursor}");
            let mut page = self.call(Method::GET, &page, None).await?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// Ends it; an archive that was opened here is closed in order.
    pub(super) async fn close(self) {
        match self.way {
            Way::Socket(_) => {}
            Way::Here { router, archive } => {
                drop(router);
                archive.close().await;
            }
        }
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Body>, ControlError> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "waybill");
    let body = match body {
        Some(json) => {
            request = request.header(CONTENT_TYPE, "application/json");
            Body::from(json.to_string())
        }
        None => Body::empty(),
    };
    // Names and ids were checked before they came into a path.
    request.body(body).map_err(|error| ControlError::Broken(error.to_string()))
}

async fn ask_daemon(
    socket: &PathBuf,
    request: Request<Body>,
) -> Result<(StatusCode, Bytes), ControlError> {
    let broken = |error: &dyn std::error::Error| ControlError::Broken(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|error| broken(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        collect(response.status(), response.into_body()).await
    };
    // The connection is driven beside the exchange; should it end first, the exchange says how.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = drive => Err(ControlError::Broken("the connection ended".into())),
    }
}

async fn ask_here(
    router: Router,
    mut request: Request<Body>,
) -> Result<(StatusCode, Bytes), ControlError> {
    let uid = rustix::process::geteuid().as_raw();
    request.extensions_mut().insert(ConnectInfo(UnixPeer { uid }));
    let response = match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    collect(response.status(), response.into_body()).await
}

async fn collect<B>(status: StatusCode, body: B) -> Result<(StatusCode, Bytes), ControlError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(collected) => Ok((status, collected.to_bytes())),
        Err(error) => Err(ControlError::Broken(error.to_string())),
    }
}

/// Runs one command's work on the way to the accounts, and ends the way in order.
pub(super) fn with_accounts<T>(
    settings: &ArchiveSettings,
    work: impl AsyncFnOnce(&ControlClient) -> Result<T, ControlError>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the runtime could not start: {error}")))?;
    let done = runtime.block_on(async {
        let client = ControlClient::connect(settings).await?;
        let done = work(&client).await;
        client.close().await;
        done
    });
    done.map_err(|error| Failure::Failed(in_one_sentence(&error)))
}

/// An error with its causes.
fn in_one_sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The words of a problem.
fn refusal(problem: &Value) -> String {
    let text = problem.get("detail").and_then(Value::as_str);
    text.unwrap_or("the daemon refused without saying why").trim_end_matches('.').to_owned()
}
