//! Owns the files of models that score attempts: from JSON, described in `docs/risk-model.md`, to
//! what the engine evaluates.
//!
//! Invariants: a file is taken whole or refused with the place of the first thing that is wrong,
//! what was expected and, for a word, the nearest that is known; its size is bounded before it is
//! read. Deliberately absent: the arithmetic and its bounds (`engine::risk::model`), training.

use super::language::nearest;
use crate::engine::features::{FEATURES_VERSION, Feature};
use crate::engine::risk::model::{Branch, Flaw, Input, Model, Node};
use serde::Deserialize;
use std::fmt::Write as _;

/// The largest file, in bytes.
pub const MODEL_BYTES_MAX: usize = 4 << 20;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 64;

const FORMAT: &str = "holdfast-risk-model/1";
const KINDS: [&str; 2] = ["logistic", "gradient_boosted_trees"];
const SIDES: [&str; 2] = ["below", "otherwise"];

/// A file, understood.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// What the engine evaluates.
    pub model: Model,
    /// What the file calls it.
    pub name: Option<String>,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ModelError {
    /// A line and column, or a field such as `inputs[3].scale`.
    pub place: String,
    /// What was expected, what was found.
    pub message: String,
}

impl ModelError {
    fn at(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl From<Flaw> for ModelError {
    fn from(flaw: Flaw) -> Self {
        Self::at(flaw.place, flaw.what)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModel {
    format: String,
    features: u16,
    kind: String,
    name: Option<String>,
    /// For people.
    #[serde(rename = "description")]
    _description: Option<String>,
    intercept: Option<f64>,
    inputs: Option<Vec<InputWritten>>,
    base_score: Option<f64>,
    trees: Option<Vec<Vec<NodeWritten>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputWritten {
    feature: String,
    weight: f64,
    mean: f64,
    scale: f64,
    missing: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeWritten {
    leaf: Option<f64>,
    feature: Option<String>,
    threshold: Option<f64>,
    below: Option<u16>,
    otherwise: Option<u16>,
    missing: Option<String>,
}

/// The model that `text` says.
pub fn parse(text: &str) -> Result<ModelFile, ModelError> {
    if text.len() > MODEL_BYTES_MAX {
        let message = format!("it has more than {MODEL_BYTES_MAX} bytes");
        return Err(ModelError::at("the file", message));
    }
    let written: WrittenModel = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column().max(1));
        let said = error.to_string();
        // serde says where at the end, too.
        let what = said.split(" at line ").next().unwrap_or(&said);
        ModelError::at(place, what)
    })?;
    if written.format != FORMAT {
        let message = format!("expected \"{FORMAT}\"");
        return Err(ModelError::at("format", message));
    }
    if written.features != FEATURES_VERSION {
        let found = written.features;
        let message = format!(
            "expected {FEATURES_VERSION}, the version of the list of features that this program \
             takes, found {found}; train the model on events of this version"
        );
        return Err(ModelError::at("features", message));
    }
    let name = written.name.clone();
    if name.as_ref().is_some_and(|it| !is_name(it)) {
        let message = format!(
            "expected 1 to {NAME_CHARS_MAX} characters of printable ASCII without a card number"
        );
        return Err(ModelError::at("name", message));
    }
    let model = match KINDS.iter().position(|kind| *kind == written.kind) {
        Some(0) => logistic(written),
        Some(_) => trees(written),
        None => Err(unknown("kind", &written.kind, &KINDS)),
    }?;
    Ok(ModelFile { model, name })
}

fn is_name(name: &str) -> bool {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(printable)
        && !crate::ids::holds_card_number(name)
}

fn logistic(written: WrittenModel) -> Result<Model, ModelError> {
    absent("base_score", written.base_score.is_some(), KINDS[0])?;
    absent("trees", written.trees.is_some(), KINDS[0])?;
    let intercept = present("intercept", written.intercept, KINDS[0])?;
    let inputs = present("inputs", written.inputs, KINDS[0])?;
    let inputs = inputs.into_iter().enumerate().map(|(place, it)| {
        let of = format!("inputs[{place}].feature");
        Ok(Input {
            feature: feature(&of, &it.feature)?,
            weight: it.weight,
            mean: it.mean,
            scale: it.scale,
            missing: it.missing,
        })
    });
    let inputs: Result<Vec<_>, ModelError> = inputs.collect();
    Ok(Model::logistic(intercept, inputs?)?)
}

fn trees(written: WrittenModel) -> Result<Model, ModelError> {
    absent("intercept", written.intercept.is_some(), KINDS[1])?;
    absent("inputs", written.inputs.is_some(), KINDS[1])?;
    let base = present("base_score", written.base_score, KINDS[1])?;
    let trees = present("trees", written.trees, KINDS[1])?;
    let trees = trees.iter().enumerate().map(|(number, tree)| {
        let nodes = tree.iter().enumerate();
        let nodes = nodes.map(|(place, it)| node(&format!("trees[{number}][{place}]"), it));
        nodes.collect::<Result<Vec<_>, _>>()
    });
    let trees: Result<Vec<_>, ModelError> = trees.collect();
    Ok(Model::trees(base, &trees?)?)
}

fn node(place: &str, written: &NodeWritten) -> Result<Node, ModelError> {
    let NodeWritten {
        leaf,
        feature: named,
        threshold,
        below,
        otherwise,
        missing,
    } = written;
    match (leaf, named, threshold, below, otherwise, missing) {
        (Some(value), None, None, None, None, None) => Ok(Node::Leaf(*value)),
        (None, Some(named), Some(threshold), Some(below), Some(otherwise), Some(missing)) => {
            let missing_at = format!("{place}.missing");
            let side = match SIDES.iter().position(|side| side == missing) {
                Some(0) => Branch::Below,
                Some(_) => Branch::Otherwise,
                None => return Err(unknown(&missing_at, missing, &SIDES)),
            };
            Ok(Node::Split {
                feature: feature(&format!("{place}.feature"), named)?,
                threshold: *threshold,
                below: *below,
                otherwise: *otherwise,
                missing: side,
            })
        }
        _ => Err(ModelError::at(
            place,
            "expected either `leaf` alone, or `feature`, `threshold`, `below`, `otherwise` and `missing`",
        )),
    }
}

fn feature(place: &str, name: &str) -> Result<Feature, ModelError> {
    let names = Feature::ALL.map(Feature::as_str);
    Feature::parse(name).ok_or_else(|| unknown(place, name, &names))
}

fn present<T>(field: &str, found: Option<T>, kind: &str) -> Result<T, ModelError> {
    found.ok_or_else(|| ModelError::at(field, format!("a model of kind `{kind}` has to say it")))
}

fn absent(field: &str, found: bool, kind: &str) -> Result<(), ModelError> {
    if found {
        let message = format!("a model of kind `{kind}` has none");
        return Err(ModelError::at(field, message));
    }
    Ok(())
}

fn unknown(place: &str, found: &str, known: &[&str]) -> ModelError {
    let listed: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    let mut message = format!("expected one of {}", listed.join(", "));
    // Nothing known is nearly as long; comparing with a whole file would take long.
    let near = (found.len() <= 2 * NAME_CHARS_MAX).then(|| nearest(found, known));
    if let Some(near) = near.flatten() {
        let _ = write!(message, "; did you mean `{near}`?");
    }
    ModelError::at(place, message)
}
