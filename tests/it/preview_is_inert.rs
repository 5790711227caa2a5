//! A preview does nothing and fetches nothing, whatever the message holds.
//!
//! The output is read again by a real HTML tokenizer: every element and attribute in it must be on
//! the list here, and every value must be harmless. The tokenizer also runs where a browser would
//! not, so nothing can hide.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use waybill::mime;

/// HTML of an attacker; `X` stands for a server of his.
const ATTACKS: &[&str] = &[
    // Scripts.
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//X/a.js></SCRIPT>",
    "<script/xss src=//X></script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<<script>alert(1)//<</script>",
    "<script>alert(1)",
    "<noscript><p title=\"</noscript><img src=//X onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    // Event handlers.
    "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>",
    "<img src='x' ONERROR = 'alert(1)'>",
    "<body onload=alert(1)>a",
    "<div onmouseover=alert(1) onclick='x'>a</div>",
    "<details open ontoggle=alert(1)>a",
    "<p style=\"animation:x\" onanimationstart=alert(1)>a",
    "<a href=# onfocus=alert(1) autofocus tabindex=1>a</a>",
    "<marquee onstart=alert(1)>a</marquee>",
    "<table background=x onload=alert(1)><td onclick=x>a</table>",
    // javascript: in its spellings.
    "<a href=javascript:alert(1)>a</a>",
    "<a href=' javascript:alert(1)'>a</a>",
    "<a href='JaVaScRiPt:alert(1)'>a</a>",
    "<a href='java\tscript:alert(1)'>a</a>",
    "<a href='java\nscript:alert(1)'>a</a>",
    "<a href='java&#10;script:alert(1)'>a</a>",
    "<a href='&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;:alert(1)'>a</a>",
    "<a href='&#x6a;avascript:alert(1)'>a</a>",
    "<a href='javascript&colon;alert(1)'>a</a>",
    "<a href='\u{1}javascript:alert(1)'>a</a>",
    "<a href='javascript:alert(1)'>a</a>\0<a href='java\0script:x'>b</a>",
    "<a href='vbscript:msgbox(1)'>a</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>a</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>a</a>",
    "<img src='javascript:alert(1)'>",
    "<img src='data:text/html,<script>'>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<img src='data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+'>",
    "<img src='data:image/png;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+'>",
    "<img src='blob:https://X/a'>",
    "<a href='file:///etc/passwd'>a</a>",
    "<a href='//X/a'>a</a>",
    "<a href='/admin?delete=1'>a</a>",
    "<a href='waybill-remote:javascript:alert(1)'>a</a>",
    "<img src='waybill-remote:x'>",
    // Foreign content and mutation.
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>a</text></a></svg>",
    "<svg><animate attributeName=href values=javascript:alert(1) /></svg>",
    "<svg><use href='//X/a.svg#b'/></svg>",
    "<svg><image href='//X/a.png'/></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=x onerror=alert(1)&gt;\">",
    "<math href='javascript:alert(1)'>a</math>",
    "<math><maction actiontype='statusline#http://X' xlink:href='javascript:alert(1)'>a",
    "<form><math><mtext></form><form><mglyph><svg><mtext><style><path id=\"</style><img onerror=alert(1) src>\">",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<noembed><img src=\"</noembed><iframe onload=alert(1)>\"></noembed>",
    "<xmp><img title=\"</xmp><img src=x onerror=alert(1)>\"></xmp>",
    "<textarea><img title=\"</textarea><img src=x onerror=alert(1)>\"></textarea>",
    "<title><img title=\"</title><img src=x onerror=alert(1)>\"></title>",
    "<select><iframe></select><img src=x onerror=alert(1)>",
    "<plaintext><img src=x onerror=alert(1)>",
    // Styles.
    "<style>body{background:url(//X/a)}</style>",
    "<style>@import '//X/a.css';</style>",
    "<style>@font-face{font-family:x;src:url(//X/a.woff)}</style>",
    "<link rel=stylesheet href=//X/a.css>",
    "<link rel=preload href=//X/a as=font><link rel=dns-prefetch href=//X>",
    "<p style='background:url(//X/a)'>a",
    "<p style='background:u\\72l(//X/a)'>a",
    "<p style='background-image:image-set(\"//X/a\" 1x)'>a",
    "<p style='width:expression(alert(1))'>a",
    "<p style='behavior:url(//X/a.htc)'>a",
    "<p style='-moz-binding:url(//X/a.xml#x)'>a",
    "<p style='position:fixed;top:0;left:0;width:100%;height:100%'>a",
    "<p style='color:red;list-style:url(//X/a)'>a",
    "<p style='font-family:x;}@import \"//X/a\";p{'>a",
    "<div style=\"background:url('javascript:alert(1)')\">a</div>",
    "<p style='content:url(//X/a)'>a",
    // Documents, frames, forms, plug-ins.
    "<meta http-equiv=refresh content='0;url=//X'>",
    "<meta http-equiv=Set-Cookie content=a=b>",
    "<meta http-equiv=Content-Security-Policy content=''>",
    "<base href=//X/><a href=a>a</a><img src=a>",
    "<iframe src=//X></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<frameset><frame src=//X></frameset>",
    "<object data=//X/a.swf></object>",
    "<object type=text/html data='data:text/html,<script>alert(1)</script>'></object>",
    "<embed src=//X/a.swf>",
    "<applet code=x archive=//X/a.jar></applet>",
    "<form action=//X><input name=password><button formaction=//X>a</button></form>",
    "<input type=image src=//X/a.png>",
    "<isindex type=image src=//X action=javascript:alert(1)>",
    "<portal src=//X></portal><fencedframe></fencedframe>",
    "<dialog open><form method=dialog><button>a</form></dialog>",
    // Remote content.
    "<img src=https://X/a.png>",
    "<img src='http://X/a.png' srcset='//X/b.png 2x' lowsrc=//X/c dynsrc=//X/d longdesc=//X/e>",
    "<picture><source srcset=//X/a.webp><img src=//X/a.png></picture>",
    "<video src=//X/a poster=//X/b><source src=//X/c><track src=//X/d></video>",
    "<audio src=//X/a></audio>",
    "<body background=//X/a.png>a",
    "<table background=//X/a><tr background=//X/b><td background=//X/c>a</table>",
    "<img src=\"https://X/a.png\" alt='\" onerror=alert(1) x=\"'>",
    "<img src='https://X/a\" onerror=\"alert(1)'>",
    "<a ping=//X href=https://X>a</a>",
    "<img usemap=#m src=cid:x><map name=m><area href='javascript:alert(1)'></map>",
    "<blockquote cite=//X>a</blockquote><q cite=//X>a</q><ins cite=//X>a</ins>",
    "<v:rect><v:fill src='//X/a' /></v:rect><v:imagedata src=//X/a>",
    "<img src=cid:nothing>",
    // Comments and broken mark-up.
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<!--[if !mso]><!--><script>alert(1)</script><!--<![endif]-->",
    "<![if !IE]><iframe src=//X></iframe><![endif]>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<img src=\"x` `<script>alert(1)</script>\"` `>",
    "<a href='https://X/\"onmouseover=alert(1)//'>a</a>",
    "<div title=\"</title></body><script>alert(1)</script>\">a",
    "</body></html><script>alert(1)</script>",
    "</div></body><iframe src=//X>",
    "<p <script>alert(1)</script>",
    "<img src=x onerror=alert(1)//",
    "<?xml-stylesheet href='//X/a.css'?><?php echo 1 ?>",
    "<!DOCTYPE html PUBLIC '-//X' '//X/a.dtd' [<!ENTITY x SYSTEM '//X'>]>a",
    "\u{feff}<\0script>alert(1)</script>",
    "<a\u{b}href=javascript:alert(1)>a</a>",
    "src=\"waybill-remote:javascript:alert(1)\"",
];

