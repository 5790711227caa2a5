//! HTTP over TLS from the first byte: connections whose handshake runs when they are first read.
//!
//! Accepting never waits for a client, so the handshake belongs to the stream. A client whose
//! handshake fails or takes too long meets the end of its connection and nothing else.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::http::Acceptor;
use super::reply_watch::{Line, TcpLine};
use super::tls::{HandshakeError, Tls};

/// A listener of which every connection begins with a handshake.
pub struct TlsListener<A> {
    listener: A,
    tls: Arc<Tls>,
}

impl<A> TlsListener<A> {
    /// With the certificate that is current when a connection comes.
    pub fn new(listener: A, tls: Arc<Tls>) -> TlsListener<A> {
        TlsListener { listener, tls }
    }
}

impl<A: Acceptor<Stream = TcpLine, Peer = SocketAddr>> Acceptor for TlsListener<A> {
    type Stream = LazyTls;
    type Peer = SocketAddr;

    async fn next(&mut self) -> io::Result<(LazyTls, SocketAddr)> {
        let (stream, peer) = self.listener.next().await?;
        let (tls, socket) = (self.tls.clone(), stream.socket());
        let handshake = Box::pin(async move { tls.accept(stream).await });
        Ok((LazyTls { socket, state: State::Handshake(handshake) }, peer))
    }
}

type Handshake = Pin<Box<dyn Future<Output = Result<TlsStream<TcpLine>, HandshakeError>> + Send>>;

/// A connection whose handshake runs when it is first used.
pub struct LazyTls {
    socket: Option<Arc<TcpStream>>,
    state: State,
}

enum State {
    Handshake(Handshake),
    Open(Box<TlsStream<TcpLine>>),
    Failed,
}

impl LazyTls {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<&mut TlsStream<TcpLine>>> {
        if let State::Handshake(handshake) = &mut self.state {
            self.state = match ready!(handshake.as_mut().poll(context)) {
                Ok(stream) => State::Open(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    State::Failed
                }
            };
        }
        Poll::Ready(match &mut self.state {
            State::Open(stream) => Ok(stream),
            State::Handshake(_) | State::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

impl Line for LazyTls {
    fn socket(&self) -> Option<Arc<TcpStream>> {
        self.socket.clone()
    }
}

impl AsyncRead for LazyTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = ready!(self.poll_open(context))?;
        Pin::new(stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for LazyTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = ready!(self.poll_open(context))?;
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.poll_open(context))?;
        Pin::new(stream).poll_flush(context)
    }

    /// A connection that was never used has nothing to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}
