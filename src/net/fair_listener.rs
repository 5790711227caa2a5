//! A listener on the open internet, on which one client never takes all the places.
//!
//! Who has its share already is closed at once: it is met before anything is read, so it can not be
//! answered. Clients behind a proxy of ours share that proxy's address, so proxies have no share to
//! keep within.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tokio::net::TcpListener;

use super::http::{Acceptor, HttpLimits};
use super::limits::{ConnectionLimits, ConnectionPermit};
use super::reply_watch::TcpLine;

/// Accepts from each client no more than its share.
pub struct FairListener {
    listener: TcpListener,
    limits: Arc<ConnectionLimits>,
    proxies: Vec<IpNet>,
}

impl FairListener {
    /// Proxies are those whose connections are the connections of many.
    pub fn new(listener: TcpListener, limits: HttpLimits, proxies: Vec<IpNet>) -> FairListener {
        let limits = ConnectionLimits::new(limits.max_connections, limits.max_per_client);
        FairListener { listener, limits, proxies }
    }

    /// The right to be served; `None` inside for those that need none.
    fn admit(&self, client: IpAddr) -> Result<Option<ConnectionPermit>, TooMany> {
        let client = client.to_canonical();
        if self.proxies.iter().any(|proxies| proxies.contains(&client)) {
            return Ok(None);
        }
        self.limits.admit(client).map(Some).ok_or(TooMany)
    }
}

/// The client has its share, or all places are taken.
struct TooMany;

impl Acceptor for FairListener {
    type Stream = TcpLine;
    type Peer = SocketAddr;

    async fn next(&mut self) -> io::Result<(TcpLine, SocketAddr)> {
        loop {
            let (line, peer) = Acceptor::next(&mut self.listener).await?;
            match self.admit(peer.ip()) {
                Ok(permit) => return Ok((line.holding(permit), peer)),
                Err(TooMany) => tracing::debug!(client = %peer.ip(), "too many connections"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::*;

    async fn listener(max_per_client: usize) -> (FairListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxies = vec!["192.0.2.0/24".parse().unwrap()];
        let limits = HttpLimits { max_connections: 3, max_per_client, ..HttpLimits::default() };
        (FairListener::new(listener, limits, proxies), address)
    }

    #[tokio::test]
    async fn one_client_has_its_share_and_others_have_theirs() {
        let (listener, _) = listener(2).await;
        let admit = |client: &str| listener.admit(client.parse().unwrap());
        let first = admit("198.51.100.1");
        let second = admit("::ffff:198.51.100.1");
        assert!(matches!((&first, &second), (Ok(Some(_)), Ok(Some(_)))));
        assert!(admit("198.51.100.1").is_err());
        assert!(matches!(admit("198.51.100.2"), Ok(Some(_))));
        drop(first);
        assert!(matches!(admit("198.51.100.1"), Ok(Some(_))));
    }

    #[tokio::test]
    async fn proxies_bring_the_connections_of_many() {
        let (listener, _) = listener(1).await;
        for client in ["192.0.2.9", "::ffff:192.0.2.9"] {
            let held: Vec<_> = (0..9).map(|_| listener.admit(client.parse().unwrap())).collect();
            assert!(held.iter().all(|permit| matches!(permit, Ok(None))), "{client}");
        }
    }

    #[tokio::test]
    async fn what_is_too_much_is_closed_and_the_place_comes_back_with_the_connection() {
        let (mut listener, address) = listener(1).await;
        let connect = || TcpStream::connect(("127.0.0.1", address.port()));
        let _first = connect().await.unwrap();
        let (held, _) = listener.next().await.unwrap();
        let mut second = connect().await.unwrap();
        tokio::select! {
            _ = listener.next() => panic!("accepted more than its share"),
            read = second.read_u8() => assert!(read.is_err()),
        }
        drop(held);
        let _third = connect().await.unwrap();
        assert!(listener.next().await.unwrap().1.ip().is_loopback());
    }
}
