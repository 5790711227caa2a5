//! Every byte but `Received` arrives as it was sent in, and the archive returns it as it was sent in; only `Bcc` and
//! Waybill's own steering fields are taken out on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::clients::assert_same;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;
use crate::support::tools;

/// One message and what must arrive of it.
struct Specimen {
    name: String,
    text: Vec<u8>,
}

/// What a client sends of a file: lines end in CRLF, the last one too.
fn canonical(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 20);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && !(at > 0 && bytes[at - 1] == b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Whether SMTP can carry it at all: a CR that begins no line end is refused.
fn has_bare_cr(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
}

/// The message without the fields that are never relayed.
fn relayed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut in_header = true;
    let mut removing = false;
    for line in text.split_inclusive(|b| *b == b'\n') {
        if in_header && line == b"\r\n" {
            in_header = false;
        }
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if in_header && !folded {
            let name = line.split(|b| *b == b':').next().unwrap_or_default().to_ascii_lowercase();
            let name = String::from_utf8_lossy(&name).trim_end().to_owned();
            removing = line.contains(&b':') && (name == "bcc" || name.starts_with("x-waybill-"));
        }
        if !(in_header && removing) {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Messages that relays like to break; the corpus has the rest.
fn own_specimens() -> Vec<Specimen> {
    let long = "y".repeat(5000);
    let deep: String = (0..200)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("no-header", b"\r\nonly a body\r\n".to_vec()),
        ("empty", b"\r\n".to_vec()),
        ("no-body", b"Subject: nothing follows\r\n".to_vec()),
        ("dots", b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.a\r\n".to_vec()),
        ("bcc", b"To: a@b.c\r\nBcc: secret@example.org,\r\n\tmore@example.org\r\nSubject: x\r\n\r\nBcc: in the body\r\n".to_vec()),
        ("steering", b"X-Waybill-Tag: invoice\r\nTo: a@b.c\r\nX-Waybill-Reference: INV-1\r\nSubject: x\r\n\r\nbody\r\n".to_vec()),
        ("eight-bit", b"Subject: \xe9\xff\xfe\r\nContent-Type: text/plain; charset=latin1\r\n\r\n\xe9\xe8\r\n".to_vec()),
        ("nul", b"Subject: nul\r\n\r\na\0b\r\n".to_vec()),
        ("long-line", format!("Subject: long\r\n\r\n{long}\r\n").into_bytes()),
        ("long-field", format!("Subject: {long}\r\n\r\nbody\r\n").into_bytes()),
        ("not-a-field", b"this is no field\r\nSubject: x\r\n\r\nbody\r\n".to_vec()),
        ("deep", deep.into_bytes()),
        ("received", b"Received: from a by b; Mon, 5 Jan 2026 10:00:00 +0000\r\nSubject: x\r\n\r\nbody\r\n".to_vec()),
        ("return-path", b"Return-Path: <x@example.com>\r\nSubject: x\r\n\r\nbody\r\n".to_vec()),
    ];
    texts.into_iter().map(|(name, text)| Specimen { name: name.to_owned(), text }).collect()
}

fn corpus_specimens() -> Vec<Specimen> {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(PathBuf::from) else {
        tools::skip("WAYBILL_CORPUS names no folder of messages");
        return Vec::new();
    };
    let mut files = Vec::new();
    collect(&folder, &mut files);
    assert!(!files.is_empty(), "no messages in {}", folder.display());
    files
        .iter()
        .map(|file| Specimen {
            name: file.strip_prefix(&folder).unwrap().display().to_string(),
            text: canonical(&std::fs::read(file).unwrap()),
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "eml") {
            files.push(path);
        }
    }
}

#[test]
fn every_byte_but_received_is_kept() {
    let receiver = Receiver::start();
    let daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let mut specimens = own_specimens();
    specimens.extend(corpus_specimens());
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let (mut accepted, mut refused) = (BTreeMap::new(), Vec::new());
    for (number, specimen) in specimens.iter().enumerate() {
        let recipient = format!("r{number}@example.org");
        let from = format!("s{number}@example.com");
        let answer = submitter.submit(&from, &[&recipient], &specimen.text).unwrap();
        match answer.id() {
            Some(id) => drop(accepted.insert(recipient, (id.to_owned(), specimen))),
            None => {
                refused.push((specimen, answer));
                // A server may close after too many refusals.
                submitter = Submitter::connect(daemon.smtp()).unwrap();
            }
        }
    }
    for (specimen, answer) in &refused {
        println!("refused {}: {} {}", specimen.name, answer.code, answer.text);
    }
    let unexpected = refused.iter().filter(|(specimen, _)| !has_bare_cr(&specimen.text)).count();
    assert!(
        unexpected * 100 <= specimens.len(),
        "{unexpected} of {} were refused",
        specimens.len()
    );
    receiver.wait_for_count(accepted.len());
    let api = daemon.api("auditor");
    api.wait_until_nothing_is_pending();
    let arrivals = receiver.arrivals();
    assert_eq!(arrivals.len(), accepted.len(), "each once");
    for arrival in &arrivals {
        let (id, specimen) = &accepted[&arrival.recipients[0]];
        assert_same(&arrival.without_received(), &relayed(&specimen.text), &specimen.name);
        assert_same(&api.raw(id), &specimen.text, &format!("{} from the archive", specimen.name));
    }
    println!("{} accepted and kept, {} refused", accepted.len(), refused.len());
}

#[test]
fn what_is_removed_is_known() {
    let check = |text: &str, expected: &str| {
        assert_eq!(String::from_utf8(relayed(text.as_bytes())).unwrap(), expected);
    };
    check("Bcc: a\r\n b\r\nTo: c\r\n\r\nBcc: d\r\n", "To: c\r\n\r\nBcc: d\r\n");
    check("x-WAYBILL-tag : a\r\nTo: c\r\n", "To: c\r\n");
    assert_eq!(canonical(b"a\nb\r\nc"), b"a\r\nb\r\nc\r\n");
    assert!(has_bare_cr(b"a\rb") && !has_bare_cr(b"a\r\nb"));
}
