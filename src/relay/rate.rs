//! Paces what goes to one upstream.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The configured rate of an upstream; `None` is no limit.
pub(super) struct Rate(Option<DefaultDirectRateLimiter>);

impl Rate {
    pub(super) fn new(per_second: Option<u32>) -> Rate {
        Rate(per_second.and_then(NonZeroU32::new).map(limiter))
    }

    pub(super) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the rate allows one more, and counts it.
    pub(super) async fn turn(&self) {
        if let Some(limiter) = &self.0 {
            limiter.until_ready().await;
        }
    }
}

/// Paces evenly: a burst of a hundredth of a second's worth at most, so that no window of a second
/// holds more than a hundredth above the limit.
fn limiter(per_second: NonZeroU32) -> DefaultDirectRateLimiter {
    let burst = NonZeroU32::new(per_second.get() / 100).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst))
}
