//! Reading any bytes as a report: nothing panics, limits hold, the same bytes say the same twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill::report::{self, Finding};

fuzz_target!(|raw: &[u8]| {
    let first = report::read(raw);
    assert_eq!(first, report::read(raw));
    let Some(found) = first else { return };
    assert!(found.clues.return_paths.len() <= 100 && found.clues.message_ids.len() <= 100);
    assert!(found.clues.recipients.len() <= 100 && found.clues.referenced.len() <= 100);
    if let Finding::Delivery(recipients) = found.finding {
        assert!((1..=1000).contains(&recipients.len()));
        for one in recipients {
            assert!(!one.diagnostic.contains(['\r', '\n']));
        }
    }
});
