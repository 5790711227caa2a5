//! SMS that come in: joined where they came in parts, obeyed where they are keywords, archived, and
//! only then answered.
//!
//! A callback that can not be made durable now is asked to come again, and one that comes again adds
//! nothing. Which app it belongs to is `intake`'s, and who is told of it `flow`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::hooks::{Hook, HookError};
use super::parts::{Fate, Gathered, JOIN_TIMEOUT, Placed, joined};
use super::{Desk, keywords, masking};
use crate::archive::{Accepted, ArchiveError};
use crate::intake::SmsArrival;
use crate::sms::provider::Inbound;
use crate::telemetry;

/// How long the callback of a part waits for the other parts. Then it is asked to come again, and the
/// part is remembered meanwhile: providers give up after 10 to 15 seconds.
const PART_TIMEOUT: Duration = Duration::from_secs(8);

/// Reads and archives an inbound callback; returns when everything in it is durable.
pub(super) async fn take(desk: &Arc<Desk>, hook: &Hook<'_>) -> Result<(), HookError> {
    let callback = hook.callback(&desk.with.public_url);
    let found = hook.caller.provider.inbound(&callback).map_err(HookError::Refused)?;
    if found.is_empty() {
        return Ok(());
    }
    let raw = masking::masked(&hook.request);
    for inbound in found {
        let arrival = SmsArrival {
            upstream: hook.upstream.clone(),
            inbound,
            raw: raw.clone(),
            client: hook.peer,
            received_at: hook.now,
        };
        place(desk, arrival).await?;
    }
    Ok(())
}

async fn place(desk: &Arc<Desk>, arrival: SmsArrival) -> Result<(), HookError> {
    if is_known_part(desk, &arrival.inbound)? {
        return Ok(());
    }
    match desk.parts.place(arrival) {
        Placed::Alone(arrival) => Ok(arrive(desk, *arrival).await?),
        Placed::Complete(gathered) => Ok(settle(desk, gathered).await?),
        Placed::Waits { fate, first } => {
            if let Some((key, number)) = first {
                let desk = desk.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(JOIN_TIMEOUT).await;
                    let Some(gathered) = desk.parts.gather(&key, number) else { return };
                    if let Err(error) = settle(&desk, gathered).await {
                        tracing::error!(%error, "parts of an inbound SMS could not be stored");
                    }
                });
            }
            wait(desk, fate).await
        }
    }
}

fn is_known_part(desk: &Desk, inbound: &Inbound) -> Result<bool, ArchiveError> {
    match inbound.concatenation {
        Some(_) => desk.with.intake.received_part(inbound),
        None => Ok(false),
    }
}

async fn wait(desk: &Desk, mut fate: watch::Receiver<Fate>) -> Result<(), HookError> {
    let place = desk.waiting.clone().try_acquire_owned();
    let _place = place.map_err(|_| HookError::NotNow)?;
    let settled = fate.wait_for(|fate| *fate != Fate::Waiting);
    match tokio::time::timeout(PART_TIMEOUT, settled).await {
        Ok(Ok(fate)) if *fate == Fate::Durable => Ok(()),
        Ok(_) | Err(_) => Err(HookError::NotNow),
    }
}

/// Archives what was gathered: as one message when it is whole, else part by part; then tells those
/// who wait.
async fn settle(desk: &Desk, gathered: Gathered) -> Result<(), ArchiveError> {
    let Gathered { parts, fate } = gathered;
    let stored = store(desk, parts).await;
    fate.send_replace(if stored.is_ok() { Fate::Durable } else { Fate::Failed });
    stored
}

async fn store(desk: &Desk, parts: Vec<SmsArrival>) -> Result<(), ArchiveError> {
    let total = parts.first().and_then(|part| part.inbound.concatenation.as_ref());
    let is_whole = total.is_some_and(|of| usize::from(of.total) == parts.len());
    if let Some(whole) = joined(&parts).filter(|_| is_whole) {
        return arrive(desk, whole).await;
    }
    for part in parts {
        // It may have been resent while the whole was being stored.
        if !is_known_part(desk, &part.inbound)? {
            arrive(desk, part).await?;
        }
    }
    Ok(())
}

/// Archives one message. What a keyword asks for is done before, and what is answered to it after:
/// both may be cut off by a crash, and then the callback comes again and the first is repeated
/// without harm. A message that is archived already changes nothing.
async fn arrive(desk: &Desk, arrival: SmsArrival) -> Result<(), ArchiveError> {
    let intake = &desk.with.intake;
    if intake.received_before(&arrival.upstream, &arrival.inbound.provider_id)?.is_some() {
        return Ok(());
    }
    let apps = desk.with.apps.load_full();
    let obeyed = keywords::obey(desk, &arrival).await?;
    match intake.receive_sms(arrival.clone(), &apps).await? {
        Accepted::New(ids) => {
            telemetry::record::feedback("inbound");
            if let (Some(id), Some(obeyed)) = (ids.first(), obeyed) {
                keywords::confirm(desk, &arrival, id.get(), obeyed).await?;
            }
            Ok(())
        }
        Accepted::Repeated(_) | Accepted::Conflict => Ok(()),
    }
}
