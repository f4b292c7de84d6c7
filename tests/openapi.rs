//! `docs/openapi.yaml` against the program: it parses, every reference in it leads somewhere, it
//! names exactly the routes that the router has, and every reason that an answer can have.

use holdfast::engine::refusal::Refusal;
use holdfast::http::problem::Reason;
use holdfast::http::routes::Resource;
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_norway::from_str(include_str!("../docs/openapi.yaml")).expect("it is YAML")
}

#[test]
fn it_names_exactly_the_routes_there_are() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "parameters")
        {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let mut routed = BTreeSet::new();
    for resource in Resource::ALL.iter().copied() {
        // HEAD goes with GET and is not documented on its own.
        for method in resource
            .allow()
            .split(", ")
            .filter(|method| *method != "HEAD")
        {
            routed.insert(format!("{method} {}", resource.template()));
        }
    }
    assert_eq!(documented, routed);
}

#[test]
fn it_names_every_reason() {
    let document = document();
    let reasons = &document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"];
    let documented: BTreeSet<_> = reasons
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let told = Reason::ALL_OF_HTTP
        .into_iter()
        .chain(Refusal::ALL.map(Reason::Refusal));
    let told: BTreeSet<_> = told.map(|reason| reason.told().reason).collect();
    assert_eq!(documented, told);
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut open = vec![&document];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').expect("within the document");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    seen += 1;
                }
                open.extend(fields.values());
            }
            Value::Array(entries) => open.extend(entries),
            _ => {}
        }
    }
    assert!(seen > 50, "only {seen} references were found");
}

/// An unquoted comma inside `{…}` ends a description and makes the rest of it a key without value.
#[test]
fn no_description_is_split_at_a_comma() {
    let document = document();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    assert!(
                        !value.is_null(),
                        "`{key}` has no value: quote the description"
                    );
                    open.push(value);
                }
            }
            Value::Array(entries) => open.extend(entries),
            _ => {}
        }
    }
}
