//! Nobody gets past a route without its permission, and nobody sees an app that they may not see.

use std::time::Duration;

use axum::http::{Method, Request};
use serde_json::{Value, json};
use waybill::account::{AppScope, NewToken, Permission, Role};
use waybill::admin::routes;

use crate::support::admin::{Gateway, MAIL, ask, now};

/// Every route of the admin port and who may use it, said again apart from the code's own table.
pub const CONTRACT: [(&str, &str, &[Role]); 56] = {
    use Role::{Admin, Auditor, Operator, Viewer};
    const ALL: &[Role] = &[Viewer, Operator, Auditor, Admin];
    const OPERATORS: &[Role] = &[Operator, Admin];
    const ADMINS: &[Role] = &[Admin];
    const AUDITORS: &[Role] = &[Auditor, Admin];
    [
        ("POST", "/api/v1/session", ALL),
        ("DELETE", "/api/v1/session", ALL),
        ("GET", "/api/v1/me", ALL),
        ("GET", "/api/v1/me/sessions", ALL),
        ("DELETE", "/api/v1/me/sessions/{id}", ALL),
        ("POST", "/api/v1/me/2fa", ALL),
        ("POST", "/api/v1/me/2fa/confirm", ALL),
        ("DELETE", "/api/v1/me/2fa", ALL),
        ("GET", "/api/v1/messages", ALL),
        ("GET", "/api/v1/messages.csv", ALL),
        ("GET", "/api/v1/stream", ALL),
        ("GET", "/api/v1/messages/{id}", ALL),
        ("GET", "/api/v1/messages/{id}/events", ALL),
        ("GET", "/api/v1/messages/{id}/raw", ALL),
        ("GET", "/api/v1/messages/{id}/html", ALL),
        ("GET", "/api/v1/messages/{id}/text", ALL),
        ("GET", "/api/v1/messages/{id}/attachments/{n}", ALL),
        ("POST", "/api/v1/messages/{id}/stop", OPERATORS),
        ("POST", "/api/v1/messages/{id}/restart", OPERATORS),
        ("POST", "/api/v1/messages/{id}/release", OPERATORS),
        ("POST", "/api/v1/messages/{id}/resend", OPERATORS),
        ("POST", "/api/v1/messages/actions", OPERATORS),
        ("GET", "/api/v1/jobs", OPERATORS),
        ("GET", "/api/v1/jobs/{id}", OPERATORS),
        ("POST", "/api/v1/jobs/{id}/cancel", OPERATORS),
        ("GET", "/api/v1/threads", ALL),
        ("GET", "/api/v1/threads/{reference}", ALL),
        ("GET", "/api/v1/threads/{reference}/print", ALL),
        ("POST", "/api/v1/threads/{reference}/entries", OPERATORS),
        ("GET", "/api/v1/contacts/{address}", ALL),
        ("GET", "/api/v1/statistics", ALL),
        ("DELETE", "/api/v1/messages/{id}", ADMINS),
        ("GET", "/api/v1/suppressions", ALL),
        ("POST", "/api/v1/suppressions", OPERATORS),
        ("DELETE", "/api/v1/suppressions/{id}", OPERATORS),
        ("GET", "/api/v1/deliveries", ALL),
        ("POST", "/api/v1/deliveries/{id}/retry", OPERATORS),
        ("DELETE", "/api/v1/deliveries/{id}", OPERATORS),
        ("GET", "/api/v1/queue", ALL),
        ("POST", "/api/v1/upstreams/{name}/pause", ADMINS),
        ("POST", "/api/v1/upstreams/{name}/resume", ADMINS),
        ("GET", "/api/v1/tokens", ADMINS),
        ("POST", "/api/v1/tokens", ADMINS),
        ("DELETE", "/api/v1/tokens/{id}", ADMINS),
        ("GET", "/api/v1/users", ADMINS),
        ("POST", "/api/v1/users", ADMINS),
        ("PATCH", "/api/v1/users/{name}", ADMINS),
        ("POST", "/api/v1/users/{name}/password", ADMINS),
        ("POST", "/api/v1/users/{name}/disable", ADMINS),
        ("POST", "/api/v1/users/{name}/reset-2fa", ADMINS),
        ("POST", "/api/v1/users/{name}/unlock", ADMINS),
        ("GET", "/api/v1/users/{name}/sessions", ADMINS),
        ("DELETE", "/api/v1/users/{name}/sessions", ADMINS),
        ("GET", "/api/v1/logs/security", AUDITORS),
        ("GET", "/api/v1/logs/operations", AUDITORS),
        ("GET", "/api/v1/openapi.json", ALL),
    ]
};

