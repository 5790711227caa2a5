//! Secrets: a text, or where to find one: `{ file = "…" }`, `{ env = "…" }`, `{ credential = "…" }`
//! (systemd's credentials directory, systemd.exec(5)).
//!
//! No message quotes a secret, and the effective configuration shows `[hidden]`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use toml::de::{DeTable, DeValue};

use super::kind::{Kind, Spot, type_name};
use crate::model::Secret;

/// What `waybill check --print` shows in place of a secret.
const HIDDEN: &str = "[hidden]";

/// No password, token or key is longer; a whole disk image given by mistake is not read.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The three ways to say where a secret lies.
const SOURCES: &str = "{ file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";

/// A password or token: one line.
pub(super) struct OneLine;

impl Kind for OneLine {
    type Value = Secret;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Secret> {
        let text = read_secret(value, spot)?;
        // A line break or a NUL would end the command or header field that carries the secret.
        match text.chars().any(char::is_control) {
            true => spot.wrong(
                format!(
                    "the secret of {:?} holds a line break or another control character",
                    spot.key
                ),
                "keep it on one line (one line break at the end of a file is ignored)",
            ),
            false => Some(Secret::new(text)),
        }
    }

    fn show(&self, _: &Secret) -> toml::Value {
        HIDDEN.into()
    }

    fn example(&self) -> String {
        String::from("{ file = \"/etc/waybill/password\" }")
    }
}

/// A private key in PEM.
pub(super) struct PemKey;

impl Kind for PemKey {
    type Value = Secret;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Secret> {
        if value.as_str().is_some_and(|text| !text.trim_start().starts_with("-----BEGIN")) {
            return spot.wrong(
                format!("{} is not a private key in PEM", spot.key),
                format!("if it is the name of a file, write {} = {}", spot.key, self.example()),
            );
        }
        let text = read_secret(value, spot)?;
        // A credential that was not handed over; that was said.
        if text == HIDDEN && spot.context.environment.is_rehearsal {
            return None;
        }
        match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(_) => Some(Secret::new(text)),
            Err(_) => spot.wrong(
                format!("the secret of {:?} is not a private key in PEM", spot.key),
                "give a file that begins with \"-----BEGIN PRIVATE KEY-----\"",
            ),
        }
    }

    fn show(&self, _: &Secret) -> toml::Value {
        HIDDEN.into()
    }

    fn example(&self) -> String {
        String::from("{ file = \"/etc/waybill/dkim.pem\" }")
    }
}

fn read_secret(value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<String> {
    let text = match value {
        DeValue::String(text) => {
            spot.context.saw_inline_secret(spot.span.start);
            text.to_string()
        }
        DeValue::Table(source) => read_source(source, spot)?,
        other => {
            let what = format!("{:?} is {}, but it is a secret", spot.key, type_name(other));
            return spot.wrong(what, format!("write it in quotes, or as {SOURCES}"));
        }
    };
    match text.is_empty() {
        true => spot.wrong(format!("the secret of {:?} is empty", spot.key), "give it a value"),
        false => Some(text),
    }
}

fn read_source(source: &DeTable<'_>, spot: &Spot<'_, '_>) -> Option<String> {
    let mut entries = source.iter();
    let (Some((word, node)), None) = (entries.next(), entries.next()) else {
        let what = format!("{:?} does not say where its secret lies", spot.key);
        return spot.wrong(what, format!("write exactly one of {SOURCES}"));
    };
    let Some(place) = node.get_ref().as_str().filter(|place| !place.is_empty()) else {
        let what = format!("{:?} of {:?} is not a text", word.get_ref(), spot.key);
        return spot.at(node.span()).wrong(what, "write the name in quotes");
    };
    let spot = &spot.at(node.span());
    match word.get_ref().as_ref() {
        "file" => read_file(&spot.context.resolve(place), spot),
        "env" => read_variable(place, spot),
        "credential" => read_credential(place, spot),
        other => {
            let what = format!("{other:?} is not a place for the secret of {:?}", spot.key);
            spot.at(word.span()).wrong(what, format!("write {SOURCES}"))
        }
    }
}

fn read_variable(name: &str, spot: &Spot<'_, '_>) -> Option<String> {
    match spot.context.environment.variable(name).map(|value| value.to_str()) {
        Some(Some(value)) => Some(value.to_owned()),
        Some(None) => spot.wrong(
            format!("the environment variable {name} of {:?} is not UTF-8", spot.key),
            "give it in UTF-8",
        ),
        None => spot.wrong(
            format!("the environment variable {name} of {:?} is not set", spot.key),
            format!("set {name} where Waybill is started"),
        ),
    }
}

fn read_credential(name: &str, spot: &Spot<'_, '_>) -> Option<String> {
    if name.contains('/') {
        let what = format!("the credential {name:?} of {:?} is a path", spot.key);
        return spot.wrong(what, "write its name alone, as in LoadCredential=");
    }
    match spot.context.environment.variable("CREDENTIALS_DIRECTORY") {
        Some(folder) => read_file(&PathBuf::from(folder).join(name), spot),
        // Only systemd knows the credentials; from a shell the rest can still be checked.
        None if spot.context.environment.is_rehearsal => {
            let what = format!("the credential {name:?} of {:?} was not checked", spot.key);
            let advice = "only systemd can hand it over (LoadCredential= in the unit)";
            spot.context.report.warning(Some(spot.span.clone()), what, advice);
            Some(String::from(HIDDEN))
        }
        None => spot.wrong(
            format!(
                "there is no credential {name:?} for {:?}: CREDENTIALS_DIRECTORY is not set",
                spot.key
            ),
            format!("start under systemd with LoadCredential={name}:…, or use {{ file = \"…\" }}"),
        ),
    }
}

/// The text of a file, less one line break at its end.
fn read_file(path: &Path, spot: &Spot<'_, '_>) -> Option<String> {
    let shown = path.display();
    match read_bounded(path) {
        Ok((mut text, mode)) => {
            if mode & 0o004 != 0 {
                let what = format!("everybody on this machine can read {shown}");
                let advice = format!("run chmod 600 {shown}");
                spot.context.report.warning(Some(spot.span.clone()), what, advice);
            }
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            Some(text)
        }
        Err(error) => spot.wrong(
            format!("the file {shown} of {:?} can not be read: {error}", spot.key),
            "give a text file that is there and that Waybill's user may read",
        ),
    }
}

fn read_bounded(path: &Path) -> std::io::Result<(String, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut text = String::new();
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => std::io::Error::other("it is not UTF-8"),
        _ => error,
    })?;
    match text.len() as u64 > MAX_SECRET_BYTES {
        true => Err(std::io::Error::other("it is longer than 64 KiB")),
        false => Ok((text, mode)),
    }
}