const TAGS: &str = " a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code \
    col colgroup dd del dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins \
    kbd li main mark nav ol p pre q s samp section small span strike strong sub sup table tbody td tfoot th \
    thead time tr tt u ul var wbr html head body meta title ";
const ATTRIBUTES: &str = " align bgcolor border color dir height lang role style title valign width href src alt \
    hspace vspace cellpadding cellspacing summary colspan rowspan nowrap scope span face size noshade \
    start type reversed value rel target data-remote-src charset name content http-equiv ";

/// Looks at each tag of a document.
#[derive(Default)]
struct Inspector(RefCell<Vec<String>>);

impl TokenSink for Inspector {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                self.0.borrow_mut().extend(faults(&tag));
            }
            Token::CommentToken(text) => self.0.borrow_mut().push(format!("comment {text}")),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn faults(tag: &Tag) -> Vec<String> {
    let mut faults = Vec::new();
    let known = |list: &str, word: &str| list.contains(&format!(" {word} "));
    if !known(TAGS, &tag.name) {
        faults.push(format!("<{}>", tag.name));
    }
    for attribute in &tag.attrs {
        let (name, value) = (&*attribute.name.local, attribute.value.to_ascii_lowercase());
        let harmless = match name {
            "href" => ["http://", "https://", "mailto:", "tel:", "sms:"]
                .iter()
                .any(|s| value.starts_with(s)),
            "src" => ["png", "jpeg", "gif", "webp"]
                .iter()
                .any(|kind| value.starts_with(&format!("data:image/{kind};base64,"))),
            "style" => !["(", "@", "\\", "/*", "position", "url", "expression"]
                .iter()
                .any(|bad| value.replace("rgb(", "").contains(bad)),
            "name" | "content" | "http-equiv" => &*tag.name == "meta",
            _ => known(ATTRIBUTES, name),
        };
        if !harmless {
            faults.push(format!("<{} {name}={value:?}>", tag.name));
        }
    }
    faults
}

