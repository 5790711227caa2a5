//! A link gives back exactly the URL that it was made of, and nothing but what we made is answered: the public port and
//! the rewriter together, through every encoding on the way.

use proptest::prelude::*;
use waybill::model::Sequence;
use waybill::rewrite::{Token, TokenKeys, location};

use crate::support::tracked::{document_links, sent_links, wrapped};

fn keys() -> TokenKeys {
    TokenKeys::new((3, &[7; 32]), [(2, [8; 32])])
}

/// URLs as mails have them, in every part what is legal and much that is not.
fn url() -> impl Strategy<Value = String> {
    (
        "(https?|HTTP|Https)",
        "([a-z]{1,8}@)?[a-z0-9-]{1,12}[a-z0-9](\\.[a-z]{2,5}){1,2}(:[1-9][0-9]{0,3})?",
        "(/[A-Za-z0-9%._~!$&'()*+,;=:@|^` \u{e5}\u{20ac}\u{1f600}-]{0,40}){0,3}",
        "(\\?[A-Za-z0-9%._&=+;/?\u{f8}-]{0,300})?",
        "(#[A-Za-z0-9%._&=+;/?-]{0,20})?",
    )
        .prop_map(|(scheme, host, path, query, fragment)| {
            format!("{scheme}://{host}{path}{query}{fragment}")
        })
}

/// A value of an attribute that is this URL, with entities where they are needed and where they are not.
fn written(url: &str, all: bool) -> String {
    let entity = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if all && !c.is_ascii_alphanumeric() => format!("&#x{:x};", u32::from(c)),
        c => c.to_string(),
    };
    url.chars().map(entity).collect()
}

proptest! {
    #[test]
    fn a_link_is_carried_and_given_back_to_the_byte(url in url(), all: bool, encoding in 0_usize..3) {
        let url = url.trim_end().to_owned();
        let html = format!("<body><a href=\"{}\">go</a></body>", written(&url, all));
        let raw = &wrapped(&html)[encoding];
        let sent = sent_links(raw.as_bytes());
        // A link that is not followed is there as it was.
        let shown = document_links(&html);
        if sent != shown {
            prop_assert_eq!(&sent[..], std::slice::from_ref(&url));
            let token = keys().click_token(Sequence(1), 0, 0, url.as_bytes());
            let Some(Token::Click { url: carried, .. }) = keys().read(&token) else { panic!() };
            prop_assert_eq!(&carried, url.as_bytes());
            let given = location(&carried).expect("whom we track, we send on");
            if url.is_ascii() {
                prop_assert_eq!(given, url.replace(' ', "%20"));
            } else {
                prop_assert!(given.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(url::Url::parse(&given), url::Url::parse(&url));
            }
        }
    }

    #[test]
    fn forged_tokens_are_no_tokens(bytes in proptest::collection::vec(any::<u8>(), 28..200), cut in 0_usize..40, bit: u16) {
        use base64::Engine;
        let encoder = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        prop_assert_eq!(keys().read(&encoder.encode(&bytes)), None);
        // With the right head, of another archive, cut off, and with one bit changed.
        let mut headed = bytes.clone();
        headed[..2].copy_from_slice(&[0x12, 3]);
        prop_assert_eq!(keys().read(&encoder.encode(&headed)), None);
        let other = TokenKeys::new((3, &[9; 32]), []).click_token(Sequence(1), 0, 0, &bytes);
        prop_assert_eq!(keys().read(&other), None);
        let real = keys().click_token(Sequence(1), 0, 0, &bytes);
        prop_assert_eq!(keys().read(&real[..real.len().saturating_sub(1 + cut)]), None);
        let mut flipped = encoder.decode(&real).unwrap();
        let bit = usize::from(bit) % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(keys().read(&encoder.encode(flipped)), None);
    }
}
