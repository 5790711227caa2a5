//! Envelope addresses: whatever text is taken, what is written of it reads back as the same value and can not leave
//! its angle brackets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill::model::{Domain, ForwardPath, Mailbox, ReversePath};

fuzz_target!(|text: &str| {
    if let Ok(mailbox) = Mailbox::parse(text) {
        let written = harmless(mailbox.to_string());
        assert_eq!(Mailbox::parse(&written).as_ref(), Ok(&mailbox));
        assert_eq!(Domain::parse(mailbox.domain().as_str()).as_ref(), Ok(mailbox.domain()));
    }
    if let Ok(path) = ForwardPath::parse(text) {
        assert_eq!(ForwardPath::parse(&harmless(path.to_string())), Ok(path));
    }
    if let Ok(path) = ReversePath::parse(text) {
        assert_eq!(ReversePath::parse(&harmless(path.to_string())), Ok(path));
    }
});

/// The text, if nothing in it can end the line, and no `>` or space stands outside quotes.
fn harmless(written: String) -> String {
    assert!(!written.chars().any(char::is_control), "{written:?}");
    let mut quoted = false;
    let mut escaped = false;
    for c in written.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' | '<' | ' ' => assert!(quoted, "{written:?}"),
            _ => {}
        }
    }
    assert!(!quoted, "{written:?}");
    written
}
