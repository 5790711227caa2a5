//! Who was there: the judgement of the hits on one recipient's pixel and links.
//!
//! Takes the raw facts of all hits that are kept of one recipient, in the order in which they came, and
//! gives a verdict with its reasons for each, and what they come to. Pure, and the same facts always give
//! the same verdicts, so they can be judged again when this file learns more: then [`JUDGEMENT_VERSION`]
//! grows. Each hit is judged alone first; then bursts over several links, and what the same client did
//! beside them, make machines of what looked like persons, and a later click makes a person of what was
//! not known. An open is never more than an open: images are fetched by whoever likes.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use super::agent::{self, AgentKind};
use crate::model::hit::{BEFORE_DELIVERY, HONEYPOT_LINK};
use crate::model::{Engagement, Hit, HitKind, HitMethod, Visitor};

/// Of the rules in this file.
pub const JUDGEMENT_VERSION: u8 = 2;

/// No person has a message in front of them so soon after the upstream took it.
const TOO_SOON: Duration = Duration::from_secs(2);
/// So many different links in so short a time are followed by no hand.
const BURST_LINKS: usize = 3;
const BURST: Duration = Duration::from_secs(5);
/// Two already, when they come at once.
const PAIR: Duration = Duration::from_millis(700);
/// What a client did that showed itself as a machine counts for its other hits so long.
const SAME_CLIENT: Duration = Duration::from_secs(600);
/// From which Apple's proxies fetch, where they do not go through those of others.
const APPLE: [u8; 1] = [17];

/// Why a hit was judged so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    HeadRequest,
    Prefetch,
    HiddenLink,
    ScannerAgent,
    ImageProxyAgent,
    BareAgent,
    NoAgent,
    UnknownAgent,
    AppleNetwork,
    BeforeDelivery,
    TooSoon,
    ManyLinks,
    SameClient,
    ProgramAgent,
    ClickedLater,
    ToldByProvider,
}

impl Reason {
    /// In words; what is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HeadRequest => "asked for the header alone",
            Reason::Prefetch => "fetched ahead",
            Reason::HiddenLink => "followed a hidden link",
            Reason::ScannerAgent => "names itself a program",
            Reason::ImageProxyAgent => "names itself an image proxy",
            Reason::BareAgent => "names no program, as privacy proxies do",
            Reason::NoAgent => "names nothing",
            Reason::UnknownAgent => "names an unknown program",
            Reason::AppleNetwork => "comes from Apple's network",
            Reason::BeforeDelivery => "came before the message was delivered",
            Reason::TooSoon => "came within two seconds",
            Reason::ManyLinks => "several links at once",
            Reason::SameClient => "the same client followed several links at once",
            Reason::ProgramAgent => "names a browser or mail program",
            Reason::ClickedLater => "a person clicked later",
            Reason::ToldByProvider => "the provider says so",
        }
    }
}

/// What one hit was judged to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub visitor: Visitor,
    pub reasons: Vec<Reason>,
}

impl Verdict {
    fn new(visitor: Visitor, reason: Reason) -> Verdict {
        Verdict { visitor, reasons: vec![reason] }
    }

    fn turn(&mut self, visitor: Visitor, reason: Reason) {
        self.visitor = visitor;
        self.reasons.push(reason);
    }
}

/// One verdict for each hit. The number of hits is bounded by whoever keeps them: each is held against
/// each.
pub fn judge_hits(hits: &[Hit]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = hits.iter().map(alone).collect();
    for (hit, verdict) in hits.iter().zip(&mut verdicts) {
        if !verdict.visitor.is_automated() && is_in_burst(hit, hits) {
            verdict.turn(Visitor::Scanner, Reason::ManyLinks);
        }
    }
    let exposed: Vec<&Hit> =
        hits.iter().zip(&verdicts).filter(is_exposed).map(|(h, _)| h).collect();
    for (hit, verdict) in hits.iter().zip(&mut verdicts) {
        let is_same = exposed.iter().any(|other| is_same_client(hit, other));
        if !verdict.visitor.is_automated() && is_same {
            verdict.turn(Visitor::Scanner, Reason::SameClient);
        }
    }
    let is_persons_click = |(hit, verdict): &(&Hit, &Verdict)| {
        matches!(hit.kind, HitKind::Click { .. }) && verdict.visitor == Visitor::Person
    };
    let clicked_at =
        hits.iter().zip(&verdicts).filter(is_persons_click).map(|(hit, _)| hit.at).max();
    for (hit, verdict) in hits.iter().zip(&mut verdicts) {
        if verdict.visitor == Visitor::Unknown && clicked_at.is_some_and(|at| at >= hit.at) {
            verdict.turn(Visitor::Person, Reason::ClickedLater);
        }
    }
    verdicts
}

