//! Owns models that score attempts: logistic regression and gradient-boosted trees over features.
//!
//! Invariants:
//! 1. Every number in a model is finite and at most [`NUMBER_MAX`], every scale at least
//!    [`SCALE_MIN`], and counts are bounded: no sum overflows and nothing is ever NaN.
//! 2. A node leads on to later nodes of its tree and each is led to once, so a tree is one and has
//!    an end; it is at most [`DEPTH_MAX`] deep.
//! 3. The same features score the same on every machine: additions and multiplications of 64-bit
//!    floating point numbers in a fixed order, and an exponential made of those; nothing of the
//!    system's mathematics library.
//! 4. Scoring allocates nothing.
//!
//! Deliberately absent: the files (`risk::model`) and training.

use crate::engine::words::features::{FEATURES, Feature, Features};
use crate::engine::words::score::Score;

/// The largest absolute value of a number in a model.
pub const NUMBER_MAX: f64 = 1e12;
/// The smallest scale.
pub const SCALE_MIN: f64 = 1e-9;
/// Maximum number of trees.
pub const TREES_MAX: usize = 512;
/// Maximum number of nodes of all trees together.
pub const NODES_MAX: usize = 16_384;
/// Maximum number of splits from a tree's root to a leaf.
pub const DEPTH_MAX: usize = 12;

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model(ModelKind);

#[derive(Clone, Debug, PartialEq)]
enum ModelKind {
    Logistic {
        intercept: f64,
        inputs: Vec<Input>,
    },
    Trees {
        base: f64,
        /// All trees, one after the other.
        nodes: Vec<Node>,
        /// The index of each root.
        roots: Vec<usize>,
    },
}

/// One input of a logistic model: `weight × (value − mean) ÷ scale`.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Input {
    pub feature: Feature,
    /// How much a standard step of it raises the logarithm of the odds.
    pub weight: f64,
    /// Subtracted from the value.
    pub mean: f64,
    /// Then it is divided by this.
    pub scale: f64,
    /// The value if the feature is unknown.
    pub missing: f64,
}

/// A node of a tree. Indices count from the tree's root.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Node {
    /// Continues at one of two nodes.
    Split {
        feature: Feature,
        /// The value that the feature is compared with.
        threshold: f64,
        /// The next node if the feature is below the threshold.
        below: u16,
        /// The next node if it is not.
        otherwise: u16,
        /// The branch if the feature is unknown.
        missing: Branch,
    },
    /// Adds to the logarithm of the odds.
    Leaf(f64),
}

/// One of a split's two branches.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    Below,
    Otherwise,
}

/// What is wrong with a model, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, such as `inputs[3].scale`.
    pub place: String,
    pub what: String,
}

impl Flaw {
    fn at(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl Model {
    /// Logistic regression.
    pub fn logistic(intercept: f64, inputs: Vec<Input>) -> Result<Self, Flaw> {
        check_number("intercept", intercept)?;
        if inputs.is_empty() || inputs.len() > FEATURES {
            let what = format!("must have 1 to {FEATURES} entries");
            return Err(Flaw::at("inputs", what));
        }
        for (place, input) in inputs.iter().enumerate() {
            let of = |field: &str| format!("inputs[{place}].{field}");
            check_number(&of("weight"), input.weight)?;
            check_number(&of("mean"), input.mean)?;
            check_number(&of("missing"), input.missing)?;
            check_number(&of("scale"), input.scale)?;
            if input.scale < SCALE_MIN {
                let what = format!("must be at least {SCALE_MIN}");
                return Err(Flaw::at(of("scale"), what));
            }
            let twice = inputs[..place].iter().any(|it| it.feature == input.feature);
            if twice {
                let what = format!("`{}` stands there twice", input.feature.as_str());
                return Err(Flaw::at(of("feature"), what));
            }
        }
        Ok(Self(ModelKind::Logistic { intercept, inputs }))
    }

    /// Gradient-boosted trees: each a list of nodes, the root first.
    pub fn trees(base: f64, trees: &[Vec<Node>]) -> Result<Self, Flaw> {
        check_number("base_score", base)?;
        if trees.is_empty() || trees.len() > TREES_MAX {
            let what = format!("must have 1 to {TREES_MAX} trees");
            return Err(Flaw::at("trees", what));
        }
        if trees.iter().map(Vec::len).sum::<usize>() > NODES_MAX {
            let what = format!("the trees have more than {NODES_MAX} nodes together");
            return Err(Flaw::at("trees", what));
        }
        let (mut nodes, mut roots) = (Vec::new(), Vec::new());
        for (number, tree) in trees.iter().enumerate() {
            check_tree(number, tree)?;
            roots.push(nodes.len());
            nodes.extend_from_slice(tree);
        }
        Ok(Self(ModelKind::Trees { base, nodes, roots }))
    }

    /// The word of its kind, as in its file.
    pub const fn kind(&self) -> &'static str {
        match self.0 {
            ModelKind::Logistic { .. } => "logistic",
            ModelKind::Trees { .. } => "gradient_boosted_trees",
        }
    }

    /// The probability, in thousandths.
    pub fn score(&self, features: &Features) -> Score {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a probability is 0 to 1, so this is 0 to 1,000"
        )]
        let thousandths = (probability(self.log_odds(features)) * 1_000.0 + 0.5) as u32;
        Score::new(thousandths).unwrap_or(Score::MAX)
    }

    fn log_odds(&self, features: &Features) -> f64 {
        match &self.0 {
            ModelKind::Logistic { intercept, inputs } => {
                inputs.iter().fold(*intercept, |sum, input| {
                    let known = features.get(input.feature).map(f64::from);
                    let value = known.unwrap_or(input.missing);
                    sum + input.weight * ((value - input.mean) / input.scale)
                })
            }
            ModelKind::Trees { base, nodes, roots } => roots
                .iter()
                .fold(*base, |sum, root| sum + leaf(&nodes[*root..], features)),
        }
    }
}

