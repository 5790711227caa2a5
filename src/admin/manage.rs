//! Users and tokens over HTTP: on the admin port for administrators, and on the control socket for
//! whoever may be the daemon's user on this machine. Both serve these same handlers.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::{FieldError, Problem, ProblemKind};
use super::session::SessionView;
use super::state::read_accounts;
use super::views::PageView;
use crate::account::{
    AccountError, Accounts, AppScope, Identity, NewToken, NewUser, Role, Token, TokenId,
};
use crate::account::{User, UserEdit, UserName};
use crate::archive::{Log, LogCheck};
use crate::model::{AppName, Secret, Timestamp};

/// A user; the password's hash is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    name: String,
    role: &'static str,
    /// `null`: all apps.
    apps: Option<Vec<String>>,
    created_at: String,
    disabled_at: Option<String>,
    /// A second factor is asked for at each login.
    two_factor: bool,
}

/// A token without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    id: String,
    role: &'static str,
    /// `null`: all apps.
    apps: Option<Vec<String>>,
    note: Option<String>,
    created_by: String,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// A new token, with its secret for the only time.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedTokenView {
    #[serde(flatten)]
    token: TokenView,
    #[serde(rename = "token")]
    secret: String,
}

/// `POST /users`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserBody {
    name: String,
    role: String,
    #[serde(default)]
    apps: Vec<String>,
    password: String,
}

/// `PATCH /users/{name}`; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserEditBody {
    role: Option<String>,
    /// `null`, or an empty list: all apps.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    apps: Option<Option<Vec<String>>>,
    /// `true` lets the user in no longer, `false` again.
    disabled: Option<bool>,
}

/// A field that is there, also as `null`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// `POST /users/{name}/password`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    password: String,
}

/// `POST /tokens`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTokenBody {
    role: String,
    #[serde(default)]
    apps: Vec<String>,
    /// RFC 3339; without it the token is good until it is revoked.
    expires_at: Option<String>,
    note: Option<String>,
}

pub(crate) async fn list_users(
    State(accounts): State<Accounts>,
    uri: Uri,
) -> Result<Json<PageView<UserView>>, Problem> {
    let asked = PageQuery::read(&uri, List::Users)?;
    let users = read_accounts(&accounts, Accounts::users).await?;
    Ok(Json(asked.page(users, |user| user.name.to_string(), UserView::new)))
}

pub(crate) async fn add_user(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
    JsonBody(body): JsonBody<NewUserBody>,
) -> Result<(StatusCode, Json<UserView>), Problem> {
    parameters::none(&uri)?;
    let password = Secret::new(body.password);
    let mut fields = Fields::default();
    let name = UserName::parse(&body.name);
    let name = fields.need("name", name, || format!("{}.", UserName::RULE));
    let (role, scope) = (fields.role(&body.role), fields.scope(&body.apps));
    let (Some(name), Some(role), Some(scope)) = (name, role, scope) else {
        return Err(fields.problem());
    };
    let user = accounts.add_user(NewUser { name, role, scope }, password, super::now()).await?;
    tracing::info!(user = %user.name, role = user.role.as_str(), by = %identity.actor, "a user was added");
    Ok((StatusCode::CREATED, Json(UserView::new(&user))))
}

pub(crate) async fn edit_user(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
    JsonBody(body): JsonBody<UserEditBody>,
) -> Result<Json<UserView>, Problem> {
    parameters::none(&uri)?;
    let name = user_name(&name)?;
    if body.role.is_none() && body.apps.is_none() && body.disabled.is_none() {
        let detail = "Say the role, the apps, or whether the user is disabled.";
        return Err(Problem::of_field(ProblemKind::InvalidBody, "role", detail));
    }
    let mut fields = Fields::default();
    let role = body.role.as_deref().map(|word| fields.role(word));
    let scope = body.apps.map(|apps| fields.scope(&apps.unwrap_or_default()));
    if role.is_some_and(|role| role.is_none()) || scope.as_ref().is_some_and(Option::is_none) {
        return Err(fields.problem());
    }
    let edit = UserEdit { role: role.flatten(), scope: scope.flatten(), disabled: body.disabled };
    let user = accounts.edit_user(name, edit, super::now()).await?;
    tracing::info!(user = %user.name, role = user.role.as_str(), by = %identity.actor, "a user was changed");
    Ok(Json(UserView::new(&user)))
}

