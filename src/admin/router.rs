//! The table of routes, each with the permission that it needs and its description, and the router
//! made from it.
//!
//! A route that is not in the table is not served, and a row can not be written without a
//! permission: there is no way to serve something to everybody by forgetting. Nor can one be written
//! without its part of the API's description (`openapi`).

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::openapi::{self, Operation, about};
use super::problem::{Problem, ProblemKind};
use super::record::Rule;
use super::state::AdminState;
use super::{
    actions, auth, bulk, contacts, content, edge, export, logs, manage, messages, outbox, print,
    queue, resend, session, statistics, stream, suppressions, threads,
};
use crate::account::Permission;

/// One row of the table.
pub struct Route {
    pub method: Method,
    /// With `{name}` for what varies.
    pub path: &'static str,
    pub permission: Permission,
    pub(super) about: fn() -> Operation,
    handler: MethodRouter<AdminState>,
}

impl Route {
    fn new(
        method: Method,
        (path, permission, about): (&'static str, Permission, fn() -> Operation),
        handler: MethodRouter<AdminState>,
    ) -> Route {
        Route { method, path, permission, about, handler }
    }

    /// What whoever looks at each call of it must know.
    pub(super) fn rule(&self) -> Rule {
        let about = (self.about)();
        Rule {
            permission: self.permission,
            promised: about.promised(),
            leaves: about.leaves,
            security: about.security,
        }
    }
}

fn get<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
    about: fn() -> Operation,
) -> Route {
    // HEAD is answered by the same handler, without the body (RFC 9110 §9.3.2).
    Route::new(Method::GET, (path, permission, about), on(MethodFilter::GET, handler))
}

fn post<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
    about: fn() -> Operation,
) -> Route {
    Route::new(Method::POST, (path, permission, about), on(MethodFilter::POST, handler))
}

fn patch<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
    about: fn() -> Operation,
) -> Route {
    Route::new(Method::PATCH, (path, permission, about), on(MethodFilter::PATCH, handler))
}

fn delete<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
    about: fn() -> Operation,
) -> Route {
    Route::new(Method::DELETE, (path, permission, about), on(MethodFilter::DELETE, handler))
}

/// Everything that the admin port serves.
pub fn routes() -> Vec<Route> {
    let parts = [of_session(), of_messages(), of_threads(), of_queue(), of_accounts(), of_logs()];
    parts.into_iter().flatten().collect()
}

/// Who is asking, and what belongs to a person.
fn of_session() -> Vec<Route> {
    use Permission::{Identify, LogIn};
    vec![
        post("/api/v1/session", LogIn, session::log_in, about::log_in),
        delete("/api/v1/session", Identify, session::log_out, about::log_out),
        get("/api/v1/me", Identify, session::me, about::me),
        get("/api/v1/me/sessions", Identify, session::list, about::my_sessions),
        delete("/api/v1/me/sessions/{id}", Identify, session::end, about::end_my_session),
        post("/api/v1/me/2fa", Identify, session::begin_two_factor, about::begin_two_factor),
        post(
            "/api/v1/me/2fa/confirm",
            Identify,
            session::confirm_two_factor,
            about::confirm_two_factor,
        ),
        delete("/api/v1/me/2fa", Identify, session::drop_two_factor, about::drop_two_factor),
        get("/api/v1/openapi.json", Identify, openapi::serve, about::openapi),
    ]
}

/// Messages, what happens to them, and what is done with them.
fn of_messages() -> Vec<Route> {
    use Permission::{ActOnMessages, DeleteMessages, ReadMessages};
    vec![
        get("/api/v1/messages", ReadMessages, messages::list, about::messages),
        get("/api/v1/messages.csv", ReadMessages, export::csv, about::csv),
        get("/api/v1/stream", ReadMessages, stream::stream, about::stream),
        get("/api/v1/messages/{id}", ReadMessages, messages::one, about::message),
        get("/api/v1/messages/{id}/events", ReadMessages, messages::events, about::events),
        get("/api/v1/messages/{id}/raw", ReadMessages, content::raw, about::raw),
        get("/api/v1/messages/{id}/html", ReadMessages, content::html, about::html),
        get("/api/v1/messages/{id}/text", ReadMessages, content::text, about::text),
        get(
            "/api/v1/messages/{id}/attachments/{n}",
            ReadMessages,
            content::attachment,
            about::attachment,
        ),
        post("/api/v1/messages/{id}/stop", ActOnMessages, actions::stop, about::stop),
        post("/api/v1/messages/{id}/restart", ActOnMessages, actions::restart, about::restart),
        post("/api/v1/messages/{id}/release", ActOnMessages, actions::release, about::release),
        post("/api/v1/messages/{id}/resend", ActOnMessages, resend::resend, about::resend),
        post("/api/v1/messages/actions", ActOnMessages, bulk::begin, about::begin_job),
        get("/api/v1/jobs", ActOnMessages, bulk::list, about::jobs),
        get("/api/v1/jobs/{id}", ActOnMessages, bulk::one, about::job),
        post("/api/v1/jobs/{id}/cancel", ActOnMessages, bulk::cancel, about::cancel_job),
        delete("/api/v1/messages/{id}", DeleteMessages, actions::delete, about::delete_message),
    ]
}

