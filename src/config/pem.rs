//! Certificates and keys for TLS: read when the configuration is checked, so that a wrong file
//! shows before a client meets it. They are read again by `net`, which follows their changes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::address::FilePath;
use super::section::Section;
use crate::net::TlsSettings;

/// `[tls]`.
pub(super) fn read_tls(tls: &Section<'_, '_>) -> Option<TlsSettings> {
    let certificate = tls.required("certificate", &FilePath);
    let key = tls.required("key", &FilePath);
    let chain = certificate.as_deref().map(|path| read_chain(tls, "certificate", path));
    let private_key = key.as_deref().map(|path| read_key(tls, path));
    if let (Some(Some(chain)), Some(Some(private_key))) = (chain, private_key) {
        check_pair(tls, chain, private_key);
    }
    Some(TlsSettings { certificate: certificate?, key: key? })
}

/// `tls_ca` of an upstream.
pub(super) fn read_ca(upstream: &Section<'_, '_>) -> Option<PathBuf> {
    let path = upstream.optional("tls_ca", &FilePath)?;
    read_chain(upstream, "tls_ca", &path);
    Some(path)
}

/// The certificates of a PEM file; at least one.
fn read_chain(
    section: &Section<'_, '_>,
    key: &str,
    path: &Path,
) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Ok(chain) => {
            let chain: Vec<CertificateDer<'static>> = chain;
            if chain.is_empty() {
                unusable(section, key, path, "it holds no certificate in PEM");
                return None;
            }
            Some(chain)
        }
        Err(error) => {
            unusable(section, key, path, &reason(&error));
            None
        }
    }
}

fn read_key(tls: &Section<'_, '_>, path: &Path) -> Option<PrivateKeyDer<'static>> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => {
            let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
            if mode.is_ok_and(|mode| mode & 0o004 != 0) {
                let what = format!("everybody on this machine can read {}", path.display());
                let advice = format!("run chmod 600 {}", path.display());
                tls.context.report.warning(tls.place("key"), what, advice);
            }
            Some(key)
        }
        Err(error) => {
            unusable(tls, "key", path, &reason(&error));
            None
        }
    }
}

fn check_pair(
    tls: &Section<'_, '_>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) {
    let found = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    if let Err(error) = found {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => {
                String::from("the key does not belong to the certificate")
            }
            error => format!("the certificate and the key can not be used: {error}"),
        };
        let advice = "give the key with which this certificate was requested, \
                      and the certificate first in its file";
        tls.context.report.error(tls.place("key"), what, advice);
    }
}

fn unusable(section: &Section<'_, '_>, key: &str, path: &Path, why: &str) {
    let what = format!("the file {} of {key:?} can not be used: {why}", path.display());
    let advice = "give a PEM file that is there and that Waybill's user may read";
    section.context.report.error(section.place(key), what, advice);
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => String::from("it holds nothing of that kind in PEM"),
        // The library's text would quote the file.
        _ => String::from("its PEM is damaged"),
    }
}
