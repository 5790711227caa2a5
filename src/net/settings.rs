//! What `net` is told: where the certificate lies.

use std::path::PathBuf;

/// `[tls]`: PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
}
