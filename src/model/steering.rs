//! The header fields with which an application steers what becomes of a message.
//!
//! They are orders to this gateway: they are archived, obeyed and removed before relaying, so the
//! room that reads them and the room that removes them share this list.

/// What every steering field begins with, in lower case.
pub const STEERING_PREFIX: &str = "x-waybill-";

/// A steering field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SteeringField {
    /// Business codes, separated by commas.
    Reference,
    /// A template or campaign.
    Tag,
    /// How long to wait, or `manual`.
    Hold,
    /// Not before this time.
    SendAt,
    /// What is tracked.
    Track,
    /// Who in the company sent it.
    Sender,
}

impl SteeringField {
    /// All of them.
    pub const ALL: [SteeringField; 6] = [
        SteeringField::Reference,
        SteeringField::Tag,
        SteeringField::Hold,
        SteeringField::SendAt,
        SteeringField::Track,
        SteeringField::Sender,
    ];

    /// The field name.
    pub fn name(self) -> &'static str {
        match self {
            SteeringField::Reference => "X-Waybill-Reference",
            SteeringField::Tag => "X-Waybill-Tag",
            SteeringField::Hold => "X-Waybill-Hold",
            SteeringField::SendAt => "X-Waybill-Send-At",
            SteeringField::Track => "X-Waybill-Track",
            SteeringField::Sender => "X-Waybill-Sender",
        }
    }

    /// The field with this name, in any case.
    pub fn of_name(name: &[u8]) -> Option<SteeringField> {
        Self::ALL.into_iter().find(|f| f.name().as_bytes().eq_ignore_ascii_case(name))
    }
}
