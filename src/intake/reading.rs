//! What a message says about itself, put into the archive's words.

use std::borrow::Cow;

use bytes::Bytes;

use crate::archive::{Attachment, NewRecipient, Summary};
use crate::mime::{self, Reading};
use crate::model::{Envelope, ForwardPath, Named, RecipientKind, RecipientState, Reference};
use crate::policy::steering::{Steering, SteeringError, read_steering};
use crate::policy::{App, reference};

/// Text that is searched for references, at the most.
const SEARCHED_TEXT_BYTES: usize = 64 << 10;
/// References kept with one message.
const MAX_REFERENCES: usize = 32;

/// The steering fields of the header section.
pub(super) fn steering(raw: &Bytes) -> Result<Steering, SteeringError> {
    let fields: Vec<(Cow<'_, str>, String)> = mime::all_fields(raw)
        .filter(|field| field.name.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'x')))
        .map(|field| (String::from_utf8_lossy(field.name), field.text()))
        .collect();
    read_steering(fields.iter().map(|(name, value)| (&**name, value.as_str())))
}

/// The codes that the application named, then those in subject, attachment names and text.
pub(super) fn references(
    app: &App,
    steering: &Steering,
    found: &Reading,
    raw: &Bytes,
) -> Vec<Reference> {
    let text = mime::searchable(raw, SEARCHED_TEXT_BYTES);
    let mut texts: Vec<&str> = found.subject.as_deref().into_iter().collect();
    texts.extend(found.attachments.iter().filter_map(|a| a.filename.as_deref()));
    texts.push(&text);
    let mut references = steering.references.clone();
    for reference in reference::find(&app.references, &texts) {
        let known = |r: &Reference| r.canonical() == reference.canonical();
        if references.len() < MAX_REFERENCES && !references.iter().any(known) {
            references.push(reference);
        }
    }
    references
}

/// Each recipient with the name and the place that the header gives it; who is in no field is blind.
pub(super) fn recipients(
    envelope: &Envelope,
    found: &Reading,
    start: RecipientState,
) -> Vec<NewRecipient> {
    let named = |list: &[Named], address: &str| {
        list.iter().find(|n| n.address.eq_ignore_ascii_case(address)).map(|n| n.name.clone())
    };
    let place = |path: &ForwardPath| {
        let address = path.to_string();
        let places = [
            (&found.to, RecipientKind::To),
            (&found.cc, RecipientKind::Cc),
            (&found.bcc, RecipientKind::Bcc),
        ];
        places
            .into_iter()
            .find_map(|(list, kind)| Some((named(list, &address)?, kind)))
            .unwrap_or((None, RecipientKind::Bcc))
    };
    let recipient = |path| {
        let (name, kind) = place(path);
        NewRecipient { name, kind, state: start.clone() }
    };
    envelope.recipients.iter().map(|r| recipient(&r.path)).collect()
}

pub(super) fn summary(found: Reading, newlines_fixed: bool) -> Summary {
    let mut defects = found.defects;
    if newlines_fixed {
        defects.push("bare CR or LF were made CRLF when it came in".into());
    }
    let attachments = found.attachments.into_iter().map(|a| Attachment {
        filename: a.filename,
        content_type: a.content_type,
        size_bytes: a.size_bytes,
        sha256: a.sha256,
        inline: a.inline,
    });
    Summary {
        subject: found.subject,
        author: found.author,
        message_id: found.message_id,
        preview: found.preview,
        attachments: attachments.collect(),
        defects,
    }
}
