//! References: business codes such as `INV-12345`, found in what a message says.
//!
//! Looks at subject, text and attachment names with the app's own patterns and with built-in ones. A
//! reference is kept as it was written and compared in its canonical form, so `INV 12345` and
//! `inv-12345` are one; the first spelling wins. Words with a filler lose it: `Invoice no. 4711` is
//! kept as `Invoice 4711`.
//!
//! The built-in patterns would rather miss a code than take a word for one: amounts, years and
//! times are no references. What a company calls its papers beyond that is the app's setting.
//! The `regex` crate matches in linear time, so neither a message nor a pattern can stall it.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::model::Reference;

/// References of one message, at most.
pub const MAX_REFERENCES: usize = 32;
/// How much of each text is searched.
const MAX_SEARCHED_BYTES: usize = 256 * 1024;
/// Matches that are looked at in one text and by one pattern, good ones or not.
const MAX_MATCHES: usize = 1000;

/// How far a word or a filler may stand before its number, in bytes.
const MAX_GAP_BYTES: usize = 24;
/// How much behind the first digit belongs to a code at most.
const MAX_NUMBER_BYTES: usize = 96;

/// What stands before the number in the shapes below: first the words, then the last word of two, then
/// fillers. A test holds the shapes against it.
const WORDS: [&str; 28] = [
    "inv",
    "invoice",
    "est",
    "estimate",
    "quo",
    "quote",
    "quotation",
    "so",
    "po",
    "ord",
    "order",
    "cn",
    "rma",
    "wo",
    "case",
    "ticket",
    "ref",
    "reference",
    "faktura",
    "ordre",
    "rechnung",
    "bestellung",
    "facture",
    "factura",
    "note",
    "no",
    "nr",
    "number",
];

/// A shape in which business codes are written.
struct Shape {
    pattern: &'static str,
    /// `2024` in its place is a year and no code.
    doubts_years: bool,
}

/// The built-in shapes. Where there are groups, they are the word and the number.
const SHAPES: [Shape; 7] = [
    // The number is set off: `INV-12345`, `so_10023`, `RMA#991`, `EST-2024-00017`.
    Shape {
        pattern: r"(?i)\b(?:INV|INVOICE|EST|ESTIMATE|QUO|QUOTE|SO|PO|ORD|ORDER|CN|RMA|WO|CASE|TICKET|REF)(?:[-_#]|-#)\d{2,20}(?:-\d{1,12}){0,3}\b",
        doubts_years: false,
    },
    // `INV/2024/0012`
    Shape {
        pattern: r"(?i)\b(?:INV|INVOICE|EST|QUO|SO|PO|ORD|CN|RMA|WO)/\d{2,4}(?:/\d{1,12}){1,2}\b",
        doubts_years: false,
    },
    // The number follows directly: `INV12345`, `PO4500012345`.
    Shape {
        pattern: r"(?i)\b(?:INV|EST|QUO|SO|PO|ORD|CN|RMA|WO|CASE|TICKET|REF)\d{4,20}(?:-\d{1,12}){0,3}\b",
        doubts_years: true,
    },
    // Capitals and a space: `INV 12345`, `PO #881`.
    Shape {
        pattern: r"\b(?:INV|EST|QUO|SO|PO|ORD|CN|RMA|WO)[ \u{a0}]#?\d{3,20}(?:-\d{1,12}){0,3}\b",
        doubts_years: true,
    },
    // A word, and a sign or a filler that a number follows: `Order #10023`, `Invoice no. 471`.
    Shape {
        pattern: r"(?i)\b(invoice|estimate|quote|quotation|order|ticket|case|credit note|reference|ref|faktura|ordre|rechnung|bestellung|facture|factura)[.:]?[ \u{a0}]{0,2}(?:(?:(?:no|nr|number)\b[.:]?[ \u{a0}]{0,2})?#[ \u{a0}]?|(?:no|nr|number)\b[.:]{0,2}[ \u{a0}]{0,2})(\d{2,20}(?:-\d{1,12}){0,3})\b",
        doubts_years: false,
    },
    // A word that hardly counts anything: `Invoice 4711`, `Ticket: 48213`.
    Shape {
        pattern: r"(?i)\b(invoice|ticket|credit note|faktura|rechnung|facture|factura):?[ \u{a0}]{1,2}(\d{4,20}(?:-\d{1,12}){0,3})\b",
        doubts_years: true,
    },
    // A word that may also count: `order 5000 pieces` is no order, `order 100234` is.
    Shape {
        pattern: r"(?i)\b(order|estimate|quote|quotation|case|reference|ref|ordre|bestellung):?[ \u{a0}]{1,2}(\d{5,20}(?:-\d{1,12}){0,3})\b",
        doubts_years: true,
    },
];

