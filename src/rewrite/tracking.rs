//! Links that tell of clicks, and the pixel that tells of opens.
//!
//! Takes the archived bytes and what is tracked for one recipient; gives changes of the message and a report of what was
//! done and what was left, and why. Deterministic: tokens come from their maker, nothing from a clock.
//!
//! Only the value of a link's `href`, or a link in plain text that is unmistakable, is replaced, and the pixel is put
//! in once. Doing it twice changes nothing, because what was put in for this recipient is recognised; a pixel of an
//! earlier mail that is quoted, or a logo on the same host, tells nothing of this one. A message that must not change, or
//! that is not understood to its last part, is left as it came: tracking is never worth a message. What was made of an
//! HTML part is read again, and if a reader would see anything else in it, it is made without the pixel or not at all.
//! Places are found by `html` and `text`, judged by `link`; what the changes are in the encoded message says
//! `mime::Content`, and whether the document is the same `document`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::charset::Markup;
use super::document::{self, Changed};
use super::html::{self, Anchor, Found};
use super::link::Judge;
use super::public_url::PublicUrl;
use super::text;
use crate::mime::{self, Content, Edit, Outline, Protection, TextKind};
use crate::model::hit::HONEYPOT_LINK;
use crate::model::{SkipReason, TouchReport, Untouched};

/// The version of the rules by which messages are rewritten. What was sent is recomputed by the rules of its time, so a
/// change of what comes out needs a new number, and the old way has to stay.
pub const RULES: u16 = 1;

/// Makes the tokens of one recipient of one message.
pub trait Tokens {
    /// For the pixel; URL-safe.
    fn open(&self) -> String;
    /// For link number `link`, which leads to `url`; URL-safe.
    fn click(&self, link: u16, url: &[u8]) -> String;
}

/// What is tracked for one recipient.
#[derive(Clone, Copy)]
pub struct Tracking<'a> {
    pub opens: bool,
    pub clicks: bool,
    /// A link that only machines follow.
    pub honeypot: bool,
    pub public_url: &'a PublicUrl,
    /// Globs over URLs that are left alone, with or without their scheme.
    pub exclude: &'a [String],
    pub tokens: &'a dyn Tokens,
}

impl From<Protection> for Untouched {
    fn from(protection: Protection) -> Untouched {
        match protection {
            Protection::Signed => Untouched::Signed,
            Protection::Encrypted => Untouched::Encrypted,
            Protection::Smime => Untouched::Smime,
            Protection::Pgp => Untouched::Pgp,
            Protection::Calendar => Untouched::Calendar,
            Protection::Report => Untouched::Report,
        }
    }
}

/// Places of the message and what stands there instead; ascending and disjoint.
pub(super) type Changes = Vec<(Range<usize>, Vec<u8>)>;

/// What tracking changes. `is_vouched_for`: somebody else's signature covers the message.
pub(super) fn touch(
    raw: &[u8],
    tracking: &Tracking<'_>,
    is_vouched_for: bool,
) -> (Changes, TouchReport) {
    // The parsers below are others' code on a stranger's bytes.
    let touched = catch_unwind(AssertUnwindSafe(|| {
        let outline = permitted(raw, is_vouched_for)?;
        let mut touch = Touch::new(raw, tracking);
        touch.read(&outline)?;
        Ok(touch.finish())
    }));
    let untouched = |why| {
        let report = TouchReport { untouched_because: Some(why), ..TouchReport::default() };
        (Changes::new(), report)
    };
    match touched {
        Ok(Ok(touched)) => touched,
        Ok(Err(why)) => untouched(why),
        Err(_) => untouched(Untouched::Failed),
    }
}

fn permitted(raw: &[u8], is_vouched_for: bool) -> Result<Outline, Untouched> {
    let outline = mime::outline(raw).ok_or(Untouched::Failed)?;
    if let Some(protection) = outline.protection {
        return Err(protection.into());
    }
    if is_vouched_for {
        return Err(Untouched::ForeignSignature);
    }
    if !outline.is_sound {
        return Err(Untouched::Malformed);
    }
    if outline.texts.is_empty() { Err(Untouched::NoText) } else { Ok(outline) }
}

