//! Which first successes have changed, as far as a replay that is kept must know.
//!
//! Cast: [`Moved`], filled where states change and handed to [`store::forget_replays`](crate::ledger::store::forget_replays).
//!
//! A first success whose time is only cut to the hour stays where it was replayed: the order they came in is the better one.

use std::collections::BTreeMap;

use crate::ids::CampaignNumber;
use crate::ledger::event::EventKind;
use crate::ledger::store::Placed;
use crate::ledger::subject::Part;
use crate::signal::context::to_the_hour;

/// Changes of first successes, by campaign and kind.
#[derive(Debug, Default)]
pub struct Moved(BTreeMap<(CampaignNumber, Kind), Places>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Open,
    Click,
}

impl Kind {
    const fn event(self) -> EventKind {
        match self {
            Self::Open => EventKind::Open,
            Self::Click => EventKind::Click,
        }
    }
}

/// Where replays are wrong now; milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// Those up to this moment or later.
    pub from: Option<i64>,
    /// Those up to the first of these moments or later, but before the second: a time was cut that was behind them.
    pub across: Option<(i64, i64)>,
}

impl Moved {
    /// Notes what became of a recipient.
    pub fn note(&mut self, old: &Placed, new: &Placed) {
        for kind in [Kind::Open, Kind::Click] {
            let (before, after) = (counted(old, kind), counted(new, kind));
            if before == after {
                continue;
            }
            let places = self.0.entry((new.campaign, kind)).or_default();
            match (before, after) {
                (Some((was, how)), Some((is, still))) if how == still && is == to_the_hour(was) => {
                    let (from, to) = places.across.unwrap_or((is, was));
                    places.across = Some((from.min(is), to.max(was)));
                }
                _ => {
                    let earliest = [before, after].into_iter().flatten().map(|(at, _)| at).min();
                    places.from = [places.from, earliest].into_iter().flatten().min();
                }
            }
        }
    }

    /// By campaign and kind.
    pub fn places(&self) -> impl Iterator<Item = ((CampaignNumber, EventKind), Places)> {
        self.0.iter().map(|((campaign, kind), places)| ((*campaign, kind.event()), *places))
    }
}

/// When a recipient of the test succeeded first, and for whom that counts: of those delivered, of those at risk.
fn counted(placed: &Placed, kind: Kind) -> Option<(i64, (bool, bool))> {
    let at = match kind {
        Kind::Open => placed.state.first_open_at,
        Kind::Click => placed.state.first_click_at,
    };
    let counts = (placed.measured && placed.state.is_delivered(), placed.at_risk);
    at.filter(|_| placed.part == Part::Test && counts != (false, false)).map(|at| (at, counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VariantNumber;
    use crate::ledger::subject::State;

    const HOUR: i64 = 3_600_000;

    fn placed(sent: bool, first_click_at: Option<i64>) -> Placed {
        let state = State { delivery: i32::from(sent), first_click_at, ..State::default() };
        Placed { campaign: CampaignNumber(1), part: Part::Test, variant: VariantNumber(0), measured: true, at_risk: false, state }
    }

    type Found = (EventKind, Option<i64>, Option<(i64, i64)>);

    fn moved(changes: &[(Placed, Placed)]) -> Vec<Found> {
        let mut moved = Moved::default();
        for (old, new) in changes {
            moved.note(old, new);
        }
        moved.places().map(|((_, kind), places)| (kind, places.from, places.across)).collect()
    }

    #[test]
    fn replays_are_wrong_from_the_earliest_first_success_that_changed() {
        let click = |from, across| vec![(EventKind::Click, from, across)];
        assert_eq!(moved(&[(placed(true, None), placed(true, None))]), []);
        assert_eq!(moved(&[(placed(false, Some(5)), placed(false, Some(3)))]), [], "it counts for nobody");
        let came = (placed(true, None), placed(true, Some(7 * HOUR + 5)));
        assert_eq!(moved(&[came]), click(Some(7 * HOUR + 5), None));
        let (was_earlier, went) = ((placed(true, Some(9)), placed(true, Some(4))), (placed(true, Some(6)), placed(true, None)));
        assert_eq!(moved(&[came, went]), click(Some(6), None));
        assert_eq!(moved(&[came, went, was_earlier]), click(Some(4), None));
        let bounced = Placed { state: State { delivery: 1 | 1 << 5, ..came.1.state }, ..came.1 };
        assert_eq!(moved(&[(came.1, bounced)]), click(Some(7 * HOUR + 5), None));
        let at_risk = |placed: Placed| Placed { at_risk: true, ..placed };
        assert_eq!(moved(&[(at_risk(placed(false, Some(5))), at_risk(placed(false, Some(3))))]), click(Some(3), None));
        let rest = |placed: Placed| Placed { part: Part::Rest, ..placed };
        assert_eq!(moved(&[(rest(came.0), rest(came.1))]), [], "the rest are never compared");
    }

    #[test]
    fn a_time_cut_to_the_hour_concerns_replays_that_ended_in_between_only() {
        let cut = |at: i64| (placed(true, Some(at)), placed(true, Some(at - at % HOUR)));
        assert_eq!(moved(&[cut(7 * HOUR)]), []);
        assert_eq!(moved(&[cut(7 * HOUR + 5), cut(9 * HOUR + 3)]), vec![(EventKind::Click, None, Some((7 * HOUR, 9 * HOUR + 3)))]);
    }
}
