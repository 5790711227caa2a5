//! The schemas of the API's description: derived from the views, then given what their Rust types do
//! not say.
//!
//! A view's field is always there, so it is required, but for the few that are named here; a time is
//! known by its name (`…_at`); words come from the enums that write them. A rule here that fits no
//! schema any longer fails a test.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::parameter::{self, LINE, NAME, ULID, USER_NAME};
use crate::archive::Dimension;
use crate::model::{
    Channel, Dialect, Direction, EventKind, RecipientKind, SkipReason, SmsEncoding, Status,
    Untouched,
};

/// Fields of views that are left out where there is nothing to say.
const LEFT_OUT: [(&str, &str); 4] =
    [("Me", "session"), ("Found", "note"), ("Found", "absence"), ("Step", "recovery_codes")];

/// Unions whose kinds have names, in their order: a generated client has a type for each.
const KINDS: [(&str, [&str; 2]); 2] =
    [("BulkBody", ["BulkByQuery", "BulkByIds"]), ("Item", ["MessageItem", "EntryItem"])];

/// The name that the document uses: a view is what it shows.
pub(super) fn public_name(name: &str) -> String {
    name.strip_suffix("View").unwrap_or(name).to_owned()
}

/// All schemas by their public names.
pub(super) fn components(learned: Vec<(String, RefOr<Schema>)>) -> Map<String, Value> {
    let mut schemas = BTreeMap::new();
    for (name, schema) in learned {
        // A schema of the derive is always JSON.
        let schema = serde_json::to_value(schema).unwrap_or_default();
        schemas.insert(public_name(&name), schema);
    }
    for (name, schema) in &mut schemas {
        rename(schema);
        for object in objects(schema) {
            refine(name, object);
        }
        whole(name, schema);
    }
    KINDS.into_iter().for_each(|(union, names)| name_kinds(&mut schemas, union, names));
    schemas.into_iter().collect()
}

fn reference(name: &str) -> Value {
    json!(format!("#/components/schemas/{name}"))
}

/// Makes each kind of a union a schema of its own.
fn name_kinds(schemas: &mut BTreeMap<String, Value>, union: &str, names: [&str; 2]) {
    let Some(whole) = schemas.get_mut(union) else { return };
    let kinds = whole["oneOf"].take();
    whole["oneOf"] = names.iter().map(|name| json!({"$ref": reference(name)})).collect();
    let kinds = kinds.as_array().into_iter().flatten().cloned();
    schemas.extend(names.into_iter().map(str::to_owned).zip(kinds));
}

/// Either `query` or `ids`, each with all that goes with it.
fn query_or_ids(body: &Value) -> Value {
    let kind = |given: &str, is: &str, other: &str| {
        let mut kind = body.clone();
        kind["properties"][given]["type"] = json!(is);
        kind["properties"][other] = json!({"type": "null"});
        kind["required"] = json!(["action", given]);
        kind
    };
    json!({
        "description": body["description"],
        "oneOf": [kind("query", "object", "ids"), kind("ids", "array", "query")],
    })
}