/// Logging in is for whoever is not known yet.
fn needs_somebody((method, path, _): &(&str, &str, &[Role])) -> bool {
    (*method, *path) != ("POST", "/api/v1/session")
}

pub fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id)
        .replace("{n}", "0")
        .replace("{name}", "provider")
        .replace("{reference}", "INV-12345")
        .replace("{address}", "kim@example.org")
}

#[test]
fn every_route_is_in_the_table_with_a_permission() {
    let mut routes = routes();
    routes.sort_by_key(|route| (route.path, route.method.to_string()));
    let mut contract = CONTRACT.to_vec();
    contract.sort_by_key(|(method, path, _)| (*path, *method));
    let served: Vec<(String, &str)> =
        routes.iter().map(|route| (route.method.to_string(), route.path)).collect();
    let promised: Vec<(String, &str)> =
        contract.iter().map(|(method, path, _)| ((*method).to_owned(), *path)).collect();
    assert_eq!(served, promised);
    for (route, (_, path, roles)) in routes.iter().zip(contract) {
        let may: Vec<Role> =
            Role::ALL.into_iter().filter(|role| role.may(route.permission)).collect();
        assert_eq!(may, roles, "{path}");
    }
}

#[tokio::test]
async fn every_route_asks_every_role() {
    let gateway = Gateway::start().await;
    let message = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    let id = message.id.to_string();
    for role in Role::ALL {
        let token = gateway.token(role, &[]).await;
        for (method, path, roles) in CONTRACT {
            let method: Method = method.parse().unwrap();
            let path = filled(path, &id);
            let answer = gateway.ask(method, &path, Some(&token), None).await;
            let denied = matches!(answer.status, 401 | 403);
            assert_eq!(denied, !roles.contains(&role), "{path} {role:?}: {}", answer.status);
            if denied {
                assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"));
            }
        }
    }
}

