//! Real mail, well formed and broken, is read without a panic and as other readers read it.
//!
//! Takes the messages of the folder in `WAYBILL_CORPUS`, described by its `MANIFEST.tsv`, and is
//! skipped where there is none.

use std::path::PathBuf;

use bytes::Bytes;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use waybill::mime::{self, Reading};
use waybill::model::{MessageId, Timestamp};
use waybill::rewrite::{self, Trace};

use crate::support::tools;

struct Sample {
    name: String,
    raw: Vec<u8>,
    /// The words of the manifest about it.
    special: String,
}

impl Sample {
    /// The number in `attachments=3`.
    fn number(&self, key: &str) -> Option<usize> {
        let mut words = self.special.split(',');
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
    }

    fn is_html_file(&self) -> bool {
        self.name.starts_with("html/") || self.name.ends_with(".html")
    }
}

fn corpus() -> Vec<Sample> {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(PathBuf::from) else {
        tools::skip("WAYBILL_CORPUS names no folder");
        return Vec::new();
    };
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.tsv")) else {
        tools::skip("there is no MANIFEST.tsv in the folder of WAYBILL_CORPUS");
        return Vec::new();
    };
    let samples: Vec<Sample> = manifest
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let raw = std::fs::read(folder.join(columns.first()?)).ok()?;
            let special = columns.last().copied().unwrap_or_default().to_owned();
            Some(Sample { name: columns[0].to_owned(), raw, special })
        })
        .collect();
    assert!(!samples.is_empty());
    samples
}

#[test]
fn every_message_is_read_rendered_and_previewed() {
    for sample in corpus() {
        let (name, raw) = (&sample.name, &sample.raw);
        let reading = mime::read(raw);
        assert!(!reading.defects.iter().any(|d| d.starts_with("not parsed")), "{name}");
        let mut at = 0;
        for span in &reading.shared {
            assert!(at <= span.start && span.end <= raw.len(), "{name}");
            at = span.end;
        }
        for (index, info) in reading.attachments.iter().enumerate() {
            let content = mime::attachment(raw, index).unwrap();
            assert_eq!(content.bytes.len() as u64, info.size_bytes, "{name}");
        }
        let document = mime::preview_html(raw);
        assert!(document.starts_with("<!DOCTYPE html>"), "{name}");
        assert!(!document.contains("can not be shown"), "{name}");
        let lower = document.to_ascii_lowercase();
        for active in ["<script", "<iframe", "<form", "<style", "<link", "<object", " src=\"http"] {
            assert!(!lower.contains(active), "{name}: {active}");
        }
    }
}

#[test]
fn every_byte_is_relayed() {
    let accepted_at = Timestamp::from_millis(1_795_321_671_000);
    let trace = Trace {
        id: MessageId::new(accepted_at, 7),
        hostname: "gateway.example.com",
        client_helo: "erp.example.com",
        client_address: "192.0.2.1".parse().unwrap(),
        protocol: "ESMTP",
        tls: None,
        accepted_at,
        recipient: None,
    };
    let received = {
        let empty = rewrite::render(&Bytes::new(), &trace);
        empty.segments.concat()
    };
    let (mut prepended, mut cut) = (0, 0);
    for sample in corpus() {
        let raw = Bytes::from(sample.raw);
        let sent = rewrite::render(&raw, &trace).segments.concat();
        let removed = rewrite::removed(&raw);
        let mut expected = Vec::with_capacity(raw.len());
        let mut at = 0;
        for span in &removed {
            expected.extend_from_slice(&raw[at..span.start]);
            at = span.end;
        }
        expected.extend_from_slice(&raw[at..]);
        let place = sent.windows(received.len()).position(|w| w == received).unwrap();
        let rest = [&sent[..place], &sent[place + received.len()..]].concat();
        assert!(rest == expected, "{}", sample.name);
        prepended += usize::from(place == 0);
        cut += usize::from(!removed.is_empty());
    }
    eprintln!("{prepended} with Received in front of everything, {cut} with fields cut out");
}

