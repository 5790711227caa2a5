//! How long an application has to come back: the waits between attempts to tell it something.
//!
//! Takes how often it was tried and gives the next wait, or says that it is over. Whose turn it is and what
//! an answer means is `courier`'s and `attempt`'s.

use std::time::Duration;

/// GatewayAPI's waits, which its applications count on; the others' are shorter.
const WAITS: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(360),
    Duration::from_secs(24 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(12 * 3600),
];

/// The wait before the next attempt after one that failed; `attempts` were made before that one.
/// `None`: it is given up.
pub(super) fn wait_after(attempts: u32) -> Option<Duration> {
    WAITS.get(usize::try_from(attempts).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_attempts_are_made_within_fifteen_hours() {
        let waits: Vec<u64> = (0..8).map_while(wait_after).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [60, 120, 360, 1_440, 7_200, 43_200]);
        assert!(waits.iter().sum::<u64>() < 15 * 3600);
        assert_eq!(wait_after(u32::MAX), None);
    }
}