/// The document, after it has been found harmless.
fn inspected(document: &str) -> String {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(document));
    let tokenizer = Tokenizer::new(Inspector::default(), TokenizerOpts::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let faults = tokenizer.sink.0.take();
    assert!(faults.is_empty(), "{faults:?} in {document}");
    assert_eq!(document.matches("<meta").count(), 3, "{document}");
    document.to_owned()
}

fn mail(html: &str) -> String {
    format!(
        "From: a@b.example\r\nSubject: <script>&amp;\"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}"
    )
}

fn preview(html: &str) -> String {
    inspected(&mime::preview_html(mail(html).as_bytes()))
}

/// What stands between `<body>` and `</body>`.
fn body(document: &str) -> &str {
    let start = document.find("<body>\n").unwrap() + 7;
    &document[start..document.rfind("\n</body>").unwrap()]
}

#[test]
fn no_attack_leaves_anything_active_or_remote() {
    assert!(ATTACKS.len() >= 100);
    for attack in ATTACKS {
        let attack = attack.replace('X', "evil.example");
        preview(&attack);
        // The same within a table, an attribute that is never closed, and after broken mark-up.
        for frame in [
            "<table><tr><td>X</td></tr></table>",
            "<b><i>X",
            "<p title='X",
            "</p><!-- X",
            "<div>X</span>",
        ] {
            preview(&frame.replace('X', &attack));
        }
    }
}

#[test]
fn attacks_in_plain_text_and_in_the_subject_are_text() {
    for attack in ATTACKS {
        let raw = format!(
            "From: a@b.example\r\nSubject: {}\r\n\r\n{attack}\r\n",
            attack.replace(['\n', '\0'], " ")
        );
        let document = inspected(&mime::preview_html(raw.as_bytes()));
        let tags = body(&document).matches('<').count();
        assert_eq!(tags, 2, "{document}");
    }
}

