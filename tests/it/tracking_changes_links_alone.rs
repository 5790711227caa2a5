//! A tracked message is the message: a browser sees the same document but for the links and one pixel, every other byte
//! stays, and doing it twice changes nothing.

use base64::Engine;
use waybill::model::{SkipReason, TouchReport, Untouched};

use crate::support::documents::document;
use crate::support::tracked::{
    PUBLIC, URL_SAFE, base64_lines, check_message, corpus, parts, skipped, target, tracked,
    tracked_as, wrapped,
};

#[test]
fn every_real_message_stays_what_it_is() {
    let (mut messages, mut touched, mut links, mut rewritten, mut pixels) = (0, 0, 0, 0, 0);
    for (name, raw) in corpus() {
        let samples = match name.ends_with(".html") || name.starts_with("html/") {
            true => {
                let html =
                    String::from_utf8_lossy(&raw).replace("\r\n", "\n").replace('\n', "\r\n");
                wrapped(&html).map(String::into_bytes).to_vec()
            }
            false => vec![raw],
        };
        for sample in samples {
            let report = check_message(&name, &sample);
            messages += 1;
            touched += usize::from(report.untouched_because.is_none());
            links += report.links;
            rewritten += report.rewritten;
            pixels += usize::from(report.pixel);
        }
    }
    eprintln!(
        "{messages} messages, {touched} touched: {rewritten} of {links} links, {pixels} pixels"
    );
    assert!(messages == 0 || (rewritten > 100 && pixels > 100));
}

#[test]
fn strange_html_stays_what_it_is() {
    let link = "<a href=\"https://example.com/?a=1&amp;b=2\">go</a>";
    let check = |html: &str, rewritten: usize, pixels: usize| {
        for raw in wrapped(&html.replace("LINK", link)) {
            let report = check_message(html, raw.as_bytes());
            let found = (report.rewritten as usize, usize::from(report.pixel));
            assert_eq!(found, (rewritten, pixels), "{raw}\n{report:?}");
        }
    };
    check("LINK", 1, 1);
    check("<p>LINK<b>LINK", 2, 1);
    check("<html><body>LINK</body></html>\r\n", 1, 1);
    check("<body>LINK</body><body>LINK</body>LINK", 3, 1);
    check("<body>LINK</body></html>LINK<!-- end -->", 2, 1);
    check("<body><!-- </body> LINK --><script>'</body>LINK'</script>LINK</body>", 1, 1);
    check("<body>LINK<!-- open </body>", 1, 0);
    check("<body>LINK<a href=\"https://open.example.com/", 1, 0);
    check("<style>LINK</style><title>LINK</title><textarea>LINK</textarea>", 0, 1);
    check("<noscript>LINK</noscript><template>LINK</template>x", 1, 1);
    check("<!--[if mso]>LINK<v:roundrect href=\"https://e.com\"><![endif]-->LINK", 1, 1);
    check("<!--[if !mso]><!-->LINK<!--<![endif]--><![if !vml]>LINK<![endif]>", 2, 1);
    check("<base href=\"https://example.com/\"><a href=\"page\">x</a>LINK", 1, 1);
    check("<table><tr><td>LINK</td></tr></table>", 1, 1);
    check("<table><tr><td>LINK", 1, 1);
    check("<a href=https://example.com/a?b=c>x</a><a href='https://example.com/'\r\n>y</a>", 2, 1);
    check("<a href=https://example.com/ href=https://other.example.com/>x</a>", 1, 1);
    check("<a HREF = \" https://example.com/ \" title='&copy'>x</a>", 1, 1);
    check("<map><area href=\"https://example.com/\"></map>", 1, 1);
    check("<frameset><frame src=x></frameset>", 0, 0);
    check("", 0, 0);
}