/// By its own facts.
fn alone(hit: &Hit) -> Verdict {
    let is_click = matches!(hit.kind, HitKind::Click { .. });
    let agent = agent::kind(&hit.user_agent);
    if hit.method == HitMethod::Head {
        Verdict::new(Visitor::Scanner, Reason::HeadRequest)
    } else if hit.purpose.as_deref().is_some_and(is_ahead) {
        Verdict::new(Visitor::Scanner, Reason::Prefetch)
    } else if hit.kind == (HitKind::Click { link: HONEYPOT_LINK }) {
        Verdict::new(Visitor::Scanner, Reason::HiddenLink)
    } else if let Some(is_automated) = hit.told_automated {
        let visitor = match (is_automated, is_click) {
            (true, false) => Visitor::PrivacyProxy,
            (true, true) => Visitor::Scanner,
            (false, _) => Visitor::Unknown,
        };
        match is_automated {
            true => Verdict::new(visitor, Reason::ToldByProvider),
            false => by_agent(hit, agent, is_click),
        }
    } else {
        by_agent(hit, agent, is_click)
    }
}

fn by_agent(hit: &Hit, agent: AgentKind, is_click: bool) -> Verdict {
    match agent {
        AgentKind::Scanner => return Verdict::new(Visitor::Scanner, Reason::ScannerAgent),
        AgentKind::ImageProxy if !is_click => {
            return Verdict::new(Visitor::ImageProxy, Reason::ImageProxyAgent);
        }
        AgentKind::Bare if !is_click => {
            return Verdict::new(Visitor::PrivacyProxy, Reason::BareAgent);
        }
        AgentKind::Absent
        | AgentKind::ImageProxy
        | AgentKind::Bare
        | AgentKind::Program
        | AgentKind::Unknown => {}
    }
    if !is_click && hit.client.is_some_and(is_apples) {
        return Verdict::new(Visitor::PrivacyProxy, Reason::AppleNetwork);
    }
    // What a provider tells of has no time of ours.
    let is_ours = hit.told_automated.is_none();
    match hit.delay_ms {
        Some(BEFORE_DELIVERY) if is_ours => {
            return Verdict::new(Visitor::Scanner, Reason::BeforeDelivery);
        }
        Some(delay) if is_ours && delay < TOO_SOON.as_millis() as i64 => {
            return Verdict::new(Visitor::Scanner, Reason::TooSoon);
        }
        None | Some(_) => {}
    }
    match agent {
        AgentKind::Program => Verdict::new(Visitor::Person, Reason::ProgramAgent),
        AgentKind::Absent => Verdict::new(Visitor::Unknown, Reason::NoAgent),
        AgentKind::Bare => Verdict::new(Visitor::Unknown, Reason::BareAgent),
        AgentKind::ImageProxy => Verdict::new(Visitor::Unknown, Reason::ImageProxyAgent),
        AgentKind::Unknown | AgentKind::Scanner => {
            Verdict::new(Visitor::Unknown, Reason::UnknownAgent)
        }
    }
}

/// `prefetch`, `prefetch;prerender`, `preview`, of any of the fields in which it is said.
fn is_ahead(purpose: &str) -> bool {
    let purpose = purpose.to_ascii_lowercase();
    ["prefetch", "prerender", "preview", "instant"].iter().any(|word| purpose.contains(word))
}

fn is_apples(client: IpNet) -> bool {
    match client {
        IpNet::V4(network) => network.addr().octets().starts_with(&APPLE),
        IpNet::V6(_) => false,
    }
}

fn is_in_burst(hit: &Hit, hits: &[Hit]) -> bool {
    let HitKind::Click { link } = hit.kind else { return false };
    let (mut links, mut is_pair) = (BTreeSet::new(), false);
    for other in hits {
        let HitKind::Click { link: other_link } = other.kind else { continue };
        let apart = hit.at.as_millis().abs_diff(other.at.as_millis());
        if u128::from(apart) <= BURST.as_millis() {
            links.insert(other_link);
        }
        is_pair |= link != other_link && u128::from(apart) <= PAIR.as_millis();
    }
    is_pair || links.len() >= BURST_LINKS
}

