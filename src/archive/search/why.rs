//! Which term of a question no message has, for an answer that is empty.

use super::find::{Search, SearchOrder, SearchRequest, whole_question};
use super::language::Node;
use super::page::Page;
use super::patience::Patience;
use crate::archive::{ArchiveError, Filter};

/// Terms that are looked at one by one.
const MAX_EXPLAINED: usize = 8;

impl Search<'_> {
    /// Which term no message has, of those that were looked at in time; `None` where that is not known.
    pub(super) fn why_nothing(&self) -> Result<Option<String>, ArchiveError> {
        let Some(question) = self.request.question else { return Ok(None) };
        let everything = Filter { apps: self.request.filter.apps.clone(), ..Filter::default() };
        let request = SearchRequest {
            question: None,
            filter: &everything,
            read: None,
            order: SearchOrder::Newest,
            after: None,
            limit: 1,
        };
        let patience = Patience::for_explanation();
        let alone = self.with(&request, patience);
        let apps = whole_question(&request);
        let (mut missing, mut is_known) = (Vec::new(), true);
        for (written, node) in question.terms().into_iter().take(MAX_EXPLAINED) {
            if patience.is_over() {
                is_known = false;
                break;
            }
            let mut page = Page::new(1);
            alone.fill(&Node::All(vec![node, apps.clone()]), &mut page)?;
            if !page.items.is_empty() || missing.contains(&written) {
                continue;
            }
            match page.is_cut || page.next.is_some() {
                true => is_known = false,
                false => missing.push(written),
            }
        }
        Ok(match &missing[..] {
            [] => is_known.then(|| {
                "Each term is found in some message, but no message has all that was asked for."
                    .into()
            }),
            missing => Some(format!("No message has {}.", missing.join(" or "))),
        })
    }
}
