//! Whatever HTML is made of, tracking it changes links and one pixel alone: random sequences of the pieces on which
//! parsers differ.
//!
//! `PROPTEST_CASES` makes it try more.

use proptest::prelude::*;

use crate::support::documents::document;
use crate::support::tracked::{base64_lines, check_message, parts, tracked, wrapped};

const LINK: &str = "<a href=\"https://example.com/?a=1&amp;b=2\">";

/// What parsers differ on, and links and ends of bodies between them.
const PIECES: [&str; 118] = [
    LINK,
    LINK,
    LINK,
    "</a>",
    "</a>",
    "</body>",
    "</body>",
    "</html>",
    "<body>",
    "<html>",
    "<head>",
    "</head>",
    "<p>",
    "</p>",
    "<b>",
    "</b>",
    "<b id=x>",
    "<i>",
    "</i>",
    "text ",
    "\r\n",
    " ",
    "<div>",
    "</div>",
    "<table>",
    "</table>",
    "<tr>",
    "<td>",
    "</td>",
    "</tr>",
    "<caption>",
    "<colgroup>",
    "<col>",
    "<select>",
    "</select>",
    "<select/>",
    "<option>",
    "<optgroup>",
    "<svg>",
    "</svg>",
    "<svg/>",
    "<math>",
    "</math>",
    "<math/>",
    "<mi>",
    "</mi>",
    "<annotation-xml encoding=text/html>",
    "</annotation-xml>",
    "<foreignObject>",
    "</foreignObject>",
    "<desc>",
    "</desc>",
    "<title>",
    "</title>",
    "<title/>",
    "<style>",
    "</style>",
    "<script>",
    "</script>",
    "<script/>",
    "<textarea>",
    "</textarea>",
    "<xmp>",
    "</xmp>",
    "<iframe>",
    "</iframe>",
    "<noscript>",
    "</noscript>",
    "<noembed>",
    "</noembed>",
    "<noframes>",
    "</noframes>",
    "<plaintext>",
    "<template>",
    "</template>",
    "<template/>",
    "<frameset>",
    "</frameset>",
    "<frame>",
    "<!--",
    "-->",
    "--!>",
    "<!-->",
    "<!--->",
    "<!",
    "<?xml ",
    ">",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE html>",
    "<![if !mso]>",
    "<![endif]>",
    "<!--[if mso]>",
    "<![endif]-->",
    "<a\thref\n=\nhttps://e.com/x>",
    "<A HREF='https://e.com/\"y' href=z>",
    "<a href=https://e.com/z/>",
    "<a title=\">\" href=\"https://e.com/q\" ",
    "<a href=\"",
    "\"",
    "'",
    "=",
    "/",
    "<",
    "</",
    "</ x>",
    "<area href=https://e.com/area>",
    "<font color=red>",
    "<font>",
    "<br>",
    "<img src=x>",
    "<form>",
    "<button>",
    "<base href=\"https://b.com/\">",
    "<p title='</body>'>",
    "</p title='</body>'>",
    "<image>",
    "<object><applet>",
];

/// That parsers agree on the pieces says little; that they agree on what comes of any order of them says more.
fn html() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 1..24)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn random_html_stays_what_it_is(html in html(), encoding in 0_usize..3) {
        let raw = &wrapped(&html)[encoding];
        let report = check_message(&html, raw.as_bytes());
        // What is told to be there is there.
        let (sent, _) = tracked(raw.as_bytes());
        let pixels: usize = parts(&sent).0.iter().map(|html| document(html).pixels).sum();
        prop_assert_eq!(pixels, usize::from(report.pixel), "{}", html);
    }
}

/// Texts whose bytes, in one charset or another, look like markup.
const FOREIGN: [&str; 8] = [
    "bl\u{e5}b\u{e6}r",
    "\u{8868}\u{793a}",
    "\u{30bd}\u{30fc}\u{30b9}",
    "\u{91c8}\u{662d}",
    "\u{9000}\u{8ba2}",
    "\u{43f}\u{438}\u{441}\u{44c}\u{43c}\u{43e}",
    "\u{d55c}\u{ae00}",
    "<meta charset=iso-2022-jp>",
];

/// The charset of the bytes, and what the header says of it.
const CHARSETS: [(&str, &str); 16] = [
    ("utf-8", "; charset=utf-8"),
    ("utf-8", ""),
    ("utf-8", "; charset=iso-8859-1"),
    ("windows-1252", "; charset=iso-8859-1"),
    ("windows-1252", "; charset=utf-8"),
    ("windows-1252", ""),
    ("shift_jis", "; charset=Shift_JIS"),
    ("shift_jis", ""),
    ("iso-2022-jp", "; charset=iso-2022-jp"),
    ("iso-2022-jp", "; charset=utf-8"),
    ("iso-2022-jp", ""),
    ("gb18030", "; charset=gb2312"),
    ("big5", "; charset=big5"),
    ("euc-kr", "; charset=ks_c_5601-1987"),
    ("koi8-r", "; charset=koi8-r"),
    ("utf-16le", "; charset=utf-16le"),
];

fn encoded(html: &str, label: &str) -> Vec<u8> {
    match label {
        "utf-16le" => html.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        label => {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            encoding.encode(html).0.into_owned()
        }
    }
}

proptest! {
    #[test]
    fn random_html_stays_what_it_is_in_every_charset(
        pieces in prop::collection::vec((html(), prop::sample::select(&FOREIGN[..])), 1..4),
        charset in prop::sample::select(&CHARSETS[..]),
        is_base64: bool,
    ) {
        let html: String = pieces.into_iter().map(|(html, text)| html + text).collect();
        let bytes = encoded(&html, charset.0);
        let (encoding, body) = match is_base64 || charset.0 == "utf-16le" {
            true => ("base64", base64_lines(&bytes).into_bytes()),
            false => ("8bit", bytes),
        };
        let head = format!(
            "MIME-Version: 1.0\r\nContent-Type: text/html{}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n",
            charset.1
        );
        check_message(&html, &[head.as_bytes(), &body].concat());
    }
}
