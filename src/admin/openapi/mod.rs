//! `GET /api/v1/openapi.json`: the API described by itself, in OpenAPI 3.1.
//!
//! Made from the table of routes: a row can not be written without its description (`about`), and the
//! permission, the path's parameters and the problems that follow from both are read off the row. The
//! schemas are derived from the views (`schemas`). A copy is checked in as `tests/golden/openapi.json`
//! and compared in a test, so that a change of the API is seen by whoever reads the change.

pub(super) mod about;
mod operation;
mod parameter;
mod schemas;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::parameters;
use super::problem::{Problem, ProblemKind};
use super::router::{Route, routes};
use crate::account::{Permission, Role};
pub(super) use operation::Operation;

/// What each schema looks like with values in it, by its name.
const EXAMPLES: &str = include_str!("examples.json");

/// The document, made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

/// The document as it is served.
pub fn openapi() -> &'static str {
    &DOCUMENT
}

/// For anybody who is known: a program reads it to know what it may ask.
pub(super) async fn serve(uri: Uri) -> Result<impl IntoResponse, Problem> {
    parameters::none(&uri)?;
    Ok(([(CONTENT_TYPE, "application/json")], openapi()))
}

fn document() -> Value {
    // The file is part of the program, and a test reads it.
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let mut learned = Vec::new();
    let mut paths: Map<String, Value> = Map::new();
    let mut responses = BTreeMap::new();
    for route in routes() {
        let mut operation = (route.about)();
        learned.append(&mut operation.schemas);
        let described = describe(&route, &operation, &examples, &mut responses);
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = described;
    }
    let mut schemas = schemas::components(learned);
    schemas.insert("Problem".into(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Waybill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": TAGS.map(|(name, says)| json!({"name": name, "description": says})),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": security_schemes(),
        },
    })
}

const ABOUT: &str = "The archive of every mail and SMS that passed, and what can be done with them. Times are RFC 3339 in UTC with milliseconds; ids of messages are ULIDs. A list takes `limit` and `cursor` and answers `items` and `next`. Unknown parameters and fields are errors. An error is a problem of RFC 9457. A method that a path does not take is answered with 405 and `Allow`; HEAD is answered where GET is.";

pub(super) const TAGS: [(&str, &str); 8] = [
    ("Messages", "Find messages, read them, follow what happens to them."),
    ("Actions", "Stop, restart, release, send again, delete."),
    ("Threads", "What was said about one matter, or with one counterpart."),
    ("Queue", "What is to be sent, and through what."),
    ("Suppressions", "Who must not be written to."),
    ("Session", "Logging in, and what belongs to a person."),
    ("Accounts", "Users and tokens."),
    ("Logs", "What people did."),
];

fn describe(
    route: &Route,
    operation: &Operation,
    examples: &Value,
    responses: &mut BTreeMap<String, Value>,
) -> Value {
    let path_names = route.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let of_path = path_names.map(|name| parameter::of_path(route.path, name.trim_end_matches('}')));
    let of_query = operation.parameters.iter().map(|parameter| parameter.0.clone());
    let parameters: Vec<Value> = of_path.chain(of_query).collect();
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for answer in &operation.answers {
        answers.insert(answer.status.to_string(), answer.to_json(examples));
    }
    let mut kinds: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for kind in problems_of(route, operation) {
        kinds.entry(kind.status().as_u16()).or_default().push(kind);
    }
    for (status, kinds) in kinds {
        let name = response_name(&kinds);
        answers
            .insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        responses.entry(name).or_insert_with(|| problem_response(&kinds));
    }
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers,
        "security": security_of(route),
        "x-permission": word(route.permission),
        "x-roles": Role::ALL.into_iter().filter(|role| role.may(route.permission)).map(Role::as_str)
            .collect::<Vec<_>>(),
        "x-needs-all-apps": route.permission.spans_apps(),
    });
    if let Some(description) = operation.description {
        described["description"] = json!(description);
    }
    if let Some(body) = &operation.body {
        let mut media =
            json!({"schema": {"$ref": format!("#/components/schemas/{}", body.schema)}});
        if let Some(example) = examples.get(&body.schema) {
            media["example"] = example.clone();
        }
        described["requestBody"] =
            json!({"required": body.is_required, "content": {"application/json": media}});
    }
    described
}

