//! The table of routes, each with the permission that it needs, and the router made from it.
//!
//! A route that is not in the table is not served, and a row can not be written without a
//! permission: there is no way to serve something to everybody by forgetting.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::problem::{Problem, ProblemKind};
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
    handler: MethodRouter<AdminState>,
}

fn get<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
) -> Route {
    // HEAD is answered by the same handler, without the body (RFC 9110 §9.3.2).
    Route { method: Method::GET, path, permission, handler: on(MethodFilter::GET, handler) }
}

fn post<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
) -> Route {
    Route { method: Method::POST, path, permission, handler: on(MethodFilter::POST, handler) }
}

fn delete<H: Handler<T, AdminState>, T: 'static>(
    path: &'static str,
    permission: Permission,
    handler: H,
) -> Route {
    Route { method: Method::DELETE, path, permission, handler: on(MethodFilter::DELETE, handler) }
}

/// Everything that the admin port serves.
pub fn routes() -> Vec<Route> {
    use Permission::{
        ActOnMessages, DeleteMessages, Identify, LogIn, ManageAccounts, ManageDeliveries,
        ManageSuppressions, ManageUpstreams, ReadLogs, ReadMessages, ReadQueue,
    };
    vec![
        post("/api/v1/session", LogIn, session::log_in),
        delete("/api/v1/session", Identify, session::log_out),
        get("/api/v1/me", Identify, session::me),
        get("/api/v1/me/sessions", Identify, session::list),
        delete("/api/v1/me/sessions/{id}", Identify, session::end),
        post("/api/v1/me/2fa", Identify, session::begin_two_factor),
        post("/api/v1/me/2fa/confirm", Identify, session::confirm_two_factor),
        delete("/api/v1/me/2fa", Identify, session::drop_two_factor),
        get("/api/v1/messages", ReadMessages, messages::list),
        get("/api/v1/messages.csv", ReadMessages, export::csv),
        get("/api/v1/stream", ReadMessages, stream::stream),
        get("/api/v1/messages/{id}", ReadMessages, messages::one),
        get("/api/v1/messages/{id}/events", ReadMessages, messages::events),
        get("/api/v1/messages/{id}/raw", ReadMessages, content::raw),
        get("/api/v1/messages/{id}/html", ReadMessages, content::html),
        get("/api/v1/messages/{id}/text", ReadMessages, content::text),
        get("/api/v1/messages/{id}/attachments/{n}", ReadMessages, content::attachment),
        post("/api/v1/messages/{id}/stop", ActOnMessages, actions::stop),
        post("/api/v1/messages/{id}/restart", ActOnMessages, actions::restart),
        post("/api/v1/messages/{id}/release", ActOnMessages, actions::release),
        post("/api/v1/messages/{id}/resend", ActOnMessages, resend::resend),
        post("/api/v1/messages/actions", ActOnMessages, bulk::begin),
        get("/api/v1/jobs", ActOnMessages, bulk::list),
        get("/api/v1/jobs/{id}", ActOnMessages, bulk::one),
        post("/api/v1/jobs/{id}/cancel", ActOnMessages, bulk::cancel),
        get("/api/v1/threads", ReadMessages, threads::list),
        get("/api/v1/threads/{reference}", ReadMessages, threads::one),
        get("/api/v1/threads/{reference}/print", ReadMessages, print::page),
        post("/api/v1/threads/{reference}/entries", ActOnMessages, threads::add_entry),
        get("/api/v1/contacts/{address}", ReadMessages, contacts::one),
        get("/api/v1/statistics", ReadMessages, statistics::show),
        delete("/api/v1/messages/{id}", DeleteMessages, actions::delete),
        get("/api/v1/suppressions", ReadQueue, suppressions::list),
        post("/api/v1/suppressions", ManageSuppressions, suppressions::add),
        delete("/api/v1/suppressions/{id}", ManageSuppressions, suppressions::remove),
        get("/api/v1/deliveries", ReadQueue, outbox::list),
        post("/api/v1/deliveries/{id}/retry", ManageDeliveries, outbox::again),
        delete("/api/v1/deliveries/{id}", ManageDeliveries, outbox::drop_one),
        get("/api/v1/queue", ReadQueue, queue::show),
        post("/api/v1/upstreams/{name}/pause", ManageUpstreams, queue::pause),
        post("/api/v1/upstreams/{name}/resume", ManageUpstreams, queue::resume),
        get("/api/v1/tokens", ManageAccounts, manage::list_tokens),
        post("/api/v1/tokens", ManageAccounts, manage::create_token),
        delete("/api/v1/tokens/{id}", ManageAccounts, manage::revoke_token),
        get("/api/v1/users", ManageAccounts, manage::list_users),
        post("/api/v1/users", ManageAccounts, manage::add_user),
        post("/api/v1/users/{name}/password", ManageAccounts, manage::set_password),
        post("/api/v1/users/{name}/disable", ManageAccounts, manage::disable_user),
        post("/api/v1/users/{name}/reset-2fa", ManageAccounts, manage::reset_two_factor),
        post("/api/v1/users/{name}/unlock", ManageAccounts, manage::unlock_user),
        get("/api/v1/users/{name}/sessions", ManageAccounts, manage::list_sessions),
        delete("/api/v1/users/{name}/sessions", ManageAccounts, manage::end_sessions),
        get("/api/v1/logs/security", ReadLogs, logs::security),
        get("/api/v1/logs/operations", ReadLogs, logs::operations),
    ]
}

/// The router of the admin port.
pub fn router(state: AdminState) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let check = from_fn_with_state((state.clone(), route.permission), auth::authorize);
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
