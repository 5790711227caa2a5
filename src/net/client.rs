//! One HTTP request out, to where it may go and nowhere else.
//!
//! URLs that applications name could lead into the company's own network, so a host is resolved
//! once, every address is checked, and the connection goes to a checked address: no second look-up,
//! no redirects, no proxies, no credentials from the URL. Bounded in time and size.
//! Which addresses are public is in `client_address`; the connection is in `client_connection`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::TlsError;
use super::client_address::{check_address, check_public, plain};
use super::client_connection::{Dialer, ExchangeError, Origin};

/// Where a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: the configuration names the URL, or a pattern that it matches.
    Configured,
    /// Only over TLS and only to public addresses.
    Public,
}

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Look-up, connection and TLS.
    pub connect_timeout: Duration,
    /// All of it.
    pub timeout: Duration,
    pub max_response_bytes: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        FetchLimits {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            max_response_bytes: 64 << 10,
        }
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It must not go there; says why, without addresses.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// Some of the request may have arrived.
    #[error("{0}")]
    NoResponse(String),
}

type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Resolver = Arc<dyn Fn(Origin) -> Resolving + Send + Sync>;

/// Makes requests; clones share the roots that are trusted.
#[derive(Clone)]
pub struct HttpClient {
    dialer: Dialer,
    resolver: Resolver,
    own_hosts: Arc<[String]>,
}

impl HttpClient {
    /// `extra_root`: a PEM file with a further root beside the system's.
    pub fn new(extra_root: Option<&Path>) -> Result<HttpClient, TlsError> {
        Ok(HttpClient {
            dialer: Dialer::new(extra_root)?,
            resolver: Arc::new(|origin| Box::pin(async move { origin.resolve().await })),
            own_hosts: Arc::new([]),
        })
    }

    /// Also refuses these names and addresses with [`Reach::Public`]: what this gateway itself is
    /// reached by, so that an application can not make it call itself.
    pub fn refusing(self, own_hosts: impl IntoIterator<Item = String>) -> HttpClient {
        HttpClient { own_hosts: own_hosts.into_iter().map(|host| plain(&host)).collect(), ..self }
    }

    /// Makes one request on a connection of its own. The URI is absolute.
    pub async fn fetch(
        &self,
        request: Request<Bytes>,
        reach: Reach,
        limits: FetchLimits,
    ) -> Result<Response<Bytes>, FetchError> {
        let start = Instant::now();
        let until = start + limits.timeout;
        let connected_until = until.min(start + limits.connect_timeout);
        let url = Url::parse(&request.uri().to_string())
            .map_err(|error| FetchError::Forbidden(format!("the URL can not be read: {error}")))?;
        check(&url, reach).map_err(FetchError::Forbidden)?;
        let origin = Origin::of_url(&url).map_err(FetchError::Forbidden)?;
        let addresses = timeout_at(connected_until, (self.resolver)(origin.clone())).await;
        let addresses = match addresses {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return not_sent(format!("the host can not be found: {error}")),
            Err(_) => return not_sent("the host can not be found in time".into()),
        };
        if reach == Reach::Public {
            self.check_found(&origin, &addresses).map_err(FetchError::Forbidden)?;
        }
        let connection = self.dialer.dial(&origin, &addresses, connected_until).await;
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(why) => return not_sent(why),
        };
        let exchanged = connection.exchange(request, until, limits.max_response_bytes).await;
        exchanged.map_err(|error| match error {
            ExchangeError::NotSent(why) => FetchError::NotSent(why),
            ExchangeError::NoResponse(why) => FetchError::NoResponse(why),
        })
    }

    /// Every address must be public: with one that is not, which one is called would be chance.
    fn check_found(&self, origin: &Origin, addresses: &[SocketAddr]) -> Result<(), String> {
        let own = |host: &str| self.own_hosts.iter().any(|own| own == host);
        let is_own_name = match origin.host() {
            Host::Domain(name) => own(&plain(name)),
            // Compared as an address below.
            Host::Ipv4(_) | Host::Ipv6(_) => false,
        };
        for address in addresses {
            check_address(address.ip())?;
        }
        match is_own_name || addresses.iter().any(|address| own(&address.ip().to_string())) {
            true => Err("the URL leads back to this gateway".into()),
            false => Ok(()),
        }
    }
}

fn not_sent<T>(why: String) -> Result<T, FetchError> {
    Err(FetchError::NotSent(why))
}