/// What was said about one matter or with one counterpart, and the numbers.
fn of_threads() -> Vec<Route> {
    use Permission::{ActOnMessages, ReadMessages};
    vec![
        get("/api/v1/threads", ReadMessages, threads::list, about::threads),
        get("/api/v1/threads/{reference}", ReadMessages, threads::one, about::thread),
        get("/api/v1/threads/{reference}/print", ReadMessages, print::page, about::print),
        post(
            "/api/v1/threads/{reference}/entries",
            ActOnMessages,
            threads::add_entry,
            about::add_entry,
        ),
        get("/api/v1/contacts/{address}", ReadMessages, contacts::one, about::contact),
        get("/api/v1/statistics", ReadMessages, statistics::show, about::statistics),
    ]
}

/// What is to be sent and told, and who must not be written to.
fn of_queue() -> Vec<Route> {
    use Permission::{ManageDeliveries, ManageSuppressions, ManageUpstreams, ReadQueue};
    vec![
        get("/api/v1/suppressions", ReadQueue, suppressions::list, about::suppressions),
        post("/api/v1/suppressions", ManageSuppressions, suppressions::add, about::suppress),
        delete(
            "/api/v1/suppressions/{id}",
            ManageSuppressions,
            suppressions::remove,
            about::unsuppress,
        ),
        get("/api/v1/deliveries", ReadQueue, outbox::list, about::deliveries),
        post(
            "/api/v1/deliveries/{id}/retry",
            ManageDeliveries,
            outbox::again,
            about::retry_delivery,
        ),
        delete("/api/v1/deliveries/{id}", ManageDeliveries, outbox::drop_one, about::drop_delivery),
        get("/api/v1/queue", ReadQueue, queue::show, about::queue),
        post("/api/v1/upstreams/{name}/pause", ManageUpstreams, queue::pause, about::pause),
        post("/api/v1/upstreams/{name}/resume", ManageUpstreams, queue::resume, about::resume),
    ]
}

/// Users and tokens.
fn of_accounts() -> Vec<Route> {
    use Permission::ManageAccounts;
    vec![
        get("/api/v1/tokens", ManageAccounts, manage::list_tokens, about::tokens),
        post("/api/v1/tokens", ManageAccounts, manage::create_token, about::create_token),
        delete("/api/v1/tokens/{id}", ManageAccounts, manage::revoke_token, about::revoke_token),
        get("/api/v1/users", ManageAccounts, manage::list_users, about::users),
        post("/api/v1/users", ManageAccounts, manage::add_user, about::add_user),
        patch("/api/v1/users/{name}", ManageAccounts, manage::edit_user, about::edit_user),
        post(
            "/api/v1/users/{name}/password",
            ManageAccounts,
            manage::set_password,
            about::set_password,
        ),
        post(
            "/api/v1/users/{name}/disable",
            ManageAccounts,
            manage::disable_user,
            about::disable_user,
        ),
        post(
            "/api/v1/users/{name}/reset-2fa",
            ManageAccounts,
            manage::reset_two_factor,
            about::reset_two_factor,
        ),
        post(
            "/api/v1/users/{name}/unlock",
            ManageAccounts,
            manage::unlock_user,
            about::unlock_user,
        ),
        get(
            "/api/v1/users/{name}/sessions",
            ManageAccounts,
            manage::list_sessions,
            about::user_sessions,
        ),
        delete(
            "/api/v1/users/{name}/sessions",
            ManageAccounts,
            manage::end_sessions,
            about::end_user_sessions,
        ),
    ]
}

/// What people did.
fn of_logs() -> Vec<Route> {
    use Permission::ReadLogs;
    vec![
        get("/api/v1/logs/security", ReadLogs, logs::security, about::security_log),
        get("/api/v1/logs/operations", ReadLogs, logs::operations, about::operations_log),
    ]
}

/// What the table says of a route that is served elsewhere too, without `/api/v1`.
pub(crate) fn rule_of(method: &Method, route: &str) -> Rule {
    let is_it = |row: &Route| {
        row.method == *method && row.path.strip_prefix("/api/v1").is_some_and(|path| path == route)
    };
    let found = routes().into_iter().find(is_it);
    // What is served only there is answered with 200, and changes no account.
    let elsewhere = Rule {
        permission: Permission::ManageAccounts,
        promised: 200,
        leaves: None,
        security: None,
    };
    found.map_or(elsewhere, |row| row.rule())
}

/// The router of the admin port.
pub fn router(state: AdminState) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let check = from_fn_with_state((state.clone(), route.rule()), auth::authorize);
        router = router.route(route.path, route.handler.route_layer(check));
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state("admin", edge::around))
        .with_state(state)
}

async fn no_route() -> Problem {
    Problem::not_found("route")
}

async fn no_method(method: Method) -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, format!("This route does not take {method}."))
}
