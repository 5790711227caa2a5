//! The tables of the records file.
//!
//! Keys of messages and events grow with time, so an accepted message writes at the end of every
//! table. The one exception is `shared`, which only large parts touch.

use redb::TableDefinition;

/// Id to `StoredMessage`; never changed after the acceptance.
pub(super) const MESSAGES: TableDefinition<u128, &[u8]> = TableDefinition::new("messages");
/// Id to `StoredStates`.
pub(super) const STATES: TableDefinition<u128, &[u8]> = TableDefinition::new("states");
/// When (ms) and which message has a recipient that the queue must look at.
pub(super) const DUE: TableDefinition<(u64, u128), ()> = TableDefinition::new("due");
/// Messages with a claimed recipient: what a restart must look at.
pub(super) const CLAIMS: TableDefinition<u128, ()> = TableDefinition::new("claims");
/// Gap-free number to `StoredEvent`.
pub(super) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// The events of each message.
pub(super) const EVENTS_OF: TableDefinition<(u128, u64), ()> = TableDefinition::new("events_of");
/// The messages in each status.
pub(super) const BY_STATUS: TableDefinition<(u8, u128), ()> = TableDefinition::new("by_status");
/// BLAKE3 of a shared part to its place.
pub(super) const SHARED: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("shared");
/// Number to chunk: bytes that have not moved to a volume yet.
pub(super) const STAGED: TableDefinition<u64, &[u8]> = TableDefinition::new("staged");
/// Number of a chunk that has moved to its place in a volume.
pub(super) const MOVED: TableDefinition<u64, &[u8]> = TableDefinition::new("moved");
/// Upstreams that are paused, with who paused them.
pub(super) const PAUSED: TableDefinition<&str, &[u8]> = TableDefinition::new("paused");
/// When (ms) which SMS expires that waits.
pub(super) const VALIDITY: TableDefinition<(u64, u128), ()> = TableDefinition::new("validity");
/// Upstream and provider's id in lower case to the message; only judgements of SMS write it.
pub(super) const PARTS: TableDefinition<(&str, &str), u128> = TableDefinition::new("parts");
/// Sequence number of an SMS to its id; only acceptances of SMS write it.
pub(super) const SMS_NUMBERS: TableDefinition<u64, u128> = TableDefinition::new("sms_numbers");
/// The key of a call to `StoredRepeat`.
pub(super) const REPEATS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("repeats");
/// When (ms) a key may be forgotten, and which.
pub(super) const REPEAT_ENDS: TableDefinition<(u64, [u8; 32]), ()> =
    TableDefinition::new("repeat_ends");
/// Channel, recipient and originator to `StoredSuppression`.
pub(super) const SUPPRESSIONS: TableDefinition<(u8, &str, &str), &[u8]> =
    TableDefinition::new("suppressions");
/// Number to `StoredDelivery`.
pub(super) const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
/// When (ms) which delivery is due.
pub(super) const OUTBOX_DUE: TableDefinition<(u64, u64), ()> = TableDefinition::new("outbox_due");
/// Deliveries that were given up.
pub(super) const OUTBOX_DEAD: TableDefinition<u64, ()> = TableDefinition::new("outbox_dead");
/// Number to `StoredThreadEntry`; only ever added to.
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// Reference or counterpart to the numbers of its entries.
pub(super) const ENTRIES_OF: TableDefinition<(&str, u64), ()> = TableDefinition::new("entries_of");
/// Number to `StoredBulk`.
pub(super) const BULKS: TableDefinition<u64, &[u8]> = TableDefinition::new("bulks");
/// Number of a bulk action and of its item to `StoredBulkItem`.
pub(super) const BULK_ITEMS: TableDefinition<(u64, u64), &[u8]> =
    TableDefinition::new("bulk_items");
/// Id of an erased message to `StoredErasure`: bytes that are still to be overwritten.
pub(super) const ERASURES: TableDefinition<u128, &[u8]> = TableDefinition::new("erasures");
/// Number to `StoredRun`: when the daemon ran.
pub(super) const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
/// Single values.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// In `META`: the counters.
pub(super) const COUNTERS: &str = "counters";
/// In `META`: the last event whose deliveries are planned.
pub(super) const PLANNED_UNTIL: &str = "planned_until";
/// In `META`: the last event of which senders were told.
pub(super) const NOTIFIED_UNTIL: &str = "notified_until";
/// In `META`: the number of the last delivery.
pub(super) const LAST_DELIVERY: &str = "last_delivery";
/// In `META`: there while nobody has the archive open that closed in order.
pub(super) const CLOSED: &str = "closed";
/// In `META`: a random key, before its name.
pub(super) const KEY_PREFIX: &str = "key.";
/// In `META`: the version of the file's layout.
pub(super) const SCHEMA: &str = "schema";