pub(crate) async fn set_password(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
    JsonBody(body): JsonBody<PasswordBody>,
) -> Result<Json<UserView>, Problem> {
    parameters::none(&uri)?;
    let user = accounts.set_password(user_name(&name)?, Secret::new(body.password)).await?;
    tracing::info!(user = %user.name, by = %identity.actor, "a password was set");
    Ok(Json(UserView::new(&user)))
}

pub(crate) async fn disable_user(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
) -> Result<Json<UserView>, Problem> {
    parameters::none(&uri)?;
    let user = accounts.disable_user(user_name(&name)?, super::now()).await?;
    tracing::info!(user = %user.name, by = %identity.actor, "a user was disabled");
    Ok(Json(UserView::new(&user)))
}

pub(crate) async fn reset_two_factor(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
) -> Result<Json<UserView>, Problem> {
    parameters::none(&uri)?;
    let user = accounts.reset_two_factor(user_name(&name)?).await?;
    tracing::info!(user = %user.name, by = %identity.actor, "a second factor was taken away");
    Ok(Json(UserView::new(&user)))
}

/// Forgets the failed logins of a user.
pub(crate) async fn unlock_user(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
) -> Result<Json<UserView>, Problem> {
    parameters::none(&uri)?;
    let name = user_name(&name)?;
    let user = read_accounts(&accounts, move |accounts| accounts.unlock(&name)).await?;
    tracing::info!(user = %user.name, by = %identity.actor, "a user was unlocked");
    Ok(Json(UserView::new(&user)))
}

pub(super) async fn list_sessions(
    State(accounts): State<Accounts>,
    Segment(name): Segment<String>,
    uri: Uri,
) -> Result<Json<PageView<SessionView>>, Problem> {
    parameters::none(&uri)?;
    let name = user_name(&name)?;
    let sessions =
        read_accounts(&accounts, move |accounts| accounts.sessions(&name, super::now())).await?;
    Ok(Json(PageView { items: sessions.iter().map(SessionView::new).collect(), next: None }))
}

pub(super) async fn end_sessions(
    State(accounts): State<Accounts>,
    Segment(name): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    parameters::none(&uri)?;
    match accounts.end_sessions(&user_name(&name)?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("session")),
    }
}

/// One log, as a check found it.
#[derive(Debug, Serialize)]
pub(crate) struct LogCheckView {
    log: &'static str,
    rows: u64,
    /// SHA-256 of the last row.
    digest: String,
    /// The first row that is not as it was written.
    broken_row: Option<u64>,
    why: Option<String>,
}

/// `GET /verify` of the control socket: reads both logs and checks their chains.
pub(crate) async fn verify(
    State(accounts): State<Accounts>,
) -> Result<Json<PageView<LogCheckView>>, Problem> {
    let check = |accounts: &Accounts| {
        let checks = Log::ALL.map(|log| accounts.check_log(log).map(|check| (log, check)));
        checks.into_iter().collect::<Result<Vec<_>, AccountError>>()
    };
    let view = |(log, check): (Log, LogCheck)| {
        let (broken_row, why) = check.broken.unzip();
        let digest = check.digest.to_string();
        LogCheckView { log: log.as_str(), rows: check.rows, digest, broken_row, why }
    };
    let checks = read_accounts(&accounts, check).await?;
    Ok(Json(PageView { items: checks.into_iter().map(view).collect(), next: None }))
}

pub(crate) async fn list_tokens(
    State(accounts): State<Accounts>,
    uri: Uri,
) -> Result<Json<PageView<TokenView>>, Problem> {
    let asked = PageQuery::read(&uri, List::Tokens)?;
    let tokens = read_accounts(&accounts, Accounts::tokens).await?;
    Ok(Json(asked.page(tokens, |token| token.id.to_string(), TokenView::new)))
}

pub(crate) async fn create_token(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
    JsonBody(body): JsonBody<NewTokenBody>,
) -> Result<(StatusCode, Json<CreatedTokenView>), Problem> {
    parameters::none(&uri)?;
    let mut fields = Fields::default();
    let (role, scope) = (fields.role(&body.role), fields.scope(&body.apps));
    let expires_at = fields.expiry(body.expires_at.as_deref());
    let (Some(role), Some(scope), Some(expires_at)) = (role, scope, expires_at) else {
        return Err(fields.problem());
    };
    let created_by = identity.actor.to_string();
    let new = NewToken { role, scope, expires_at, note: body.note, created_by };
    let (token, secret) = accounts.create_token(new, super::now()).await?;
    tracing::info!(token = %token.id, role = token.role.as_str(), by = %identity.actor, "a token was created");
    let secret = secret.expose().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedTokenView { token: TokenView::new(&token), secret })))
}

