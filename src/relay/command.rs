//! Writes MAIL and RCPT with their parameters (RFC 5321 §4.1.1, RFC 3461, RFC 6152, RFC 6531).
//!
//! Every octet comes from a typed value that was parsed, or through an encoder that can write only
//! printable ASCII: what an application said is rebuilt, never copied. A parameter is written only
//! when the upstream offered its extension.

use std::fmt::Write;

use super::connection::Capabilities;
use super::transaction::Transaction;
use crate::model::EnvelopeRecipient;
use crate::model::envelope::{DsnReturn, Notify, OriginalRecipient};

/// `MAIL FROM:<…>` with its line end.
pub(super) fn mail(transaction: &Transaction, offered: &Capabilities) -> String {
    let mut line = format!("MAIL FROM:<{}>", transaction.reverse_path);
    if offered.size {
        append(&mut line, format_args!(" SIZE={}", transaction.message.size_bytes()));
    }
    if offered.eight_bit_mime && transaction.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if offered.smtputf8 && transaction.needs_smtputf8() {
        line.push_str(" SMTPUTF8");
    }
    if offered.dsn {
        match transaction.ret {
            Some(DsnReturn::Full) => line.push_str(" RET=FULL"),
            Some(DsnReturn::Headers) => line.push_str(" RET=HDRS"),
            None => (),
        }
        if let Some(envid) = transaction.envid.as_deref().filter(|envid| !envid.is_empty()) {
            append(&mut line, format_args!(" ENVID={}", xtext(envid)));
        }
    }
    line.push_str("\r\n");
    line
}

/// `RCPT TO:<…>` with its line end.
pub(super) fn rcpt(recipient: &EnvelopeRecipient, offered: &Capabilities) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.path);
    if offered.dsn {
        if let Some(notify) = recipient.notify {
            line.push_str(" NOTIFY=");
            push_notify(&mut line, notify);
        }
        if let Some(original) = recipient.original.as_ref().filter(|o| is_type(&o.address_type)) {
            append(
                &mut line,
                format_args!(" ORCPT={};{}", original.address_type, original_address(original)),
            );
        }
    }
    line.push_str("\r\n");
    line
}

fn push_notify(line: &mut String, notify: Notify) {
    let Notify::On { success, failure, delay } = notify else {
        line.push_str("NEVER");
        return;
    };
    let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
    let wanted: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    // An empty list cannot be written; asking for nothing is NEVER (RFC 3461 §4.1).
    match wanted.is_empty() {
        true => line.push_str("NEVER"),
        false => line.push_str(&wanted.join(",")),
    }
}

fn is_type(address_type: &str) -> bool {
    !address_type.is_empty() && address_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn original_address(original: &OriginalRecipient) -> String {
    match original.address_type.eq_ignore_ascii_case("utf-8") {
        true => utf8_addr_xtext(&original.address),
        false => xtext(&original.address),
    }
}

/// RFC 3461 §4: printable ASCII but `+` and `=` as it is, any other octet as `+` and two digits.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => append(&mut out, format_args!("+{byte:02X}")),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => append(&mut out, format_args!("+{byte:02X}")),
        }
    }
    out
}

/// RFC 6533 §3 `utf-8-addr-xtext`: the form that also passes where SMTPUTF8 is not spoken.
fn utf8_addr_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '=' | '\\' => append(&mut out, format_args!("\\x{{{:02X}}}", u32::from(c))),
            '!'..='~' => out.push(c),
            _ => append(&mut out, format_args!("\\x{{{:02X}}}", u32::from(c))),
        }
    }
    out
}

/// Writing to a `String` cannot fail.
fn append(line: &mut String, arguments: std::fmt::Arguments<'_>) {
    _ = line.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ForwardPath, Outgoing, ReversePath};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn everything() -> Capabilities {
        Capabilities {
            pipelining: true,
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            size: true,
            max_size_bytes: None,
        }
    }

    fn transaction() -> Transaction {
        Transaction {
            reverse_path: ReversePath::parse("anna@example.com").unwrap(),
            recipients: Vec::new(),
            eight_bit: true,
            smtputf8: true,
            ret: Some(DsnReturn::Headers),
            envid: Some("a+b=c d".into()),
            message: Outgoing::new(vec![Bytes::from_static(b"x\r\n")]),
        }
    }

    fn recipient(address_type: &str, address: &str) -> EnvelopeRecipient {
        EnvelopeRecipient {
            path: ForwardPath::parse("kim@example.org").unwrap(),
            notify: Some(Notify::On { success: true, failure: false, delay: true }),
            original: Some(OriginalRecipient {
                address_type: address_type.into(),
                address: address.into(),
            }),
        }
    }

    #[test]
    fn nothing_is_said_that_was_not_offered() {
        let none = Capabilities::default();
        assert_eq!(mail(&transaction(), &none), "MAIL FROM:<anna@example.com>\r\n");
        assert_eq!(rcpt(&recipient("rfc822", "k"), &none), "RCPT TO:<kim@example.org>\r\n");
    }

    #[test]
    fn parameters_are_rebuilt() {
        assert_eq!(
            mail(&transaction(), &everything()),
            "MAIL FROM:<anna@example.com> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+3Dc+20d\r\n"
        );
        let check = |address_type: &str, address: &str, expected: &str| {
            let expected = format!("RCPT TO:<kim@example.org> NOTIFY=SUCCESS,DELAY{expected}\r\n");
            assert_eq!(rcpt(&recipient(address_type, address), &everything()), expected);
        };
        check("rfc822", "k+1@b.c", " ORCPT=rfc822;k+2B1@b.c");
        check("rfc822", "k\r\nRSET", " ORCPT=rfc822;k+0D+0ARSET");
        check("utf-8", "ø+\\@b.c", " ORCPT=utf-8;\\x{F8}\\x{2B}\\x{5C}@b.c");
        check("x\r\nRSET", "k", "");
        let mut quiet = recipient("rfc822", "k");
        quiet.original = None;
        for notify in [Notify::Never, Notify::On { success: false, failure: false, delay: false }] {
            quiet.notify = Some(notify);
            assert!(rcpt(&quiet, &everything()).ends_with("> NOTIFY=NEVER\r\n"));
        }
    }

    proptest! {
        #[test]
        fn one_command_is_one_line(kind in "\\PC{0,8}|utf-8|rfc822", text in "(\\PC|[\\x00-\\x7f]){0,40}") {
            let mut transaction = transaction();
            transaction.envid = Some(text.clone());
            for line in [mail(&transaction, &everything()), rcpt(&recipient(&kind, &text), &everything())] {
                let inner = line.strip_suffix("\r\n").unwrap();
                prop_assert!(inner.bytes().all(|b| (b' '..=b'~').contains(&b)), "{:?}", inner);
                prop_assert!(inner.split(' ').count() <= 8);
            }
        }
    }
}
