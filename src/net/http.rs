//! The HTTP side of `net`: serves an axum router on a listener, within limits, until told to stop.
//!
//! Takes an acceptor (TCP, a Unix socket, TLS over either), a router, the limits and a token; gives
//! each request the peer as `ConnectInfo` and a `ReplyWatch`. A response that carries
//! [`CloseWithoutReply`] is not sent: its connection is closed instead. HTTP/1 and HTTP/2 are told apart by the client's first
//! bytes (RFC 9113 §3.3).
//!
//! What it keeps: a client that says nothing, or drips its header, is cut at a deadline; a
//! connection on which no byte moves in either direction is cut; surplus connections wait in the
//! backlog instead of costing memory; headers are at most 32 KiB and 100 fields. When the token is
//! cancelled no new connection is taken, requests under way are finished, and whatever is left
//! after the drain time is dropped.
//!
//! Not here: what a request may take in all and how large its body may be. The router's owner knows
//! that, for each of its routes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::reply_watch::{Exchanges, Line, TcpLine};

/// Longest header section: what the large servers take.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// hyper's own default, said here because it is a promise.
const MAX_HEADER_FIELDS: usize = 100;
/// Requests at one time on one HTTP/2 connection (RFC 9113 §6.5.2 recommends at least 100).
const MAX_STREAMS: u32 = 100;
/// What one HTTP/2 stream may buffer for a slow reader.
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// The wait after a failed accept (no descriptors left): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener grants.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// From the connection, or the end of the request before, to the end of a request's header.
    pub header_timeout: Duration,
    /// How long a connection may live without a byte in either direction; longer than any handler
    /// is silent.
    pub idle_timeout: Duration,
    /// Connections at one time; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Those of one client, where the listener knows clients; more are closed.
    pub max_per_client: usize,
    /// How long requests under way may take after the stop.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_connections: 512,
            max_per_client: 512,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Where connections come from.
pub trait Acceptor: Send {
    type Stream: Line;
    /// What is known of the other side.
    type Peer: Clone + Send + Sync + 'static;

    /// The next connection. Nothing in it may wait for the client: a TLS handshake belongs to the
    /// stream.
    fn next(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Acceptor for TcpListener {
    type Stream = TcpLine;
    type Peer = SocketAddr;

    async fn next(&mut self) -> io::Result<(TcpLine, SocketAddr)> {
        let (stream, peer) = self.accept().await?;
        // Answers are small and whole; waiting for more to fill a packet only costs time. A client
        // that is gone already is met when it is read.
        let _ = stream.set_nodelay(true);
        Ok((TcpLine::new(stream), peer))
    }
}

/// In the extensions of a response: the connection is closed, and the client gets no answer at all.
/// For clients that take every answer for the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseWithoutReply;

/// Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    pub uid: u32,
}

impl Acceptor for UnixListener {
    type Stream = UnixStream;
    type Peer = UnixPeer;

    async fn next(&mut self) -> io::Result<(UnixStream, UnixPeer)> {
        let (stream, _) = self.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, UnixPeer { uid }))
    }
}

