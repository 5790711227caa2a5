//! Reading any bytes: nothing panics, spans stay in the message, measures agree with contents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill::mime;
use waybill::model::Digest;

fuzz_target!(|raw: &[u8]| {
    let reading = mime::read(raw);
    assert!(!reading.defects.iter().any(|d| d.starts_with("not parsed")), "{:?}", reading.defects);
    assert_eq!(reading.eight_bit, !raw.is_ascii());
    assert!(reading.preview.chars().count() <= 200);

    let mut at = 0;
    for span in &reading.shared {
        assert!(at <= span.start && span.start < span.end && span.end <= raw.len());
        at = span.end;
    }
    for (index, info) in reading.attachments.iter().enumerate() {
        let content = mime::attachment(raw, index).expect("what is listed is there");
        assert_eq!(content.bytes.len() as u64, info.size_bytes);
        assert_eq!(Digest::of(&content.bytes), info.sha256);
        // Quoted-printable may end all lines alike, so a bare LF may become CRLF.
        assert!(content.bytes.len() <= 2 * raw.len());
    }
    assert!(mime::attachment(raw, reading.attachments.len()).is_none());

    let mut at = 0;
    for field in mime::fields(raw) {
        assert!(at <= field.span.start && field.span.start < field.span.end);
        assert!(!field.name.is_empty() && field.name.iter().all(|b| (33..=126).contains(b)));
        assert!(!field.unfolded().contains(&b'\n'));
        at = field.span.end;
    }
    let bound = 2 * raw.len() + (64 << 20);
    assert!(mime::text(raw).unwrap_or_default().len() <= bound);
    assert!(mime::html(raw).unwrap_or_default().len() <= bound);
});
