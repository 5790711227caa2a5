//! The nouns of the house: ids, addresses, envelope, recipient, status, event, reply, outcome.
//!
//! Every type with a rule has one parsing constructor, so a value that exists is a value that is
//! well formed: no string with CR or LF can become anything that reaches a wire.
//! Nothing here does I/O, reads a clock, draws a random number or knows serde; stored records and
//! API views have shapes of their own in their rooms.

pub mod address;
pub mod digest;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod hit;
pub mod id;
pub mod message;
pub mod name;
pub mod outcome;
pub mod recipient;
pub mod reply;
pub mod secret;
pub mod sms;
pub mod steering;
pub mod time;
pub mod touch;

pub use address::{Domain, ForwardPath, Mailbox, ReversePath};
pub use digest::Digest;
pub use duration::{parse_duration, write_duration};
pub use envelope::{Channel, Direction, Envelope, EnvelopeRecipient, Medium};
pub use event::EventKind;
pub use hit::{Engagement, Hit, HitKind, HitMethod, Visitor};
pub use id::{MessageId, Sequence};
pub use message::{Named, Outgoing, RecipientKind};
pub use name::{AppName, Reference, Tag, UpstreamName};
pub use outcome::{Outcome, Scope};
pub use recipient::{Cause, Hold, RecipientState, Status};
pub use reply::{EnhancedCode, Reply};
pub use secret::Secret;
pub use sms::{
    Destination, Dialect, FailureReason, Msisdn, Originator, ReceiptRequest, ReceiptState, Sms,
    SmsBatch, SmsBody, SmsEncoding,
};
pub use steering::SteeringField;
pub use time::{Clock, Timestamp};
pub use touch::{SkipReason, Touch, TouchReport, Untouched};