fn leaf(tree: &[Node], features: &Features) -> f64 {
    let mut place = 0;
    loop {
        match tree[place] {
            Node::Leaf(value) => return value,
            Node::Split {
                feature,
                threshold,
                below,
                otherwise,
                missing,
            } => {
                let side = match features.get(feature) {
                    Some(value) if f64::from(value) < threshold => Branch::Below,
                    Some(_) => Branch::Otherwise,
                    None => missing,
                };
                place = usize::from(match side {
                    Branch::Below => below,
                    Branch::Otherwise => otherwise,
                });
            }
        }
    }
}

fn check_number(place: &str, number: f64) -> Result<(), Flaw> {
    if number.is_finite() && number.abs() <= NUMBER_MAX {
        Ok(())
    } else {
        let what = format!("must be a number of at most {NUMBER_MAX:e} either way of zero");
        Err(Flaw::at(place, what))
    }
}

fn check_tree(number: usize, tree: &[Node]) -> Result<(), Flaw> {
    let of = |place: usize, field: &str| format!("trees[{number}][{place}].{field}");
    if tree.is_empty() {
        return Err(Flaw::at(format!("trees[{number}]"), "has no node"));
    }
    // A node's depth is known when it is visited, because only earlier nodes lead to it.
    let mut depths: Vec<Option<usize>> = vec![None; tree.len()];
    depths[0] = Some(0);
    for (place, node) in tree.iter().enumerate() {
        let Some(depth) = depths[place] else {
            let what = "no node before it leads to it";
            return Err(Flaw::at(format!("trees[{number}][{place}]"), what));
        };
        let (threshold, below, otherwise) = match node {
            Node::Leaf(value) => {
                check_number(&of(place, "leaf"), *value)?;
                continue;
            }
            Node::Split {
                threshold,
                below,
                otherwise,
                ..
            } => (*threshold, *below, *otherwise),
        };
        check_number(&of(place, "threshold"), threshold)?;
        if depth == DEPTH_MAX {
            let what = format!("the tree is deeper than {DEPTH_MAX} splits");
            return Err(Flaw::at(format!("trees[{number}][{place}]"), what));
        }
        for (field, next) in [("below", below), ("otherwise", otherwise)] {
            let next = usize::from(next);
            if next <= place || next >= tree.len() {
                let last = tree.len() - 1;
                let what = format!("must be a later node of its tree, at most {last}");
                return Err(Flaw::at(of(place, field), what));
            }
            if depths[next].replace(depth + 1).is_some() {
                let what = format!("node {next} is led to twice");
                return Err(Flaw::at(of(place, field), what));
            }
        }
    }
    Ok(())
}

/// `1 ÷ (1 + e^−log_odds)`.
fn probability(log_odds: f64) -> f64 {
    /// Beyond it a score is 0 or 1,000 anyhow.
    const LOG_ODDS_MAX: f64 = 40.0;
    1.0 / (1.0 + exponential(-log_odds.clamp(-LOG_ODDS_MAX, LOG_ODDS_MAX)))
}

/// `e^x` for x of −40 to 40: `2^k × e^r`, the second by its series.
fn exponential(x: f64) -> f64 {
    const SERIES: i32 = 14;
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = x - k * std::f64::consts::LN_2;
    // r is at most 0.35 either way: the next term of the series is below 1e-17.
    let mut sum = 1.0;
    for term in (1..=SERIES).rev() {
        sum = 1.0 + r * sum / f64::from(term);
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "k is −58 to 58, so this is a positive exponent"
    )]
    let exponent = (1_023 + k as i64) as u64;
    sum * f64::from_bits(exponent << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_library_to_the_last_digits() {
        for step in -4_000..=4_000 {
            let x = f64::from(step) / 100.0;
            let (ours, theirs) = (exponential(x), x.exp());
            assert!((ours / theirs - 1.0).abs() < 1e-13, "{x}: {ours}, {theirs}");
        }
    }

    #[test]
    fn the_largest_model_there_can_be_scores() {
        let extreme = |weight: f64| Input {
            feature: Feature::Amount,
            weight,
            mean: -NUMBER_MAX,
            scale: SCALE_MIN,
            missing: NUMBER_MAX,
        };
        for features in [
            Features::unknown(),
            Features::unknown().with(Feature::Amount, Some(u64::MAX)),
        ] {
            for (weight, score) in [(NUMBER_MAX, 1_000), (-NUMBER_MAX, 0)] {
                let model = Model::logistic(0.0, vec![extreme(weight)]).expect("it is fine");
                assert_eq!(model.score(&features).get(), score);
            }
        }
    }
}
