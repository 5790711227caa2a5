//! What providers report of our messages: judged by the archive, and waited for where a report
//! outran the response to its own submission.
//!
//! A report that is still too early after that is asked to come again; one of a message that nobody
//! knows is taken, so that no stranger learns which ids are ours.

use std::time::Duration;

use tokio::time::Instant;

use super::Desk;
use super::hooks::{Hook, HookError};
use crate::archive::{ProviderReport, Reported, Suppression};
use crate::model::{Channel, FailureReason, MessageId, ReceiptState};
use crate::sms::provider::Receipt;
use crate::telemetry;

/// How long a report waits for its attempt to be judged. Providers give up after 10 to 15 seconds.
const EARLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before the second look, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Reads and records a status callback; returns when everything in it is durable.
pub(super) async fn take(desk: &Desk, hook: &Hook<'_>) -> Result<(), HookError> {
    let callback = hook.callback(&desk.with.public_url);
    let receipts = hook.caller.provider.status(&callback).map_err(HookError::Refused)?;
    let deadline = Instant::now() + EARLY_TIMEOUT;
    for receipt in receipts {
        record(desk, hook, receipt, deadline).await?;
    }
    Ok(())
}

async fn record(
    desk: &Desk,
    hook: &Hook<'_>,
    receipt: Receipt,
    deadline: Instant,
) -> Result<(), HookError> {
    let (state, reason) = (receipt.state, receipt.reason);
    let report = ProviderReport {
        upstream: hook.upstream.clone(),
        provider_id: receipt.provider_id,
        message: hook.proven_message.or(receipt.message),
        is_proven: hook.proven_message.is_some(),
        state,
        reason,
        code: receipt.code,
        at: hook.now,
    };
    let names_nothing = report.provider_id.is_none() && report.message.is_none();
    let reported = match names_nothing {
        true => Reported::Unknown,
        false => settled(desk, report, deadline).await?,
    };
    match reported {
        Reported::Changed(id) => {
            telemetry::record::feedback(kind(state));
            tracing::info!(%id, upstream = %hook.upstream, state = kind(state), "receipt");
            if reason == Some(FailureReason::OptedOut) {
                opted_out(desk, hook, id).await?;
            }
            Ok(())
        }
        // A crash may have come between the first time and this.
        Reported::Unchanged(id) if reason == Some(FailureReason::OptedOut) => {
            opted_out(desk, hook, id).await
        }
        Reported::Unchanged(_) => Ok(()),
        Reported::TooEarly => {
            telemetry::record::feedback("early");
            Err(HookError::NotNow)
        }
        Reported::Unknown => {
            // Said with success all the same: a refusal would tell which ids are ours, and the
            // provider would come again for nothing.
            telemetry::record::feedback("unknown");
            Ok(())
        }
    }
}

/// Reports until it is no longer too early, or the deadline is there.
async fn settled(
    desk: &Desk,
    report: ProviderReport,
    deadline: Instant,
) -> Result<Reported, HookError> {
    let archive = &desk.with.archive;
    let mut journal = archive.journal();
    let (mut place, mut pause) = (None, FIRST_PAUSE);
    loop {
        // Seen before the look, so that what is committed during it ends the wait.
        journal.borrow_and_update();
        let reported = archive.report(report.clone()).await?;
        if reported != Reported::TooEarly || Instant::now() >= deadline {
            return Ok(reported);
        }
        if place.is_none() {
            let waiting = desk.waiting.clone().try_acquire_owned();
            place = Some(waiting.map_err(|_| HookError::NotNow)?);
        }
        // On a busy journal not every commit is worth a look.
        let next = (Instant::now() + pause).min(deadline);
        pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep_until(next).await;
        // A second's silence is looked behind as well: a lost wake-up must not cost the receipt.
        let until = (Instant::now() + LONGEST_PAUSE).min(deadline);
        if let Ok(Err(_)) = tokio::time::timeout_at(until, journal.changed()).await {
            return Err(HookError::NotNow);
        }
    }
}

/// The provider knows that this person must not be written to; from here on we do too.
async fn opted_out(desk: &Desk, hook: &Hook<'_>, id: MessageId) -> Result<(), HookError> {
    let message = desk.with.archive.message(id)?;
    let Some(sms) = message.as_ref().and_then(|message| message.medium.sms()) else {
        return Ok(());
    };
    let entry = Suppression {
        channel: Channel::Sms,
        recipient: sms.destination.to_string(),
        originator: sms.originator.as_ref().map(ToString::to_string),
        reason: "opted out at the provider".to_owned(),
        by: format!("upstream {}", hook.upstream),
        at: hook.now,
        expires_at: None,
    };
    if desk.with.archive.suppress(entry).await? {
        tracing::info!(%id, upstream = %hook.upstream, "suppressed");
    }
    Ok(())
}

fn kind(state: ReceiptState) -> &'static str {
    match state {
        ReceiptState::Underway => "underway",
        ReceiptState::Delivered => "delivered",
        ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => "failed",
    }
}
