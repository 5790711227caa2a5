//! Whatever HTML is made of, tracking it changes links and one pixel alone: random sequences of the pieces on which
//! parsers differ.
//!
//! `PROPTEST_CASES` makes it try more.

use proptest::prelude::*;

use crate::support::documents::document;
use crate::support::tracked::{check_message, parts, tracked, wrapped};

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