/// Whether a hit shows what kind of client made it.
fn is_exposed((_, verdict): &(&Hit, &Verdict)) -> bool {
    verdict.reasons.iter().any(|reason| matches!(reason, Reason::ManyLinks | Reason::HiddenLink))
}

fn is_same_client(hit: &Hit, other: &Hit) -> bool {
    let apart = hit.at.as_millis().abs_diff(other.at.as_millis());
    hit.client.is_some()
        && hit.client == other.client
        && hit.user_agent == other.user_agent
        && u128::from(apart) <= SAME_CLIENT.as_millis()
}

/// What all hits come to. Those that only asked for the header count for nothing.
pub fn engagement(hits: &[Hit], verdicts: &[Verdict]) -> Engagement {
    let mut sum = Engagement::default();
    for (hit, verdict) in hits.iter().zip(verdicts) {
        let is_automated = verdict.visitor.is_automated();
        if hit.method == HitMethod::Head {
            continue;
        }
        let earlier = |at: Option<_>| Some(at.map_or(hit.at, |at| hit.at.min(at)));
        match (hit.kind, is_automated) {
            (HitKind::Open, true) => sum.automated_opens += 1,
            (HitKind::Open, false) => {
                sum.opens += 1;
                sum.opened_at = earlier(sum.opened_at);
            }
            (HitKind::Click { .. }, true) => sum.automated_clicks += 1,
            (HitKind::Click { .. }, false) => {
                sum.clicks += 1;
                sum.clicked_at = earlier(sum.clicked_at);
            }
        }
    }
    let told = hits.iter().zip(verdicts).rev().filter(|(_, v)| !v.visitor.is_automated());
    sum.device = told.filter_map(|(hit, _)| agent::device(&hit.user_agent)).next();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

    /// A person's hit, `ms` after the delivery.
    fn hit(kind: HitKind, ms: i64) -> Hit {
        Hit {
            kind,
            at: Timestamp::from_millis(1_700_000_000_000 + ms),
            client: Some("192.0.2.0/24".parse().unwrap()),
            user_agent: CHROME.into(),
            method: HitMethod::Get,
            purpose: None,
            delay_ms: Some(ms),
            told_automated: None,
        }
    }

    fn open(ms: i64) -> Hit {
        hit(HitKind::Open, ms)
    }

    fn click(link: u16, ms: i64) -> Hit {
        hit(HitKind::Click { link }, ms)
    }

    fn named(agent: &str, mut hit: Hit) -> Hit {
        hit.user_agent = agent.into();
        hit
    }

    fn check(hit: Hit, visitor: Visitor, reason: Reason) {
        assert_eq!(
            judge_hits(std::slice::from_ref(&hit)),
            [Verdict::new(visitor, reason)],
            "{hit:?}"
        );
    }

    #[test]
    fn one_hit_is_judged_by_its_own_facts() {
        use Visitor::{ImageProxy, Person, PrivacyProxy, Scanner, Unknown};
        check(Hit { method: HitMethod::Head, ..open(60_000) }, Scanner, Reason::HeadRequest);
        let ahead = Some("prefetch;anonymous-client-ip".to_owned());
        check(Hit { purpose: ahead, ..click(1, 60_000) }, Scanner, Reason::Prefetch);
        check(Hit { purpose: Some("Preview".into()), ..open(60_000) }, Scanner, Reason::Prefetch);
        check(click(HONEYPOT_LINK, 60_000), Scanner, Reason::HiddenLink);
        check(named("curl/8.5.0", open(60_000)), Scanner, Reason::ScannerAgent);
        let before = Some(BEFORE_DELIVERY);
        check(Hit { delay_ms: before, ..open(60_000) }, Scanner, Reason::BeforeDelivery);
        // When it left is not known, so its delay says nothing.
        check(Hit { delay_ms: None, ..open(60_000) }, Person, Reason::ProgramAgent);
        check(click(1, -5), Scanner, Reason::TooSoon);
        check(click(1, 1_999), Scanner, Reason::TooSoon);
        check(click(1, 2_000), Person, Reason::ProgramAgent);
        check(named("Mozilla/5.0", open(500)), PrivacyProxy, Reason::BareAgent);
        check(named("Mozilla/5.0", click(1, 60_000)), Unknown, Reason::BareAgent);
        let apple = Some("17.58.0.0/24".parse().unwrap());
        check(Hit { client: apple, ..open(60_000) }, PrivacyProxy, Reason::AppleNetwork);
        check(Hit { client: apple, ..click(1, 60_000) }, Person, Reason::ProgramAgent);
        let gmail = "Mozilla/5.0 (via ggpht.com GoogleImageProxy)";
        check(named(gmail, open(500)), ImageProxy, Reason::ImageProxyAgent);
        check(named("", open(60_000)), Unknown, Reason::NoAgent);
        check(named("Exotic/1", open(60_000)), Unknown, Reason::UnknownAgent);
        check(open(60_000), Person, Reason::ProgramAgent);
        let safe_links = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0";
        check(named(safe_links, click(1, 800)), Scanner, Reason::TooSoon);
        check(named("Barracuda Sentinel (EE)", click(1, 9_000)), Scanner, Reason::ScannerAgent);
        let slack = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)";
        check(named(slack, click(1, 90_000)), Scanner, Reason::ScannerAgent);
        let early = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
        check(named(early, open(9_000)), Scanner, Reason::ScannerAgent);
        let yahoo = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
        check(named(yahoo, open(60_000)), ImageProxy, Reason::ImageProxyAgent);
        let told = |is_automated, hit| Hit { told_automated: Some(is_automated), ..hit };
        check(told(true, open(60_000)), PrivacyProxy, Reason::ToldByProvider);
        check(told(true, click(1, 60_000)), Scanner, Reason::ToldByProvider);
        check(Hit { delay_ms: None, ..told(false, open(0)) }, Person, Reason::ProgramAgent);
    }

    fn visitors(hits: &[Hit]) -> Vec<Visitor> {
        judge_hits(hits).into_iter().map(|verdict| verdict.visitor).collect()
    }

    #[test]
    fn who_follows_all_links_at_once_is_a_machine() {
        use Visitor::{Person, Scanner};
        let burst = [click(1, 60_000), click(2, 61_000), click(3, 62_000)];
        assert_eq!(visitors(&burst), [Scanner; 3]);
        assert_eq!(visitors(&burst[..2]), [Person; 2]);
        assert_eq!(visitors(&[click(1, 60_000), click(2, 60_300)]), [Scanner; 2]);
        // The same link three times is an impatient person.
        assert_eq!(visitors(&[click(1, 60_000), click(1, 60_100), click(1, 60_200)]), [Person; 3]);
        // Slowly is a person too.
        assert_eq!(visitors(&[click(1, 60_000), click(2, 70_000), click(3, 80_000)]), [Person; 3]);
        // What the same client opened beside it was no person either; somebody else may be one.
        let other = Hit { client: Some("198.51.100.0/24".parse().unwrap()), ..open(90_000) };
        let far = open(60_000 + 11 * 60_000);
        let hits = [burst.to_vec(), vec![open(63_000), other, far]].concat();
        assert_eq!(visitors(&hits), [Scanner, Scanner, Scanner, Scanner, Person, Person]);
        assert_eq!(visitors(&[open(59_000), click(HONEYPOT_LINK, 60_000)]), [Scanner; 2]);
    }

    #[test]
    fn a_later_click_makes_a_person_of_an_unknown() {
        use Visitor::{Person, Scanner, Unknown};
        let unknown = named("Exotic/1", open(60_000));
        assert_eq!(visitors(&[unknown.clone(), click(1, 90_000)]), [Person, Person]);
        assert_eq!(visitors(&[click(1, 30_000), unknown.clone()]), [Person, Unknown]);
        assert_eq!(visitors(&[unknown, named("curl/8", click(1, 90_000))]), [Unknown, Scanner]);
    }

    #[test]
    fn opens_and_clicks_are_counted_by_person_and_machine() {
        let hits = [
            named("Mozilla/5.0", open(500)),
            Hit { method: HitMethod::Head, ..click(1, 1_000) },
            open(60_000),
            open(70_000),
            click(1, 80_000),
            named("curl/8.5.0", click(1, 90_000)),
        ];
        let sum = engagement(&hits, &judge_hits(&hits));
        let at = |ms: i64| Some(Timestamp::from_millis(1_700_000_000_000 + ms));
        let expected = Engagement {
            opened_at: at(60_000),
            opens: 2,
            automated_opens: 1,
            clicked_at: at(80_000),
            clicks: 1,
            automated_clicks: 1,
            device: Some("Chrome on Windows".into()),
            read_at: None,
        };
        assert_eq!(sum, expected);
        assert_eq!(engagement(&[], &[]), Engagement::default());
    }
}
