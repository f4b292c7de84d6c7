//! Owns writing a plan into the data directory.
//!
//! Invariants: this process holds the directory's lock; when this returns, everything that the
//! report calls imported is durable.

use super::mapping::Meaning;
use super::outcome::ImportReport;
use super::plan::ImportPlan;
use crate::engine::event::{
    Act, Active, Actor, ActorRole, AdminAct, AdminActed, ProductSet, Target,
};
use crate::ids::{KeyOwner, Lsn, ProductId, RequestId};
use crate::journal::{Imported, Journal, JournalOptions, NotImported, StorageFault, WriteError};

/// Carries out `plan`.
pub(super) fn carry_out(
    plan: &ImportPlan,
    options: JournalOptions,
    outcome: &mut ImportReport,
) -> Result<(), String> {
    if plan.is_empty() {
        return Ok(());
    }
    let journal = Journal::open(options, &mut |_| {}).map_err(|error| error.to_string())?;
    let written = write(plan, &journal, outcome).and_then(|end| journal.wait_durable(end));
    journal.close();
    written.map_err(|fault| fault.to_string())
}

fn write(
    plan: &ImportPlan,
    journal: &Journal,
    outcome: &mut ImportReport,
) -> Result<Lsn, StorageFault> {
    let mut end = journal.trail().admin_acted(AdminActed {
        act: Act::Imported.as_str().to_owned(),
        target: Target::parse("redis"),
        before: None,
        after: None,
        by: Actor::of(by(), ActorRole::Process),
    })?;
    let mut taken = |meaning, key: &str, result: Result<Imported, WriteError<NotImported>>| {
        match result {
            Ok(Imported::Stands(lsn)) => end = end.max(lsn),
            Ok(Imported::There) => {}
            Err(error) => outcome.not_taken(meaning, key, words(error.refusal()?)),
        }
        Ok::<(), StorageFault>(())
    };
    for (product, units) in &plan.products {
        let set = journal
            .catalogue()
            .put_product(unknown_product(product, *units))
            .map(|set| Imported::Stands(set.durable_at))
            .map_err(|error| error.map(|_| NotImported::Full));
        taken(Meaning::Stock, product.as_str(), set)?;
    }
    for (product, sold) in &plan.sold {
        let result = journal.takeover().sold(product, *sold);
        taken(Meaning::Stock, product.as_str(), result)?;
    }
    for (user, product, units) in &plan.holdings {
        let result = journal.takeover().holdings(user, product, *units);
        taken(Meaning::Holdings, &format!("{user} {product}"), result)?;
    }
    for (code, uses) in &plan.uses {
        let result = journal.takeover().uses(code, *uses);
        taken(Meaning::Promotions, code.as_str(), result)?;
    }
    for (user, scope) in &plan.keys {
        let result = journal.takeover().key(user, *scope);
        taken(Meaning::Keys, user.as_str(), result)?;
    }
    let nonces = journal.takeover().nonces(&plan.nonces);
    let nonces = nonces.map(|(_, lsn)| lsn.map_or(Imported::There, Imported::Stands));
    taken(Meaning::Nonces, "all of them", nonces)?;
    Ok(end)
}

/// A product of which only the units are known: not on sale until the operator sets it.
fn unknown_product(product: &ProductId, units: u32) -> ProductSet {
    ProductSet {
        product: product.clone(),
        name: product.to_string(),
        prices: Vec::new(),
        stock: units,
        per_user_limit: None,
        starts_at: None,
        ends_at: None,
        active: Active::No,
        hold_ttl_ms: None,
        reward_tokens: 0,
        by: by(),
    }
}

fn by() -> AdminAct {
    AdminAct {
        request: RequestId(0),
        owner: KeyOwner::parse("import").expect("it is an id"),
    }
}

fn words(why: NotImported) -> &'static str {
    match why {
        NotImported::Unknown => "holdfast has no such product or promotion",
        NotImported::BeyondTotal => "it exceeds the total of the product or promotion",
        NotImported::Full => "a limit in [engine] or [webhooks] is reached; raise it, then repeat",
    }
}

impl ImportPlan {
    fn is_empty(&self) -> bool {
        self.products.is_empty()
            && self.sold.is_empty()
            && self.holdings.is_empty()
            && self.uses.is_empty()
            && self.keys.is_empty()
            && self.nonces.is_empty()
    }
}