#[tokio::test]
async fn no_token_no_answer() {
    let gateway = Gateway::start().await;
    let message = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    for (method, path, _) in CONTRACT.into_iter().filter(needs_somebody) {
        let method: Method = method.parse().unwrap();
        let path = filled(path, &message.id.to_string());
        let answer = gateway.ask(method, &path, None, None).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"), "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
}

#[tokio::test]
async fn tokens_that_are_no_longer_good_open_nothing() {
    let gateway = Gateway::start().await;
    let message = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    let new = |expires_at| NewToken {
        role: Role::Admin,
        scope: AppScope::All,
        expires_at,
        note: None,
        created_by: "the test".into(),
    };
    let soon = now().plus(Duration::from_millis(1));
    let (_, expired) =
        gateway.accounts.create_token(new(Some(soon)), soon_before(soon)).await.unwrap();
    let (token, revoked) = gateway.accounts.create_token(new(None), now()).await.unwrap();
    assert_eq!(gateway.get(revoked.expose(), "/api/v1/me").await.status, 200);
    gateway.accounts.revoke_token(token.id, now()).await.unwrap();
    while now() < soon {
        tokio::task::yield_now().await;
    }
    for (method, path, _) in CONTRACT.into_iter().filter(needs_somebody) {
        let method: Method = method.parse().unwrap();
        let path = filled(path, &message.id.to_string());
        for secret in [&expired, &revoked] {
            let answer = gateway.ask(method.clone(), &path, Some(secret.expose()), None).await;
            assert!(matches!(answer.status, 401 | 429), "{path}: {}", answer.status);
        }
    }
}

fn soon_before(at: waybill::model::Timestamp) -> waybill::model::Timestamp {
    waybill::model::Timestamp::from_millis(at.as_millis() - 1)
}

#[tokio::test]
async fn a_limit_to_apps_hides_the_rest() {
    let gateway = Gateway::start().await;
    let ours = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    let theirs = gateway.submit("crm", &["kim@example.org"], MAIL, true).await.id.to_string();
    let token = gateway.token(Role::Admin, &["erp"]).await;
    for (method, path, roles) in CONTRACT {
        let reaches_all = routes()
            .iter()
            .any(|r| r.path == path && r.method == *method && r.permission.spans_apps());
        let method: Method = method.parse().unwrap();
        let status = |id: &str| {
            let (path, method) = (filled(path, id), method.clone());
            let (gateway, token) = (&gateway, &token);
            async move { gateway.ask(method, &path, Some(token), None).await.status }
        };
        let (of_ours, of_theirs) = (status(&ours).await, status(&theirs).await);
        let expected = match (path.contains("/messages/{id}"), reaches_all) {
            (_, true) => 403,
            (true, false) => 404,
            // These need a body or a parameter, and name no message.
            (false, false) if path.ends_with("/actions") || path.ends_with("/entries") => 400,
            (false, false) if path.ends_with("/statistics") => 400,
            // There is no such job; the thread and the contact are of messages of both apps.
            (false, false) if path.contains("/jobs/") => 404,
            (false, false) => 200,
        };
        // What belongs to people who logged in has no app.
        let of_people = path == "/api/v1/session" || path.starts_with("/api/v1/me/");
        assert!(of_people || of_theirs == expected, "{method} {path}: {of_theirs}");
        assert_eq!(of_ours == 403, reaches_all, "{method} {path} of the own app: {of_ours}");
        assert!(roles.contains(&Role::Admin));
    }
    let list = |query: &str| {
        let (gateway, token) = (&gateway, &token);
        let path = format!("/api/v1/messages{query}");
        async move {
            let items = gateway.get(token, &path).await.json()["items"].clone();
            items.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
        }
    };
    let seen = list("").await;
    // What was sent again above is theirs to see as well.
    assert!(seen.contains(&Value::from(ours)) && !seen.contains(&Value::from(theirs)), "{seen:?}");
    assert_eq!(list("?app=crm").await, Vec::<Value>::new());
    let me = gateway.get(&token, "/api/v1/me").await.json();
    assert_eq!((&me["role"], &me["apps"]), (&json!("admin"), &json!(["erp"])));
}

#[tokio::test]
async fn wrong_tokens_are_counted_and_good_ones_are_not() {
    let gateway = Gateway::start().await;
    let good = gateway.token(Role::Viewer, &[]).await;
    let wrong = format!("wb_{}", "x".repeat(43));
    for _ in 0..20 {
        assert_eq!(gateway.get(&wrong, "/api/v1/me").await.status, 401);
        assert_eq!(gateway.get(&good, "/api/v1/me").await.status, 200);
    }
    let answer = gateway.get(&wrong, "/api/v1/me").await;
    assert_eq!((answer.status, answer.problem().as_str()), (429, "too-many-attempts"));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Nobody locks out somebody else behind the same address.
    assert_eq!(gateway.get(&good, "/api/v1/me").await.status, 200);
    // No attempt is not a wrong attempt.
    assert_eq!(gateway.ask(Method::GET, "/api/v1/me", None, None).await.status, 401);
}

#[tokio::test]
async fn a_token_counts_in_its_header_only() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let request = |header: Option<(&str, String)>, uri: String| {
        let mut request = Request::builder().uri(uri).header("host", "x");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.body(Default::default()).unwrap()
    };
    let uri = format!("/api/v1/me?access_token={token}");
    assert_eq!(ask(gateway.address, request(None, uri)).await.status, 401);
    for (name, value) in [("authorization", format!("Basic {token}")), ("cookie", token.clone())] {
        let asked = request(Some((name, value)), "/api/v1/me".into());
        assert_eq!(ask(gateway.address, asked).await.status, 401);
    }
    let asked = request(Some(("authorization", format!("bearer {token}"))), "/api/v1/me".into());
    assert_eq!(ask(gateway.address, asked).await.status, 200);
}

