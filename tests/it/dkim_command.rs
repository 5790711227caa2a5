//! `waybill dkim`: what to publish, and whether a DNS text says it, as a shell sees it.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use waybill::model::{Domain, Secret};
use waybill::rewrite::DkimSigner;

/// A configuration with an RSA key `s1` and an Ed25519 key `s2` of example.com, and what they publish.
fn keys(folder: &Path) -> [(String, String); 2] {
    let mut config = String::from("hostname = 'gateway.example.com'\n");
    let algorithms = [("s1", &rcgen::PKCS_RSA_SHA256), ("s2", &rcgen::PKCS_ED25519)];
    let published = algorithms.map(|(selector, algorithm)| {
        let pem = rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let path = folder.join(format!("{selector}.pem"));
        fs::write(&path, &pem).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        config.push_str(&format!(
            "[[dkim.key]]\ndomain = 'example.com'\nselector = '{selector}'\n\
             private_key = {{ file = '{selector}.pem' }}\n"
        ));
        let domain = Domain::parse("example.com").unwrap();
        let signer = DkimSigner::from_pem(domain, selector, &Secret::new(pem)).unwrap();
        (signer.dns_name(), signer.dns_txt())
    });
    fs::write(folder.join("w.toml"), config).unwrap();
    published
}

/// Exit code, stdout, stderr.
fn dkim(folder: &Path, arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["dkim", "--config", "w.toml"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read it closes it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// As a zone file has it, in strings of at most 100 characters.
fn zone(name: &str, txt: &str) -> String {
    let strings: Vec<String> =
        txt.as_bytes().chunks(100).map(|c| format!("\"{}\"", String::from_utf8_lossy(c))).collect();
    format!("{name}. 3600 IN TXT ( ; the key\n  {} )\n", strings.join("\n  "))
}

#[test]
fn wrong_calls_are_told_from_keys_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let [(_, one), _] = keys(folder.path());
    let code = |arguments: &[&str], stdin: &str| dkim(folder.path(), arguments, stdin).0;
    assert_eq!(code(&["--key", "s3"], ""), Some(2));
    // Of two keys nobody knows which is meant.
    assert_eq!(code(&[&one], ""), Some(2));
    assert_eq!(code(&["--key", "s1", &one], ""), Some(0));
    assert_eq!(code(&["--key", "s2", &one], ""), Some(1));
    assert_eq!(code(&["--key", "s1", "-"], ""), Some(1));
    assert_eq!(code(&["--key", "s1", "-"], &"x".repeat((4 << 20) + 1)), Some(1));
    fs::write(folder.path().join("w.toml"), "hostname = 'gateway.example.com'\n").unwrap();
    let (code, stdout, stderr) = dkim(folder.path(), &[], "");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("no key is configured under [dkim]"), "{stderr}");
}

#[test]
fn what_to_publish_is_shown_for_every_key_and_no_private_key_ever() {
    let folder = tempfile::tempdir().unwrap();
    let published = keys(folder.path());
    let (code, stdout, stderr) = dkim(folder.path(), &[], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for (name, txt) in &published {
        assert!(stdout.contains(&format!("  name:  {name}\n")), "{stdout}");
        assert!(stdout.contains(&format!("  value: {txt}\n")), "{stdout}");
    }
    // What is shown can be published as it is.
    let (code, report, _) = dkim(folder.path(), &["-"], &stdout);
    assert_eq!((code, report.lines().count()), (Some(0), 2), "{report}");
    let (_, alone, _) = dkim(folder.path(), &["--key", "S2._domainkey.example.com."], "");
    assert!(!alone.contains("s1._domainkey") && alone.contains("k=ed25519"), "{alone}");
    for selector in ["s1", "s2"] {
        let pem = fs::read_to_string(folder.path().join(format!("{selector}.pem"))).unwrap();
        let secret: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let middle = secret.len() / 3;
        for end in [&secret[middle..middle + 20], "PRIVATE"] {
            assert!(!stdout.contains(end) && !report.contains(end), "{stdout}{report}");
        }
    }
}

#[test]
fn exactly_what_differs_from_a_dns_text_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [(one, rsa), (two, ed25519)] = keys(folder.path());
    let differs = |text: &str, expected: &[&str]| {
        let (code, stdout, _) = dkim(folder.path(), &["-"], text);
        assert_eq!(code, Some(1), "{stdout}");
        let said: Vec<&str> = stdout.lines().filter(|l| !l.starts_with("  publish: ")).collect();
        assert_eq!(said, expected, "{text}");
    };
    let good_two = format!("{two}: the record fits the key");
    let of_one = |what: &str| format!("{one}: {what}");
    let of_two = zone(&two, &ed25519);
    differs(&of_two, &[&of_one("the text has no TXT record of this name"), &good_two]);
    let cut = rsa[..rsa.len() - 60].to_owned();
    let length = rsa.split_once("p=").unwrap().1.len();
    let what = format!("the record's p= is cut off: it has {} of {length} characters", length - 60);
    differs(&(zone(&one, &cut) + &of_two), &[&of_one(&what), &good_two]);
    let twice = zone(&one, &rsa) + &zone(&one, &rsa) + &of_two;
    let what = "there are several TXT records of this name, and may be one only";
    differs(&twice, &[&of_one(what), &good_two]);
    let revoked = zone(&one, "v=DKIM1; h=sha1; p=");
    let (hash, empty) = (
        of_one("the record does not allow sha256 (h=)"),
        of_one("the record's p= is empty: the key is revoked"),
    );
    differs(&(revoked + &of_two), &[&hash, &empty, &good_two]);
    // The records of two keys were exchanged.
    let kind = of_one("the record is for ed25519 keys (k=), and this one is rsa");
    let other = format!("{two}: the record is for rsa keys (k=), and this one is ed25519");
    differs(&(zone(&one, &ed25519) + &zone(&two, &rsa)), &[&kind, &other]);
    let (code, stdout, stderr) = dkim(folder.path(), &["-"], &(zone(&one, &rsa) + &of_two));
    let good_one = of_one("the record fits the key");
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(stdout.lines().collect::<Vec<_>>(), [&good_one, &good_two]);
}

#[test]
fn a_key_that_only_systemd_hands_over_keeps_nothing_else_from_being_checked() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let path = folder.path().join("w.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("{ file = 's1.pem' }", "{ credential = 's1' }")).unwrap();
    let (code, stdout, stderr) = dkim(folder.path(), &[], "");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("s2._domainkey") && !stdout.contains("s1._domainkey"), "{stdout}");
    assert!(
        stderr.contains("the credential \"s1\" of \"private_key\" was not checked"),
        "{stderr}"
    );
}