#[test]
fn a_link_leads_exactly_where_it_led() {
    let check = |href: &str, url: &str| {
        let html = format!("<body><a href=\"{href}\">go</a></body>");
        for raw in wrapped(&html) {
            let (sent, report) = tracked(raw.as_bytes());
            assert_eq!(report.rewritten, 1, "{href} {report:?}");
            let (html, _) = parts(&sent);
            let links = document(&html[0]).links;
            assert_eq!(links.iter().map(|link| target(link).unwrap()).collect::<Vec<_>>(), [url]);
        }
    };
    check("https://example.com/?a=1&b=2", "https://example.com/?a=1&b=2");
    check("https://example.com/?a=1&amp;b=2", "https://example.com/?a=1&b=2");
    check("https://example.com/?a=1&amp;amp;b=2", "https://example.com/?a=1&amp;b=2");
    check("https://example.com/?a=1&ampx=2", "https://example.com/?a=1&ampx=2");
    check("https://example.com/?a=1&copy=2", "https://example.com/?a=1&copy=2");
    check("https://example.com/?a&#61;1&#x26;b", "https://example.com/?a=1&b");
    check("https://example.com/%2F%2f%C3%A5?x=%26+y", "https://example.com/%2F%2f%C3%A5?x=%26+y");
    check(
        "https://s3.example.com/x?X-Amz-Signature=ab%2Bc%3D&amp;X-Amz-Date=2026",
        "https://s3.example.com/x?X-Amz-Signature=ab%2Bc%3D&X-Amz-Date=2026",
    );
    check(
        "https://example.com/bl\u{e5}b\u{e6}r?q=\u{f8}",
        "https://example.com/bl\u{e5}b\u{e6}r?q=\u{f8}",
    );
}

#[test]
fn a_very_long_link_is_kept_where_its_line_may_not_grow() {
    let url = format!("https://example.com/?s={}", "aB3-".repeat(1000));
    let html = format!("<body><a href=\"{url}\">go</a></body>");
    let [identity, quoted, base64] = wrapped(&html);
    for raw in [quoted, base64] {
        let (sent, _) = tracked(raw.as_bytes());
        assert_eq!(target(&document(&parts(&sent).0[0]).links[0]).unwrap(), url);
        assert!(sent.split(|b| *b == b'\n').all(|line| line.len() <= 78));
    }
    let (sent, report) = tracked(identity.as_bytes());
    assert_eq!((report.rewritten, skipped(&report, SkipReason::LineTooLong)), (0, 1));
    assert_eq!(document(&parts(&sent).0[0]).links, [url]);
    // A line that is only nearly full is divided within the tag.
    let html = format!("<p>{}<a href=\"https://example.com/\">go</a>", "x".repeat(930));
    let (sent, report) = tracked(wrapped(&html)[0].as_bytes());
    assert_eq!(report.rewritten, 1);
    assert!(sent.split(|b| *b == b'\n').all(|line| line.len() <= 999));
}

