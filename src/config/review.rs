//! Owns the section `review`: which purchases a person reviews, and what happens at the deadline.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use crate::engine::command::Verdict;
use crate::engine::settings::ReviewRules;
use std::time::Duration;

/// Which purchases are reviewed, and the decision at the deadline.
#[derive(Debug)]
pub struct ReviewConfig {
    /// The reviewed purchases.
    pub rules: ReviewRules,
    /// The decision at the deadline.
    pub on_deadline: Verdict,
    /// How long before the authorization lapses a review ends.
    pub capture_margin: Duration,
    /// How long a person has to decide.
    pub deadline: Duration,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<ReviewConfig, ConfigError> {
    let on_deadline = match reader.text("review.on_deadline")?.as_str() {
        "reject" => Verdict::Reject,
        "approve" => Verdict::Approve,
        _ => return Err(invalid("review.on_deadline", "must be reject or approve")),
    };
    Ok(ReviewConfig {
        rules: ReviewRules {
            amount_over: reader.amounts("review.amount_over")?,
        },
        on_deadline,
        capture_margin: reader.seconds("review.capture_margin_s")?,
        deadline: reader.seconds("payments.review_deadline_s")?,
    })
}
