//! The provider at the end: takes every sendsms at once, and counts them.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n0: Accepted for delivery";

pub struct Provider {
    port: u16,
    taken: Arc<AtomicU64>,
}

impl Provider {
    /// On a thread of its own, for as long as the process lives.
    pub fn start() -> std::io::Result<Provider> {
        let listener = StdListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let taken = Arc::new(AtomicU64::new(0));
        let counted = taken.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((socket, _)) = listener.accept().await {
                    let counted = counted.clone();
                    // A client that goes away ends its own connection only.
                    tokio::spawn(async move { drop(serve(socket, &counted).await) });
                }
            });
        });
        Ok(Provider { port, taken })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// GET requests only: each ends with an empty line.
async fn serve(mut socket: TcpStream, taken: &AtomicU64) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            taken.fetch_add(1, Ordering::Relaxed);
            socket.write_all(ANSWER).await?;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}
