//! How fast mail is read: everything that acceptance needs, and mail-parser alone in the same run.
//!
//! `cargo bench --bench mime_reading`. Prints one line for each kind of message: the time for one, and
//! how much that is a second. The last line reads the folder in `WAYBILL_CORPUS`, when there is one.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mail_parser::MessageParser;
use waybill::mime;
use waybill::model::{MessageId, Timestamp};
use waybill::rewrite::{self, Trace};

/// How long each number is measured.
const SPAN: Duration = Duration::from_millis(400);

fn main() {
    println!(
        "{:<28}{:>10}{:>12}{:>10}{:>12}{:>12}{:>12}",
        "message", "bytes", "read us", "MiB/s", "parser us", "render us", "preview us"
    );
    for (name, raw) in samples() {
        line(name, &[raw]);
    }
    let corpus = std::env::var_os("WAYBILL_CORPUS").map(|folder| all(Path::new(&folder)));
    match corpus.filter(|messages| !messages.is_empty()) {
        Some(messages) => line("corpus, mean of each", &messages),
        None => println!("no corpus: WAYBILL_CORPUS names no folder with messages"),
    }
}

fn line(name: &str, messages: &[Bytes]) {
    let bytes: usize = messages.iter().map(Bytes::len).sum();
    let parser = MessageParser::default();
    let read = micros(messages, |raw| drop(black_box(mime::read(raw))));
    let alone = micros(messages, |raw| drop(black_box(parser.parse(&raw[..]))));
    let rendered = micros(messages, |raw| drop(black_box(rewrite::render(raw, &trace()))));
    let previewed = micros(messages, |raw| drop(black_box(mime::preview_html(raw))));
    let size = bytes / messages.len();
    let rate = size as f64 / read / 1.048_576;
    println!(
        "{name:<28}{size:>10}{read:>12.1}{rate:>10.0}{alone:>12.1}{rendered:>12.1}{previewed:>12.1}"
    );
}

/// Microseconds for one message, the best of five spans.
fn micros(messages: &[Bytes], mut work: impl FnMut(&Bytes)) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < SPAN / 5 || done == 0 {
            messages.iter().for_each(&mut work);
            done += messages.len();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / done as f64);
    }
    best
}

fn trace<'a>() -> Trace<'a> {
    let accepted_at = Timestamp::from_millis(1_795_321_671_000);
    Trace {
        id: MessageId::new(accepted_at, 7),
        hostname: "gateway.example.com",
        client_helo: "erp.example.com",
        client_address: "192.0.2.1".parse().expect("an address"),
        protocol: "ESMTPS",
        tls: Some("TLSv1.3"),
        accepted_at,
        recipient: None,
    }
}

const HEAD: &str = "Received: from a.example (a.example [192.0.2.7])\r\n\tby b.example with ESMTP id 1;\r\n\
    \tSun, 22 Nov 2026 04:27:51 +0000\r\nFrom: \"Anna =?utf-8?q?J=C3=B8rgensen?=\" <anna@example.com>\r\n\
    To: Kim <kim@example.org>, bo@example.net\r\nSubject: =?utf-8?q?Your_invoice_INV-12345_=E2=82=AC?=\r\n\
    Date: Sun, 22 Nov 2026 04:27:51 +0000\r\nMessage-ID: <1234567890@example.com>\r\nMIME-Version: 1.0\r\n\
    X-Mailer: ERP 1.0\r\n";

fn samples() -> Vec<(&'static str, Bytes)> {
    let text = "Hello Kim, here is your invoice. Bl=C3=A5b=C3=A6r are in season.\r\n";
    let html = "<tr><td style=3D\"padding:4px\">Bl=C3=A5b=C3=A6r</td><td align=3Dright>12.00</td></tr>\r\n";
    let qp = "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
    let plain = |lines| format!("{HEAD}Content-Type: text/plain; {qp}{}", text.repeat(lines));
    let alternative = |lines| {
        format!(
            "{HEAD}Content-Type: multipart/alternative; boundary=\"=_b1\"\r\n\r\n--=_b1\r\n\
             Content-Type: text/plain; {qp}{}\r\n--=_b1\r\nContent-Type: text/html; {qp}\
             <html><body><table>{}</table></body></html>\r\n--=_b1--\r\n",
            text.repeat(lines / 3),
            html.repeat(lines)
        )
    };
    let attached = |bytes: usize| {
        let base64 = format!("{}\r\n", "QUJD".repeat(19)).repeat(bytes / 78);
        format!(
            "{HEAD}Content-Type: multipart/mixed; boundary=\"=_b0\"\r\n\r\n--=_b0\r\n\
             Content-Type: text/plain; {qp}{}\r\n--=_b0\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n\
             Content-Disposition: attachment; filename=\"a.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--=_b0--\r\n",
            text.repeat(10)
        )
    };
    vec![
        ("1 KiB text", plain(8).into()),
        ("10 KiB text and HTML", alternative(90).into()),
        ("10 KiB with attachment", attached(9_000).into()),
        ("100 KiB with attachment", attached(100_000).into()),
        ("1 MiB with attachment", attached(1 << 20).into()),
        ("1 MiB text and HTML", alternative(9_600).into()),
    ]
}

/// Every file below a folder.
fn all(folder: &Path) -> Vec<Bytes> {
    let mut messages = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "eml")
                && let Ok(raw) = std::fs::read(&path)
            {
                messages.push(Bytes::from(raw));
            }
        }
    }
    messages
}