#[tokio::test]
async fn wrong_requests_get_problems() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let answer = gateway.get(&token, "/api/v1/nothing").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    let answer = gateway.ask(Method::PUT, "/api/v1/messages", Some(&token), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"));
    assert!(answer.header("allow").contains("GET"), "{:?}", answer.headers);
    let answer = gateway.get(&token, "/api/v1/messages/..%2f..%2fetc%2fpasswd").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    let answer = gateway.get(&token, "/api/v1/me?verbose=1").await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-parameter"));
    let text = Request::post("/api/v1/tokens")
        .header("host", "x")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "text/plain")
        .body("{\"role\": \"admin\"}".into())
        .unwrap();
    let answer = ask(gateway.address, text).await;
    assert_eq!((answer.status, answer.problem().as_str()), (415, "unsupported-media-type"));
    let huge = json!({"role": "x".repeat(1 << 20)});
    let answer = gateway.post(&token, "/api/v1/tokens", Some(huge)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too-large"));
    for answer in [
        gateway.get(&token, "/api/v1/nothing").await,
        gateway.get(&token, "/api/v1/messages").await,
        gateway.ask(Method::GET, "/api/v1/messages", None, None).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("server"), "", "no banner");
    }
}

/// No URL, however odd, gets an answer that is not a problem, and none gets a failure of ours.
#[tokio::test]
async fn odd_urls_get_problems() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let long = "x".repeat(8_000);
    let odd = [
        "",
        "%",
        "%00",
        "%ff",
        "%c0%ae%c0%ae",
        "..%2f..%2fetc%2fpasswd",
        "%252e%252e",
        "..\\..",
        "a%0d%0aSet-Cookie:%20x",
        "01JD5VZ7Q4N7W4T6Y5M8R2K3B1",
        "zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "ééééééééééééé",
        "-1",
        &long,
    ];
    for (method, path, _) in CONTRACT {
        for value in odd {
            let value: String = value.chars().filter(|c| c.is_ascii() && *c != '\\').collect();
            for path in [
                path.replace("{id}", &value)
                    .replace("{n}", &value)
                    .replace("{name}", &value)
                    .replace("{reference}", &value)
                    .replace("{address}", &value),
                format!("{}?{value}={value}", filled(path, "01JD5VZ7Q4N7W4T6Y5M8R2K3B1")),
                format!("{}?limit={value}&cursor={value}", filled(path, &value)),
            ] {
                let answer = gateway.ask(method.parse().unwrap(), &path, Some(&token), None).await;
                let shown: String = path.chars().take(100).collect();
                assert!(answer.status < 500, "{method} {shown}: {}", answer.status);
                if answer.status >= 400 {
                    answer.problem();
                }
            }
        }
    }
    let head = gateway.ask(Method::HEAD, "/api/v1/me", Some(&token), None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn http_2_is_spoken_as_well() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get(format!("http://{}/api/v1/me", gateway.address))
            .header("authorization", format!("Bearer {token}"))
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
}

#[test]
fn permissions_that_span_apps_are_the_dangerous_ones() {
    let spanning: Vec<Permission> =
        Permission::ALL.into_iter().filter(|permission| permission.spans_apps()).collect();
    assert!(spanning.contains(&Permission::ManageAccounts));
    assert!(!spanning.contains(&Permission::ReadMessages));
}
