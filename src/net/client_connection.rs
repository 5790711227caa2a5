//! One HTTP/1.1 connection out: found, encrypted, and good for one request after another (RFC 9112).
//!
//! It is driven by whoever uses it and has no task of its own: dropping it closes it, and between two
//! requests it is looked at without waiting. It counts the octets that really left for the network,
//! below TLS, so that after a failure it is known whether the peer can have seen the request.
//! Redirects are answers like others; there are no proxies, and nothing is decompressed.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::TlsError;
use super::client_address::plain;

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;
/// Status line and header fields of a response.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// hyper's buffer for what arrives; it bounds what is read ahead.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// Where a URL leads: what connections are made to, and kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    is_tls: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// Of an absolute `http` or `https` URI without a user name. Says what is wrong, without quoting.
    pub(crate) fn of(uri: &Uri) -> Result<Origin, String> {
        Origin::of_url(&Url::parse(&uri.to_string()).map_err(|error| error.to_string())?)
    }

    pub(super) fn of_url(url: &Url) -> Result<Origin, String> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL begins neither with https nor with http".into()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds a user name or a password".into());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL names no host".into());
        };
        Ok(Origin { is_tls, host: host.to_owned(), port })
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The addresses of the host, the literal one or those that the system's resolver gives.
    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Ipv4(address) => Ok(vec![SocketAddr::from((*address, self.port))]),
            Host::Ipv6(address) => Ok(vec![SocketAddr::from((*address, self.port))]),
            Host::Domain(name) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await?;
                Ok(found.take(MAX_ADDRESSES).collect())
            }
        }
    }

    /// The value of `Host` (RFC 9112 §3.2): the port only where it is not the scheme's own.
    fn field(&self) -> String {
        let is_usual = self.port == if self.is_tls { 443 } else { 80 };
        match is_usual {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, String> {
        match &self.host {
            Host::Ipv4(address) => Ok(ServerName::from(std::net::IpAddr::from(*address))),
            Host::Ipv6(address) => Ok(ServerName::from(std::net::IpAddr::from(*address))),
            Host::Domain(name) => ServerName::try_from(plain(name))
                .map_err(|_| "the host name can be in no certificate".into()),
        }
    }
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// No octet of the request left this machine.
    NotSent(String),
    /// Some of it left.
    NoResponse(String),
}

/// Makes connections; clones share the roots that are trusted.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: TlsConnector,
}

impl Dialer {
    /// `extra_root`: a PEM file with further roots beside the system's.
    pub(crate) fn new(extra_root: Option<&Path>) -> Result<Dialer, TlsError> {
        let roots = extra_root.map(read_roots).transpose()?.unwrap_or_default();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.map_err(TlsError::Setup)?))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Dialer { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// A connection to the first of these addresses that answers, each of which has its share of the
    /// time. The name is checked against the certificate; nothing is looked up.
    pub(crate) async fn dial(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
        until: Instant,
    ) -> Result<HttpConnection, String> {
        let mut failure = "the host has no address".to_owned();
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        for (index, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let shares = u32::try_from(addresses.len() - index).unwrap_or(1);
            match timeout(left / shares, self.establish(origin, *address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(why)) => failure = why,
                Err(_) => failure = "no connection in time".into(),
            }
        }
        Err(failure)
    }

    async fn establish(
        &self,
        origin: &Origin,
        address: SocketAddr,
    ) -> Result<HttpConnection, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        // One small write is one request: nothing is gained by waiting for more.
        _ = stream.set_nodelay(true);
        let written = Arc::<AtomicU64>::default();
        let stream = Counted { stream, written: written.clone() };
        let stream: Box<dyn Socket> = match origin.is_tls {
            false => Box::new(stream),
            true => {
                let encrypted = self.tls.connect(origin.server_name()?, stream).await;
                Box::new(encrypted.map_err(|error| format!("the TLS handshake failed: {error}"))?)
            }
        };
        HttpConnection::open(stream, origin.clone(), written).await
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let pem =
        std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    let roots = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let roots = roots.map_err(|_| unusable())?;
    match roots.is_empty() {
        true => Err(unusable()),
        false => Ok(roots),
    }
}