struct Touch<'a> {
    raw: &'a [u8],
    tracking: &'a Tracking<'a>,
    judge: Judge<'a>,
    parts: Vec<Part<'a>>,
    links: u32,
    rewritten: u32,
    pixel: bool,
    skipped: BTreeMap<SkipReason, u32>,
}

/// A part that can be changed.
struct Part<'a> {
    content: Content<'a>,
    keeps_unicode: bool,
    charset: Option<String>,
    found: Places,
}

enum Places {
    Html(Found),
    Plain(Vec<text::TextLink>),
}

impl<'a> Touch<'a> {
    fn new(raw: &'a [u8], tracking: &'a Tracking<'a>) -> Touch<'a> {
        let judge = Judge::new(raw, tracking.public_url, tracking.exclude);
        let parts = Vec::new();
        let skipped = BTreeMap::new();
        Touch { raw, tracking, judge, parts, links: 0, rewritten: 0, pixel: false, skipped }
    }

    fn skip(&mut self, reason: SkipReason) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Finds all places before anything is decided, because the pixel may be there already.
    fn read(&mut self, outline: &Outline) -> Result<(), Untouched> {
        for part in &outline.texts {
            let Some(content) = part.content(self.raw) else {
                self.skip(SkipReason::PartUnreadable);
                continue;
            };
            let Some(markup) = Markup::new(&content.bytes, part.charset.as_deref()) else {
                self.skip(SkipReason::PartUnreadable);
                continue;
            };
            let found = match part.kind {
                TextKind::Plain => Places::Plain(text::find(&markup.bytes, part.deletes_space)),
                TextKind::Html => {
                    Places::Html(html::find(&markup.bytes).map_err(|_| Untouched::Failed)?)
                }
            };
            let keeps_unicode = markup.keeps_unicode();
            let charset = part.charset.clone();
            self.parts.push(Part { content, keeps_unicode, charset, found });
        }
        Ok(())
    }

    fn finish(mut self) -> (Changes, TouchReport) {
        let parts = std::mem::take(&mut self.parts);
        let mut changes = Changes::new();
        let mut wants_pixel = self.tracking.opens && !parts.iter().any(|part| self.has_pixel(part));
        for part in &parts {
            let Some(markup) = part.markup() else { continue };
            let links = match (&part.found, self.tracking.clicks) {
                (Places::Html(found), true) => self.anchors(part, &markup, found),
                (Places::Plain(links), true) => self.text_links(part, &markup, links),
                (Places::Html(_) | Places::Plain(_), false) => Vec::new(),
            };
            let addition = match &part.found {
                Places::Html(found) => self.addition(part, found, &markup, wants_pixel),
                Places::Plain(_) => None,
            };
            if links.is_empty() && addition.is_none() {
                continue;
            }
            let made = part.make(&markup, Plan::new(&links, addition.as_ref()));
            // What is wrong is mostly where the end was thought to be.
            let without = || part.make(&markup, Plan::new(&links, None));
            let made = made.or_else(|| addition.as_ref().and_then(|_| without()));
            let Some(made) = made else {
                self.skip(SkipReason::PartUnreadable);
                continue;
            };
            (0..made.lost).for_each(|_| self.skip(SkipReason::LineTooLong));
            self.rewritten += u32::try_from(links.len() - made.lost).unwrap_or(u32::MAX);
            if made.has_addition && wants_pixel {
                (self.pixel, wants_pixel) = (true, false);
            }
            changes.extend(made.changes);
        }
        let report = TouchReport {
            links: self.links,
            rewritten: self.rewritten,
            pixel: self.pixel,
            skipped: self.skipped.into_iter().collect(),
            untouched_because: None,
        };
        (changes, report)
    }

    fn has_pixel(&self, part: &Part<'_>) -> bool {
        let (Places::Html(found), Some(markup)) = (&part.found, part.markup()) else {
            return false;
        };
        let pixel = self.pixel_url();
        found.pictures.iter().any(|place| leads_to(&markup, place, &pixel))
    }

    /// This very recipient's.
    fn pixel_url(&self) -> String {
        self.tracking.public_url.open(&self.tracking.tokens.open())
    }

    /// This very recipient's.
    fn honeypot_url(&self) -> String {
        let url = self.tracking.public_url;
        url.click(&self.tracking.tokens.click(HONEYPOT_LINK, url.as_str().as_bytes()))
    }

    /// The number of the next link, if it still has one.
    fn number(&mut self) -> Option<u16> {
        let number = u16::try_from(self.links).ok().filter(|number| *number < HONEYPOT_LINK);
        self.links += 1;
        number
    }

    fn anchors(&mut self, part: &Part<'_>, markup: &Markup<'_>, found: &Found) -> Vec<Link> {
        let line_break = part.content.line_break();
        let mut links = Vec::new();
        for anchor in &found.anchors {
            let number = self.number();
            match self.followed(part, markup, anchor, number) {
                Ok((leads, url)) => {
                    let edit = anchor_edit(markup, anchor, &url, line_break);
                    links.push(Link { edit, url, leads });
                }
                Err(reason) => self.skip(reason),
            }
        }
        links
    }

    /// Where a link of HTML leads, and our URL for it.
    fn followed(
        &self,
        part: &Part<'_>,
        markup: &Markup<'_>,
        anchor: &Anchor,
        number: Option<u16>,
    ) -> Result<(String, String), SkipReason> {
        if anchor.value.len() > MAX_VALUE_BYTES {
            return Err(SkipReason::Unusual);
        }
        let value = markup.text(std::slice::from_ref(&anchor.value));
        let value = html::decoded(&value);
        // A browser drops white space around a URL.
        let url = value.trim_matches(|c: char| c <= ' ');
        self.judge.url(url, part.keeps_unicode)?;
        let shown = |places: &[Range<usize>]| html::decoded(&markup.text(places)).into_owned();
        Judge::words(&shown(&anchor.text), &shown(&anchor.beside))?;
        let number = number.ok_or(SkipReason::TooMany)?;
        let token = self.tracking.tokens.click(number, url.as_bytes());
        Ok((url.to_owned(), self.tracking.public_url.click(&token)))
    }

    fn text_links(
        &mut self,
        part: &Part<'_>,
        markup: &Markup<'_>,
        links: &[text::TextLink],
    ) -> Vec<Link> {
        let mut followed = Vec::new();
        let (mut beside, mut words) = (0..0, Ok(()));
        for link in links {
            let number = self.number();
            let url = String::from_utf8_lossy(&markup.bytes[link.span.clone()]);
            if beside != link.beside {
                beside = link.beside.clone();
                words = Judge::words("", &markup.text(std::slice::from_ref(&beside)));
            }
            let judged = self.judge.url(&url, part.keeps_unicode).and(words);
            let judged = judged.and(link.is_clear.then_some(()).ok_or(SkipReason::UnclearEnd));
            match judged.and(number.ok_or(SkipReason::TooMany)) {
                Ok(number) => {
                    let token = self.tracking.tokens.click(number, url.as_bytes());
                    let ours = self.tracking.public_url.click(&token);
                    let with = ours.clone().into_bytes();
                    let edit = Edit { span: link.span.clone(), with, folded: None };
                    followed.push(Link { edit, url: ours, leads: url.into_owned() });
                }
                Err(reason) => self.skip(reason),
            }
        }
        followed
    }

    /// What is put at the end of the body.
    fn addition(
        &self,
        part: &Part<'_>,
        found: &Found,
        markup: &Markup<'_>,
        wants_pixel: bool,
    ) -> Option<Addition> {
        let end = found.end?;
        let link = self.honeypot_url();
        let was_here = found.anchors.iter().any(|anchor| leads_to(markup, &anchor.value, &link));
        let wants_honeypot = self.tracking.clicks && self.tracking.honeypot && !was_here;
        let (mut tags, mut urls) = (Vec::new(), BTreeSet::new());
        if wants_honeypot {
            tags.push(format!(
                "<a href=\"{link}\" rel=\"nofollow\" tabindex=\"-1\" aria-hidden=\"true\" style=\"display:none\"></a>"
            ));
            urls.insert(link);
        }
        if wants_pixel {
            let source = self.pixel_url();
            tags.push(format!(
                "<img src=\"{source}\" alt=\"\" width=\"1\" height=\"1\" style=\"{STYLE}\">"
            ));
            urls.insert(source);
        }
        if tags.is_empty() {
            return None;
        }
        let with = tags.concat().into_bytes();
        // White space within a tag is nobody's text.
        let line_break = String::from_utf8_lossy(part.content.line_break());
        let folded = tags.concat().replace(" style=", &format!("{line_break}style="));
        let folded =
            folded.replacen(' ', &line_break, 1).replace("\">", &format!("\"{line_break}>"));
        let folded = Some((end..end, folded.into_bytes()));
        Some(Addition { edit: Edit { span: end..end, with, folded }, urls })
    }
}

/// Whether the value of this attribute is exactly that URL.
fn leads_to(markup: &Markup<'_>, place: &Range<usize>, url: &str) -> bool {
    let value = String::from_utf8_lossy(&markup.bytes[place.clone()]);
    html::decoded(value.trim_ascii()).trim_ascii() == url
}

/// Longest value of a link that is looked at: a URL that is not too long, all of it in character references.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Takes no room, moves nothing and shows nothing, whatever the style sheet of the message says of pictures: what is
/// clipped has no shadow and no outline either, and is fetched all the same.
const STYLE: &str = "display:block!important;position:absolute!important;top:0!important;left:0!important;\
    width:1px!important;height:1px!important;min-width:0!important;min-height:0!important;\
    margin:0!important;padding:0!important;border:0!important;clip:rect(0,0,0,0)!important";

/// One link that is replaced.
struct Link {
    edit: Edit,
    /// Ours.
    url: String,
    /// What stood there.
    leads: String,
}

/// What is put in, and which URLs are in it.
struct Addition {
    edit: Edit,
    urls: BTreeSet<String>,
}

/// What is to be done to one part.
struct Plan {
    edits: Vec<Edit>,
    /// Which of them is the addition.
    addition: Option<usize>,
    changed: Changed,
}

impl Plan {
    fn new(links: &[Link], addition: Option<&Addition>) -> Plan {
        let mut edits: Vec<Edit> = links.iter().map(|link| link.edit.clone()).collect();
        let pairs = links.iter().map(|link| (link.url.clone(), link.leads.clone()));
        let mut changed = Changed { links: pairs.collect(), ..Changed::default() };
        let at = addition.map(|Addition { edit, urls }| {
            changed.added.clone_from(urls);
            let at = edits.partition_point(|link| link.span.start <= edit.span.start);
            edits.insert(at, edit.clone());
            at
        });
        Plan { edits, addition: at, changed }
    }
}

/// What was done to one part.
struct Made {
    changes: Changes,
    /// Links that found no room in their lines.
    lost: usize,
    has_addition: bool,
}

impl Part<'_> {
    fn markup(&self) -> Option<Markup<'_>> {
        Markup::new(&self.content.bytes, self.charset.as_deref())
    }

    /// Makes the changes; `None` if a reader would see anything else in the part then.
    fn make(&self, markup: &Markup<'_>, mut plan: Plan) -> Option<Made> {
        let spliced = self.content.splice(&markup.edits(plan.edits));
        let lost = spliced.left_out.iter().filter(|at| Some(**at) != plan.addition).count();
        let has_addition = plan.addition.is_some_and(|at| !spliced.left_out.contains(&at));
        if !has_addition {
            plan.changed.added.clear();
        }
        let is_same = match &self.found {
            _ if spliced.changes.is_empty() => true,
            // A text is not more than its lines.
            Places::Plain(_) => true,
            Places::Html(found) => {
                let bytes = self.content.after(&spliced)?;
                let after = Markup::new(&bytes, self.charset.as_deref())?;
                has_same_places(found, &after, &plan.changed)
                    && document::is_same(&markup.whole(), &after.whole(), &plan.changed)
            }
        };
        is_same.then_some(Made { changes: spliced.changes, lost, has_addition })
    }
}