/// References go by public names too.
fn rename(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), &mut *value) {
                    ("$ref", Value::String(to)) => {
                        let name = to.rsplit('/').next().unwrap_or_default();
                        *to = format!("#/components/schemas/{}", public_name(name));
                    }
                    _ => rename(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(rename),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The objects that a schema is made of, itself or its parts.
fn objects(schema: &mut Value) -> Vec<&mut Map<String, Value>> {
    let Value::Object(fields) = schema else { return Vec::new() };
    if fields.contains_key("properties") {
        return vec![fields];
    }
    let mut found = Vec::new();
    for (key, parts) in fields {
        if let ("allOf" | "oneOf", Value::Array(parts)) = (key.as_str(), parts) {
            found.extend(parts.iter_mut().flat_map(objects));
        }
    }
    found
}

fn refine(schema: &str, object: &mut Map<String, Value>) {
    let is_input = schema.ends_with("Body");
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for (name, property) in properties.iter_mut() {
        if let Some(more) = more_of(schema, name).filter(|_| !is_const(property)) {
            add(property, more);
        }
    }
    if !is_input {
        let names = properties.keys().filter(|name| !LEFT_OUT.contains(&(schema, name.as_str())));
        let names: Vec<Value> = names.map(|name| json!(name)).collect();
        object.insert("required".into(), Value::Array(names));
    }
}

/// A word that the derive fixed itself, such as the tag of an enum.
fn is_const(property: &Value) -> bool {
    property.get("enum").is_some()
}

/// Puts rules beside the type, or into the part that is not `null`.
fn add(property: &mut Value, more: Value) {
    let is_nullable =
        property["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("null")));
    let (Value::Object(property), Value::Object(mut more)) = (property, more) else { return };
    if let Some(Value::Array(words)) = more.get_mut("enum").filter(|_| is_nullable) {
        words.push(Value::Null);
    }
    if property.contains_key("type") {
        // The type itself is the derive's to say.
        more.remove("type");
    }
    property.append(&mut more);
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({"enum": words.into_iter().collect::<Vec<_>>()})
}

/// What is known of a field beyond its type.
fn more_of(schema: &str, field: &str) -> Option<Value> {
    let more = match (schema, field) {
        ("Gap", "from" | "to") | ("Absence", "since" | "until") => json!({"format": "date-time"}),
        (_, "hold_until") => json!({"format": "date-time"}),
        (_, name) if name == "at" || name.ends_with("_at") => json!({"format": "date-time"}),
        (_, "channel") => words([Channel::Email, Channel::Sms].map(Channel::as_str)),
        (_, "direction") => words([Direction::Outbound, Direction::Inbound].map(Direction::as_str)),
        ("Delivery", "status") => words(["pending", "given_up"]),
        ("Message" | "Recipient" | "Short", "status") => words(Status::ALL.map(Status::as_str)),
        (_, "encoding") => words(
            [SmsEncoding::Gsm7, SmsEncoding::Ucs2, SmsEncoding::Binary].map(SmsEncoding::as_str),
        ),
        (_, "dialect") => words(Dialect::ALL.map(Dialect::as_str)),
        ("Recipient", "kind") => words(
            [RecipientKind::To, RecipientKind::Cc, RecipientKind::Bcc].map(RecipientKind::as_str),
        ),
        ("Delivery", "kind") => words(["receipt", "inbound", "webhook"]),
        (_, "event") if schema != "Delivery" => words(EventKind::ALL.map(EventKind::as_str)),
        ("Tracking", "skipped") => json!({
            "propertyNames": words(SkipReason::ALL.iter().map(|reason| reason.as_str())),
        }),
        ("Tracking", "untouched_because") => {
            words(Untouched::ALL.iter().map(|reason| reason.as_str()))
        }
        (_, "role") => parameter::roles(),
        ("Upstream", "state") => words(["up", "down"]),
        ("Job" | "JobPage", "state") => words(["running", "done", "cancelled"]),
        ("JobItem", "result") => words(["done", "possible", "refused"]),
        ("Job" | "BulkBody", "action") => words(["stop", "restart", "release"]),
        ("Statistics", "by") => words(Dimension::ALL.map(Dimension::as_str)),
        ("Message" | "Short" | "Oldest" | "Token" | "Session" | "MySession" | "JobItem", "id") => {
            json!({"pattern": ULID})
        }
        ("Message", "digest") | ("Attachment", "sha256") | ("LogEntry", "digest") => {
            json!({"pattern": "^[0-9a-f]{64}$"})
        }
        (_, "apps") => json!({"items": {"type": "string", "pattern": NAME}}),
        ("NewUserBody", "name") => json!({"pattern": USER_NAME}),
        ("NewUserBody" | "PasswordBody", "password") => {
            json!({"minLength": 12, "maxLength": 1024, "format": "password"})
        }
        ("NewTokenBody", "note") => {
            json!({"maxLength": 200, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"})
        }
        ("ActionBody", "recipients") => json!({
            "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": u16::MAX},
        }),
        ("AttachmentsBody", "keep") => {
            json!({"items": {"type": "integer", "minimum": 0, "maximum": u16::MAX}})
        }
        ("ResendBody", "subject") => json!({
            "maxLength": 2000, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        }),
        ("ResendBody", "text" | "html") => json!({"pattern": "^[^\\u0000]*$"}),
        ("DeleteBody", "reason") => json!({"minLength": 1, "maxLength": 500, "pattern": LINE}),
        ("NewSuppressionBody", "reason") => {
            json!({"maxLength": 200, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"})
        }
        ("EntryBody", "kind") => json!({"pattern": "^[a-z0-9_-]{1,32}$"}),
        ("EntryBody", "text") => json!({
            "minLength": 1, "maxLength": 8000,
            "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$",
        }),
        ("EntryBody", "by") => json!({"minLength": 1, "maxLength": 200, "pattern": LINE}),
        ("EntryBody", "address") => json!({"minLength": 1, "maxLength": 320, "pattern": LINE}),
        ("EntryBody", "app") => json!({"pattern": NAME}),
        ("BulkBody", "ids") => json!({
            "minItems": 1, "maxItems": 500, "items": {"type": "string", "pattern": ULID},
        }),
        ("BulkBody", "query") => filters(),
        (_, _) => return None,
    };
    Some(more)
}

/// The parameters of the list, as one object.
fn filters() -> Value {
    let named = parameter::narrowing().into_iter().map(|parameter| {
        let name = parameter.0["name"].as_str().unwrap_or_default().to_owned();
        (name, parameter.0["schema"].clone())
    });
    let properties: Map<String, Value> = named.collect();
    json!({"properties": properties, "additionalProperties": false, "minProperties": 1})
}

/// What is a rule of several fields together.
fn whole(name: &str, schema: &mut Value) {
    let email = json!({"type": "string", "format": "email"});
    let more = match name {
        "BulkBody" => return *schema = query_or_ids(schema),
        "Item" => json!({"discriminator": {"propertyName": "type", "mapping": {
            "message": reference("MessageItem"), "entry": reference("EntryItem"),
        }}}),
        "UserEditBody" => json!({"anyOf": [
            {"required": ["role"], "properties": {"role": {"type": "string"}}},
            {"required": ["apps"]},
            {"required": ["disabled"], "properties": {"disabled": {"type": "boolean"}}},
        ]}),
        "NewSuppressionBody" => json!({"oneOf": [
            {"properties": {
                "channel": {"const": "sms"},
                "recipient": {"pattern": "^\\+[1-9][0-9]{7,14}$"},
                "originator": {"anyOf": [
                    {"type": "null"}, {"pattern": "^[A-Za-z][A-Za-z0-9]{0,10}$"},
                    {"pattern": "^\\+[1-9][0-9]{7,14}$"},
                ]},
            }},
            {"properties": {
                "channel": {"const": "email"},
                "recipient": email,
                "originator": {"anyOf": [{"type": "null"}, email]},
            }},
        ]}),
        "People" => json!({"oneOf": [email, {"type": "array", "items": email}]}),
        _ => return,
    };
    add(schema, more);
}
