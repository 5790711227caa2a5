//! An upstream of either channel, for those who do not care which it is: how many attempts it takes, how
//! it is doing, and its rate. The attempt itself is made on the relay of its own kind.

use std::time::Instant;

use super::sms_upstream::SmsRelay;
use super::upstream::{RelayState, SmtpRelay};

/// One upstream. Clones share everything.
#[derive(Clone, Debug)]
pub enum Relay {
    Smtp(SmtpRelay),
    Sms(SmsRelay),
}

impl Relay {
    /// How many attempts may run at one time.
    pub fn connections(&self) -> usize {
        match self {
            Relay::Smtp(relay) => relay.connections(),
            Relay::Sms(relay) => relay.connections(),
        }
    }

    /// Whether an attempt that starts now would be tried; false while the circuit breaker is open.
    pub fn is_available(&self, now: Instant) -> bool {
        match self {
            Relay::Smtp(relay) => relay.is_available(now),
            Relay::Sms(relay) => relay.is_available(now),
        }
    }

    /// How it is doing.
    pub fn state(&self) -> RelayState {
        match self {
            Relay::Smtp(relay) => relay.state(),
            Relay::Sms(relay) => relay.state(),
        }
    }

    /// Whether [`Relay::turn`] may have to wait.
    pub fn has_rate(&self) -> bool {
        match self {
            Relay::Smtp(relay) => relay.settings().rate_per_second.is_some(),
            Relay::Sms(relay) => relay.has_rate(),
        }
    }

    /// Waits until the rate allows one more, and counts it.
    pub async fn turn(&self) {
        match self {
            Relay::Smtp(relay) => relay.turn().await,
            Relay::Sms(relay) => relay.turn().await,
        }
    }

    /// Closes every idle connection, for a shutdown.
    pub async fn close_idle(&self) {
        match self {
            Relay::Smtp(relay) => relay.close_idle().await,
            Relay::Sms(relay) => relay.close_idle().await,
        }
    }
}
