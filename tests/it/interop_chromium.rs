//! A tracked mail looks like the mail: screenshots before and after, of headless Chromium, are the same.
//!
//! Several mails stand in the frames of one page, because starting a browser takes seconds; a page that differs names its
//! mails. No host can be reached, so neither the pixel nor any other picture is shown. `WAYBILL_SCREENSHOTS=all` looks at
//! all mails of the corpus instead of a few.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tools;
use crate::support::tracked::{corpus, parts, tracked, untracked, wrapped};

/// Mails on one page, in rows of four.
const FRAMES: usize = 8;
/// Pages that are looked at unless all are.
const FEW_PAGES: usize = 3;

/// What a mail's author or a style sheet may say of pictures and of last elements.
const STYLED: [&str; 6] = [
    "<style>img{border:9px solid red;padding:9px;margin:9px;float:left}</style><p>text",
    "<style>img{min-width:99px;min-height:99px;background:red}</style><p>text",
    "<style>img{outline:9px solid red;box-shadow:9px 9px 9px red;content:'x'}</style><p>text",
    "<style>body{display:flex;gap:50px}body>*{border:3px solid red}</style><p>a</p><p>b</p>",
    "<style>*{display:inline!important;position:static;opacity:1}</style><p>text</p><p>b</p>",
    "<style>body{position:relative;margin:50px}img::after{content:'x'}</style><b>text<p>b</p>",
];

/// The HTML of mails, before and after.
fn mails() -> Vec<(String, String, String)> {
    let mut samples: Vec<(String, Vec<u8>)> = STYLED
        .iter()
        .map(|html| (String::from(*html), wrapped(html)[0].clone().into_bytes()))
        .collect();
    for (name, raw) in corpus() {
        let is_html = name.ends_with(".html") || name.starts_with("html/");
        let text = String::from_utf8_lossy(&raw).replace("\r\n", "\n").replace('\n', "\r\n");
        let raw = if is_html { wrapped(&text)[2].clone().into_bytes() } else { raw };
        samples.push((name, raw));
    }
    let mut mails = Vec::new();
    for (name, raw) in samples {
        let (sent, report) = tracked(&raw);
        if report.rewritten == 0 && !report.pixel {
            continue;
        }
        let (before, after) = (parts(&untracked(&raw)).0, parts(&sent).0);
        for (before, after) in before.into_iter().zip(after) {
            if before != after {
                mails.push((name.clone(), before, after));
            }
        }
    }
    mails
}

/// A picture of a page with all these mails.
fn screenshot(chromium: &Path, folder: &Path, mails: &[&str]) -> Vec<u8> {
    let mut page = String::from(
        "<style>body{margin:0}iframe{width:600px;height:2400px;border:0;float:left}</style>",
    );
    for (number, html) in mails.iter().enumerate() {
        let name = format!("{number}.html");
        // With a byte order mark no `meta` has a word in how it is read.
        std::fs::write(folder.join(&name), format!("\u{feff}{html}")).unwrap();
        write!(page, "<iframe sandbox scrolling=no src={name}></iframe>").unwrap();
    }
    std::fs::write(folder.join("page.html"), page).unwrap();
    let (picture, profile) = (folder.join("page.png"), folder.join("profile"));
    let mut command = Command::new(chromium);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--disable-component-update", "--no-first-run", "--virtual-time-budget=3000"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg("--window-size=2400,4800")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", folder.join("page.html").display()));
    tools::run(&mut command, b"");
    let taken = std::fs::read(&picture).unwrap();
    std::fs::remove_file(picture).unwrap();
    taken
}

#[test]
fn a_tracked_mail_looks_as_it_did() {
    let Some(chromium): Option<PathBuf> = tools::find("chromium") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mails = mails();
    let looks_at_all = std::env::var("WAYBILL_SCREENSHOTS").is_ok_and(|value| value == "all");
    let pages = if looks_at_all { usize::MAX } else { FEW_PAGES };
    let mut different = Vec::new();
    for page in mails.chunks(FRAMES).take(pages) {
        let shown = |mails: &[(String, String, String)], after: bool| {
            let html: Vec<&str> = mails.iter().map(|m| if after { &*m.2 } else { &*m.1 }).collect();
            screenshot(&chromium, folder.path(), &html)
        };
        if shown(page, false) == shown(page, true) {
            continue;
        }
        // One that moves by itself says nothing, and a slow machine may take a picture too early.
        let is_different = |mail: &&(String, String, String)| {
            let mail = std::slice::from_ref(*mail);
            let before = shown(mail, false);
            (0..3).all(|_| shown(mail, true) != before) && shown(mail, false) == before
        };
        different.extend(page.iter().filter(is_different).map(|mail| mail.0.clone()));
    }
    assert!(different.is_empty(), "of {} mails these look different: {different:#?}", mails.len());
    // The comparison itself has to be able to fail.
    let others =
        ["<p>text</p>", "<p>texts</p>"].map(|html| screenshot(&chromium, folder.path(), &[html]));
    assert_ne!(others[0], others[1]);
}
