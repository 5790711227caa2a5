//! A listening socket and its accept loop.
//!
//! The loop does nothing but accept: each connection is a task of its own, so one slow peer delays
//! nobody. When the process has no file descriptors left the loop waits and tries again, and says so
//! once; it never spins and never gives up.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::limits::{ConnectionLimits, ConnectionPermit};
use super::stop::Stop;

/// The first wait after a failed accept; it doubles up to the longest.
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// Why a port can not be used.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot listen on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A port that is open.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    pub peer: SocketAddr,
}

impl Listener {
    /// Opens a port; port 0 takes any that is free.
    pub async fn bind(address: SocketAddr) -> Result<Listener, NetError> {
        let failed = |source| NetError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, address })
    }

    /// The address with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the stop is requested, then closes the port. `serve` becomes a task for each
    /// connection; `refuse` gets those above the limits and must not wait.
    pub async fn run<F>(
        self,
        limits: Arc<ConnectionLimits>,
        stop: Stop,
        serve: impl Fn(Connection) -> F,
        refuse: impl Fn(TcpStream, SocketAddr),
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.requested() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    back_off = FIRST_BACK_OFF;
                    // Replies are written whole, so there is nothing to be gained by waiting.
                    let _ = stream.set_nodelay(true);
                    match limits.admit(peer.ip()) {
                        Some(permit) => {
                            stop.spawn(holding(permit, serve(Connection { stream, peer })));
                        }
                        None => refuse(stream, peer),
                    }
                }
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => {
                    if back_off == FIRST_BACK_OFF {
                        tracing::error!(address = %self.address, %error, "cannot accept; waiting");
                    }
                    tokio::time::sleep(back_off).await;
                    back_off = LONGEST_BACK_OFF.min(back_off * 2);
                }
            }
        }
    }
}

/// A connection counts as long as its task lives.
async fn holding(permit: ConnectionPermit, task: impl Future<Output = ()>) {
    task.await;
    drop(permit);
}

/// accept(2) also reports that a peer went away before it was accepted.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_slow_peer_delays_nobody_and_the_limit_refuses() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, stop) = (listener.address(), Stop::new());
        let serve = |mut connection: Connection| async move {
            let mut octet = [0];
            while connection.stream.read_exact(&mut octet).await.is_ok() {
                connection.stream.write_all(&octet).await.unwrap();
            }
        };
        let refuse = |stream: TcpStream, _| drop(stream);
        let limits = ConnectionLimits::new(10, 2);
        let running = tokio::spawn(listener.run(limits, stop.clone(), serve, refuse));

        let _slow = TcpStream::connect(address).await.unwrap();
        let mut fast = TcpStream::connect(address).await.unwrap();
        let mut octet = [7];
        fast.write_all(&octet).await.unwrap();
        fast.read_exact(&mut octet).await.unwrap();

        let mut refused = TcpStream::connect(address).await.unwrap();
        assert_eq!(refused.read(&mut octet).await.unwrap(), 0);

        stop.request();
        running.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