/// How a route can fail: what its permission, path and body bring along, and what it says itself.
fn problems_of(route: &Route, operation: &Operation) -> Vec<ProblemKind> {
    use ProblemKind as Kind;
    let mut kinds = vec![Kind::InvalidParameter, Kind::Internal, Kind::Timeout, Kind::Unavailable];
    kinds.extend([Kind::Unauthenticated, Kind::Forbidden, Kind::TooManyAttempts]);
    if !matches!(route.permission, Permission::LogIn | Permission::Identify) {
        kinds.push(Kind::TwoFactorRequired);
    }
    if route.path.contains('{') {
        kinds.push(Kind::NotFound);
    }
    if operation.body.is_some() {
        kinds.extend([Kind::InvalidBody, Kind::TooLarge, Kind::UnsupportedMediaType]);
    }
    kinds.extend(operation.problems.iter().copied());
    kinds.sort_by_key(|kind| kind.slug());
    kinds.dedup();
    kinds
}

/// `InvalidParameter`, `InvalidBodyOrInvalidParameter`.
fn response_name(kinds: &[ProblemKind]) -> String {
    let name = |kind: &ProblemKind| {
        kind.slug().split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect::<String>()
    };
    kinds.iter().map(name).collect::<Vec<_>>().join("Or")
}

fn problem_response(kinds: &[ProblemKind]) -> Value {
    let types: Vec<String> = kinds.iter().map(|kind| kind.urn()).collect();
    let status = kinds.first().map(|kind| kind.status().as_u16());
    let examples: Map<String, Value> = kinds
        .iter()
        .map(|kind| (kind.slug().to_owned(), json!({"value": kind.example()})))
        .collect();
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
    let mut response = json!({
        "description": format!("{}.", titles.join("; or: ")),
        "content": {"application/problem+json": {
            "schema": {
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"type": {"enum": types}, "status": {"const": status}},
            },
            "examples": examples,
        }},
    });
    let field = |says: &str, required: bool| json!({"description": says, "required": required, "schema": {"type": "string"}});
    match status {
        Some(401) => response["headers"]["WWW-Authenticate"] = field("How to authenticate.", true),
        Some(429) => response["headers"]["Retry-After"] = field("Seconds to wait.", true),
        Some(503) => response["headers"]["Retry-After"] = field("Seconds to wait.", false),
        Some(_) | None => {}
    }
    response
}

fn problem_schema() -> Value {
    let text = |says: &str| json!({"type": "string", "description": says});
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "errors"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Which kind; never changes."},
            "title": text("The kind in words."),
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": text("What was wrong this time."),
            "errors": {"type": "array", "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": text("A parameter, or a field of the body such as `attachments.keep[0]`."),
                    "detail": text("What is wrong with it."),
                },
            }},
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "A token of POST /api/v1/tokens or `waybill token create`.",
        },
        "session": {
            "type": "apiKey", "in": "cookie", "name": "waybill",
            "description": "The cookie of POST /api/v1/session; behind TLS its name is __Host-waybill.",
        },
        "csrf": {
            "type": "apiKey", "in": "header", "name": "X-CSRF-Token",
            "description": "With the cookie and any method but GET: `session.csrf_token` of GET /api/v1/me, from a page of the same origin.",
        },
    })
}

fn security_of(route: &Route) -> Value {
    match (route.permission, route.method.as_str()) {
        (Permission::LogIn, _) => json!([]),
        (_, "GET") => json!([{"token": []}, {"session": []}]),
        (_, _) => json!([{"token": []}, {"session": [], "csrf": []}]),
    }
}

/// The word for a permission.
fn word(permission: Permission) -> &'static str {
    match permission {
        Permission::LogIn => "log-in",
        Permission::Identify => "identify",
        Permission::ReadMessages => "read-messages",
        Permission::ActOnMessages => "act-on-messages",
        Permission::ReadQueue => "read-queue",
        Permission::ManageUpstreams => "manage-upstreams",
        Permission::ManageSuppressions => "manage-suppressions",
        Permission::ManageDeliveries => "manage-deliveries",
        Permission::DeleteMessages => "delete-messages",
        Permission::ReadLogs => "read-logs",
        Permission::ManageAccounts => "manage-accounts",
    }
}