/// Serves until `stop` is cancelled and the connections are drained.
pub async fn serve<A: Acceptor>(
    mut acceptor: A,
    router: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let builder = builder(limits);
    loop {
        let accepted = async {
            // The semaphore is never closed, so this only waits.
            let place = places.clone().acquire_owned().await;
            (acceptor.next().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection =
                    connection(stream, peer, builder.clone(), router.clone(), limits, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // From here the port is closed; what is under way has the drain time.
    drop(acceptor);
    connections.close();
    connections.wait().await;
}

/// A client that was gone before it was accepted is not our trouble.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted
    )
}

fn builder(limits: HttpLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADER_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES);
    builder
}

/// One connection, from its first byte to its end.
async fn connection<S, P>(
    stream: S,
    peer: P,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) where
    S: Line,
    P: Clone + Send + Sync + 'static,
{
    let exchanges = Exchanges::new(&stream);
    let io = TokioIo::new(Watched::new(stream, limits, Arc::clone(&exchanges)));
    let router = TowerToHyperService::new(router);
    let begun = Arc::clone(&exchanges);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let exchange = begun.begin();
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        request.extensions_mut().insert(exchange.watch());
        let answer = (!has_two_hosts(&request)).then(|| router.call(request));
        let answer: Pin<Box<dyn Future<Output = io::Result<Response>> + Send>> =
            Box::pin(async move {
                // A router never fails: what goes wrong in it is a response.
                let response = match answer {
                    Some(answer) => answer.await.unwrap_or_else(|never| match never {}),
                    None => bad_request(),
                };
                if response.extensions().get::<CloseWithoutReply>().is_some() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                exchange.answered();
                Ok(response)
            });
        answer
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let end = tokio::select! {
        end = connection.as_mut() => Some(end),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(limits.drain_timeout, connection).await.ok()
        }
    };
    exchanges.close(matches!(end, Some(Ok(()))));
    if let Some(end) = end {
        report(end);
    }
}

/// Whether two parties could think that the request is for different hosts (RFC 9112 §3.2).
fn has_two_hosts(request: &Request<Incoming>) -> bool {
    request.headers().get_all(HOST).iter().nth(1).is_some()
}

/// For what is no request; nothing behind it on this connection is believed.
fn bad_request() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// How connections end is the client's affair, mostly: a closed lid, a cut cable, a deadline.
fn report(end: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = end {
        tracing::debug!(error = %error, "an HTTP connection ended early");
    }
}

/// A stream with a deadline: for the bytes that tell HTTP/1 from HTTP/2 (before them hyper sets
/// none), and from then on for every silence.
struct Watched<S> {
    inner: S,
    idle_timeout: Duration,
    /// How much of the preface was read, while everything that was read is part of it.
    preface: Option<usize>,
    deadline: Pin<Box<Sleep>>,
    exchanges: Arc<Exchanges>,
}

impl<S> Watched<S> {
    fn new(inner: S, limits: HttpLimits, exchanges: Arc<Exchanges>) -> Watched<S> {
        let deadline = Box::pin(tokio::time::sleep(limits.header_timeout));
        Watched { inner, idle_timeout: limits.idle_timeout, preface: Some(0), deadline, exchanges }
    }

    fn was_read(&mut self, bytes: &[u8]) {
        if let Some(seen) = self.preface {
            let expected = PREFACE.get(seen..).unwrap_or_default();
            if bytes.len() < expected.len() && expected.starts_with(bytes) {
                self.preface = Some(seen + bytes.len());
                return;
            }
            self.preface = None;
        }
        self.moved();
    }

    fn moved(&mut self) {
        if self.preface.is_none() {
            self.deadline.as_mut().reset(Instant::now() + self.idle_timeout);
        }
    }

