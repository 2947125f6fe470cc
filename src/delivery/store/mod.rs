//! The only SQL of letters on their way.
//!
//! Cast: `plan` (mailings planned and let go), `lease` (who holds which), `finish` (what became of them, one row each), `fold` (the same,
//! brought to where it is looked for), `outcome` (what the ledger is to learn), `tally` (how many are where), `judged` (what breakers saw),
//! `fixed` (statements kept prepared).
//!
//! Everything a holder says asks for its lease again, so that of two workers only the holder's word counts. Locks are taken in one order
//! everywhere: leases by owner, letters, then counts.

mod finish;
mod fold;
mod judged;
mod lease;
mod outcome;
mod plan;
mod tally;

use diesel::expression::SqlLiteral;
use diesel::sql_types::Bool;
use jiff::Timestamp;

use crate::db::{DbError, DbResult};
use crate::ids::{CampaignNumber, VariantNumber};

pub use finish::{
    Said, Skipped, accepted_since, bring_in, forget_pace, has_waiting, refund_day, reserve_day, send_again, skip_waiting, write_down,
};
pub use judged::{add_judged, forget_judged, forget_judged_before, judged};
pub use lease::{
    drop_lease, end_leases, expire_leases, gone, has_ended, lease, lease_within, leases_open, let_go, mark, next_due, recall, renew, seen,
};
pub use outcome::{add_outcome, by_pseudonym, fates, forget_relayed, forget_words, outcomes_waiting, pseudonyms};
pub use plan::{
    Enrolment, choose_for_rest, claim_enrolment, drawn, drop_enrolment, end_enrolment, keep_enrolment, plan, planned_holdout, planned_rest,
    planned_test, release, release_rest, rest_is_planned, set_start, start, test_is_planned, unplan,
};
pub use tally::{counts, counts_of_rows, forget, reasons, test_is_waiting};

/// States as literals, not as bound values: only then both engines see that a partial index covers the question.
const QUEUED: &str = "mailing.state = 'queued'";
const PLANNED_TEST: &str = "mailing.part = 'test' AND mailing.state = 'planned'";
const PLANNED_REST: &str = "mailing.part = 'rest' AND mailing.state = 'planned'";

/// A condition that holds no value from outside.
fn literally(condition: &'static str) -> SqlLiteral<Bool> {
    diesel::dsl::sql(condition)
}

fn read<T: std::str::FromStr>(expected: &'static str, text: &str) -> DbResult<T> {
    text.parse().map_err(|_| DbError::unreadable(expected, text))
}

fn variant(number: Option<i32>) -> DbResult<VariantNumber> {
    let number = number.unwrap_or(-1);
    u8::try_from(number).map(VariantNumber).map_err(|_| DbError::unreadable("a variant", number))
}

fn campaign_number(number: i64) -> DbResult<CampaignNumber> {
    u32::try_from(number).map(CampaignNumber).map_err(|_| DbError::unreadable("a campaign number", number))
}

fn moment(milliseconds: i64) -> DbResult<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds))
}
