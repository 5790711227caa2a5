//! What an app may do with SMS: its accounts, its originators, where its callbacks may go.
//!
//! Pure comparisons over settings. Whether an address is a public one is `net`'s, when it is called.

use url::Url;
use wildmatch::WildMatch;

use super::app::AddressPattern;
use crate::model::{Dialect, Originator};
use crate::sms::number::Country;
use crate::sms::{SmsAccounts, account::CallbackUrls};

/// The SMS part of an `[[app]]`.
#[derive(Clone, Debug, Default)]
pub struct SmsPolicy {
    pub accounts: SmsAccounts,
    /// Where the callbacks that its messages name may go, and nowhere else; empty means public
    /// addresses only.
    pub callbacks: Vec<UrlPattern>,
    /// What it may send as; empty means anything.
    pub originators: Vec<AddressPattern>,
    /// The country of numbers that are written without one.
    pub country: Country,
}

/// A URL with `*` for any text: `https://erp.example.com/*`. What stands for the host is held against
/// the host alone, or `https://*.example.com/*` would be at every host that has such a path.
#[derive(Clone, Debug)]
pub struct UrlPattern {
    whole: WildMatch,
    authority: WildMatch,
}

impl UrlPattern {
    /// Any text is a pattern.
    pub fn new(pattern: &str) -> UrlPattern {
        let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
        let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
        UrlPattern { whole: WildMatch::new(pattern), authority: WildMatch::new(authority) }
    }

    /// Whether the whole URL, in its normal form, matches. One with a user name never does: what looks
    /// like its host may be none.
    pub fn matches(&self, url: &Url) -> bool {
        let has_userinfo = !url.username().is_empty() || url.password().is_some();
        !has_userinfo && self.whole.matches(url.as_str()) && self.authority.matches(url.authority())
    }
}

/// Where a callback that a message names may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackReach {
    /// To a public address, over TLS.
    Public,
    /// To wherever the URL leads: the configuration names it.
    Listed,
}

impl SmsPolicy {
    /// How far a callback to this URL may reach; `None` is nowhere. Whoever accepts a message and
    /// whoever calls back ask the same, so that nothing is accepted that is never called.
    pub fn callback_reach(&self, url: &Url) -> Option<CallbackReach> {
        if self.callbacks.is_empty() {
            return Some(CallbackReach::Public);
        }
        self.callbacks.iter().any(|pattern| pattern.matches(url)).then_some(CallbackReach::Listed)
    }

    /// Whether it may use this originator.
    pub fn may_send_as(&self, originator: &Originator) -> bool {
        let text = originator.to_string();
        self.originators.is_empty() || self.originators.iter().any(|p| p.matches(&text))
    }

    /// The callbacks of one dialect's account.
    pub fn callback_urls(&self, dialect: Dialect) -> Option<&CallbackUrls> {
        let accounts = &self.accounts;
        match dialect {
            Dialect::Twilio => accounts.twilio.as_ref().map(|account| &account.callbacks),
            Dialect::Vonage => accounts.vonage.as_ref().map(|account| &account.callbacks),
            Dialect::Kannel => accounts.kannel.as_ref().map(|account| &account.callbacks),
            Dialect::GatewayApi => accounts.gatewayapi.as_ref().map(|account| &account.callbacks),
            Dialect::Waybill => accounts.waybill.as_ref().map(|account| &account.callbacks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, url: &str, expected: bool) {
        let url = Url::parse(url).unwrap();
        assert_eq!(UrlPattern::new(pattern).matches(&url), expected, "{pattern} {url}");
    }

    #[test]
    fn a_star_in_the_host_stays_in_the_host() {
        let pattern = "https://*.example.com/*";
        check(pattern, "https://169.254.169.254/.example.com/", false);
        check(pattern, "https://10.0.0.1:8025/x.example.com/api", false);
        check(pattern, "https://evil.test/?x=.example.com/", false);
        check(pattern, "https://evil.test/a/b.example.com/", false);
        check(pattern, "https://a.example.com@10.0.0.1/", false);
        check(pattern, "https://a.example.com.evil.test/", false);
        check(pattern, "http://a.example.com/", false);
        check("https://erp.example.com:*/hook", "https://erp.example.com/x:/hook", false);
        check("*://*.example.com/*", "http://127.0.0.1/://a.example.com/", false);
        check(pattern, "https://a.example.com/", true);
        check(pattern, "https://a.b.example.com/x/y?z=1", true);
        check("http://127.0.0.1:*", "http://127.0.0.1:4711/x?y=/", true);
        check("https://erp.example.com*", "https://erp.example.com/x", true);
        check("*://*/hook", "http://10.0.0.5:8080/a/hook", true);
    }

    #[test]
    fn a_list_of_callbacks_is_all_there_is() {
        let policy = |patterns: &[&str]| SmsPolicy {
            callbacks: patterns.iter().map(|pattern| UrlPattern::new(pattern)).collect(),
            ..SmsPolicy::default()
        };
        let check = |patterns: &[&str], url: &str, expected| {
            let reach = policy(patterns).callback_reach(&Url::parse(url).unwrap());
            assert_eq!(reach, expected, "{patterns:?} {url}");
        };
        let listed = ["http://10.0.0.5:8080/*", "https://erp.example.com/*"];
        check(&listed, "https://other.example/sms", None);
        check(&listed, "http://user@10.0.0.5:8080/sms", None);
        check(&listed, "http://10.0.0.5:8080/sms", Some(CallbackReach::Listed));
        check(&listed, "https://erp.example.com/sms", Some(CallbackReach::Listed));
        check(&[], "https://other.example/sms", Some(CallbackReach::Public));
    }
}
