//! `docs/events/` against the program: every kind of event has a schema, every golden event and
//! every example fits its schema and shows nothing that the schema does not describe, the `AsyncAPI`
//! document lists each type, and within a version a schema only grows.
//!
//! What was published stands in `docs/events/published.json`, a line for each field. A field that
//! stands there may neither go nor change; a new one has to be optional, because events that were
//! written before it do not have it. `HOLDFAST_BLESS=1 cargo test --test journal event_schemas` adds what
//! is new, and refuses what breaks the rule: that is a new version, under a new name.

use crate::golden::events;
use holdfast::engine::event::Event;
use holdfast::ids::Lsn;
use holdfast::journal::AuditEntry;
use holdfast::report::event_json;
use holdfast::report::types::{event_type, event_types};
use holdfast::report::webhooks::{is_for_shops, may_be_sent};
use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What all schemas refer to.
const COMMON: &str = "holdfast.common.json";

/// A schema, field by field: where it stands, and what it may be.
type Fields = BTreeMap<String, String>;

#[test]
fn shops_may_have_the_kinds_sent_that_they_may_read() {
    for event in events::all() {
        let kind = event.kind();
        assert_eq!(may_be_sent(kind), is_for_shops(&event), "{kind}");
    }
}

#[test]
fn every_kind_has_a_schema_and_every_schema_is_of_a_kind() {
    let golden = golden();
    let missing: Vec<String> = event_types()
        .filter(|(_, name)| !file(&format!("{name}.json")).exists())
        .map(|(kind, name)| format!("{name}.json for {kind}, such as {}", golden[name]))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/events/ lacks (its README says how to add one):\n{}",
        missing.join("\n")
    );
    let known: BTreeSet<String> = event_types().map(|(_, name)| name.to_owned()).collect();
    assert_eq!(known.len(), Event::KINDS.len(), "no two kinds share a type");
    let there: BTreeSet<String> = schemas().into_keys().collect();
    let of_no_kind: Vec<_> = there.difference(&known).collect();
    assert!(of_no_kind.is_empty(), "schemas of no kind: {of_no_kind:?}");
}

#[test]
fn schemas_name_themselves_and_describe_every_field() {
    let schemas = schemas();
    for (name, schema) in &schemas {
        assert_eq!(schema["title"], name.as_str());
        assert_eq!(
            schema["$id"],
            format!("https://holdfast.dev/events/{name}.json")
        );
        let kind = schema["properties"]["kind"]["const"].as_str();
        let kind = kind.unwrap_or_else(|| panic!("{name} says no kind"));
        assert_eq!(event_type(kind), name);
        for (field, described) in schema["properties"].as_object().expect("properties") {
            let described = described["description"].as_str().unwrap_or_default();
            assert!(described.len() > 3, "{name} does not describe {field}");
        }
        let meta = jsonschema::meta::validate(schema);
        assert!(meta.is_ok(), "{name} is no JSON Schema: {meta:?}");
    }
}

#[test]
fn golden_events_and_examples_fit_their_schemas_and_nothing_in_them_is_undescribed() {
    let (schemas, golden) = (schemas(), golden());
    for (name, schema) in &schemas {
        let (open, closed) = (
            validator(schema, Strict::No),
            validator(schema, Strict::Yes),
        );
        assert_fits(
            &closed,
            &golden[name.as_str()],
            &format!("a golden event of {name}"),
        );
        let examples = schema["examples"].as_array();
        let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
        assert!(!examples.is_empty(), "{name} has no examples");
        for example in examples {
            assert_fits(&closed, example, &format!("an example of {name}"));
            refuses_what_is_wrong(&open, example, name);
        }
    }
}

/// A schema that takes anything would pass everything else here.
fn refuses_what_is_wrong(open: &Validator, example: &Value, name: &str) {
    let mut later = example.clone();
    later["a_field_of_a_later_program"] = json!(1);
    assert_fits(open, &later, &format!("a later event of {name}"));
    for field in ["lsn", "at", "kind"] {
        let mut without = example.clone();
        without.as_object_mut().expect("an object").remove(field);
        assert!(!open.is_valid(&without), "{name} does not need {field}");
        let mut other = example.clone();
        other[field] = json!({});
        assert!(!open.is_valid(&other), "{name} takes anything as {field}");
    }
}

