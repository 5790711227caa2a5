//! The API is what its description says, and the description is looked at whenever it changes.
//!
//! `UPDATE_GOLDEN=1` writes `tests/golden/openapi.json` anew; look at the difference before you commit it: it is
//! what users of the API will see.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::Method;
use serde_json::{Map, Value, json};
use waybill::account::Role;
use waybill::admin::{openapi, routes};

use crate::support::admin::{Gateway, MAIL};

fn document() -> Value {
    serde_json::from_str(openapi()).unwrap()
}

#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, openapi()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = checked_in.lines().zip(openapi().lines()).find(|(old, new)| old != new);
    assert!(
        checked_in == openapi(),
        "the API has changed, first at {differs:?}: run the tests named api_description with UPDATE_GOLDEN=1 and \
         look at the difference of tests/golden/openapi.json"
    );
}

#[test]
fn every_route_is_described_once_with_its_permission() {
    let document = document();
    let mut ids = BTreeSet::new();
    for route in routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][route.path][&method];
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty() && ids.insert(id), "{method} {}", route.path);
        let roles: Vec<&str> = Role::ALL
            .into_iter()
            .filter(|role| role.may(route.permission))
            .map(Role::as_str)
            .collect();
        assert_eq!(operation["x-roles"], json!(roles), "{}", route.path);
        assert_eq!(operation["responses"]["500"]["$ref"], "#/components/responses/Internal");
        let tag = operation["tags"][0].as_str().unwrap();
        let tags = document["tags"].as_array().unwrap();
        assert!(tags.iter().any(|known| known["name"] == tag), "{tag}");
    }
}

/// The schema that a reference leads to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    let found = document.pointer(reference.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Everything that a document refers to is there.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            resolved(document, value);
            fields.values().for_each(|value| check_references(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    check_references(&document, &document);
}

/// The properties of an object and of what it is made of, and those that are required.
fn properties(document: &Value, schema: &Value) -> (Map<String, Value>, BTreeSet<String>) {
    let schema = resolved(document, schema);
    let mut all = schema["properties"].as_object().cloned().unwrap_or_default();
    let words = schema["required"].as_array().into_iter().flatten();
    let mut required: BTreeSet<String> =
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = properties(document, part);
        all.extend(more);
        required.extend(needed);
    }
    (all, required)
}

fn check_example(document: &Value, schema: &Value, example: &Value, at: &str) {
    let schema = resolved(document, schema);
    let kinds = schema["oneOf"].as_array().filter(|_| schema["properties"].is_null());
    if let Some(kinds) = kinds {
        let fits = |kind: &&Value| {
            let (all, _) = properties(document, kind);
            example.as_object().is_some_and(|e| e.keys().all(|key| all.contains_key(key)))
        };
        match kinds.iter().find(fits) {
            Some(kind) => check_example(document, kind, example, at),
            None => assert!(!example.is_object(), "{at}: fits none"),
        }
        return;
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(example), "{at}: {example} is none of {words:?}");
    }
    match example {
        Value::Object(fields) => {
            let (all, required) = properties(document, schema);
            for name in &required {
                assert!(fields.contains_key(name), "{at}.{name} is missing in the example");
            }
            for (name, value) in fields {
                // Of a map by words, which have their own list.
                let words = schema["propertyNames"]["enum"].as_array();
                let others = words
                    .filter(|words| words.contains(&json!(name)))
                    .map(|_| &schema["additionalProperties"]);
                let property = all.get(name).or(others);
                let property =
                    property.unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
                check_example(document, property, value, &format!("{at}.{name}"));
            }
        }
        Value::Array(values) => {
            for value in values {
                check_example(document, &schema["items"], value, &format!("{at}[]"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_body_and_answer_has_an_example_that_fits_its_schema() {
    let document = document();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap().iter();
            let answers = answers.map(|(status, answer)| (status.as_str(), answer));
            for (what, content) in answers.chain([("body", &operation["requestBody"])]) {
                let media = &content["content"]["application/json"];
                if media["schema"].is_null() {
                    continue;
                }
                let at = format!("{method} {path} {what}");
                assert!(!media["example"].is_null(), "{at} has no example");
                check_example(&document, &media["schema"], &media["example"], &at);
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} were looked at");
}

#[tokio::test]
async fn whoever_is_known_reads_the_description() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &["erp"]).await;
    let answer = gateway.get(&token, "/api/v1/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json(), document());
    let answer = gateway.ask(Method::GET, "/api/v1/openapi.json", None, None).await;
    assert_eq!(answer.status, 401);
    assert_eq!(gateway.get(&token, "/api/v1/openapi.json?x=1").await.status, 400);
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_told_which_it_does() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let check = async |method: Method, path: &str, expected: &str| {
        let answer = gateway.ask(method, path, Some(&token), None).await;
        assert_eq!((answer.status, answer.header("allow")), (405, expected), "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    };
    check(Method::PUT, "/api/v1/messages", "GET,HEAD").await;
    check(Method::OPTIONS, "/api/v1/messages/actions", "POST").await;
    check(Method::POST, &format!("/api/v1/messages/{id}"), "GET,HEAD,DELETE").await;
    let path = format!("/api/v1/messages/{id}");
    let head = gateway.ask(Method::HEAD, &path, Some(&token), None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_wrong_body_names_its_field() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Admin, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let check = async |path: &str, body: Value, field: &str| {
        let answer = gateway.post(&token, path, Some(body)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-body"), "{path}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{}", answer.json());
    };
    check("/api/v1/tokens", json!([]), "body").await;
    check("/api/v1/tokens", json!({}), "role").await;
    check("/api/v1/tokens", json!({"role": "viewer", "nte": "x"}), "nte").await;
    check("/api/v1/tokens", json!({"role": "viewer", "apps": ["erp", 1]}), "apps[1]").await;
    let resend = format!("/api/v1/messages/{id}/resend");
    check(&resend, json!({"attachments": {"keep": [-1]}}), "attachments.keep[0]").await;
    check(&resend, json!({"attachments": {}}), "attachments.keep").await;
}
