//! A message before and after its links were rewritten, and what is the same in both.
//!
//! What parts there are is told by mail-parser, what a browser sees by `documents`; neither finds the links in `rewrite`.

use std::path::PathBuf;

use base64::Engine;
use bytes::Bytes;
use mail_parser::{MessageParser, PartType};
use waybill::model::{MessageId, SkipReason, Timestamp, TouchReport};
use waybill::rewrite::{PublicUrl, Tokens, Trace, Tracking, Treatment, render, render_for};

use super::documents::{compare, document};
use super::tools;

pub const PUBLIC: &str = "https://t.example.com";

/// Tokens that can be read back: the URL in base64, behind the number.
pub struct Readable;

pub const URL_SAFE: base64::engine::GeneralPurpose =
    base64::engine::general_purpose::URL_SAFE_NO_PAD;

impl Tokens for Readable {
    fn open(&self) -> String {
        "opened".into()
    }

    fn click(&self, link: u16, url: &[u8]) -> String {
        format!("{link}-{}", URL_SAFE.encode(url))
    }
}

/// The URL that a link of ours leads to.
pub fn target(link: &str) -> Option<String> {
    let token = link.strip_prefix(PUBLIC)?.strip_prefix("/c/")?;
    let (_, url) = token.split_once('-')?;
    String::from_utf8(URL_SAFE.decode(url).ok()?).ok()
}

pub fn trace() -> Trace<'static> {
    let accepted_at = Timestamp::from_millis(1_795_321_671_000);
    Trace {
        id: MessageId::new(accepted_at, 7),
        hostname: "gateway.example.com",
        client_helo: "erp.example.com",
        client_address: "192.0.2.1".parse().unwrap(),
        protocol: "ESMTP",
        tls: None,
        accepted_at,
        recipient: None,
    }
}

pub fn tracked_as(raw: &[u8], honeypot: bool) -> (Vec<u8>, TouchReport) {
    let public_url = PublicUrl::parse(PUBLIC).unwrap();
    let exclude = ["*.example.net/private*".to_owned()];
    let tracking = Tracking {
        opens: true,
        clicks: true,
        honeypot,
        public_url: &public_url,
        exclude: &exclude,
        tokens: &Readable,
    };
    let treatment = Treatment { tracking: Some(&tracking), ..Treatment::default() };
    let rendition = render_for(&Bytes::copy_from_slice(raw), &trace(), treatment);
    (without_received(rendition.outgoing.segments.concat()), rendition.report)
}

pub fn tracked(raw: &[u8]) -> (Vec<u8>, TouchReport) {
    tracked_as(raw, false)
}

pub fn untracked(raw: &[u8]) -> Vec<u8> {
    without_received(render(&Bytes::copy_from_slice(raw), &trace()).segments.concat())
}

/// Takes out the field that rendering put in.
pub fn without_received(sent: Vec<u8>) -> Vec<u8> {
    let field = render(&Bytes::new(), &trace()).segments.concat();
    let place = memchr::memmem::find(&sent, &field).expect("the field");
    [&sent[..place], &sent[place + field.len()..]].concat()
}

pub fn skipped(report: &TouchReport, reason: SkipReason) -> u32 {
    report.skipped.iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
}

/// All HTML parts, decoded, and all other bodies as they are.
pub fn parts(raw: &[u8]) -> (Vec<String>, Vec<Vec<u8>>) {
    let Some(message) = MessageParser::default().parse(raw) else {
        return (Vec::new(), Vec::new());
    };
    let (mut html, mut others) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match &part.body {
            PartType::Html(text) => html.push(text.to_string()),
            PartType::Text(_) | PartType::Multipart(_) => {}
            PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Message(_) => {
                others.push(
                    raw[part.raw_body_offset() as usize..part.raw_end_offset() as usize].to_vec(),
                );
            }
        }
    }
    (html, others)
}

pub fn corpus() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(PathBuf::from) else {
        tools::skip("WAYBILL_CORPUS names no folder");
        return Vec::new();
    };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv"))
        .expect("the folder of WAYBILL_CORPUS has a list of its messages, MANIFEST.tsv");
    let names = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    let read = |name: &str| Some((name.to_owned(), std::fs::read(folder.join(name)).ok()?));
    names.filter_map(read).collect()
}

pub fn quoted_printable(text: &str) -> String {
    let mut out = String::new();
    for line in text.split("\r\n") {
        let mut column = 0;
        for (at, byte) in line.bytes().enumerate() {
            let is_last = at + 1 == line.len();
            let plain = (byte.is_ascii_graphic() || byte == b' ' && !is_last) && byte != b'=';
            let word = if plain { (byte as char).to_string() } else { format!("={byte:02X}") };
            if column + word.len() > 75 {
                out.push_str("=\r\n");
                column = 0;
            }
            column += word.len();
            out.push_str(&word);
        }
        out.push_str("\r\n");
    }
    out
}

pub fn base64_lines(bytes: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap());
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// A message with one HTML part in each encoding.
pub fn wrapped(html: &str) -> [String; 3] {
    let head =
        "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n";
    [
        format!("{head}Content-Transfer-Encoding: 8bit\r\n\r\n{html}"),
        format!(
            "{head}Content-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            quoted_printable(html)
        ),
        format!("{head}Content-Transfer-Encoding: base64\r\n\r\n{}", base64_lines(html.as_bytes())),
    ]
}

pub fn check_message(name: &str, raw: &[u8]) -> TouchReport {
    let original = untracked(raw);
    let (sent, report) = tracked(raw);
    if report.rewritten == 0 && !report.pixel {
        assert_eq!(sent, original, "{name}");
    }
    let (again, second) = tracked(&sent);
    assert_eq!((second.rewritten, second.pixel), (0, false), "{name}");
    assert_eq!(again, sent, "{name}");
    let ((old_html, old_others), (new_html, new_others)) = (parts(&original), parts(&sent));
    assert_eq!(old_others, new_others, "{name}");
    assert_eq!(old_html.len(), new_html.len(), "{name}");
    for (old, new) in old_html.iter().zip(&new_html) {
        compare(name, old, new);
    }
    let longest = |raw: &[u8]| raw.split(|b| *b == b'\n').map(<[u8]>::len).max().unwrap_or(0);
    assert!(longest(&sent) <= longest(&original).max(999), "{name}");
    report
}

/// Where the links of a document lead.
pub fn document_links(html: &str) -> Vec<String> {
    document(html).links
}

/// Where the links of a message lead when it is tracked: through ours to their end.
pub fn sent_links(raw: &[u8]) -> Vec<String> {
    let (sent, _) = tracked(raw);
    let links = parts(&sent).0.iter().flat_map(|html| document(html).links).collect::<Vec<_>>();
    links.into_iter().map(|link| target(&link).unwrap_or(link)).collect()
}
