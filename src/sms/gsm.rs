//! The GSM 7-bit default alphabet with its extension table (3GPP TS 23.038 §6.2.1).
//!
//! What a text comes to in segments is `segment`'s; nothing here makes septets, which is the provider's.

/// The default alphabet, at the place of each code; 0x1B is the escape to the extension table.
const ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// What the escape leads to; each takes two septets.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// How many septets a character takes; `None` when the alphabet does not have it.
pub fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || c == ' ' {
        return Some(1);
    }
    if c == '\u{1b}' {
        return None;
    }
    if ALPHABET.contains(c) {
        return Some(1);
    }
    EXTENSION.contains(c).then_some(2)
}

/// Whether the alphabet has every character.
pub fn holds(text: &str) -> bool {
    text.chars().all(|c| septets(c).is_some())
}

/// Typographic characters become their likes in the alphabet, if then the whole text fits it;
/// otherwise nothing changes, because it costs the same.
pub fn smart(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}'..='\u{201b}' | '\u{2032}' | '`' | '\u{b4}' => out.push('\''),
            '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => out.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => out.push('-'),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\t' => out.push(' '),
            '\u{2026}' => out.push_str("..."),
            '\u{2022}' | '\u{b7}' => out.push('*'),
            '\u{200b}'..='\u{200d}' | '\u{feff}' => {}
            'ç' => out.push('Ç'),
            _ => out.push(c),
        }
    }
    (out != text && holds(&out)).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_128_places() {
        assert_eq!(ALPHABET.chars().count(), 128);
        let place = |c| ALPHABET.chars().position(|found| found == c);
        assert_eq!((place('\u{1b}'), place('A'), place('à')), (Some(0x1b), Some(0x41), Some(0x7f)));
    }

    #[test]
    fn characters_have_their_width() {
        for c in "æøåÆØÅ@£Δ\n\rÇ".chars() {
            assert_eq!(septets(c), Some(1), "{c:?}");
        }
        for c in "^{}\\[~]|€\u{c}".chars() {
            assert_eq!(septets(c), Some(2), "{c:?}");
        }
        for c in "`’\t\u{a0}ç😀\u{1b}\u{0}é\u{301}".chars().filter(|c| *c != 'é') {
            assert_eq!(septets(c), None, "{c:?}");
        }
    }

    #[test]
    fn typography_is_replaced_only_where_that_makes_it_fit() {
        assert_eq!(smart("it’s – “ok”…").as_deref(), Some("it's - \"ok\"..."));
        assert_eq!(smart("plain"), None);
        assert_eq!(smart("it’s 😀"), None);
    }
}
