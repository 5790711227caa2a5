//! The proof of absence in JSON: what stands beside an empty list that was asked for with an app and
//! a period.
//!
//! Finding it out is the business of `archive::absence`.

use serde::Serialize;
use utoipa::ToSchema;

use super::views::ShortView;
use crate::archive::{Absence, Gap, NearMiss};

/// What is known about the app in the period.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AbsenceView {
    app: String,
    since: String,
    until: String,
    /// Whether the gateway was up for the whole period; an empty period proves nothing.
    up: bool,
    /// When it was not, or is not known to have been.
    gaps: Vec<GapView>,
    /// There are more gaps than are shown.
    more_gaps: bool,
    /// Messages that the app submitted in the period; `null` only while the numbers are made anew.
    submissions: Option<u64>,
    nearest: Vec<NearView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct GapView {
    from: String,
    to: String,
}

/// A message that is near, in few words.
#[derive(Debug, Serialize, ToSchema)]
struct NearView {
    /// What was asked that it does not fit.
    without: &'static str,
    #[serde(flatten)]
    message: ShortView,
}

impl AbsenceView {
    pub(super) fn new(absence: &Absence) -> AbsenceView {
        let gap = |gap: &Gap| GapView { from: gap.from.to_string(), to: gap.to.to_string() };
        let near = |near: &NearMiss| NearView {
            without: near.without,
            message: ShortView::new(&near.message),
        };
        AbsenceView {
            app: absence.app.to_string(),
            since: absence.since.to_string(),
            until: absence.until.to_string(),
            up: absence.gaps.is_empty() && absence.since < absence.until,
            gaps: absence.gaps.iter().map(gap).collect(),
            more_gaps: absence.has_more_gaps,
            submissions: absence.submissions,
            nearest: absence.nearest.iter().map(near).collect(),
        }
    }
}