/// Whether the same links are found again and what was put in is too: else doing it twice would do more.
fn has_same_places(found: &Found, after: &Markup<'_>, changed: &Changed) -> bool {
    let Ok(again) = html::find(&after.bytes) else { return false };
    let is_added = |place: &Range<usize>| {
        std::str::from_utf8(&after.bytes[place.clone()])
            .is_ok_and(|url| changed.added.contains(url))
    };
    let links = again.anchors.iter().map(|anchor| &anchor.value);
    let added = links.chain(&again.pictures).filter(|place| is_added(place)).count();
    let is_new = |anchor: &&Anchor| is_added(&anchor.value);
    added == changed.added.len()
        && again.anchors.len() - again.anchors.iter().filter(is_new).count() == found.anchors.len()
}

/// The value in its quotes replaced. Our URLs need no escaping and no quotes.
fn anchor_edit(markup: &Markup<'_>, anchor: &Anchor, url: &str, line_break: &[u8]) -> Edit {
    let with = url.as_bytes().to_vec();
    let before = anchor.name.checked_sub(1).filter(|at| markup.bytes[*at].is_ascii_whitespace());
    let folded = before.map(|start| {
        let attribute = &markup.bytes[anchor.name..anchor.value.start];
        (start..anchor.value.end, [line_break, attribute, url.as_bytes()].concat())
    });
    Edit { span: anchor.value.clone(), with, folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Tokens for Named {
        fn open(&self) -> String {
            self.0.to_owned()
        }

        fn click(&self, link: u16, _: &[u8]) -> String {
            format!("{}-{link}", self.0)
        }
    }

    fn sent(raw: &str, recipient: &'static str) -> (String, TouchReport) {
        let public_url = PublicUrl::parse("https://t.example.com").unwrap();
        let tokens = Named(recipient);
        let (opens, clicks, honeypot) = (true, true, true);
        let (public_url, exclude) = (&public_url, &[][..]);
        let tracking = Tracking { opens, clicks, honeypot, public_url, exclude, tokens: &tokens };
        let (changes, report) = touch(raw.as_bytes(), &tracking, false);
        let mut text = raw.to_owned();
        for (place, with) in changes.into_iter().rev() {
            text.replace_range(place, std::str::from_utf8(&with).unwrap());
        }
        (text, report)
    }

    #[test]
    fn only_the_pixel_of_this_very_recipient_keeps_another_one_out() {
        let link = "<a href=\"https://example.com/\">go</a>";
        let logo = "<img src=\"https://t.example.com/logo.png\">";
        let raw = format!("Content-Type: text/html\r\n\r\n<body>{link}{logo}</body>\r\n");
        let (earlier, report) = sent(&raw, "earlier");
        assert!(report.pixel && earlier.contains("/o/earlier"), "a logo is no pixel: {earlier}");
        assert_eq!(sent(&earlier, "earlier").0, earlier, "twice is once");
        let (reply, report) = sent(&earlier, "reply");
        assert!(report.pixel && reply.contains("/o/reply"), "{reply}");
        assert!(reply.contains(&format!("/c/reply-{HONEYPOT_LINK}")), "{reply}");
        assert!(reply.contains("/o/earlier") && reply.contains("/c/earlier-0"), "{reply}");
        assert_eq!(report.rewritten, 0, "links of earlier mails stay");
        let (again, report) = sent(&reply, "reply");
        assert_eq!((again, report.pixel), (reply, false));
    }
}
