//! Every wrong configuration in `tests/config_bad` fails, or warns, with exactly the text beside it.
//!
//! `NAME.toml` is checked by the real `waybill check` in a folder of its own, with the files of
//! `tests/config_bad/files` beside it; what it prints and its exit code stand in `NAME.txt`.
//! `UPDATE_GOLDEN=1` writes the expectations anew; look at the difference before you commit it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fewer means that the folder was not found.
const LEAST_CASES: usize = 45;

#[test]
fn wrong_configurations_say_what_to_write_instead() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_bad");
    let folder = tempfile::tempdir().unwrap();
    lay_out(&cases.join("files"), folder.path());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let configs = configs(&cases);
    assert!(configs.len() >= LEAST_CASES, "only {} cases in {}", configs.len(), cases.display());
    let mut differences = String::new();
    for config in &configs {
        let found = check(config, folder.path());
        let expectation = config.with_extension("txt");
        if update {
            fs::write(&expectation, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        if found != expected {
            let name = config.file_name().unwrap().to_string_lossy();
            differences += &format!("== {name}\nexpected:\n{expected}\nfound:\n{found}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}UPDATE_GOLDEN=1 writes these anew");
}

#[test]
fn no_expectation_stands_without_its_configuration() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_bad");
    for entry in fs::read_dir(&cases).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(path.with_extension("toml").exists(), "{} is left over", path.display());
        }
    }
}

fn configs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut configs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    configs.sort();
    configs
}

/// Copies the files that configurations name, readable for the owner alone but for `open*`, and
/// makes the certificates, so that no private key lies in the repository.
fn lay_out(files: &Path, folder: &Path) {
    for entry in fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        put(&folder.join(name), &fs::read(&path).unwrap());
    }
    for name in ["one", "two"] {
        let made = rcgen::generate_simple_self_signed(vec![format!("{name}.example")]).unwrap();
        put(&folder.join(format!("{name}.crt")), made.cert.pem().as_bytes());
        put(&folder.join(format!("{name}.key")), made.signing_key.serialize_pem().as_bytes());
        let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        put(&folder.join(format!("{name}.dkim")), signing.serialize_pem().as_bytes());
    }
    put(&folder.join("open.key"), &fs::read(folder.join("one.key")).unwrap());
    put(&folder.join("not_utf8.secret"), b"caf\xe9\n");
}

fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    let is_open = path.file_name().unwrap().to_string_lossy().starts_with("open");
    let mode = if is_open { 0o644 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What `waybill check` prints about this file, errors first, and its exit code.
fn check(config: &Path, folder: &Path) -> String {
    let name = config.file_name().unwrap();
    put(&folder.join(name), &fs::read(config).unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["check", "--config"])
        .arg(name)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    let (stderr, stdout) = (output.stderr, output.stdout);
    let code = output.status.code();
    format!(
        "{}{}exit {code:?}\n",
        String::from_utf8(stderr).unwrap(),
        String::from_utf8(stdout).unwrap()
    )
    .replace("exit Some(1)", "exit 1")
    .replace("exit Some(0)", "exit 0")
}
