//! Text as the search sees it: folded, cut into words and codes.
//!
//! Folding takes case and accents away (Unicode NFKD without its marks; `æ ø ß đ ł þ` as two letters
//! or their plain one), the same for what is indexed and for what is asked, so that `Müller`,
//! `müller` and `muller` find each other.
//! A run of letters and digits with joiners inside (`INV-12345`, `bob.berg@example.org`) has one
//! *head* for each of its parts: the rest of the run from there, without joiners but `@` and `.`
//! (`inv12345`, `12345`). What is searched for is the beginning of a head. Chinese, Japanese and
//! Korean have no spaces: each character begins a head of up to four.
//! Words for phrases are the parts alone, and each of those characters.

use std::borrow::Cow;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

/// Longest head, in characters; what is searched for is cut to the same.
pub(super) const MAX_HEAD_CHARS: usize = 64;
/// Characters of a head that begins in a text without spaces.
const GRAM_CHARS: usize = 4;

/// A piece of folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Letters and digits with joiners between them; an `@` may stand at either end.
    Run(&'a str),
    /// Characters of a script without spaces.
    Grams(&'a str),
}

/// Without case and accents.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let mut plain = String::with_capacity(text.len());
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars()) {
        match c {
            // Combining marks of Latin, Greek and Cyrillic; those of other scripts carry meaning.
            '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200d}' => {}
            'æ' | 'Æ' => plain.push_str("ae"),
            'œ' | 'Œ' => plain.push_str("oe"),
            'ß' | 'ẞ' => plain.push_str("ss"),
            'þ' | 'Þ' => plain.push_str("th"),
            'ø' | 'Ø' => plain.push('o'),
            'đ' | 'Đ' | 'ð' | 'Ð' => plain.push('d'),
            'ł' | 'Ł' => plain.push('l'),
            'ı' => plain.push('i'),
            'ς' => plain.push('σ'),
            c if c.is_ascii() => plain.push(c.to_ascii_lowercase()),
            c => plain.extend(c.to_lowercase().filter(|c| !('\u{300}'..='\u{36f}').contains(c))),
        }
    }
    // Hangul and kana are taken apart by NFKD, and joined again here.
    Cow::Owned(ComposingNormalizerBorrowed::new_nfc().normalize(&plain).into_owned())
}

/// The pieces of a folded text, in order.
pub(super) fn pieces(folded: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        loop {
            let kind = Kind::of(rest.chars().next()?);
            let (piece, after) = rest.split_at(end_of(kind, rest));
            rest = after;
            match kind {
                Kind::Gram => return Some(Piece::Grams(piece)),
                Kind::Word => {
                    if is_plain(piece) {
                        return Some(Piece::Run(piece));
                    }
                    // An `@` says something at either end; joiners alone do not.
                    let run = piece.trim_matches(|c| c == '.' || is_inner(c));
                    if run.chars().any(char::is_alphanumeric) {
                        return Some(Piece::Run(run));
                    }
                }
                Kind::Other => {}
            }
        }
    })
}

/// The heads of a piece, each at most `MAX_HEAD_CHARS` long.
pub(super) fn heads(piece: Piece<'_>, mut each: impl FnMut(&str)) {
    match piece {
        Piece::Run(run) => {
            let mut head = String::new();
            let mut at_start = true;
            for (at, c) in run.char_indices() {
                let begins = c == '@' || (at_start && !is_joiner(c));
                at_start = is_joiner(c);
                if begins {
                    compact_into(&run[at..], &mut head);
                    each(&head);
                }
            }
        }
        Piece::Grams(text) => {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            for (index, &start) in starts.iter().enumerate() {
                let end = starts.get(index + GRAM_CHARS).copied().unwrap_or(text.len());
                each(&text[start..end]);
            }
        }
    }
}

/// What heads must begin with, so that a message has this piece: all of these.
pub(super) fn needles(piece: Piece<'_>) -> Vec<String> {
    match piece {
        Piece::Run(run) => {
            let mut head = String::new();
            compact_into(run, &mut head);
            vec![head]
        }
        Piece::Grams(text) => {
            let chars: Vec<char> = text.chars().collect();
            chars.windows(GRAM_CHARS.min(chars.len())).map(|gram| gram.iter().collect()).collect()
        }
    }
}

/// The words of a piece, for phrases.
pub(super) fn words(piece: Piece<'_>, mut each: impl FnMut(&str)) {
    match piece {
        Piece::Run(run) if is_plain(run) => each(run),
        Piece::Run(run) => run.split(is_joiner).filter(|word| !word.is_empty()).for_each(each),
        Piece::Grams(text) => {
            let mut buffer = [0; 4];
            text.chars().for_each(|c| each(c.encode_utf8(&mut buffer)));
        }
    }
}

