//! The two ways in which an upstream's certificate is treated.
//!
//! *Checked*: the platform's roots plus those of `tls_ca`, and the name (RFC 6125). *Unchecked*:
//! opportunistic encryption (RFC 7435), where any certificate is better than clear text; the
//! handshake's signatures are still verified, so the peer holds the key that it shows.
//! The provider is passed explicitly; nothing is installed for the whole process.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::error::RelayError;
use super::settings::{SmtpUpstream, UpstreamTls};

/// The connector that the mode of `settings` asks for; `None` when it never encrypts.
pub(super) fn connector(settings: &SmtpUpstream) -> Result<Option<TlsConnector>, RelayError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match settings.tls {
        UpstreamTls::Off => return Ok(None),
        UpstreamTls::Opportunistic => Arc::new(AnyCertificate(provider.clone())),
        UpstreamTls::StartTls | UpstreamTls::Implicit => {
            let roots = match &settings.tls_ca {
                Some(path) => read_roots(path)?,
                None => Vec::new(),
            };
            let verifier =
                rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone());
            Arc::new(verifier.map_err(RelayError::Tls)?)
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RelayError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, RelayError> {
    let failed = |source| RelayError::ReadRoots { path: path.to_owned(), source };
    let roots = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed)?;
    match roots.is_empty() {
        true => Err(RelayError::NoRoots { path: path.to_owned() }),
        false => Ok(roots),
    }
}

/// Takes any certificate, for [`UpstreamTls::Opportunistic`] alone.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
