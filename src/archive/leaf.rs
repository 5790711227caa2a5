//! The canonical leaf of a message: what a later proof that nothing was altered is built on.
//!
//! `SHA-256(version ‖ sequence ‖ id ‖ accepted_at ‖ app ‖ envelope ‖ SHA-256(bytes as submitted))`.
//! Numbers are big-endian; a text is its length in 8 bytes and then its UTF-8, so no two different
//! inputs share an encoding. The shape can never change, only get a new version.

use crate::model::{AppName, Digest, Medium, MessageId, Sequence, Timestamp};

const VERSION: u8 = 1;

/// The leaf of one accepted message.
pub(super) fn leaf(
    sequence: Sequence,
    id: MessageId,
    accepted_at: Timestamp,
    app: &AppName,
    medium: &Medium,
    content: Digest,
) -> Digest {
    let mut bytes = vec![VERSION];
    bytes.extend(sequence.0.to_be_bytes());
    bytes.extend(id.as_u128().to_be_bytes());
    bytes.extend(accepted_at.as_millis().to_be_bytes());
    let mut text = |text: &str| {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    text(app.as_str());
    text(&medium.sender().unwrap_or_default());
    let recipients = medium.recipients();
    recipients.iter().for_each(|address| text(address));
    bytes.extend((recipients.len() as u64).to_be_bytes());
    bytes.extend(content.0);
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::envelope::BodyType;
    use crate::model::{Envelope, EnvelopeRecipient, ForwardPath, ReversePath};

    fn envelope(recipients: &[&str]) -> Medium {
        let recipient = |path: &&str| EnvelopeRecipient {
            path: ForwardPath::parse(path).unwrap(),
            notify: None,
            original: None,
        };
        Medium::Mail(Envelope {
            reverse_path: ReversePath::Null,
            recipients: recipients.iter().map(recipient).collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            release: None,
        })
    }

    #[test]
    fn the_shape_never_changes() {
        let of = |sequence, recipients: &[&str]| {
            leaf(
                Sequence(sequence),
                MessageId::from_u128(7),
                Timestamp::from_millis(1_700_000_000_000),
                &AppName::parse("erp").unwrap(),
                &envelope(recipients),
                Digest::of(b"abc"),
            )
        };
        assert_eq!(
            of(1, &["kim@example.org"]).to_string(),
            "12057305c53298d89a8e0a70e941c14f3a490aab860907083a3b7b75efce37e6"
        );
        assert_ne!(of(1, &["kim@example.org"]), of(2, &["kim@example.org"]));
        assert_ne!(of(1, &["kim@example.org"]), of(1, &["kim@example.org", "bo@example.org"]));
    }
}
