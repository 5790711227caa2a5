//! One operation of the API's description: what a route takes, what it answers, and how it fails.
//!
//! A builder, so that a route is described in a few lines. What every route has in common (problems
//! of the token, of the path, of the body) is not said here but added with the document.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::parameter::Parameter;
use super::schemas::public_name;
use crate::admin::problem::ProblemKind;
use crate::model::EventKind;

/// What is said of one route.
pub(in crate::admin) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<ProblemKind>,
    /// What a call leaves in the history of its message.
    pub(in crate::admin) leaves: Option<EventKind>,
    /// The word of the security log for a call that was done.
    pub(in crate::admin) security: Option<&'static str>,
    /// The schemas that the body and the answers name.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

/// A JSON body.
pub(super) struct Body {
    pub schema: String,
    pub is_required: bool,
}

/// An answer that is no problem.
pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Vec<Content>,
    /// Header fields that are always there, with what they say.
    pub fields: Vec<(&'static str, &'static str)>,
}

/// What an answer may hold.
pub(super) enum Content {
    /// The schema's public name.
    Json(String),
    /// Part of a list: the public name of the schema of one entry.
    Page(String),
    /// A media type with an example, or without one where it is bytes.
    Other(&'static str, Option<&'static str>),
}

impl Operation {
    /// `id` is unique in the document.
    pub(super) fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
        Operation {
            id,
            tag,
            summary,
            description: None,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            leaves: None,
            security: None,
            schemas: Vec::new(),
        }
    }

    pub(super) fn leaves(self, kind: EventKind) -> Operation {
        Operation { leaves: Some(kind), ..self }
    }

    pub(super) fn logged_as(self, word: &'static str) -> Operation {
        Operation { security: Some(word), ..self }
    }

    /// What it answers when it was done. A job is on record from its beginning, when nobody knows
    /// whether it will be done before the answer (200) or go on behind it (202): the first counts.
    pub(in crate::admin) fn promised(&self) -> u16 {
        self.answers.first().map_or(200, |answer| answer.status)
    }

    pub(super) fn details(self, description: &'static str) -> Operation {
        Operation { description: Some(description), ..self }
    }

    pub(super) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Operation {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn body<T: ToSchema>(self) -> Operation {
        self.with_body::<T>(true)
    }

    pub(super) fn optional_body<T: ToSchema>(self) -> Operation {
        self.with_body::<T>(false)
    }

    fn with_body<T: ToSchema>(mut self, is_required: bool) -> Operation {
        let schema = self.learn::<T>();
        Operation { body: Some(Body { schema, is_required }), ..self }
    }

    /// An answer in JSON.
    pub(super) fn answers<T: ToSchema>(
        mut self,
        status: u16,
        description: &'static str,
    ) -> Operation {
        let content = vec![Content::Json(self.learn::<T>())];
        self.answers.push(Answer { status, description, content, fields: Vec::new() });
        self
    }

    /// An answer that is part of a list of these.
    pub(super) fn page<T: ToSchema>(mut self, description: &'static str) -> Operation {
        let content = vec![Content::Page(self.learn::<T>())];
        self.answers.push(Answer { status: 200, description, content, fields: Vec::new() });
        self
    }

    /// An answer of one of these media types.
    pub(super) fn gives(
        mut self,
        description: &'static str,
        types: impl IntoIterator<Item = (&'static str, Option<&'static str>)>,
    ) -> Operation {
        let content = types.into_iter().map(|(kind, example)| Content::Other(kind, example));
        let content = content.collect();
        self.answers.push(Answer { status: 200, description, content, fields: Vec::new() });
        self
    }

    /// An answer without a body.
    pub(super) fn empty(mut self, status: u16, description: &'static str) -> Operation {
        let (content, fields) = (Vec::new(), Vec::new());
        self.answers.push(Answer { status, description, content, fields });
        self
    }

    /// A header field of the answer that was named last.
    pub(super) fn field(mut self, name: &'static str, says: &'static str) -> Operation {
        if let Some(answer) = self.answers.last_mut() {
            answer.fields.push((name, says));
        }
        self
    }

    /// A schema that an answer holds in a form of its own.
    pub(super) fn mentions<T: ToSchema>(mut self) -> Operation {
        self.learn::<T>();
        self
    }

    /// How this route fails, beyond what every route of its kind does.
    pub(super) fn fails(mut self, kinds: impl IntoIterator<Item = ProblemKind>) -> Operation {
        self.problems.extend(kinds);
        self
    }

    fn learn<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        T::schemas(&mut self.schemas);
        let public = public_name(&name);
        self.schemas.push((name, T::schema()));
        public
    }
}

impl Answer {
    /// As the document has it; `examples` by the public name of a schema.
    pub(super) fn to_json(&self, examples: &Value) -> Value {
        let mut answer = json!({"description": self.description});
        for (name, says) in &self.fields {
            let field =
                json!({"description": says, "required": true, "schema": {"type": "string"}});
            answer["headers"][*name] = field;
        }
        for content in &self.content {
            match content {
                Content::Json(schema) => {
                    let reference = format!("#/components/schemas/{schema}");
                    let mut media = json!({"schema": {"$ref": reference}});
                    if let Some(example) = examples.get(schema) {
                        media["example"] = example.clone();
                    }
                    answer["content"]["application/json"] = media;
                }
                Content::Page(schema) => {
                    answer["content"]["application/json"] = page(schema, examples.get(schema));
                }
                Content::Other(kind, example) => {
                    let mut media = json!({"schema": {"type": "string"}});
                    match example {
                        Some(example) => media["example"] = json!(example),
                        // OpenAPI 3.1: bytes have no schema of their own.
                        None => media = json!({}),
                    }
                    answer["content"][*kind] = media;
                }
            }
        }
        answer
    }
}

/// A part of a list, as `PageView` writes it.
fn page(schema: &str, example: Option<&Value>) -> Value {
    let items = json!({"$ref": format!("#/components/schemas/{schema}")});
    let mut media = json!({"schema": {
        "title": format!("{schema}List"),
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": items},
            "next": {
                "type": ["string", "null"],
                "description": "The cursor of the next page; `null` at the end.",
            },
        },
    }});
    if let Some(example) = example {
        media["example"] = json!({"items": [example], "next": null});
    }
    media
}
