//! Who is being called now, and who did not answer a moment ago.
//!
//! Takes the time, gives verdicts. A host has few places, so that a slow one holds no more than these. After several
//! calls in a row without any response it rests: what is due for it moves on its ladder without a
//! call, so that its backlog can not hide what is due for others. Only hosts that are called or
//! rest are remembered, in bounded number.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::Timestamp;

/// Calls to one host at one time.
const MAX_PER_HOST: usize = 2;
/// Calls in a row without a response after which a host rests.
const SILENCE: u32 = 3;
const REST: Duration = Duration::from_secs(60);
/// Hosts with trouble that are remembered beside those that are called now.
const MAX_HOSTS: usize = 4_096;

/// What may be done for a host now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A call; the place is taken.
    Call,
    /// All of its places are taken.
    Busy,
    /// It rests until then.
    Rests(Timestamp),
}

/// The hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, Host>);

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    calls: usize,
    silent: u32,
    rests_until: Option<Timestamp>,
}

impl Hosts {
    /// Asks for a place. Whoever got one gives it back with `ended`.
    pub(super) fn begin(&mut self, host: &str, now: Timestamp) -> Turn {
        if !self.0.contains_key(host) && self.0.len() >= MAX_HOSTS {
            // Forgetting trouble costs a few calls more.
            self.0.retain(|_, host| host.calls > 0);
        }
        let host = self.0.entry(host.to_owned()).or_default();
        // A clock that went back must not make a rest longer.
        if let Some(until) =
            host.rests_until.filter(|until| *until > now && *until <= now.plus(REST))
        {
            return Turn::Rests(until);
        }
        if host.calls >= MAX_PER_HOST {
            return Turn::Busy;
        }
        host.calls += 1;
        Turn::Call
    }

    /// A call ended; `answered` when there was any response.
    pub(super) fn ended(&mut self, name: &str, answered: bool, now: Timestamp) {
        let Some(host) = self.0.get_mut(name) else { return };
        host.calls = host.calls.saturating_sub(1);
        if answered {
            *host = Host { calls: host.calls, ..Host::default() };
        } else {
            host.silent = host.silent.saturating_add(1);
            if host.silent >= SILENCE {
                host.rests_until = Some(now.plus(REST));
            }
        }
        if host.calls == 0 && host.silent == 0 {
            self.0.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_host_has_its_own_places() {
        let mut hosts = Hosts::default();
        assert_eq!(hosts.begin("a", at(0)), Turn::Call);
        assert_eq!(hosts.begin("a", at(0)), Turn::Call);
        assert_eq!(hosts.begin("a", at(0)), Turn::Busy);
        assert_eq!(hosts.begin("b", at(0)), Turn::Call);
        hosts.ended("a", true, at(1));
        assert_eq!(hosts.begin("a", at(1)), Turn::Call);
        hosts.ended("b", true, at(1));
        assert!(!hosts.0.contains_key("b"), "nothing is remembered of a host that is well");
    }

    #[test]
    fn a_silent_host_rests_and_is_tried_again() {
        let mut hosts = Hosts::default();
        for _ in 0..SILENCE {
            assert_eq!(hosts.begin("a", at(0)), Turn::Call);
            hosts.ended("a", false, at(0));
        }
        assert_eq!(hosts.begin("a", at(59)), Turn::Rests(at(60)));
        assert_eq!(hosts.begin("b", at(59)), Turn::Call);
        assert_eq!(hosts.begin("a", at(60)), Turn::Call);
        hosts.ended("a", false, at(61));
        assert_eq!(hosts.begin("a", at(62)), Turn::Rests(at(121)), "one more silence is enough");
        assert_eq!(hosts.begin("a", at(0)), Turn::Call, "the clock went back");
        hosts.ended("a", true, at(0));
        assert!(!hosts.0.contains_key("a"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut hosts = Hosts::default();
        for number in 0..MAX_HOSTS + 10 {
            let name = number.to_string();
            assert_eq!(hosts.begin(&name, at(0)), Turn::Call);
            hosts.ended(&name, false, at(0));
        }
        assert!(hosts.0.len() <= MAX_HOSTS);
    }
}
