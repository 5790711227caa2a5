//! `[[route]]`: which upstreams serve a recipient.

use super::address::UPSTREAM_NAME;
use super::kind::{Choice, List};
use super::pattern::{GLOB, Glob};
use super::problem::{Place, closest};
use super::section::Section;
use super::upstream::ReadUpstream;
use crate::model::{AppName, Channel, UpstreamName};
use crate::policy::{Route, Routes};

const CHANNEL: Choice<Channel> = Choice(&[("email", Channel::Email), ("sms", Channel::Sms)]);

/// What routes may name.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) apps: &'k [AppName],
    pub(super) upstreams: &'k [ReadUpstream],
}

struct ReadRoute {
    route: Route,
    /// All of the channel's recipients match.
    is_catch_all: bool,
    place: Place,
}

pub(super) fn read_routes(top: &Section<'_, '_>, known: Known<'_>) -> Routes {
    let routes = top.tables("route", |section| read_route(section, known));
    let routes: Vec<ReadRoute> = routes.into_iter().flatten().collect();
    for (index, read) in routes.iter().enumerate() {
        let covers = |earlier: &&ReadRoute| {
            let channel = earlier.route.channel;
            earlier.is_catch_all && (channel.is_none() || channel == read.route.channel)
        };
        if routes[..index].iter().find(covers).is_some() {
            let what = "this route is never reached, because one before it matches everything";
            top.context.report.warning(read.place.clone(), what, "put it before that one");
        }
    }
    let upstreams = known.upstreams.iter();
    let upstreams = upstreams.filter_map(|u| Some((u.channel?, u.name.clone()?))).collect();
    Routes { routes: routes.into_iter().map(|read| read.route).collect(), upstreams }
}

fn read_route(section: &Section<'_, '_>, known: Known<'_>) -> Option<ReadRoute> {
    let channel = section.optional("channel", &CHANNEL);
    let app = section.optional("app", &GLOB);
    let sender = section.optional("sender", &GLOB);
    let recipient = section.optional("recipient", &GLOB);
    let tag = section.optional("tag", &GLOB);
    let upstreams = section.required("upstreams", &List(UPSTREAM_NAME));
    if let Some(app) = &app {
        check_app(section, app, known.apps);
    }
    let upstreams = upstreams?;
    check_upstreams(section, &upstreams, known.upstreams);
    // Without a word about the channel it is that of the upstreams: a text message can not go
    // out by a smarthost.
    let channel = check_channel(section, channel, &upstreams, known.upstreams);
    if let Some(channel) = &channel {
        section.show("channel", &CHANNEL, channel);
    }
    let matchers = [&app, &sender, &recipient, &tag];
    let is_catch_all = matchers.iter().all(|m| m.as_ref().is_none_or(|glob| glob.text == "*"));
    let pattern = |glob: Option<Glob>| glob.map(|glob| glob.pattern);
    let (app, sender) = (pattern(app), pattern(sender));
    let (recipient, tag) = (pattern(recipient), pattern(tag));
    let route = Route { channel, app, sender, recipient, tag, upstreams };
    Some(ReadRoute { route, is_catch_all, place: section.place("") })
}

fn check_app(section: &Section<'_, '_>, app: &Glob, apps: &[AppName]) {
    let matches = |name: &AppName| app.pattern.matches(&name.as_str().to_lowercase());
    if apps.iter().any(matches) {
        return;
    }
    let what = format!("app = {:?} matches no app", app.text);
    let advice = match closest(&app.text, apps.iter().map(AppName::as_str)) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("the apps are {}", quoted(apps.iter().map(AppName::as_str))),
    };
    section.context.report.error(section.place("app"), what, advice);
}

fn check_upstreams(section: &Section<'_, '_>, names: &[UpstreamName], known: &[ReadUpstream]) {
    let report = &section.context.report;
    let place = || section.place("upstreams");
    if names.is_empty() {
        let what = "a route needs at least one upstream";
        report.error(place(), what, "write upstreams = [\"NAME\"] with the name of one");
    }
    let all = || known.iter().filter_map(|upstream| upstream.name.as_ref());
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let what = format!("the upstream {:?} stands twice in one route", name.as_str());
            report.error(place(), what, "name each once, since retries come by themselves");
        }
        // An upstream whose name could not be read may be the one.
        let is_doubtful = known.iter().any(|upstream| upstream.name.is_none());
        if is_doubtful || all().any(|upstream| upstream == name) {
            continue;
        }
        let what = format!("there is no upstream {:?}", name.as_str());
        let advice = match closest(name.as_str(), all().map(UpstreamName::as_str)) {
            Some(other) => format!("did you mean {other:?}?"),
            None if all().next().is_none() => String::from("write an [[upstream]] with that name"),
            None => format!("the upstreams are {}", quoted(all().map(UpstreamName::as_str))),
        };
        report.error(place(), what, advice);
    }
}

/// The channel that is written or that all upstreams share.
fn check_channel(
    section: &Section<'_, '_>,
    written: Option<Channel>,
    names: &[UpstreamName],
    known: &[ReadUpstream],
) -> Option<Channel> {
    let channel_of = |name: &UpstreamName| {
        known.iter().find(|upstream| upstream.name.as_ref() == Some(name)).and_then(|u| u.channel)
    };
    let first = names.iter().find_map(channel_of);
    let channel = written.or(first)?;
    for name in names {
        if channel_of(name).is_some_and(|other| other != channel) {
            let carries = match channel {
                Channel::Email => "carries SMS, but this route is for e-mail",
                Channel::Sms => "carries e-mail, but this route is for SMS",
            };
            let what = format!("the upstream {:?} {carries}", name.as_str());
            let advice = "give each channel a route of its own";
            section.context.report.error(section.place("upstreams"), what, advice);
        }
    }
    Some(channel)
}

fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