#[test]
fn within_a_version_schemas_only_grow() {
    let path = file("published.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut published: BTreeMap<String, Fields> =
        serde_json::from_str(&text).expect("it is JSON that this test wrote");
    let now: BTreeMap<String, Fields> = schemas()
        .iter()
        .map(|(name, schema)| (name.clone(), fields_of(schema)))
        .collect();
    let mut broken = Vec::new();
    for (name, before) in &published {
        match now.get(name) {
            None => broken.push(format!("{name} is gone")),
            Some(fields) => broken.extend(breaks(name, before, fields)),
        }
    }
    assert!(
        broken.is_empty(),
        "within a version only optional fields may be added; this is a new version:\n{}",
        broken.join("\n")
    );
    if std::env::var_os("HOLDFAST_BLESS").is_some_and(|it| it == "1") {
        published.clone_from(&now);
        let text = serde_json::to_string_pretty(&published).expect("it is JSON");
        std::fs::write(&path, text + "\n").expect("it is written");
    }
    let new: Vec<_> = now
        .iter()
        .filter(|(name, fields)| published.get(*name) != Some(*fields))
        .map(|(name, _)| name)
        .collect();
    assert!(
        new.is_empty(),
        "docs/events/published.json does not have all of {new:?}; \
         HOLDFAST_BLESS=1 cargo test --test journal event_schemas adds what is new"
    );
}

/// What `now` breaks for readers of what was published `before`.
fn breaks(name: &str, before: &Fields, now: &Fields) -> Vec<String> {
    let mut broken = Vec::new();
    for (at, was) in before {
        match now.get(at) {
            None => broken.push(format!("{name}{at} is gone")),
            Some(is) if is != was => broken.push(format!("{name}{at} was {was}, is {is}")),
            Some(_) => {}
        }
    }
    for (at, is) in now.iter().filter(|(at, _)| !before.contains_key(*at)) {
        let (parent, _) = at.rsplit_once('/').unwrap_or_default();
        let parent_is_new = !parent.is_empty() && !before.contains_key(parent);
        if is.starts_with("required") && !parent_is_new {
            broken.push(format!("{name}{at} is new and required"));
        }
    }
    broken
}

#[test]
fn the_rule_of_growing_finds_what_breaks_readers() {
    let fields = |of: &[(&str, &str)]| -> Fields {
        let of = of.iter();
        of.map(|(at, is)| ((*at).to_owned(), (*is).to_owned()))
            .collect()
    };
    let before = fields(&[("/a", "required {\"type\":\"string\"}")]);
    let table: [(&[(&str, &str)], usize); 5] = [
        (&[("/a", "required {\"type\":\"string\"}")], 0),
        (&[("/a", "required {\"type\":[\"string\",\"null\"]}")], 1),
        (&[], 1),
        (
            &[
                ("/a", "required {\"type\":\"string\"}"),
                ("/b", "optional {}"),
                ("/b/c", "required {}"),
            ],
            0,
        ),
        (
            &[
                ("/a", "required {\"type\":\"string\"}"),
                ("/b", "required {}"),
            ],
            1,
        ),
    ];
    for (now, expected) in table {
        let broken = breaks("x", &before, &fields(now));
        assert_eq!(broken.len(), expected, "{now:?}: {broken:?}");
    }
}

#[test]
fn the_asyncapi_document_lists_every_type_with_its_schema() {
    let text = std::fs::read_to_string(file("asyncapi.yaml")).expect("the document");
    let document: Value = serde_norway::from_str(&text).expect("it is YAML");
    assert_eq!(document["asyncapi"], "3.0.0");
    let messages = document["components"]["messages"].as_object();
    let messages = messages.expect("messages");
    let listed = &document["channels"]["events"]["messages"];
    for (_, name) in event_types() {
        let (key, message) = messages
            .iter()
            .find(|(_, message)| message["name"] == name)
            .unwrap_or_else(|| panic!("docs/events/asyncapi.yaml lacks {name}"));
        let schema = &message["payload"]["schema"]["$ref"];
        assert_eq!(schema, &format!("./{name}.json"), "{key}");
        let reference = format!("#/components/messages/{key}");
        assert_eq!(listed[key]["$ref"], reference, "the channel lacks {key}");
    }
    assert_eq!(
        messages.len(),
        Event::KINDS.len() + 2,
        "and the dead letter, and what is taken back"
    );
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/events")
        .join(name)
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every schema by its type.
fn schemas() -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for entry in std::fs::read_dir(file("")).expect("docs/events") {
        let name = entry.expect("an entry").file_name();
        let name = name.into_string().expect("our names are ASCII");
        let kind = name.strip_suffix(".json");
        if let Some(kind) = kind.filter(|_| name != COMMON && name.starts_with("holdfast.")) {
            schemas.insert(kind.to_owned(), read(&name));
        }
    }
    schemas
}

/// The golden event of each type, as it looks outside.
fn golden() -> BTreeMap<&'static str, Value> {
    let shown = |event: Event| {
        let name = event_type(event.kind());
        let entry = AuditEntry {
            lsn: Lsn(4096),
            at: events::AT,
            trace: None,
            event,
        };
        (name, event_json(&entry))
    };
    events::all().into_iter().map(shown).collect()
}

