//! Pixels and links of tracked mail: answered from the token alone, and never anywhere else.

use super::support::gateway::{Gateway, app, tokens};
use waybill::model::Sequence;

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("erp", None)]).await
}

/// The whole answer to one request.
async fn answer(gateway: &Gateway, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: t.test\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&gateway.bytes(&request).await).into_owned()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_404_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let open = tokens().open_token(Sequence(1), 0);
    let click = tokens().click_token(Sequence(1), 0, 0, b"https://example.com/");
    let hostile = |url: &[u8]| format!("/c/{}", tokens().click_token(Sequence(1), 0, 0, url));
    let mut paths = vec![
        "/o/".into(),
        "/c/".into(),
        "/o/x".into(),
        "/o/%ff".into(),
        "/c/%ff%fe".into(),
        // A pixel is no link, and a link no pixel.
        format!("/c/{open}"),
        format!("/o/{click}"),
        format!("/o/{open}="),
        format!("/o/{}", &open[1..]),
        format!("/c/{click}A"),
        format!("/c/https://evil.example/"),
        format!("/c/{}", "A".repeat(12_000)),
    ];
    // Nobody is sent there even under our own MAC.
    let urls: [&[u8]; 4] =
        [b"javascript:alert(1)", b"https://a.example/\r\nX: y", b"//evil.example", b""];
    paths.extend(urls.map(hostile));
    for path in paths {
        let answer = answer(&gateway, "GET", &path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert_eq!(header(&answer, "location"), None, "{path}");
        assert_eq!(header(&answer, "content-length"), Some("0"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = answer(&gateway, method, &format!("/c/{click}")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{method}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pixel_is_43_bytes_that_nobody_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let path = format!("/o/{}", tokens().open_token(Sequence(1), 0));
    let request = format!("GET {path} HTTP/1.1\r\nHost: t.test\r\nConnection: close\r\n\r\n");
    let bytes = gateway.bytes(&request).await;
    let body = bytes.split_at(bytes.len() - 43).1;
    assert!(body.starts_with(b"GIF89a") && body.ends_with(b"\x3b"), "{body:?}");
    let answer = answer(&gateway, "GET", &path).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (name, value) in [
        ("content-type", "image/gif"),
        ("content-length", "43"),
        ("cache-control", "no-store, no-cache, private, max-age=0"),
        ("pragma", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(header(&answer, name), Some(value), "{answer}");
    }
    for name in ["set-cookie", "etag", "last-modified", "server"] {
        assert_eq!(header(&answer, name), None, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_gives_back_its_url_also_when_the_archive_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let long = format!("https://example.com/?{}", "sig=%2B%3d&amp;x=1&".repeat(220));
    for url in ["https://example.com/a?b=%20&c=d#e", "http://EXAMPLE.com", &long] {
        // Of a message that the archive does not have.
        let token = tokens().click_token(Sequence(4_711), 3, 1, url.as_bytes());
        for method in ["GET", "HEAD"] {
            let answer = answer(&gateway, method, &format!("/c/{token}")).await;
            assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
            assert_eq!(header(&answer, "location"), Some(url));
            assert_eq!(header(&answer, "referrer-policy"), Some("no-referrer"));
            assert_eq!(header(&answer, "cache-control"), Some("no-store"));
            assert_eq!(header(&answer, "set-cookie"), None);
        }
    }
}
