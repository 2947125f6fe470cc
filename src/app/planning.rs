//! What a list's own past says about the next test: how many may be mailed, and what letters reached before.
//!
//! Cast: [`past`], [`Past`].
//!
//! It reads counts per campaign; no person is looked at.

use crate::app::lab::Lab;
use crate::campaign::state::State;
use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::experiment::design::Metric;
use crate::ledger::store as events;
use crate::ledger::subject::{MEASURED, Part, Tally};
use crate::stats::Count;
use crate::vault::store as people;

/// What a list brings along.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Past {
    /// People of the list who may be mailed now.
    pub mailable: u64,
    /// The share of letters that did not arrive, over all past campaigns; none without any.
    pub loss: Option<f64>,
    /// For opens, the share of measured recipients whose pictures were only fetched in advance, over all past campaigns: they leave the
    /// rate, so that more letters are needed. None without any, and for clicks.
    pub prefetched: Option<f64>,
    /// Successes and recipients of each past campaign of this list, test and rest together, the newest first.
    pub campaigns: Vec<(String, Count)>,
}

impl Past {
    /// All past campaigns together; none without recipients.
    pub fn pooled(&self) -> Option<Count> {
        let successes = self.campaigns.iter().map(|(_, count)| count.successes()).sum();
        let trials = self.campaigns.iter().map(|(_, count)| count.trials()).sum();
        Count::new(successes, trials).ok().filter(|count| count.trials() > 0)
    }

    /// How much the rates of past campaigns differ beyond chance, as a standard deviation; none with fewer than three campaigns, or
    /// when chance explains all of it. Moment estimator: variance of the rates − mean of their sampling variances.
    pub fn spread(&self) -> Option<f64> {
        let rates: Vec<(f64, f64)> =
            self.campaigns.iter().filter_map(|(_, count)| Some((count.rate().ok()?, count.trials() as f64))).collect();
        if rates.len() < 3 {
            return None;
        }
        let many = rates.len() as f64;
        let mean = rates.iter().map(|(rate, _)| rate).sum::<f64>() / many;
        let between = rates.iter().map(|(rate, _)| (rate - mean).powi(2)).sum::<f64>() / (many - 1.0);
        let within = rates.iter().map(|(rate, trials)| rate * (1.0 - rate) / trials).sum::<f64>() / many;
        (between > within).then(|| (between - within).sqrt())
    }
}

/// Looks a list's past up; none when there is no such list.
///
/// # Errors
/// When a database cannot be read.
pub fn past(lab: &Lab, list: &str, metric: Metric) -> Result<Option<Past>, DbError> {
    let (known, mailable) =
        lab.vault.read(|conn| Ok::<_, DbError>((people::fields(conn, list)?.is_some(), people::eligible_count(conn, list)?)))?;
    if !known {
        return Ok(None);
    }
    let mut past = Past { mailable, loss: None, prefetched: None, campaigns: Vec::new() };
    let (mut tried, mut arrived, mut measured, mut prefetched) = (0, 0, 0, 0);
    lab.ledger.read(|conn| {
        for campaign in
            campaigns::all(conn)?.into_iter().filter(|campaign| campaign.definition.list == list && campaign.state > State::Sealed)
        {
            let tallies = events::tallies(conn, campaign.number)?;
            let sum = |name: &str| -> u64 {
                let named = tallies.iter().filter(|((part, _, tally), _)| *part != Part::Holdout && tally == name);
                named.map(|(_, value)| u64::try_from(*value).unwrap_or_default()).sum()
            };
            let of = |tally: Tally| sum(tally.as_str());
            let (successes, trials) = match metric {
                Metric::Open => (of(Tally::OpenStandard), sum(MEASURED).saturating_sub(of(Tally::PrefetchOnly))),
                Metric::Click => (of(Tally::ClickStandard), sum(MEASURED)),
            };
            measured += sum(MEASURED);
            prefetched += of(Tally::PrefetchOnly);
            tried += of(Tally::Sent) + of(Tally::Refused);
            arrived += of(Tally::Delivered);
            if let Some(count) = Count::new(successes.min(trials), trials).ok().filter(|count| count.trials() > 0) {
                past.campaigns.push((campaign.definition.name, count));
            }
        }
        Ok::<_, DbError>(())
    })?;
    past.prefetched = (metric == Metric::Open && measured > 0).then(|| prefetched as f64 / measured as f64);
    past.loss = (tried > 0).then(|| 1.0 - arrived as f64 / tried as f64);
    Ok(Some(past))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(counts: &[(u64, u64)]) -> Past {
        let campaigns = counts.iter().map(|(successes, trials)| (String::new(), Count::new(*successes, *trials).unwrap())).collect();
        Past { mailable: 0, loss: None, prefetched: None, campaigns }
    }

    #[test]
    fn what_chance_explains_is_no_spread() {
        assert_eq!(past(&[(30, 1000), (33, 1000), (28, 1000)]).spread(), None);
        assert_eq!(past(&[(30, 1000), (330, 1000)]).spread(), None, "two campaigns tell nothing");
        let wide = past(&[(2_000, 100_000), (3_000, 100_000), (4_000, 100_000)]).spread().unwrap();
        assert!((wide - 0.01).abs() < 0.0002, "{wide}");
    }

    #[test]
    fn past_campaigns_are_pooled() {
        assert_eq!(past(&[(30, 1000), (10, 500)]).pooled(), Some(Count::new(40, 1500).unwrap()));
        assert_eq!(past(&[]).pooled(), None);
    }
}