#[test]
fn every_charset_keeps_its_bytes() {
    let text = "<p>TEXT <a href=\"https://example.com/?a=1&amp;b=2\">go TEXT</a> TEXT</p>";
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let encoded = |label: &str, text: &str| {
        encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(text).0.into_owned()
    };
    let samples: [(&str, Vec<u8>); 9] = [
        ("; charset=utf-8", text.replace("TEXT", "bl\u{e5}b\u{e6}r").into_bytes()),
        ("", text.replace("TEXT", "bl\u{e5}b\u{e6}r").into_bytes()),
        ("", encoded("windows-1252", &text.replace("TEXT", "bl\u{e5}b\u{e6}r"))),
        ("; charset=iso-8859-1", encoded("windows-1252", &text.replace("TEXT", "\u{f8}\u{d8}"))),
        ("; charset=\"windows-1252\"", encoded("windows-1252", &text.replace("TEXT", "\u{20ac}"))),
        ("; charset=Shift_JIS", encoded("shift_jis", &text.replace("TEXT", "\u{8868}\u{30bd}"))),
        (
            "; charset=iso-2022-jp",
            encoded("iso-2022-jp", &text.replace("TEXT", "\u{8868}\u{3042}")),
        ),
        ("; charset=gb18030", encoded("gb18030", &text.replace("TEXT", "\u{9000}\u{1f600}"))),
        ("; charset=utf-16le", utf16(&text.replace("TEXT", "bl\u{e5}\u{1f600}"))),
    ];
    for (charset, body) in samples {
        let is_utf16 = charset.contains("16");
        let raw = |encoding: &str, body: &[u8]| {
            let head = format!(
                "MIME-Version: 1.0\r\nContent-Type: text/html{charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            [head.as_bytes(), body].concat()
        };
        let (sent, report) = tracked(&raw("base64", base64_lines(&body).as_bytes()));
        assert_eq!((report.rewritten, report.pixel), (1, true), "{charset}");
        let at = memchr::memmem::find(&sent, b"\r\n\r\n").unwrap() + 4;
        let kept: Vec<u8> =
            sent[at..].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(kept).unwrap();
        let expected = |original: &[u8]| {
            let wide = |text: &str| if is_utf16 { utf16(text) } else { text.as_bytes().to_vec() };
            let old = wide("https://example.com/?a=1&amp;b=2");
            let place = memchr::memmem::find(original, &old).unwrap();
            let new = format!("{PUBLIC}/c/0-{}", URL_SAFE.encode("https://example.com/?a=1&b=2"));
            [&original[..place], &wide(&new), &original[place + old.len()..]].concat()
        };
        assert!(decoded.starts_with(&expected(&body)), "{charset}");
        if !is_utf16 {
            let (sent, report) = tracked(&raw("8bit", &body));
            assert_eq!((report.rewritten, report.pixel), (1, true), "{charset}");
            assert!(sent.ends_with(&decoded), "{charset}");
        }
    }
}

#[test]
fn messages_that_must_not_change_do_not() {
    let html =
        "Content-Type: text/html\r\n\r\n<body><a href=\"https://example.com/\">go</a></body>\r\n";
    let multipart = |kind: &str, more: &str| {
        format!(
            "From: a@example.com\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\n{html}--b\r\n{more}\r\n--b--\r\n"
        )
    };
    let check = |raw: &str, expected| {
        let (sent, report) = tracked(raw.as_bytes());
        assert_eq!(report.untouched_because, Some(expected), "{raw}");
        assert_eq!(sent, raw.as_bytes());
    };
    check(
        &multipart("signed", "Content-Type: application/pgp-signature\r\n\r\nx"),
        Untouched::Signed,
    );
    check(
        &multipart("encrypted", "Content-Type: application/octet-stream\r\n\r\nx"),
        Untouched::Encrypted,
    );
    check(&multipart("mixed", "Content-Type: application/pkcs7-mime\r\n\r\nx"), Untouched::Smime);
    check(&multipart("mixed", "Content-Type: application/pgp-encrypted\r\n\r\nx"), Untouched::Pgp);
    check(&multipart("mixed", "\r\n-----BEGIN PGP MESSAGE-----"), Untouched::Pgp);
    check(&multipart("alternative", "Content-Type: text/calendar\r\n\r\nx"), Untouched::Calendar);
    check(
        &multipart("report", "Content-Type: message/delivery-status\r\n\r\nx"),
        Untouched::Report,
    );
    check(
        &format!("DKIM-Signature: v=1; d=other.example;\r\n b=x\r\n{html}"),
        Untouched::ForeignSignature,
    );
    check(&format!("ARC-Seal: i=1; d=other.example\r\n{html}"), Untouched::ForeignSignature);
    check(&format!("Content-Transfer-Encoding: x-uuencode\r\n{html}"), Untouched::Malformed);
    check("Content-Type: image/png\r\n\r\nx\r\n", Untouched::NoText);
    let open = multipart("mixed", "\r\nx").replace("--b--", "");
    check(&open, Untouched::Malformed);
}

#[test]
fn parts_that_are_not_the_message_do_not_change() {
    let html = "<body><a href=\"https://example.com/\">go</a></body>";
    let others = [
        format!("Content-Type: text/x-amp-html\r\n\r\n{html}"),
        format!("Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n{html}"),
        format!("Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n{html}"),
        format!("Content-Type: text/html; name=x.html\r\n\r\n{html}"),
    ];
    let body = others.map(|part| format!("--b\r\n{part}\r\n")).concat();
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}--b\r\n\r\ntext\r\n--b--\r\n"
    );
    let (sent, report) = tracked(raw.as_bytes());
    assert_eq!(sent, raw.as_bytes());
    assert_eq!(report, TouchReport::default());
}

