//! Segments, numbers and forms: any text.
//!
//! Oracle: a splitter that really cuts, one unit at a time, parts no pair and needs as many segments;
//! what an address is shown as reads back as the same address, in every style; fields that were
//! written read back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill::model::{Destination, Originator, SmsBody, SmsEncoding};
use waybill::sms::form::Fields;
use waybill::sms::number::{self, Country, NumberStyle};
use waybill::sms::{gsm, segment};

/// A unit of the air interface, and whether it goes on with the character of the one before it.
type Unit = (u16, bool);

fuzz_target!(|input: (String, Vec<u8>, u8, Vec<(String, Vec<u8>)>)| {
    let (text, binary, header, pairs) = input;
    // A header of the client's own, which does not fill the segment.
    let udh = vec![0; usize::from(header % 130)];
    counts(&SmsBody::Text(text.clone()), &udh);
    counts(&SmsBody::Binary(binary.clone()), &udh);
    if let Some(simple) = gsm::smart(&text) {
        assert!(gsm::holds(&simple) && gsm::smart(&simple).is_none(), "{text:?}: {simple:?}");
    }
    addresses(&text);
    forms(&binary, &pairs);
});

fn counts(body: &SmsBody, udh: &[u8]) {
    let measure = segment::measure(body, udh);
    let (units, unit_bits) = units(body, measure.encoding);
    let room = |octets: usize| octets * 8 / unit_bits;
    let alone = room(140 - udh.len());
    let joined = if units.len() <= alone { alone } else { room(140 - 6).min(alone) };
    let segments = cut(&units, joined);
    assert_eq!(measure.segments as usize, segments.len(), "{body:?}");
    for segment in &segments {
        assert!(segment.len() <= joined);
        assert!(!segment.first().is_some_and(|(_, goes_on)| *goes_on), "a pair was parted");
    }
    assert_eq!(segments.concat(), units, "something is lost or changed its place");
}

/// Every septet, UTF-16 unit or octet, and how many bits it has.
fn units(body: &SmsBody, encoding: SmsEncoding) -> (Vec<Unit>, usize) {
    match (body, encoding) {
        (SmsBody::Text(text), SmsEncoding::Gsm7) => {
            let septets = |c: char| {
                let width = gsm::septets(c).unwrap();
                (0..width).map(move |place| (c as u32 as u16, place > 0))
            };
            (text.chars().flat_map(septets).collect(), 7)
        }
        (SmsBody::Text(text), SmsEncoding::Ucs2) => {
            assert!(!gsm::holds(text), "twice as long for nothing: {text:?}");
            let is_low = |unit: u16| (0xdc00..0xe000).contains(&unit);
            (text.encode_utf16().map(|unit| (unit, is_low(unit))).collect(), 16)
        }
        (SmsBody::Binary(octets), SmsEncoding::Binary) => {
            (octets.iter().map(|octet| (u16::from(*octet), false)).collect(), 8)
        }
        (body, encoding) => panic!("{encoding:?} for {body:?}"),
    }
}

/// Cuts as late as it may, and goes back to the beginning of a pair.
fn cut(mut units: &[Unit], room: usize) -> Vec<Vec<Unit>> {
    let mut segments = Vec::new();
    while units.len() > room {
        let mut at = room.max(1);
        while at > 1 && units.get(at).is_some_and(|(_, goes_on)| *goes_on) {
            at -= 1;
        }
        segments.push(units[..at].to_vec());
        units = &units[at..];
    }
    if !units.is_empty() || segments.is_empty() {
        segments.push(units.to_vec());
    }
    segments
}

fn addresses(text: &str) {
    let countries = [Country::NONE, Country::parse("45").unwrap()];
    for (style, country) in [NumberStyle::International, NumberStyle::National]
        .into_iter()
        .flat_map(|style| countries.iter().map(move |country| (style, country)))
    {
        if let Some(found) = number::destination(text, style, country) {
            let shown = harmless(found.to_string());
            assert_eq!(number::destination(&shown, style, country).as_ref(), Some(&found));
            assert_eq!(Destination::parse(&shown), Some(found));
        }
        if let Some(found) = number::originator(text, style, country) {
            let shown = harmless(found.to_string());
            assert_eq!(number::originator(&shown, style, country).as_ref(), Some(&found));
            assert_eq!(Originator::parse(&shown), Some(found));
        }
    }
}

fn harmless(shown: String) -> String {
    assert!(!shown.is_empty() && !shown.chars().any(char::is_control), "{shown:?}");
    assert!(!shown.contains(['"', '<', '>', '{', '}', '\\']) || shown.contains(':'), "{shown:?}");
    shown
}

fn forms(octets: &[u8], pairs: &[(String, Vec<u8>)]) {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.push_bytes(name, value);
    }
    for fields in [fields, Fields::parse(octets)] {
        let written = fields.encode();
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written}");
        assert_eq!(Fields::parse(written.as_bytes()), fields);
    }
}