static BUILT_IN: LazyLock<Vec<(Regex, bool)>> = LazyLock::new(|| {
    // The patterns are constants, and a test builds them.
    let built = SHAPES.iter().map(|shape| (Regex::new(shape.pattern), shape.doubts_years));
    built.filter_map(|(pattern, doubts)| Some((pattern.ok()?, doubts))).collect()
});

/// The references in `texts`, distinct by their canonical form, in the order in which they appear, at
/// most 32.
pub fn find(app_patterns: &[Regex], texts: &[&str]) -> Vec<Reference> {
    let mut references = Vec::new();
    for text in texts {
        let text = &text[..text.floor_char_boundary(MAX_SEARCHED_BYTES)];
        for (_, reference) in in_text(app_patterns, text) {
            if add(&mut references, reference).is_err() {
                return references;
            }
        }
    }
    references
}

/// There is no room for another reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Adds a reference unless it is there in another spelling.
pub(super) fn add(references: &mut Vec<Reference>, reference: Reference) -> Result<(), Full> {
    let canonical = reference.canonical();
    if references.iter().any(|r| r.canonical() == canonical) {
        return Ok(());
    }
    if references.len() >= MAX_REFERENCES {
        return Err(Full);
    }
    references.push(reference);
    Ok(())
}

/// All matches with their places, in order of appearance. What an app calls a code is one, so a
/// built-in match that overlaps it is dropped.
fn in_text(app_patterns: &[Regex], text: &str) -> Vec<(Range<usize>, Reference)> {
    let mut found: Vec<(Range<usize>, Reference)> = Vec::new();
    for pattern in app_patterns {
        for hit in pattern.find_iter(text).take(MAX_MATCHES) {
            let reference = Reference::parse(hit.as_str());
            if let Some(reference) = reference.filter(|r| !r.canonical().is_empty()) {
                found.push((hit.range(), reference));
            }
        }
    }
    let own = found.len();
    for number in numbers(text).filter(|at| follows_a_word(text, *at)).take(MAX_MATCHES) {
        let Some((place, reference)) = built_in(text, number) else { continue };
        let taken = found[..own].iter().any(|(p, _)| p.start < place.end && place.start < p.end);
        if !taken {
            found.push((place, reference));
        }
    }
    found.sort_by_key(|(place, _)| (place.start, place.end));
    found
}

/// Where runs of digits begin. All built-in shapes need one behind a word, so the patterns run over
/// the few places where both stand instead of over the whole text, which would take ten times longer
/// than reading the message.
fn numbers(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    let first = move |at: &usize| *at == 0 || !bytes[*at - 1].is_ascii_digit();
    let digits = bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    digits.map(|(at, _)| at).filter(first)
}