    /// A failure of the stream loses the answers on it. A TLS client that leaves without saying
    /// so in TLS just closed.
    fn check<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            self.exchanges.broke();
        }
        result
    }

    /// `Pending` until the deadline, then an error.
    fn waited<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The same for something that waits to be written: what was answered does not get through.
    fn stalled<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let waited = ready!(self.waited(context));
        Poll::Ready(self.check(waited))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let read = buffer.filled().get(before..).unwrap_or_default();
                if !read.is_empty() {
                    self.was_read(read);
                } else if result.is_ok() {
                    self.exchanges.ended();
                }
                Poll::Ready(self.check(result))
            }
            Poll::Pending => self.waited(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(self.check(result))
            }
            Poll::Pending => self.stalled(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(context, slices) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(self.check(result))
            }
            Poll::Pending => self.stalled(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Ready(result) => Poll::Ready(self.check(result)),
            Poll::Pending => self.stalled(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchanges.closes();
        match Pin::new(&mut self.inner).poll_shutdown(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.waited(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    const SHORT: HttpLimits = HttpLimits {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(300),
        max_connections: 2,
        max_per_client: 2,
        drain_timeout: Duration::from_secs(5),
    };

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
        entered: Arc<Notify>,
        go_on: Arc<Notify>,
    }

    async fn server(limits: HttpLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, wait) = (entered.clone(), go_on.clone());
        let slow = move || async move {
            inside.notify_one();
            wait.notified().await;
            "slow"
        };
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
        let big = async || vec![0_u8; 64 << 20];
        let router = Router::new();
        let router =
            router.route("/slow", get(slow)).route("/who", get(who)).route("/big", get(big));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Server { address, stop, task, entered, go_on }
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        said(&mut stream).await
    }

    const WHO: &str = "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn silence_and_dripping_are_cut() {
        for begin in ["", "P", "PRI * HT", "GET /who HTTP/1.1\r\nho"] {
            let server = server(SHORT).await;
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let cut = tokio::time::timeout(Duration::from_secs(5), said(&mut stream)).await;
            assert!(cut.is_ok(), "{begin:?} kept the connection");
        }
    }

    #[tokio::test]
    async fn a_drip_does_not_move_the_deadline() {
        let server = server(SHORT).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let started = Instant::now();
        for byte in PREFACE.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() || started.elapsed().as_secs() > 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(started.elapsed().as_secs() < 4, "dripping kept the connection");
    }

    #[tokio::test]
    async fn who_does_not_read_the_answer_is_cut() {
        let server = server(HttpLimits { max_connections: 1, ..SHORT }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The only place is free again once the first connection was given up.
        let answer = tokio::time::timeout(Duration::from_secs(10), ask(server.address, WHO)).await;
        assert!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
        drop(stream);
    }

    #[tokio::test]
    async fn long_headers_are_refused() {
        let server = server(HttpLimits { max_connections: 8, ..SHORT }).await;
        let long = format!("GET /who HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000));
        assert!(ask(server.address, &long).await.starts_with("HTTP/1.1 431 "));
        let many = format!("GET /who HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
        assert!(ask(server.address, &many).await.starts_with("HTTP/1.1 431 "));
    }

    #[tokio::test]
    async fn a_request_for_two_hosts_is_none() {
        let server = server(SHORT).await;
        let two = "GET /who HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n";
        let answer = ask(server.address, &format!("{two}{WHO}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }

    #[tokio::test]
    async fn the_peer_is_known() {
        let server = server(SHORT).await;
        let answer = ask(server.address, WHO).await;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn surplus_connections_wait_their_turn() {
        let limits = HttpLimits { header_timeout: Duration::from_secs(30), ..SHORT };
        let server = server(HttpLimits { idle_timeout: Duration::from_secs(30), ..limits }).await;
        let first = TcpStream::connect(server.address).await.unwrap();
        let second = TcpStream::connect(server.address).await.unwrap();
        // Both places are taken once the second one was accepted; a third is not answered …
        let mut third = TcpStream::connect(server.address).await.unwrap();
        third.write_all(WHO.as_bytes()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(200), said(&mut third)).await;
        assert!(waited.is_err(), "three connections were served with two places");
        // … until one of them leaves.
        drop((first, second));
        assert!(said(&mut third).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_stop_finishes_what_is_under_way_and_takes_nothing_new() {
        let server = server(HttpLimits { idle_timeout: Duration::from_secs(30), ..SHORT }).await;
        let address = server.address;
        let idle = TcpStream::connect(address).await.unwrap();
        let request = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        let asking = tokio::spawn(async move { ask(address, request).await });
        server.entered.notified().await;
        server.stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.task.is_finished());
        server.go_on.notify_one();
        let answer = asking.await.unwrap();
        assert!(answer.ends_with("slow"), "{answer}");
        server.task.await.unwrap();
        drop(idle);
    }
}