/// A TCP or TLS stream.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

type Driver = http1::Connection<TokioIo<Box<dyn Socket>>, Full<Bytes>>;

/// An open connection.
pub(crate) struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` when it came to its end.
    driver: Option<Box<Driver>>,
    origin: Origin,
    written: Arc<AtomicU64>,
}

impl HttpConnection {
    async fn open(
        stream: Box<dyn Socket>,
        origin: Origin,
        written: Arc<AtomicU64>,
    ) -> Result<HttpConnection, String> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        Ok(HttpConnection { sender, driver: Some(Box::new(driver)), origin, written })
    }

    /// What it leads to.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it can take a request, as far as can be seen without waiting: the peer neither closed
    /// it nor said anything on it.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let driver = &mut self.driver;
        poll_fn(|context| {
            drive(driver, context);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Makes one request, whose URI leads to this origin, and reads all of the response.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Bytes>,
        until: Instant,
        max_response_bytes: usize,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let request = prepared(request, &self.origin).map_err(ExchangeError::NotSent)?;
        let before = self.written.load(Ordering::Acquire);
        let HttpConnection { sender, driver, .. } = self;
        let mut was_returned = false;
        let work = async {
            if sender.ready().await.is_err() {
                was_returned = true;
                return Err("the connection was closed".to_owned());
            }
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => {
                    was_returned = error.take_message().is_some();
                    return Err(cause(&error.into_error()));
                }
            };
            let (head, mut body) = response.into_parts();
            if head.status.is_informational() {
                return Err("the response asks for another protocol".to_owned());
            }
            let mut content = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|error| cause(&error))?.into_data() else { continue };
                if data.len() > max_response_bytes.saturating_sub(content.len()) {
                    return Err("the response is too large".to_owned());
                }
                content.extend_from_slice(&data);
            }
            Ok(Response::from_parts(head, content.freeze()))
        };
        let done = timeout_at(until, driven(driver, work)).await;
        let why = match done {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(why)) => why,
            Err(_) => "no response in time".to_owned(),
        };
        // Whatever was left on it is not to be taken for the answer to another request.
        self.driver = None;
        let is_untouched = self.written.load(Ordering::Acquire) == before;
        match was_returned || is_untouched {
            true => Err(ExchangeError::NotSent(why)),
            false => Err(ExchangeError::NoResponse(why)),
        }
    }
}

/// Lets the connection do what it can; forgets it when it is done, which tells who waits on it.
fn drive(driver: &mut Option<Box<Driver>>, context: &mut Context<'_>) {
    let ended = driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(context).is_ready());
    if ended {
        *driver = None;
    }
}

/// Does `work` while the connection is driven.
async fn driven<T>(driver: &mut Option<Box<Driver>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        drive(driver, context);
        work.as_mut().poll(context)
    })
    .await
}

/// The request as it goes over the wire: path and query only, and the fields that belong to the
/// connection by ourselves.
fn prepared(request: Request<Bytes>, origin: &Origin) -> Result<Request<Full<Bytes>>, String> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    head.uri = path.parse().map_err(|_| "the URL has a path that can not be called".to_owned())?;
    head.version = Version::HTTP_11;
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let host = HeaderValue::try_from(origin.field());
    let host = host.map_err(|_| "the host name can not be written".to_owned())?;
    head.headers.insert(HOST, host);
    // RFC 9110 §8.6: said even of an empty body, where one is expected.
    if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(Request::from_parts(head, Full::new(body)))
}

/// hyper's error with what is behind it; neither quotes the request.
fn cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Counts what leaves.
struct Counted<S> {
    stream: S,
    written: Arc<AtomicU64>,
}

impl<S> Counted<S> {
    fn note(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = &done {
            self.written.fetch_add(*octets as u64, Ordering::AcqRel);
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, octets);
        self.note(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, octets);
        self.note(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