/// mail-parser, which reads structure in its own way, is asked the same.
#[test]
fn another_reader_reads_the_same() {
    let (mut compared, mut differences) = (0, Vec::new());
    for sample in corpus().into_iter().filter(|s| !s.is_html_file()) {
        let Some(other) = MessageParser::default().parse(&sample.raw) else { continue };
        compared += 1;
        let reading = mime::read(&sample.raw);
        let mut differ = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs && !is_known(&sample.raw, &reading) {
                differences.push(format!("{}: {what} {ours:?}, not {theirs:?}", sample.name));
            }
        };
        let folded = |text: &str| {
            let text = text.replace(char::is_control, " ");
            let words: Vec<_> = text.split_whitespace().collect();
            words.join(" ").chars().take(1000).collect::<String>()
        };
        let subject = other.subject().map(folded).unwrap_or_default();
        differ("subject", reading.subject.as_deref().unwrap_or_default(), &subject);
        let id = other.message_id().map(folded).unwrap_or_default();
        differ("message id", reading.message_id.as_deref().unwrap_or_default(), &id);
        differ("attachments", &types(&reading), &their_types(&other));
    }
    eprintln!("{compared} compared with mail-parser, {} differences", differences.len());
    for difference in &differences {
        eprintln!("  {difference}");
    }
    // Each of these was looked at: a delimiter that is not at the start of a line or has something
    // behind it, a delimiter directly below a header, a media type without its semicolon.
    assert!(differences.len() * 100 <= compared, "{differences:#?}");
}

/// Where the two readers differ on purpose: mail-parser ends the header section at a first line of
/// spaces, takes the last of repeated fields, and knows Latin-1 in fields only when told.
fn is_known(raw: &[u8], reading: &Reading) -> bool {
    let repeated = reading.defects.iter().any(|d| d.starts_with("there is more than one"));
    repeated || raw.starts_with(b" ") || std::str::from_utf8(raw).is_err()
}

fn types(reading: &Reading) -> String {
    reading.attachments.iter().map(|a| format!("{} ", a.content_type)).collect()
}

/// The types of what we call attachments, by the structure that mail-parser found.
fn their_types(message: &mail_parser::Message<'_>) -> String {
    let mut types = String::new();
    for (index, part) in message.parts.iter().enumerate() {
        let given = part.content_type();
        let kind = match (given, &part.body) {
            (_, PartType::Multipart(_)) => continue,
            (Some(t), _) => format!("{}/{}", t.c_type, t.c_subtype.as_deref().unwrap_or("plain")),
            (None, PartType::Message(_)) => String::from("message/rfc822"),
            (None, _) => String::from("text/plain"),
        };
        let is_text = kind == "text/plain" || kind == "text/html" || kind.starts_with("multipart/");
        let attached = part.content_disposition().is_some_and(|d| !d.is_inline());
        if !is_text || attached || (part.attachment_name().is_some() && index > 0) {
            types += &format!("{kind} ");
        }
    }
    types
}

/// The manifest counts parts that are called attachments or have a name, and looks into attached
/// messages. We count every part that is not the text itself, and an attached message as one.
#[test]
fn attachments_are_counted_as_the_manifest_counts_them() {
    let (mut compared, mut other_rule, mut differences) = (0, 0, Vec::new());
    for sample in corpus().into_iter().filter(|s| !s.is_html_file()) {
        let expected = sample.number("attachments").unwrap_or(0);
        let reading = mime::read(&sample.raw);
        let found = reading.attachments.len();
        let unnamed = reading.attachments.iter().filter(|a| a.filename.is_none()).count();
        let messages = reading.attachments.iter().any(|a| a.content_type.starts_with("message/"));
        compared += 1;
        if expected == found {
            continue;
        }
        if found.saturating_sub(unnamed) <= expected && expected <= found || messages {
            other_rule += 1;
        } else {
            differences.push(format!("{}: manifest {expected}, found {found}", sample.name));
        }
    }
    eprintln!("{compared} compared, {other_rule} counted by the other rule, {differences:#?}");
    assert!(differences.len() * 100 <= compared * 2, "{differences:#?}");
}
