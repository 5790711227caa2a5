//! Where the public port is, as links and pixels name it.

/// Longest public URL: with a token behind it, it has to fit into a line.
const MAX_BYTES: usize = 200;

/// `https://t.example.com`, with or without a path, never with a slash at its end. It needs no escaping in HTML, in
/// plain text or in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Reads it; `None` unless it is an absolute web URL of unreserved characters.
    pub fn parse(text: &str) -> Option<PublicUrl> {
        let url = text.trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b);
        let has_host = !rest.is_empty() && !rest.starts_with(['/', ':']);
        (has_host && url.len() <= MAX_BYTES && rest.bytes().all(ok))
            .then(|| PublicUrl(url.to_owned()))
    }

    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of a click with this token.
    pub(super) fn click(&self, token: &str) -> String {
        format!("{}/c/{token}", self.0)
    }

    /// The URL of the pixel with this token.
    pub(super) fn open(&self, token: &str) -> String {
        format!("{}/o/{token}", self.0)
    }

    /// Whether a URL leads to the public port.
    pub(super) fn is_ours(&self, url: &str) -> bool {
        let rest = url.get(..self.0.len()).filter(|start| start.eq_ignore_ascii_case(&self.0));
        rest.is_some()
            && matches!(url.as_bytes().get(self.0.len()), None | Some(b'/' | b'?' | b'#'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_need_escaping_is_refused() {
        for bad in [
            "",
            "t.example.com",
            "ftp://a",
            "https://",
            "https:///x",
            "https://a\"b",
            "https://a/?b",
            "https://a b",
            "https://\u{e5}",
        ] {
            assert_eq!(PublicUrl::parse(bad), None, "{bad}");
        }
        let url = PublicUrl::parse("https://t.example.com/mail//").unwrap();
        assert_eq!(url.click("x"), "https://t.example.com/mail/c/x");
        assert!(
            url.is_ours("https://T.example.com/mail/c/x")
                && url.is_ours("https://t.example.com/mail")
        );
        assert!(
            !url.is_ours("https://t.example.com/mailing") && !url.is_ours("https://t.example.com/")
        );
    }
}
