//! DATA and BDAT content: any octets, cut anywhere.
//!
//! Oracle: the cuts make no difference; only CRLF `.` CRLF ends; what is kept holds no CR or LF
//! alone (RFC 5321 §2.3.8), is no longer than the limit, and comes back the same when it is encoded
//! for DATA and decoded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use waybill::smtp::{BareNewline, Content, DataDecoder, DataEncoder, Decoded, Fault};

const MAX_BYTES: u64 = 4_096;

/// The verdict, what was kept, and how many octets were taken; `None` without an end.
type Outcome = Option<(Option<Fault>, Vec<u8>, usize)>;

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (fix, cuts, octets) = input;
    let policy = if fix { BareNewline::Fix } else { BareNewline::Refuse };
    let whole = data(policy, &[&octets]);
    assert_eq!(data(policy, &pieces(&octets, &cuts)), whole, "the cuts make a difference");
    let end = octets.windows(5).position(|w| w == b"\r\n.\r\n").map(|at| at + 5);
    let end = if octets.starts_with(b".\r\n") { Some(3) } else { end };
    assert_eq!(whole.as_ref().map(|(_, _, taken)| *taken), end, "another end");
    if let Some((None, kept, _)) = &whole {
        is_clean(kept);
        comes_back(kept);
    }

    let chunk = bdat(policy, &[&octets]);
    assert_eq!(bdat(policy, &pieces(&octets, &cuts)), chunk, "the cuts make a difference");
    if let (None, kept) = &chunk {
        is_clean(kept);
        if policy == BareNewline::Refuse {
            assert_eq!(kept, &octets, "a message that needs nothing was changed");
        }
    }
});

fn pieces<'a>(octets: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut found = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        found.push(piece);
        rest = after;
    }
    found.push(rest);
    found
}

fn data(policy: BareNewline, pieces: &[&[u8]]) -> Outcome {
    let mut decoder = DataDecoder::new(policy, MAX_BYTES);
    let (mut kept, mut before) = (Vec::new(), 0);
    for piece in pieces {
        match decoder.decode(piece, &mut kept) {
            Decoded::More => before += piece.len(),
            Decoded::End { taken } => {
                if decoder.fault().is_some() {
                    kept.clear();
                }
                return Some((decoder.fault(), kept, before + taken));
            }
        }
    }
    None
}

fn bdat(policy: BareNewline, pieces: &[&[u8]]) -> (Option<Fault>, Vec<u8>) {
    let mut content = Content::new(policy, MAX_BYTES, false);
    let mut kept = Vec::new();
    for piece in pieces {
        content.push(piece, &mut kept);
    }
    content.finish(&mut kept);
    if content.fault().is_some() {
        kept.clear();
    }
    (content.fault(), kept)
}

fn is_clean(kept: &[u8]) {
    assert!(kept.len() as u64 <= MAX_BYTES);
    for (index, byte) in kept.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(kept.get(index + 1), Some(&b'\n'), "a CR alone"),
            b'\n' => assert!(index > 0 && kept[index - 1] == b'\r', "an LF alone"),
            _ => {}
        }
    }
}

/// What DATA brought ends in CRLF or is empty, so it comes back as it was.
fn comes_back(kept: &[u8]) {
    let segments = [Bytes::copy_from_slice(kept)];
    let mut encoder = DataEncoder::new(&segments);
    let mut wire = Vec::new();
    while let Some(block) = encoder.next_block() {
        wire.extend_from_slice(&block);
    }
    let taken = wire.len();
    let again = data(BareNewline::Refuse, &[&wire]);
    assert_eq!(again, Some((None, kept.to_vec(), taken)), "what was encoded reads differently");
}