/// Whether it has letters and digits of ASCII alone, as most words.
fn is_plain(run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Where the characters of one kind end with which a text begins.
fn end_of(kind: Kind, text: &str) -> usize {
    let mut at = 0;
    loop {
        // All texts go through here, and most of them are ASCII.
        let is_alike = |byte: &&u8| ASCII.get(usize::from(**byte)).is_some_and(|of| *of == kind);
        at += text.as_bytes()[at..].iter().take_while(is_alike).count();
        match text[at..].chars().next() {
            Some(c) if !c.is_ascii() && Kind::of(c) == kind => at += c.len_utf8(),
            Some(_) | None => return at,
        }
    }
}

/// As much of a word as is looked at.
pub(super) fn cut(word: &str) -> &str {
    match word.len() <= MAX_HEAD_CHARS {
        true => word,
        false => word.char_indices().nth(MAX_HEAD_CHARS).map_or(word, |(at, _)| &word[..at]),
    }
}

fn compact_into(run: &str, head: &mut String) {
    head.clear();
    head.extend(run.chars().filter(|c| !is_inner(*c)).take(MAX_HEAD_CHARS));
}

/// What each character of ASCII is.
const ASCII: [Kind; 128] = {
    let mut kinds = [Kind::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            kinds[byte] = Kind::Word;
        }
        byte += 1;
    }
    let joiners = b"@._-+/#=:&'";
    let mut index = 0;
    while index < joiners.len() {
        kinds[joiners[index] as usize] = Kind::Word;
        index += 1;
    }
    kinds
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Gram,
    Other,
}

impl Kind {
    fn of(c: char) -> Kind {
        match c {
            c if c.is_ascii() => ASCII[c as usize],
            '’' | '‐' | '‑' => Kind::Word,
            // Kana, ideographs with their extensions, Hangul, and what marks their sounds.
            '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}' => Kind::Gram,
            c if c.is_alphanumeric() => Kind::Word,
            // Vowel signs and the like, which belong to the letter before them.
            '\u{900}'..='\u{dff}' | '\u{e00}'..='\u{eff}' | '\u{591}'..='\u{6ff}' => Kind::Word,
            _ => Kind::Other,
        }
    }
}

fn is_joiner(c: char) -> bool {
    matches!(c, '@' | '.') || is_inner(c)
}

/// A joiner that heads do without.
fn is_inner(c: char) -> bool {
    matches!(c, '_' | '-' | '+' | '/' | '#' | '=' | ':' | '&' | '\'' | '’' | '‐' | '‑')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all_heads(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let folded = fold(text);
        pieces(&folded).for_each(|piece| heads(piece, |head| found.push(head.to_owned())));
        found
    }

    fn all_words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let folded = fold(text);
        pieces(&folded).for_each(|piece| words(piece, |word| found.push(word.to_owned())));
        found
    }

    #[test]
    fn case_and_accents_are_folded() {
        let check = |text: &str, expected: &str| assert_eq!(fold(text), expected, "{text}");
        check("Müller", "muller");
        check("MU\u{308}LLER", "muller");
        check("Blåbær på øya", "blabaer pa oya");
        check("Straße", "strasse");
        check("École", "ecole");
        check("İstanbul ıssız", "istanbul issiz");
        check("ＡＢＣ１２３", "abc123");
        check("Ελλάς", "ελλασ");
        check("が한글", "が한글");
        check("plain", "plain");
    }

    #[test]
    fn codes_and_addresses_have_a_head_for_each_part() {
        let check = |text: &str, expected: &[&str]| assert_eq!(all_heads(text), expected, "{text}");
        check("INV-12345", &["inv12345", "12345"]);
        check("(INV 7)", &["inv", "7"]);
        check(
            "<bob.berg@example.org>",
            &["bob.berg@example.org", "berg@example.org", "@example.org", "example.org", "org"],
        );
        check("@example.org", &["@example.org", "example.org", "org"]);
        check("--- .. @@ ", &[]);
        check("+47 912", &["47", "912"]);
        check("東京2024", &["東京", "京", "2024"]);
        check("日本語表示", &["日本語表", "本語表示", "語表示", "表示", "示"]);
    }

    #[test]
    fn phrases_are_made_of_parts() {
        assert_eq!(all_words("Re: INV-12345, o'clock"), ["re", "inv", "12345", "o", "clock"]);
        assert_eq!(all_words("東京 bob@x.org"), ["東", "京", "bob", "x", "org"]);
    }

    #[test]
    fn the_table_of_ascii_knows_all_joiners() {
        for c in (0..128_u8).map(char::from) {
            let is_word = c.is_ascii_alphanumeric() || is_joiner(c);
            assert_eq!(Kind::of(c) == Kind::Word, is_word, "{c:?}");
        }
        assert!(['’', '‐', '‑'].into_iter().all(|c| is_joiner(c) && Kind::of(c) == Kind::Word));
    }

    proptest! {
        #[test]
        fn pieces_end_where_the_kind_changes(text in "([a-z]|[@._:-]| |京|ü|’|\\PC){0,20}") {
            let kind = text.chars().next().map_or(Kind::Other, Kind::of);
            let end = text.find(|c| Kind::of(c) != kind).unwrap_or(text.len());
            prop_assert_eq!(end_of(kind, &text), end);
        }

        #[test]
        fn every_word_finds_the_text_that_it_stands_in(before in "\\PC{0,8}", word in "\\PC{1,12}", after in "\\PC{0,8}") {
            let text = format!("{before} {word} {after}");
            let heads = all_heads(&text);
            let folded = fold(&word).into_owned();
            for piece in pieces(&folded) {
                for needle in needles(piece) {
                    prop_assert!(heads.iter().any(|head| head.starts_with(&needle)), "{needle:?} in {heads:?}");
                }
            }
        }
    }
}
