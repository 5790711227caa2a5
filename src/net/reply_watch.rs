//! Whether the answer to an HTTP request arrived, as far as a server can know.
//!
//! A client whose connection ends before it has the answer asks again, and then the first request
//! and the second are one. So each request carries a [`ReplyWatch`]: the answer was *delivered*
//! when it was written and the connection carried another request or ended cleanly; it was *lost*
//! when the connection broke, the client closed it first, or the handler was dropped. Between the two
//! the socket itself can be asked whether the other side is gone, so that the answer does not hang
//! on the order in which tasks happen to run.
//!
//! What it can not know: a client that closes while the answer travels is seen only when its reset
//! comes back. The watch holds no connection open.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::limits::ConnectionPermit;

/// A stream that a listener serves.
pub trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP connection below it, if there is one.
    fn socket(&self) -> Option<Arc<TcpStream>> {
        None
    }
}

impl Line for UnixStream {}

/// A TCP connection that can be looked at while it is read and written.
#[derive(Debug)]
pub struct TcpLine {
    socket: Arc<TcpStream>,
    /// Given back when the connection ends.
    _place: Option<ConnectionPermit>,
}

impl TcpLine {
    /// Takes the connection over.
    pub fn new(stream: TcpStream) -> TcpLine {
        TcpLine { socket: Arc::new(stream), _place: None }
    }

    /// The same connection, holding its place among others.
    pub(super) fn holding(self, place: Option<ConnectionPermit>) -> TcpLine {
        TcpLine { _place: place, ..self }
    }
}

impl Line for TcpLine {
    fn socket(&self) -> Option<Arc<TcpStream>> {
        Some(Arc::clone(&self.socket))
    }
}

impl AsyncRead for TcpLine {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl TcpLine {
    fn poll_writing(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncWrite for TcpLine {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.socket, Shutdown::Write).map_err(io::Error::from))
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The request is being handled.
    UnderWay,
    /// The answer was given to the connection.
    Answered,
    Delivered,
    Lost,
}

type WhenDelivered = Box<dyn FnOnce() + Send>;

struct State {
    fate: Fate,
    when_delivered: Vec<WhenDelivered>,
}

struct Reply {
    state: Mutex<State>,
    socket: Weak<TcpStream>,
    signs: Arc<Signs>,
}

/// What the task of a connection has met, told before it has drawn its conclusions.
#[derive(Default)]
struct Signs {
    /// The stream failed.
    broken: AtomicBool,
    /// We close it.
    closing: AtomicBool,
}

/// Tells a handler, and whoever asks later, what became of the answer to its request; clones
/// tell the same.
#[derive(Clone)]
pub struct ReplyWatch(Arc<Reply>);

impl std::fmt::Debug for ReplyWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplyWatch({:?})", self.0.lock().fate)
    }
}

impl ReplyWatch {
    /// Whether the client did not get the answer, or will not get it. Asks the socket, which knows
    /// of a client that left before any task does.
    pub fn is_lost(&self) -> bool {
        match self.0.lock().fate {
            Fate::Lost => true,
            Fate::Delivered => false,
            Fate::UnderWay => self.0.is_gone(true),
            Fate::Answered => self.0.is_gone(false),
        }
    }

    /// Calls this once the answer was delivered; at once if it was. Never when it is lost.
    pub fn when_delivered(&self, call: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        match state.fate {
            Fate::UnderWay | Fate::Answered => state.when_delivered.push(Box::new(call)),
            Fate::Delivered => {
                drop(state);
                call();
            }
            Fate::Lost => {}
        }
    }
}

impl Reply {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned one still holds a true state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the answer was written, a client that closed its side will not read it. After it,
    /// only a reset says that it did not.
    fn is_gone(&self, end_counts: bool) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&*socket, &mut [0_u8; 1][..], flags) {
            // A reset is told once, and whoever asks next meets an end. But it leaves no peer, as
            // else only our own closing does.
            Ok((_, 0)) => {
                let is_reset = !self.signs.closing.load(Acquire) && socket.peer_addr().is_err();
                end_counts || is_reset || self.signs.broken.load(Acquire)
            }
            Ok(_) | Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => false,
            Err(_) => true,
        }
    }

    fn settle(&self, fate: Fate) {
        let mut state = self.lock();
        if matches!(state.fate, Fate::Delivered | Fate::Lost) {
            return;
        }
        state.fate = fate;
        let calls = match fate {
            Fate::Delivered => std::mem::take(&mut state.when_delivered),
            Fate::Lost => {
                state.when_delivered.clear();
                Vec::new()
            }
            Fate::UnderWay | Fate::Answered => Vec::new(),
        };
        drop(state);
        for call in calls {
            call();
        }
    }
}

/// The answers of one connection that are not settled yet.
pub(super) struct Exchanges {
    socket: Weak<TcpStream>,
    /// As many as there are requests under way, and those answered last.
    open: Mutex<Vec<Arc<Reply>>>,
    signs: Arc<Signs>,
}

impl Exchanges {
    pub(super) fn new(line: &impl Line) -> Arc<Exchanges> {
        let socket = line.socket().map_or_else(Weak::new, |socket| Arc::downgrade(&socket));
        Arc::new(Exchanges { socket, open: Mutex::default(), signs: Arc::default() })
    }

