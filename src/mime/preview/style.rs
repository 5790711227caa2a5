//! Inline styles: which declarations stay.
//!
//! An allow-list of properties and of functions. Whatever could fetch (`url()`, `image-set()`,
//! `@import`), run (`expression()`, `behavior`, `-moz-binding`), or lay itself over the page
//! (`position`) is not on it, and neither is anything with an escape or a comment, with which the
//! same is written in a thousand other ways. The parser below is crude on purpose: what it does not
//! understand is dropped.

/// Properties that mail uses for its looks, by name or by the first word of a family.
const PROPERTIES: [&str; 38] = [
    "background",
    "background-color",
    "border-collapse",
    "border-radius",
    "border-spacing",
    "box-sizing",
    "caption-side",
    "clear",
    "color",
    "direction",
    "display",
    "empty-cells",
    "float",
    "font",
    "height",
    "hyphens",
    "letter-spacing",
    "line-height",
    "list-style",
    "list-style-type",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "opacity",
    "overflow",
    "overflow-wrap",
    "table-layout",
    "tab-size",
    "unicode-bidi",
    "vertical-align",
    "visibility",
    "white-space",
    "width",
    "word-break",
    "word-spacing",
    "word-wrap",
    "writing-mode",
];
const FAMILIES: [&str; 5] = ["border-", "font-", "margin", "padding", "text-"];
/// Functions that compute a colour or a length.
const FUNCTIONS: [&str; 10] =
    ["rgb", "rgba", "hsl", "hsla", "hwb", "lab", "lch", "calc", "min", "max"];
/// Longest style attribute that is looked at.
const MAX_STYLE_BYTES: usize = 8 * 1024;

/// The declarations of a style attribute that stay; `None` when there is none.
pub(super) fn filter(style: &str) -> Option<String> {
    if style.len() > MAX_STYLE_BYTES {
        return None;
    }
    let kept: Vec<String> = declarations(style).filter_map(declaration).collect();
    (!kept.is_empty()).then(|| kept.join(";"))
}

/// Splits at semicolons outside of quotes. A quote that never ends swallows the rest, as in CSS.
fn declarations(style: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    style.split(move |c| match (quote, c) {
        (None, ';') => true,
        (None, '"' | '\'') => {
            quote = Some(c);
            false
        }
        (Some(open), c) if open == c => {
            quote = None;
            false
        }
        (None | Some(_), _) => false,
    })
}

fn declaration(text: &str) -> Option<String> {
    let (property, value) = text.split_once(':')?;
    let property = property.trim().to_ascii_lowercase();
    let value = value.trim();
    let known = PROPERTIES.contains(&property.as_str())
        || (FAMILIES.iter().any(|family| property.starts_with(family))
            && property.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    (known && is_harmless(value)).then(|| format!("{property}:{value}"))
}

fn is_harmless(value: &str) -> bool {
    let ok = |c: char| c.is_alphanumeric() || " \t,.#%+-*/()!'\"_".contains(c);
    if value.is_empty() || !value.chars().all(ok) || value.contains("/*") || value.contains("//") {
        return false;
    }
    let balanced = |quote| value.matches(quote).count() % 2 == 0;
    balanced('"') && balanced('\'') && functions(value).all(|f| f.is_empty() || is_function(f))
}

/// The word before each opening bracket, also when white space stands between.
fn functions(value: &str) -> impl Iterator<Item = &str> {
    value.match_indices('(').map(|(at, _)| {
        let before = value[..at].trim_end();
        let start = before.rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'));
        let start = start.map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        // A lone `-` is the minus of a calculation.
        before[start..].trim_matches('-')
    })
}

fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fetch_run_or_cover_is_dropped() {
        for style in [
            "",
            ";",
            "color",
            "color:",
            ":red",
            "x:y",
            "background:url(https://evil.example/a.png)",
            "background: URL ( 'x' )",
            "background:u\\72l(x)",
            "background:url/**/(x)",
            "background-image:url(x)",
            "background:image-set('x' 1x)",
            "background:-webkit-image-set('x' 1x)",
            "background:image(x)",
            "background:cross-fade(url(x),url(y))",
            "background:element(#x)",
            "background:paint(x)",
            "list-style:url(x)",
            "width:expression(alert(1))",
            "width:ex/**/pression(alert(1))",
            "width:\\65xpression(alert(1))",
            "behavior:url(x)",
            "-moz-binding:url(x)",
            "position:fixed",
            "z-index:9",
            "content:'x'",
            "@import 'x'",
            "color:@import",
            "color:red}body{background:url(x)",
            "color:var(--x)",
            "--x:url(y)",
            "color:env(x)",
            "width:attr(x)",
            "filter:progid:DXImageTransform.Microsoft.AlphaImageLoader(src='x')",
            "font-family:'x",
            "font-family:\"a\"\"",
            "color:<!--",
            "color:javascript:alert(1)",
            "cursor:url(x),auto",
            "src:url(x)",
        ] {
            assert_eq!(filter(style), None, "{style:?}");
        }
        assert_eq!(filter(&format!("color:{}", "a".repeat(9000))), None);
    }

    #[test]
    fn layout_stays() {
        let check =
            |style: &str, expected: &str| assert_eq!(filter(style).as_deref(), Some(expected));
        check("color:red", "color:red");
        check(
            " COLOR : #Fff !important; ; position:fixed;margin:0 auto",
            "color:#Fff !important;margin:0 auto",
        );
        check("background:rgba(0, 0, 0, .5)", "background:rgba(0, 0, 0, .5)");
        check(
            "font-family:'Segoe UI', \"Arial\", sans-serif",
            "font-family:'Segoe UI', \"Arial\", sans-serif",
        );
        check("width:calc(100% - (2 * 10px))", "width:calc(100% - (2 * 10px))");
        check("font:12px/1.5 Arial;background:url(x)", "font:12px/1.5 Arial");
        check("font-family:'a;b';color:red", "color:red");
    }
}