#[test]
fn layout_stays() {
    let kept = [
        "<p>a</p>",
        "<table border=\"1\" cellpadding=\"0\" width=\"600\" bgcolor=\"#ffffff\"><tbody><tr><td colspan=\"2\" align=\"center\">a</td></tr></tbody></table>",
        "<p style=\"color:#333;font-family:Arial, sans-serif;margin:0 auto\">a</p>",
        "<font color=\"red\" face=\"Arial\" size=\"2\">a</font>",
        "<h1>a</h1><ul><li>b</li></ul><hr><br><b>c</b>",
    ];
    for html in kept {
        assert_eq!(body(&preview(html)), html);
    }
    let link = preview("<a href=\"https://example.com/?a=1&amp;b=2\">a</a>");
    assert_eq!(
        body(&link),
        "<a href=\"https://example.com/?a=1&amp;b=2\" target=\"_blank\" rel=\"noopener noreferrer\">a</a>"
    );
    let remote = preview("<img src=\"https://example.com/a.png\" alt=\"Logo\" width=\"10\">");
    assert!(
        remote.contains("data-remote-src=\"https://example.com/a.png\"")
            && remote.contains("alt=\"Logo\"")
    );
}

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn with_picture(html: &str, picture: &str) -> String {
    format!(
        "From: a@b.example\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/html\r\n\r\n{html}\r\n--b\r\nContent-Type: image/png\r\n\
         Content-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n{picture}\r\n--b--\r\n"
    )
}

#[test]
fn pictures_of_the_message_are_inside_it() {
    let shown = |html: &str, picture: &str| {
        inspected(&mime::preview_html(with_picture(html, picture).as_bytes()))
    };
    let url = format!("src=\"data:image/png;base64,{PNG}\"");
    assert!(shown("<img src=\"cid:logo@x\">", PNG).contains(&url));
    assert!(shown("<img src=\"CID:logo%40x\">", PNG).contains(&url));
    assert!(!shown("<img src=\"cid:other@x\">", PNG).contains("src="));
    // It says that it is a picture, and is a program.
    let svg = "PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIj48L3N2Zz4=";
    assert!(!shown("<img src=\"cid:logo@x\">", svg).contains("src="));
    assert!(preview(&format!("<img src=\"data:image/x;base64,{PNG}\">")).contains(&url));
}

#[test]
fn a_picture_shown_a_thousand_times_stays_bounded() {
    let big = format!("{}{}", &PNG[..44], "A".repeat(1 << 20));
    let html = "<img src=\"cid:logo@x\">".repeat(1000);
    let document = mime::preview_html(with_picture(&html, &big).as_bytes());
    assert!(document.len() < 32 << 20, "{}", document.len());
}

#[test]
fn what_is_too_expensive_is_shown_as_text() {
    let deep = format!("{}hello", "<div>".repeat(50_000));
    let open: String = (0..50_000).map(|i| format!("<p><b id={i}></p>hello")).collect();
    let attributes: String = (0..200_000).map(|i| format!("a{i} ")).collect();
    for html in [deep, open, format!("hello<a {attributes}>"), "<!-- hello".repeat(100_000)] {
        let start = Instant::now();
        preview(&html);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
    assert!(preview(&"<div>".repeat(1000)).contains("too complex"));
    assert!(!preview(&"<div>".repeat(400)).contains("too complex"));
}

#[test]
fn every_kind_of_message_has_a_document() {
    for raw in [
        "",
        "\r\n",
        "\r\n\r\n",
        "From: a",
        "Content-Type: image/png\r\n\r\nx",
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n",
    ] {
        let document = inspected(&mime::preview_html(raw.as_bytes()));
        assert!(
            document.starts_with("<!DOCTYPE html>") && document.ends_with("</html>\n"),
            "{raw:?}"
        );
    }
}

/// Messages of our own and the documents that they give. `UPDATE_GOLDEN=1` writes the documents anew;
/// whoever does so reads the difference.
#[test]
fn documents_are_as_they_were_agreed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/preview");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "eml") {
            continue;
        }
        seen += 1;
        let document = inspected(&mime::preview_html(&std::fs::read(&path).unwrap()));
        let golden = path.with_extension("html");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &document).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            document == expected,
            "{} differs; UPDATE_GOLDEN=1 writes it anew",
            golden.display()
        );
    }
    assert!(seen >= 4);
}