/// Whether a URL could be called at all with this reach: scheme, no user name, a host that is not
/// this machine by name, no address that is not public. Says why not. Looks nothing up.
pub fn check(url: &Url, reach: Reach) -> Result<(), String> {
    Origin::of_url(url)?;
    match reach {
        Reach::Configured => Ok(()),
        Reach::Public => check_public(url),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What a server does with a connection.
    #[derive(Clone, Copy)]
    enum Does {
        Say(&'static str),
        /// The head, and then so many octets.
        Much(&'static str, usize),
        CloseAtOnce,
        CloseAfterReading,
        Hang,
    }

    /// A server on loopback that counts its connections and tells of the requests.
    async fn server(
        does: Does,
    ) -> (u16, Arc<AtomicUsize>, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let tell = tell.clone();
                tokio::spawn(async move {
                    if matches!(does, Does::CloseAtOnce) {
                        return;
                    }
                    _ = tell.send(request(&mut stream).await);
                    match does {
                        Does::Say(text) => _ = stream.write_all(text.as_bytes()).await,
                        Does::Much(head, octets) => {
                            _ = stream.write_all(head.as_bytes()).await;
                            _ = stream.write_all(&vec![b'x'; octets]).await;
                        }
                        Does::CloseAtOnce | Does::CloseAfterReading => {}
                        Does::Hang => std::future::pending().await,
                    }
                });
            }
        });
        (port, connections, told)
    }

    async fn request(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"hello") {
            match stream.read_u8().await {
                Ok(octet) => text.push(octet),
                Err(_) => break,
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn post(url: &str) -> Request<Bytes> {
        Request::post(url).body(Bytes::from_static(b"hello")).unwrap()
    }

    fn limits() -> FetchLimits {
        let long = Duration::from_secs(30);
        FetchLimits { connect_timeout: long, timeout: long, max_response_bytes: 1_000 }
    }

    async fn fetch(does: Does, limits: FetchLimits) -> Result<Response<Bytes>, FetchError> {
        let (port, ..) = server(does).await;
        let url = format!("http://127.0.0.1:{port}/");
        let client = HttpClient::new(None).unwrap();
        client.fetch(post(&url), Reach::Configured, limits).await
    }

    /// Looks up what the list says, one answer after the other.
    fn with_answers(answers: Vec<Vec<&'static str>>) -> (HttpClient, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let counter = asked.clone();
        let resolver: Resolver = Arc::new(move |_| {
            let answer = &answers[counter.fetch_add(1, Ordering::SeqCst)];
            let answer = answer.iter().map(|address| address.parse().unwrap()).collect();
            Box::pin(async move { Ok(answer) })
        });
        (HttpClient { resolver, ..HttpClient::new(None).unwrap() }, asked)
    }

    #[tokio::test]
    async fn a_name_that_leads_to_an_address_that_is_not_public_is_not_called() {
        let (port, connections, _told) = server(Does::Hang).await;
        let ours = format!("127.0.0.1:{port}");
        let ours: &'static str = ours.leak();
        for answer in [
            vec![ours],
            vec!["93.184.216.34:443", ours],
            vec![ours, "93.184.216.34:443"],
            vec!["[::1]:443"],
            vec!["[::ffff:127.0.0.1]:443"],
            vec!["169.254.169.254:443"],
        ] {
            let (client, asked) = with_answers(vec![answer.clone()]);
            let url = "https://rebinding.example.com/";
            let refused = client.fetch(post(url), Reach::Public, limits()).await.unwrap_err();
            let FetchError::Forbidden(why) = refused else { panic!("{answer:?}: {refused:?}") };
            assert!(!why.contains("127") && !why.contains("169"), "{why}");
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_that_answer_is_what_is_called() {
        let (port, connections, _told) = server(Does::Say("HTTP/1.1 204 No\r\n\r\n")).await;
        let (first, second) = (format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"));
        let (client, asked) = with_answers(vec![vec![first.leak()], vec![second.leak()]]);
        let response = client.fetch(post("http://a.example/"), Reach::Configured, limits()).await;
        assert_eq!(response.unwrap().status(), 204);
        assert_eq!((asked.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (1, 1));
    }

    #[tokio::test]
    async fn nobody_is_made_to_call_this_gateway() {
        let (client, _) = with_answers(vec![vec!["93.184.216.34:443"]; 3]);
        let client = client.refusing(["Gateway.Example.com".into(), "93.184.216.34".into()]);
        for url in ["https://gateway.example.com./", "https://93.184.216.34/", "https://a.example/"]
        {
            let refused = client.fetch(post(url), Reach::Public, limits()).await.unwrap_err();
            assert_eq!(refused, FetchError::Forbidden("the URL leads back to this gateway".into()));
        }
    }

    #[tokio::test]
    async fn a_url_that_is_not_to_be_called_is_not() {
        let client = HttpClient::new(None).unwrap();
        for (url, reach) in [
            ("http://example.com/", Reach::Public),
            ("https://127.1/", Reach::Public),
            ("https://user@example.com/", Reach::Public),
            ("https://user:hunter2@example.com/", Reach::Public),
            ("http://user:hunter2@127.0.0.1/", Reach::Configured),
            ("http://example.com@127.0.0.1/", Reach::Configured),
            ("ftp://127.0.0.1/", Reach::Configured),
        ] {
            let refused = client.fetch(post(url), reach, limits()).await.unwrap_err();
            assert!(matches!(refused, FetchError::Forbidden(_)), "{url}: {refused:?}");
            assert!(check(&Url::parse(url).unwrap(), reach).is_err());
            assert!(!refused.to_string().contains("hunter2"));
        }
        assert!(check(&Url::parse("http://127.0.0.1:8/").unwrap(), Reach::Configured).is_ok());
    }

    #[tokio::test]
    async fn a_request_goes_out_as_it_was_written() {
        let answer = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok";
        let (port, _, mut told) = server(Does::Say(answer)).await;
        let url = format!("http://LOCALHOST:{port}/a%2Fb?x=1&y=%C3%A6#part");
        let mut request = post(&url);
        request.headers_mut().insert("host", "other.example".parse().unwrap());
        request.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
        request.headers_mut().insert("x-signature", "abc".parse().unwrap());
        let client = HttpClient::new(None).unwrap();
        let response = client.fetch(request, Reach::Configured, limits()).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"ok"[..]));
        assert_eq!(response.headers()["x-a"], "b");
        let expected = format!(
            "POST /a%2Fb?x=1&y=%C3%A6 HTTP/1.1\r\nx-signature: abc\r\nhost: localhost:{port}\r\n\
             content-length: 5\r\n\r\nhello"
        );
        assert_eq!(told.recv().await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let (elsewhere, visits, _told) = server(Does::Hang).await;
        let to = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        );
        let response = fetch(Does::Say(to.leak()), limits()).await.unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(visits.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_is_too_large_or_no_http_is_no_response() {
        let ok = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(fetch(Does::Much(ok, 1_000), limits()).await.unwrap().body().len(), 1_000);
        for does in [
            Does::Much(ok, 1_001),
            Does::Much("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 2_000),
            Does::Much("HTTP/1.1 200 OK\r\nX: ", 100_000),
            Does::Much("", 100_000),
            Does::Say("garbage\r\n\r\n"),
            Does::Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
            Does::Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
            Does::Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            Does::CloseAfterReading,
        ] {
            let error = fetch(does, limits()).await.unwrap_err();
            assert!(matches!(error, FetchError::NoResponse(_)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn what_was_never_sent_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let client = HttpClient::new(None).unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        let error = client.fetch(post(&url), Reach::Configured, limits()).await.unwrap_err();
        assert!(matches!(error, FetchError::NotSent(_)), "{error:?}");
        // A server that speaks no TLS never saw the request.
        let (port, ..) = server(Does::CloseAtOnce).await;
        let url = format!("https://127.0.0.1:{port}/");
        let error = client.fetch(post(&url), Reach::Configured, limits()).await.unwrap_err();
        assert!(matches!(error, FetchError::NotSent(_)), "{error:?}");
        let short = FetchLimits { connect_timeout: Duration::from_millis(50), ..limits() };
        let (port, ..) = server(Does::Hang).await;
        let url = format!("https://127.0.0.1:{port}/");
        let error = client.fetch(post(&url), Reach::Configured, short).await.unwrap_err();
        assert_eq!(error, FetchError::NotSent("no connection in time".into()));
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        let short = FetchLimits { timeout: Duration::from_millis(200), ..limits() };
        let error = fetch(Does::Hang, short).await.unwrap_err();
        assert_eq!(error, FetchError::NoResponse("no response in time".into()));
    }
}
