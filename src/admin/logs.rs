//! `GET /api/v1/logs/security`, `GET /api/v1/logs/operations`: newest first, for auditors and
//! administrators.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::{self, List};
use super::parameters::Parameters;
use super::problem::Problem;
use super::query::read_time;
use super::state::AdminState;
use super::views::PageView;
use crate::archive::{Entry, Log, LogFilter};
use crate::model::Sequence;

/// A row of either log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogEntryView)]
pub(super) struct EntryView {
    number: u64,
    at: String,
    /// `login_failed`, or the method of a call.
    what: String,
    by: Option<String>,
    client: Option<String>,
    route: Option<String>,
    path: Option<String>,
    status: Option<u16>,
    detail: Option<String>,
    /// How many equal ones it stands for.
    count: u32,
    /// SHA-256 of the row; the next one holds it.
    digest: String,
}

impl EntryView {
    fn new(entry: Entry) -> EntryView {
        EntryView {
            number: entry.number,
            at: entry.at.to_string(),
            what: entry.what,
            by: entry.by,
            client: entry.client,
            route: entry.route,
            path: entry.path,
            status: entry.status,
            detail: entry.detail,
            count: entry.count,
            digest: entry.digest.to_string(),
        }
    }
}

pub(super) async fn security(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Json<PageView<EntryView>>, Problem> {
    list(state, &uri, Log::Security).await
}

pub(super) async fn operations(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Json<PageView<EntryView>>, Problem> {
    list(state, &uri, Log::Operations).await
}

async fn list(
    state: AdminState,
    uri: &Uri,
    log: Log,
) -> Result<Json<PageView<EntryView>>, Problem> {
    let mut parameters = Parameters::read(uri, &["since", "until", "by", "limit", "cursor"]);
    let filter = LogFilter {
        since: parameters.take("since", |text| read_time("since", text)),
        until: parameters.take("until", |text| read_time("until", text)),
        by: parameters.take("by", |text| Ok(text.to_owned())),
    };
    let question = format!("{} {filter:?}", log.as_str());
    let limit = parameters.limit();
    let before = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Log, &question, text);
        let number = key.as_deref().and_then(cursor::read_sequence_key);
        number.map(|number| number.0).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let page = state.archive.log(log, &filter, before, limit)?;
        let next = page.next.map(|number| {
            cursor::encode(List::Log, &question, &cursor::sequence_key(Sequence(number)))
        });
        Ok(Json(PageView { items: page.items.into_iter().map(EntryView::new).collect(), next }))
    };
    state.read(read).await
}