#[test]
fn what_was_left_is_told_with_its_reason() {
    let html = "<a href=\"mailto:a@example.com\">m</a><a href=\"tel:1\">t</a><a href=\"sms:1\">s</a>\
        <a href=\"cid:x\">c</a><a href=\"#top\">f</a><a href=\"/x\">r</a><a href=\"https://a.example.net/private/1\">e</a>\
        <p><a href=\"https://example.com/u\">Unsubscribe</a></p><p>To unsubscribe click <a href=\"https://example.com/v\">here</a></p>\
        <p><a href=\"https://example.com/w\">https://example.com</a></p><p><a href=\"https://list.example.com/1\">here</a></p>\
        <p><a href=\"https://t.example.com/c/x\">o</a></p><p><a href=\"https://example.com/{{x}}\">p</a>\
        <p><a href=\"https://example.com/\">go</a><img src=\"https://t.example.com/o/opened\">";
    let raw = format!(
        "List-Unsubscribe: <https://list.example.com/1>\r\nContent-Type: text/html\r\n\r\n{html}"
    );
    let (_, report) = tracked(raw.as_bytes());
    let expected = [
        (SkipReason::Mailto, 1),
        (SkipReason::Tel, 1),
        (SkipReason::Sms, 1),
        (SkipReason::Cid, 1),
        (SkipReason::Fragment, 1),
        (SkipReason::Relative, 1),
        (SkipReason::Ours, 1),
        (SkipReason::Excluded, 1),
        (SkipReason::Unsubscribe, 3),
        (SkipReason::TextIsUrl, 1),
        (SkipReason::Placeholder, 1),
    ];
    assert_eq!(report.skipped, expected);
    assert_eq!((report.links, report.rewritten, report.pixel), (14, 1, false));
}

#[test]
fn links_in_plain_text_change_only_where_they_are_unmistakable() {
    let raw = "Subject: x\r\n\r\nSee https://example.com/a?b=c now,\r\nor <https://example.com/d.>.\r\n\
        Not https://example.com/e. And (https://example.com/f)\r\n\r\nUnsubscribe:\r\nhttps://example.com/g\r\n";
    let (sent, report) = tracked(raw.as_bytes());
    assert_eq!((report.links, report.rewritten, report.pixel), (5, 2, false));
    assert_eq!(skipped(&report, SkipReason::UnclearEnd), 2);
    assert_eq!(skipped(&report, SkipReason::Unsubscribe), 1);
    let ours = |number, url: &str| format!("{PUBLIC}/c/{number}-{}", URL_SAFE.encode(url));
    let expected = raw
        .replace("https://example.com/a?b=c", &ours(0, "https://example.com/a?b=c"))
        .replace("https://example.com/d.>", &format!("{}>", ours(1, "https://example.com/d.")));
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
}

#[test]
fn a_honeypot_is_put_in_once_and_only_when_asked_for() {
    let raw = wrapped("<body>text</body>")[0].clone();
    let (sent, _) = tracked_as(raw.as_bytes(), true);
    let text = String::from_utf8(sent.clone()).unwrap();
    assert_eq!(text.matches("/c/65535-").count(), 1);
    assert_eq!(tracked_as(&sent, true).0, sent);
    assert!(!String::from_utf8(tracked(raw.as_bytes()).0).unwrap().contains("/c/"));
}

#[test]
fn two_html_parts_share_one_pixel() {
    let part = "--b\r\nContent-Type: text/html\r\n\r\n<body>x</body>\r\n";
    let raw = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{part}{part}--b--\r\n");
    let report = check_message("two", raw.as_bytes());
    assert!(report.pixel);
    let (sent, _) = tracked(raw.as_bytes());
    assert_eq!(String::from_utf8(sent).unwrap().matches("/o/opened").count(), 1);
}
