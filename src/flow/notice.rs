//! A message as it stood when an event happened, although it has gone on since.
//!
//! A receipt that could not be delivered for an hour still tells of its own event: whoever reads
//! `sent` after `delivered` reads them in the order of their numbers, not a `delivered` twice.

use crate::archive::Event;
use crate::model::EventKind;
use crate::sms::call::{Shown, ShownState};

/// The message as this event left it.
pub(super) fn as_it_stood(mut shown: Shown, event: &Event) -> Shown {
    let state = match event.kind {
        EventKind::Sent => Some(ShownState::Sent),
        EventKind::Delivered => Some(ShownState::Delivered),
        EventKind::Expired => Some(ShownState::Expired),
        EventKind::Failed => Some(match shown.state {
            kept @ (ShownState::Undelivered | ShownState::Rejected | ShownState::Expired) => kept,
            ShownState::Held
            | ShownState::Scheduled
            | ShownState::Queued
            | ShownState::Sending
            | ShownState::Sent
            | ShownState::Delivered
            | ShownState::Canceled
            | ShownState::Stopped
            | ShownState::NotSent
            | ShownState::Received => ShownState::Undelivered,
        }),
        EventKind::Stopped => Some(match shown.state {
            ShownState::Canceled => ShownState::Canceled,
            ShownState::Held
            | ShownState::Scheduled
            | ShownState::Queued
            | ShownState::Sending
            | ShownState::Sent
            | ShownState::Delivered
            | ShownState::Undelivered
            | ShownState::Expired
            | ShownState::Stopped
            | ShownState::Rejected
            | ShownState::NotSent
            | ShownState::Received => ShownState::Stopped,
        }),
        EventKind::Accepted
        | EventKind::Held
        | EventKind::Released
        | EventKind::Restarted
        | EventKind::Attempted
        | EventKind::Deferred
        | EventKind::Bounced
        | EventKind::Complained
        | EventKind::Opened
        | EventKind::Clicked
        | EventKind::Read
        | EventKind::Received
        | EventKind::Replied
        | EventKind::Suppressed
        | EventKind::Resent
        | EventKind::Viewed
        | EventKind::Exported
        | EventKind::Deleted => None,
    };
    if let Some(state) = state.filter(|state| *state != shown.state) {
        shown.state = state;
        // What is known of the end belongs to another event.
        shown.failure = None;
        shown.provider_code = None;
        shown.parts.clear();
    }
    if event.kind == EventKind::Sent {
        shown.done_at = None;
        shown.parts.clear();
    }
    shown.updated_at = event.at;
    shown
}