    /// A request came: what was answered before it has arrived.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let state = State { fate: Fate::UnderWay, when_delivered: Vec::new() };
        let (socket, signs) = (self.socket.clone(), Arc::clone(&self.signs));
        let reply = Arc::new(Reply { state: Mutex::new(state), socket, signs });
        let mut open = self.lock();
        let (done, mut left): (Vec<_>, Vec<_>) =
            open.drain(..).partition(|reply| reply.lock().fate != Fate::UnderWay);
        left.push(Arc::clone(&reply));
        *open = left;
        drop(open);
        for reply in done {
            reply.settle(Fate::Delivered);
        }
        Exchange { reply }
    }

    /// The stream failed: what is not known to have arrived is lost.
    pub(super) fn broke(&self) {
        self.signs.broken.store(true, Release);
    }

    /// We are about to close it.
    pub(super) fn closes(&self) {
        self.signs.closing.store(true, Release);
    }

    /// The client closed its side. A reset that lies behind it says that it did not read all.
    pub(super) fn ended(&self) {
        let error = self.socket.upgrade().map(|socket| socket.take_error());
        if matches!(error, Some(Ok(Some(_)) | Err(_))) {
            self.broke();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Reply>>> {
        // Nothing panics while the lock is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is over.
    pub(super) fn close(&self, clean: bool) {
        let broken = self.signs.broken.load(Acquire);
        let open = std::mem::take(&mut *self.lock());
        for reply in open {
            let answered = reply.lock().fate == Fate::Answered;
            let delivered = answered && clean && !broken;
            reply.settle(if delivered { Fate::Delivered } else { Fate::Lost });
        }
    }
}

impl Drop for Exchanges {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// One request under way; dropped before it is answered, its answer is lost.
pub(super) struct Exchange {
    reply: Arc<Reply>,
}

impl Exchange {
    pub(super) fn watch(&self) -> ReplyWatch {
        ReplyWatch(Arc::clone(&self.reply))
    }

    /// The answer was given to the connection.
    pub(super) fn answered(&self) {
        self.reply.settle(Fate::Answered);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.reply.lock().fate == Fate::UnderWay {
            self.reply.settle(Fate::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::routing::get;
    use axum::{Extension, Router};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::net::http::{CloseWithoutReply, HttpLimits, serve};

    const ASK: &[u8] = b"GET /now HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Answers `/now` at once, `/close` not at all, `/never` never.
    async fn server() -> (SocketAddr, UnboundedReceiver<ReplyWatch>) {
        let (sender, watches) = unbounded_channel();
        let tell = move |Extension(watch): Extension<ReplyWatch>| {
            sender.send(watch).unwrap();
        };
        let (now, never, close) = (tell.clone(), tell.clone(), tell);
        let router = Router::new()
            .route("/now", get(async move |watch: Extension<ReplyWatch>| now(watch)))
            .route(
                "/close",
                get(async move |watch: Extension<ReplyWatch>| {
                    close(watch);
                    Extension(CloseWithoutReply)
                }),
            )
            .route(
                "/never",
                get(async move |watch: Extension<ReplyWatch>| {
                    never(watch);
                    std::future::pending::<()>().await
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, HttpLimits::default(), CancellationToken::new()));
        (address, watches)
    }

    async fn was_delivered(watch: &ReplyWatch) -> bool {
        let (sender, told) = oneshot::channel();
        watch.when_delivered(|| sender.send(()).unwrap());
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().is_ok()
    }

    async fn read_answer(stream: &mut TcpStream) {
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer).await.unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn who_leaves_before_the_answer_did_not_get_it() {
        let (address, mut watches) = server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let watch = watches.recv().await.unwrap();
        assert!(!watch.is_lost());
        // The socket knows at once, whenever the task of the connection may come to it.
        drop(stream);
        assert!(watch.is_lost());
        assert!(!was_delivered(&watch).await);
        assert!(watch.is_lost());
    }

    #[tokio::test]
    async fn a_reset_loses_an_answer_that_was_written() {
        let (address, mut watches) = server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        let watch = watches.recv().await.unwrap();
        // What lies unread when a socket is closed makes the close a reset.
        stream.readable().await.unwrap();
        drop(stream);
        assert!(watch.is_lost());
        assert!(!was_delivered(&watch).await);
    }

    #[tokio::test]
    async fn no_answer_at_all_is_lost() {
        let (address, mut watches) = server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /close HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
        let watch = watches.recv().await.unwrap();
        assert!(!was_delivered(&watch).await);
        assert!(watch.is_lost());
    }

    #[tokio::test]
    async fn a_clean_end_or_another_request_says_that_it_arrived() {
        let (address, mut watches) = server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        read_answer(&mut stream).await;
        let first = watches.recv().await.unwrap();
        assert!(!first.is_lost());
        stream.write_all(ASK).await.unwrap();
        read_answer(&mut stream).await;
        assert!(was_delivered(&first).await);
        let second = watches.recv().await.unwrap();
        drop(stream);
        assert!(was_delivered(&second).await);
        assert!(!second.is_lost());
    }
}