/// Whether one of the built-in words, or a filler, stands before this place.
fn follows_a_word(text: &str, at: usize) -> bool {
    let before = &text[text.floor_char_boundary(at.saturating_sub(MAX_GAP_BYTES))..at];
    let word = before.trim_end_matches(|c: char| " \u{a0}-_#/.:".contains(c));
    let start = word.rfind(|c: char| !c.is_ascii_alphabetic());
    let word = &word[start.map_or(0, |i| i + word[i..].chars().next().map_or(1, char::len_utf8))..];
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// The built-in match whose number begins at `number`, unless it is an amount or a year.
fn built_in(text: &str, number: usize) -> Option<(Range<usize>, Reference)> {
    let start = text.floor_char_boundary(number.saturating_sub(2 * MAX_GAP_BYTES));
    let end = text.ceil_char_boundary(number.saturating_add(MAX_NUMBER_BYTES));
    let window = &text[start..end];
    BUILT_IN.iter().find_map(|(pattern, doubts_years)| {
        let mut hits = pattern.captures_iter(window);
        let (captures, place) = hits.find_map(|captures| {
            let hit = captures.get(0)?;
            let own = hit.as_str().find(|c: char| c.is_ascii_digit())? + hit.start() + start;
            (own == number).then(|| (captures, start + hit.start()..start + hit.end()))
        })?;
        // The edges of the window are not the edges of words.
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let apart =
            !text[..place.start].ends_with(is_word) && !text[place.end..].starts_with(is_word);
        let reference = code(&captures, &text[place.end..], *doubts_years)?;
        apart.then_some((place, reference))
    })
}

/// What a match says, unless what follows tells that it is an amount, or it is a year.
fn code(captures: &Captures<'_>, after: &str, doubts_years: bool) -> Option<Reference> {
    let code = match (captures.get(1), captures.get(2)) {
        (Some(word), Some(number)) => format!("{} {}", word.as_str(), number.as_str()),
        _ => captures.get(0)?.as_str().to_owned(),
    };
    let number = code.trim_start_matches(|c: char| !c.is_ascii_digit());
    if is_amount(after) || (doubts_years && is_year(number)) {
        return None;
    }
    Reference::parse(&code)
}

/// `1500.00`, `1500,-`, `50 %`, `2000 EUR`: what follows a number tells that it counts something.
fn is_amount(after: &str) -> bool {
    let mut chars = after.chars();
    match chars.next() {
        Some('.' | ',') => chars.next().is_some_and(|c| c.is_ascii_digit() || c == '-'),
        Some('%' | '\u{20ac}' | '$' | '\u{a3}' | '@') => true,
        Some(' ') => {
            let unit: String = chars.take(3).collect();
            matches!(
                unit.to_ascii_uppercase().as_str(),
                "EUR" | "USD" | "GBP" | "DKK" | "SEK" | "NOK" | "CHF"
            ) || unit.starts_with(['%', '\u{20ac}', '$', '\u{a3}'])
        }
        Some(_) | None => false,
    }
}

fn is_year(digits: &str) -> bool {
    digits.len() == 4 && (digits.starts_with("19") || digits.starts_with("20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        find(&[], &[text]).iter().map(|r| r.as_str().to_owned()).collect()
    }

    #[test]
    fn every_built_in_pattern_is_a_pattern() {
        assert_eq!(BUILT_IN.len(), SHAPES.len());
    }

    #[test]
    fn every_word_of_a_shape_is_looked_for() {
        for shape in &SHAPES {
            let words = shape.pattern.split(|c: char| !c.is_ascii_alphabetic());
            for word in words.filter(|word| word.len() > 1 && *word != "credit") {
                let listed = WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
                assert!(listed, "{word} of {}", shape.pattern);
            }
        }
    }

    #[test]
    fn words_and_numbers_that_are_no_codes() {
        for text in [
            "",
            "so 12",
            "So 2000 people came",
            "SO 2000",
            "in 2024",
            "est. 1998",
            "EST2024",
            "est 2024",
            "PO Box 1234",
            "INV",
            "INV-",
            "INV-1",
            "invalid-12345",
            "ISO-8859-1",
            "UTF-8",
            "order 12 pieces",
            "order 5000 pieces",
            "---",
            "order 1500.00",
            "Order 1500,00 EUR",
            "order 2000 EUR",
            "in case 2024 is",
            "case 2020",
            "\u{c6}INV-12345",
            "INV-12345abc",
            "SINV-12345",
            "COVID-19",
            "REF",
            "refund 12345",
            "reorder-12345",
            "ticketing 12345",
            "PO-4",
            "Ref: Smith",
            "12345",
            "#12345",
            "INV 12 345",
            "orders 12345",
            "quote 5000 %",
            "invoice 5000,-",
            "so123@example.org",
            "estimate of 12345",
        ] {
            assert_eq!(found(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn codes_are_kept_as_written() {
        let check = |text: &str, expected: &[&str]| assert_eq!(found(text), expected, "{text:?}");
        check("Your invoice INV-12345 is due", &["INV-12345"]);
        check("Re: [inv-12345] (so_10023)", &["inv-12345", "so_10023"]);
        check("EST-2024-00017, INV/2024/0012.", &["EST-2024-00017", "INV/2024/0012"]);
        check("PO4500012345 and INV 12345", &["PO4500012345", "INV 12345"]);
        check("Invoice no. 4711", &["Invoice 4711"]);
        check("Order #10023: shipped", &["Order 10023"]);
        check("order no. 471, order nr 2024", &["order 471", "order 2024"]);
        check("\u{e5}\u{a0}credit note\u{a0}471100\u{a0}\u{e5}", &["credit note 471100"]);
        check(
            &format!("{} INV-1{}-2", "\u{20ac}".repeat(50), "0".repeat(18)),
            &["INV-1000000000000000000-2"],
        );
        check(&format!("INV-{}", "0".repeat(200)), &[]);
        check(&format!("{}SO-10023", "x".repeat(46)), &[]);
        check("Case: 100234, ref 100235", &["Case 100234", "ref 100235"]);
        check("Ticket: 48213.", &["Ticket 48213"]);
        check("Faktura nr. 4711", &["Faktura 4711"]);
        check("invoice_INV-77.pdf", &[]);
        check("INV-77.pdf", &["INV-77"]);
        check("CASE-0042 RMA#991", &["CASE-0042", "RMA#991"]);
        check("https://erp.example/INV-12345?x=1", &["INV-12345"]);
    }

    #[test]
    fn one_code_in_several_spellings_is_one_reference() {
        let all = find(&[], &["inv-12345 INV 12345", "INV12345 and INV-12346"]);
        let all: Vec<_> = all.iter().map(Reference::as_str).collect();
        assert_eq!(all, ["inv-12345", "INV-12346"]);
    }

    #[test]
    fn an_apps_pattern_wins_over_a_built_in_one() {
        let patterns =
            [Regex::new(r"\bINV-\d+-[A-Z]+\b").unwrap(), Regex::new(r"\bA\d{3}\b").unwrap()];
        let all = find(&patterns, &["A123 INV-12345-DK INV-99 a123"]);
        let all: Vec<_> = all.iter().map(Reference::as_str).collect();
        assert_eq!(all, ["A123", "INV-12345-DK", "INV-99"]);
    }

    #[test]
    fn matches_that_are_no_references_are_left_out() {
        let patterns = ["(?s)x.*", "", "-+"].map(|p| Regex::new(p).unwrap());
        assert!(find(&patterns, &[&"x".repeat(100), "x\ny", "---"]).is_empty());
    }

    #[test]
    fn there_are_never_more_than_32() {
        let text: String = (100..1000).map(|i| format!("INV-{i} ")).collect();
        assert_eq!(find(&[], &[&text, &text]).len(), MAX_REFERENCES);
        let far = format!("{}INV-12345", "\u{e5}".repeat(200_000));
        assert!(find(&[], &[&far]).is_empty());
    }
}