pub(crate) async fn revoke_token(
    State(accounts): State<Accounts>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<TokenView>, Problem> {
    parameters::none(&uri)?;
    let id = TokenId::parse(&id).ok_or_else(|| Problem::not_found("token"))?;
    let token = accounts.revoke_token(id, super::now()).await?;
    tracing::info!(token = %token.id, by = %identity.actor, "a token was revoked");
    Ok(Json(TokenView::new(&token)))
}

fn user_name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).ok_or_else(|| Problem::not_found("user"))
}

impl UserView {
    fn new(user: &User) -> UserView {
        UserView {
            name: user.name.to_string(),
            role: user.role.as_str(),
            apps: app_words(&user.scope),
            created_at: user.created_at.to_string(),
            disabled_at: user.disabled_at.map(|at| at.to_string()),
            two_factor: user.has_two_factor,
        }
    }
}

impl TokenView {
    fn new(token: &Token) -> TokenView {
        TokenView {
            id: token.id.to_string(),
            role: token.role.as_str(),
            apps: app_words(&token.scope),
            note: token.note.clone(),
            created_by: token.created_by.clone(),
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.map(|at| at.to_string()),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// As the API writes a scope: `null` is all.
pub(super) fn app_words(scope: &AppScope) -> Option<Vec<String>> {
    scope.names().map(|names| names.iter().map(ToString::to_string).collect())
}

/// Fields of a body, until all mistakes are known.
#[derive(Default)]
struct Fields(Vec<FieldError>);

impl Fields {
    fn need<T>(
        &mut self,
        field: &str,
        value: Option<T>,
        detail: impl FnOnce() -> String,
    ) -> Option<T> {
        if value.is_none() {
            self.0.push(FieldError { field: field.to_owned(), detail: detail() });
        }
        value
    }

    fn role(&mut self, word: &str) -> Option<Role> {
        let words = Role::ALL.map(Role::as_str).join(", ");
        self.need("role", Role::parse(word), || format!("role is one of {words}."))
    }

    fn scope(&mut self, words: &[String]) -> Option<AppScope> {
        let names: Option<Vec<AppName>> = words.iter().map(|word| AppName::parse(word)).collect();
        self.need("apps", names, || "apps are names of apps.".to_owned()).map(AppScope::of)
    }

    /// No expiry is no mistake.
    fn expiry(&mut self, text: Option<&str>) -> Option<Option<Timestamp>> {
        let Some(text) = text else {
            return Some(None);
        };
        let detail = || "expires_at is a time such as 2026-01-31T08:00:00Z.".to_owned();
        self.need("expires_at", Timestamp::parse_rfc3339(text), detail).map(Some)
    }

    fn problem(self) -> Problem {
        Problem::of_fields(ProblemKind::InvalidBody, self.0)
    }
}

/// A page of a list that is sorted by a text and small enough to be read whole.
struct PageQuery {
    list: List,
    limit: usize,
    after: Option<String>,
}

impl PageQuery {
    fn read(uri: &Uri, list: List) -> Result<PageQuery, Problem> {
        let mut parameters = Parameters::read(uri, &["limit", "cursor"]);
        let limit = parameters.limit();
        let after = parameters.take("cursor", |text| {
            let key = cursor::decode(list, "", text).and_then(|key| String::from_utf8(key).ok());
            key.ok_or_else(|| cursor::NOT_OURS.to_owned())
        });
        parameters.finish()?;
        Ok(PageQuery { list, limit, after })
    }

    /// The rows come in ascending order of their keys.
    fn page<T, V>(
        &self,
        rows: Vec<T>,
        key: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
    ) -> PageView<V> {
        let after = |row: &T| self.after.as_ref().is_none_or(|after| key(row) > *after);
        let mut left: Vec<T> = rows.into_iter().filter(after).collect();
        let more = left.len() > self.limit;
        left.truncate(self.limit);
        let last = left.last().filter(|_| more);
        let next = last.map(|row| cursor::encode(self.list, "", key(row).as_bytes()));
        PageView { items: left.iter().map(view).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once() {
        let rows: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..3 {
            let uri = format!("/?limit=2{cursor}").parse().unwrap();
            let asked = PageQuery::read(&uri, List::Users).ok().unwrap();
            let page = asked.page(rows.clone(), String::clone, String::clone);
            seen.extend(page.items);
            cursor = page.next.map(|next| format!("&cursor={next}")).unwrap_or_default();
        }
        assert_eq!(seen, rows);
        assert_eq!(cursor, "", "the last page has no next");
    }
}
