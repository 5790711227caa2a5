//! TLS for servers: one certificate, read again when its files change.
//!
//! rustls with aws-lc-rs, which is passed explicitly; TLS 1.2 and 1.3. The files are looked at when a
//! handshake begins, at most every few seconds, and when the operator asks for a reload. Files that
//! can not be used leave the certificate as it was: a half-written renewal must not close the port.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::settings::TlsSettings;

/// A handshake is a few packets; whoever needs longer holds a connection for nothing.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);
/// How often the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Why the certificate can not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no usable {what}")]
    Pem { path: PathBuf, what: &'static str },
    #[error("the certificate and the key in {certificate} and {key} cannot be used together")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("cannot set up TLS for connections out")]
    Setup(#[source] rustls::Error),
}

/// Why there was no TLS with a peer.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the TLS handshake took too long")]
    TooLong,
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
}

/// The certificate that is served.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
    checked: Mutex<Checked>,
}

/// When the files were looked at, and what they were then.
#[derive(Debug)]
struct Checked {
    at: Instant,
    stamps: [Option<Stamp>; 2],
}

/// What changes when a file is written or replaced.
type Stamp = (SystemTime, u64, u64);

impl Tls {
    /// Reads the files; an error here is one of the configuration.
    pub fn load(settings: TlsSettings) -> Result<Arc<Tls>, TlsError> {
        // Looked at before they are read: a change in between is seen at the next look.
        let stamps = stamps(&settings);
        let current = ArcSwap::from(read(&settings)?);
        let checked = Mutex::new(Checked { at: Instant::now(), stamps });
        Ok(Arc::new(Tls { settings, current, checked }))
    }

    /// Reads the files again, whether they changed or not; on an error the certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.settings)?;
        self.current.store(fresh);
        Ok(())
    }

    /// Does the server's part of a handshake within 15 seconds.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.refresh(CHECK_INTERVAL);
        let handshake = TlsAcceptor::from(self.current.load_full()).accept(stream);
        match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(HandshakeError::TooLong),
        }
    }

    /// Reads the files again if they changed, unless they were looked at within `interval`.
    fn refresh(&self, interval: Duration) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.at.elapsed() < interval {
            return;
        }
        checked.at = Instant::now();
        let stamps = stamps(&self.settings);
        if stamps == checked.stamps {
            return;
        }
        // Remembered even when reading fails, so that a broken file is complained about once.
        checked.stamps = stamps;
        match self.reload() {
            Ok(()) => tracing::info!("the TLS certificate was read again"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the TLS certificate stays as it was");
            }
        }
    }
}

/// The version and cipher suite of a connection: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
pub fn describe_tls(connection: &ServerConnection) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    // rustls marks the suites of TLS 1.3; their registered names do not.
    let suite = suite.unwrap_or_default().replace("TLS13_", "TLS_");
    format!("{version} {suite}").trim_end().to_owned()
}

fn stamps(settings: &TlsSettings) -> [Option<Stamp>; 2] {
    [&settings.certificate, &settings.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    })
}

fn read(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let certificate = contents(&settings.certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(&settings.certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(unusable(&settings.certificate, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents(&settings.key)?)
        .map_err(|_| unusable(&settings.key, "private key"))?;
    let pair = |source| TlsError::Pair {
        certificate: settings.certificate.clone(),
        key: settings.key.clone(),
        source,
    };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    Ok(Arc::new(config))
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn unusable(path: &Path, what: &'static str) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Files {
            let files = Files { folder: tempfile::tempdir().unwrap() };
            files.write();
            files
        }

        fn settings(&self) -> TlsSettings {
            let path = |name| self.folder.path().join(name);
            TlsSettings { certificate: path("certificate.pem"), key: path("key.pem") }
        }

        fn write(&self) {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(["gateway.example".into()]).unwrap();
            std::fs::write(self.settings().certificate, cert.pem()).unwrap();
            std::fs::write(self.settings().key, signing_key.serialize_pem()).unwrap();
        }
    }

    #[test]
    fn broken_files_are_refused_at_start() {
        let files = Files::new();
        let settings = files.settings();
        let error = |settings: &TlsSettings| Tls::load(settings.clone()).unwrap_err();
        std::fs::write(&settings.certificate, "nothing").unwrap();
        assert!(matches!(error(&settings), TlsError::Pem { what: "certificate", .. }));
        files.write();
        std::fs::write(&settings.key, "nothing").unwrap();
        assert!(matches!(error(&settings), TlsError::Pem { what: "private key", .. }));
        files.write();
        let other = Files::new();
        std::fs::copy(other.settings().key, &settings.key).unwrap();
        assert!(matches!(error(&settings), TlsError::Pair { .. }));
        std::fs::remove_file(&settings.key).unwrap();
        assert!(matches!(error(&settings), TlsError::Read { .. }));
    }

    #[test]
    fn changed_files_are_read_and_broken_ones_are_not_used() {
        let files = Files::new();
        let tls = Tls::load(files.settings()).unwrap();
        let first = tls.current.load_full();
        tls.refresh(Duration::ZERO);
        assert!(Arc::ptr_eq(&first, &tls.current.load_full()));

        std::fs::write(files.settings().key, "half a key").unwrap();
        tls.refresh(Duration::ZERO);
        assert!(Arc::ptr_eq(&first, &tls.current.load_full()));
        assert!(tls.reload().is_err());

        files.write();
        tls.refresh(Duration::from_secs(60));
        assert!(Arc::ptr_eq(&first, &tls.current.load_full()));
        tls.refresh(Duration::ZERO);
        assert!(!Arc::ptr_eq(&first, &tls.current.load_full()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_does_not_hold_the_handshake() {
        let files = Files::new();
        let tls = Tls::load(files.settings()).unwrap();
        let (server, _client) = tokio::io::duplex(1_000);
        assert!(matches!(tls.accept(server).await, Err(HandshakeError::TooLong)));
    }
}
