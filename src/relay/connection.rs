//! One connection to an upstream that is greeted, encrypted and authenticated as configured.
//!
//! It writes octets and reads replies, each with a deadline, and knows what the upstream offered
//! after its last EHLO. What is written is the affair of `command` and of the DATA encoder; how a
//! connection comes to be is in `dial`; who may use it is in `pool`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::error::Broken;
use super::pool::Pooled;
use super::reply_reader::ReplyReader;
use super::settings::RelayTimeouts;
use crate::model::Reply;

/// Transactions on one connection; some servers close after a hundred.
const MAX_TRANSACTIONS: u32 = 100;

/// How long a farewell may take; nothing depends on it.
const QUIT_PATIENCE: Duration = Duration::from_secs(5);

/// A TCP or TLS stream.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// What EHLO offered, as far as the relay uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) pipelining: bool,
    pub(super) eight_bit_mime: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    /// SIZE may be said at MAIL (RFC 1870).
    pub(super) size: bool,
    /// The limit that came with SIZE.
    pub(super) max_size_bytes: Option<usize>,
}

/// Counts the connections of an upstream for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenCount(Arc<AtomicUsize>);

impl OpenCount {
    pub(super) fn new(counter: &Arc<AtomicUsize>) -> OpenCount {
        counter.fetch_add(1, Ordering::Relaxed);
        OpenCount(counter.clone())
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection, ready for MAIL (after RSET, if it asks for one).
pub(super) struct Connection {
    stream: Box<dyn Socket>,
    replies: ReplyReader,
    pub(super) offered: Capabilities,
    pub(super) timeouts: RelayTimeouts,
    /// Transactions that were begun on it.
    pub(super) transactions: u32,
    /// A transaction was left open on it; RSET comes before the next MAIL.
    pub(super) needs_reset: bool,
    _open: OpenCount,
}

impl Connection {
    pub(super) fn new(
        stream: Box<dyn Socket>,
        offered: Capabilities,
        timeouts: RelayTimeouts,
        open: OpenCount,
    ) -> Connection {
        Connection {
            stream,
            replies: ReplyReader::default(),
            offered,
            timeouts,
            transactions: 0,
            needs_reset: false,
            _open: open,
        }
    }

    /// Hands all of `octets` to the system. After an error the last of them was not handed over,
    /// so the upstream cannot have seen the end of what was written.
    pub(super) async fn send(&mut self, octets: &[u8], patience: Duration) -> Result<(), Broken> {
        let write = async {
            self.stream.write_all(octets).await?;
            // A TLS stream takes octets before it can write them.
            self.stream.flush().await
        };
        match timeout(patience, write).await {
            Ok(written) => written.map_err(Broken::Io),
            Err(_) => Err(Broken::Timeout(patience)),
        }
    }

    /// The next reply.
    pub(super) async fn reply(&mut self, patience: Duration) -> Result<Reply, Broken> {
        self.replies.read(&mut self.stream, patience).await
    }
}

impl Pooled for Connection {
    /// Whether the upstream has neither closed an unused connection nor said anything on it, such
    /// as a 421 before it closes. It does not wait.
    async fn is_quiet(&mut self) -> bool {
        if self.replies.has_unread() {
            return false;
        }
        let stream = &mut self.stream;
        poll_fn(|context| {
            let mut octet = [0; 1];
            let mut buffer = ReadBuf::new(&mut octet);
            Poll::Ready(Pin::new(&mut *stream).poll_read(context, &mut buffer).is_pending())
        })
        .await
    }

    fn is_worn(&self) -> bool {
        self.transactions >= MAX_TRANSACTIONS
    }

    /// Says goodbye and closes (RFC 5321 §4.1.1.10).
    async fn farewell(mut self) {
        let patience = QUIT_PATIENCE.min(self.timeouts.command);
        let said = self.send(b"QUIT\r\n", patience).await;
        if said.is_ok() && self.reply(patience).await.is_ok() {
            _ = timeout(patience, self.stream.shutdown()).await;
        }
    }
}