/// Whether fields that are not described are let pass.
#[derive(Copy, Clone, PartialEq)]
enum Strict {
    No,
    Yes,
}

fn validator(schema: &Value, strict: Strict) -> Validator {
    let (mut schema, mut common) = (schema.clone(), read(COMMON));
    if strict == Strict::Yes {
        close(&mut schema);
        close(&mut common);
    }
    let id = common["$id"].as_str().expect("an id").to_owned();
    let registry = Registry::new().add(id, common).expect("an id is a URI");
    let registry = registry.prepare().expect("nothing is left to resolve");
    let options = jsonschema::options()
        .should_validate_formats(true)
        .with_registry(&registry);
    options.build(&schema).expect("a schema")
}

/// Forbids what is not described, everywhere.
fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    if fields.contains_key("properties") {
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    for inner in fields.values_mut() {
        close(inner);
    }
}

fn assert_fits(validator: &Validator, value: &Value, what: &str) {
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert!(
        problems.is_empty(),
        "{what} {value}:\n{}",
        problems.join("\n")
    );
}

/// The schema as a line for each field, with what it refers to put in its place.
fn fields_of(schema: &Value) -> Fields {
    let mut fields = Fields::new();
    collect(schema, &read(COMMON), "", &mut fields);
    fields
}

fn collect(schema: &Value, common: &Value, at: &str, fields: &mut Fields) {
    let required: BTreeSet<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let none = Map::new();
    for (name, field) in schema["properties"].as_object().unwrap_or(&none) {
        let whole = resolved(field, common);
        let needed = if required.contains(name.as_str()) {
            "required"
        } else {
            "optional"
        };
        let at = format!("{at}/{name}");
        fields.insert(at.clone(), format!("{needed} {}", shallow(&whole)));
        collect(&whole, common, &at, fields);
        for choice in whole["anyOf"].as_array().into_iter().flatten() {
            collect(choice, common, &at, fields);
        }
    }
}

/// With every reference replaced by what it refers to.
fn resolved(schema: &Value, common: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut whole = Map::new();
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let (_, pointer) = reference.split_once('#').expect("it points into a file");
                let target = common.pointer(pointer);
                let target = target.unwrap_or_else(|| panic!("{reference} leads nowhere"));
                let Value::Object(target) = resolved(target, common) else {
                    panic!("{reference} is no schema")
                };
                whole.extend(target);
            }
            let inner = fields.iter().filter(|(name, _)| *name != "$ref");
            whole.extend(inner.map(|(name, it)| (name.clone(), resolved(it, common))));
            Value::Object(whole)
        }
        Value::Array(items) => items.iter().map(|it| resolved(it, common)).collect(),
        other => other.clone(),
    }
}

/// Without words and without fields of fields, which have lines of their own.
fn shallow(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["description", "examples", "properties"].contains(&name.as_str()))
            .map(|(name, it)| (name.clone(), shallow(it)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(shallow).collect(),
        other => other.clone(),
    }
}
