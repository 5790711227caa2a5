//! Routes: which upstreams serve a recipient, and in which order.

use wildmatch::WildMatch;

use crate::model::{AppName, Channel, Tag, UpstreamName};

/// One `[[route]]`: every matcher that is given must match.
#[derive(Clone, Debug)]
pub struct Route {
    pub channel: Option<Channel>,
    pub app: Option<WildMatch>,
    pub sender: Option<WildMatch>,
    pub recipient: Option<WildMatch>,
    pub tag: Option<WildMatch>,
    /// Tried in order on temporary failure; never empty.
    pub upstreams: Vec<UpstreamName>,
}

/// What a route is picked by.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a> {
    pub channel: Channel,
    pub app: &'a AppName,
    /// The reverse-path, or the originator of an SMS; empty for the null reverse-path.
    pub sender: &'a str,
    pub recipient: &'a str,
    pub tag: Option<&'a Tag>,
}

/// All routes, and what serves a channel when there are none.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    pub routes: Vec<Route>,
    /// Every upstream of each channel in the order of the configuration.
    pub upstreams: Vec<(Channel, UpstreamName)>,
}

impl Routes {
    /// The upstreams for one recipient; empty when nothing serves it. The first route that matches
    /// wins; without any route every upstream of the channel serves, in order.
    pub fn pick(&self, query: RouteQuery<'_>) -> Vec<UpstreamName> {
        if self.routes.is_empty() {
            let of_channel = |(channel, _): &&(Channel, UpstreamName)| *channel == query.channel;
            return self.upstreams.iter().filter(of_channel).map(|(_, u)| u.clone()).collect();
        }
        let matching = self.routes.iter().find(|route| route.matches(query));
        matching.map(|route| route.upstreams.clone()).unwrap_or_default()
    }
}

impl Route {
    fn matches(&self, query: RouteQuery<'_>) -> bool {
        let fits = |pattern: &Option<WildMatch>, text: &str| {
            pattern.as_ref().is_none_or(|p| p.matches(&text.to_lowercase()))
        };
        self.channel.is_none_or(|channel| channel == query.channel)
            && fits(&self.app, query.app.as_str())
            && fits(&self.sender, query.sender)
            && fits(&self.recipient, query.recipient)
            && fits(&self.tag, query.tag.map_or("", Tag::as_str))
    }
}

/// A route's pattern: `*` and `?`, compared without case.
pub fn pattern(text: &str) -> WildMatch {
    WildMatch::new(&text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UpstreamName {
        UpstreamName::parse(text).unwrap()
    }

    fn picked(routes: &Routes, recipient: &str) -> Vec<UpstreamName> {
        routes.pick(RouteQuery {
            channel: Channel::Email,
            app: &AppName::parse("erp").unwrap(),
            sender: "anna@example.com",
            recipient,
            tag: None,
        })
    }

    #[test]
    fn without_routes_every_upstream_of_the_channel_serves() {
        let upstreams = vec![
            (Channel::Email, name("a")),
            (Channel::Sms, name("s")),
            (Channel::Email, name("b")),
        ];
        let routes = Routes { routes: vec![], upstreams };
        assert_eq!(picked(&routes, "kim@example.org"), [name("a"), name("b")]);
    }

    #[test]
    fn the_first_matching_route_wins_and_none_is_none() {
        let route = |recipient: &str, upstream| Route {
            channel: None,
            app: Some(pattern("ERP")),
            sender: None,
            recipient: Some(pattern(recipient)),
            tag: None,
            upstreams: vec![name(upstream)],
        };
        let routes = Routes {
            routes: vec![route("*@example.org", "first"), route("kim@*", "second")],
            upstreams: vec![(Channel::Email, name("never"))],
        };
        assert_eq!(picked(&routes, "Kim@Example.org"), [name("first")]);
        assert_eq!(picked(&routes, "kim@example.net"), [name("second")]);
        assert!(picked(&routes, "bo@example.net").is_empty());
    }
}
