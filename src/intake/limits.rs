//! How many messages an app may submit: a token bucket for the minute and one for the day.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::model::AppName;
use crate::policy::Apps;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The buckets of every app that has a limit.
pub(super) struct Limits(HashMap<AppName, Vec<(&'static str, DefaultDirectRateLimiter)>>);

impl Limits {
    pub(super) fn new(apps: &Apps) -> Limits {
        let buckets = apps.0.iter().map(|app| {
            let minute = app.rate.per_minute.and_then(NonZeroU32::new).map(Quota::per_minute);
            // A bucket that refills one token each fraction of a day, and holds a day's worth.
            let day = app.rate.per_day.and_then(NonZeroU32::new).and_then(|per_day| {
                Some(Quota::with_period(DAY / per_day.get())?.allow_burst(per_day))
            });
            let quotas = [("limit per minute", minute), ("limit per day", day)];
            let limiters = quotas
                .into_iter()
                .filter_map(|(name, quota)| Some((name, RateLimiter::direct(quota?))));
            (app.name.clone(), limiters.collect())
        });
        Limits(buckets.collect())
    }

    /// Counts one message; the error names the limit that it would break.
    pub(super) fn check(&self, app: &AppName) -> Result<(), &'static str> {
        for (name, limiter) in self.0.get(app).into_iter().flatten() {
            if limiter.check().is_err() {
                return Err(name);
            }
        }
        Ok(())
    }

    /// Counts the messages of one call, all or none; the error says when to come back.
    pub(super) fn check_all(&self, app: &AppName, count: NonZeroU32) -> Result<(), Duration> {
        for (_, limiter) in self.0.get(app).into_iter().flatten() {
            match limiter.check_n(count) {
                Ok(Ok(())) => {}
                Ok(Err(until)) => return Err(until.wait_time_from(limiter.clock().now())),
                // More at one time than the limit ever grants.
                Err(_) => return Err(DAY),
            }
        }
        Ok(())
    }
}
