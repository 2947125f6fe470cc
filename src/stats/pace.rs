//! How much faster one arm's first clicks come: the confidence sequence that belongs to the urn e-process.
//!
//! Cast: [`PaceTrace`] (what the urn's likelihood needs of the past), [`PaceBand`].
//!
//! It is the e-process turned round, so that band and p-value can never disagree. It knows no clock: the order of events is all it needs.

use serde::{Deserialize, Serialize};

use super::roots::bracketed_root;
use super::sequential::Arm;
use super::types::{Level, RatioInterval};

/// Ratios beyond e^±20 are told as 0 and as without end.
const FARTHEST: f64 = 20.0;
/// Shares that differ by at most this part of the rarer arm's share are kept as count, mean and squares.
const ALIKE: f64 = 0.005;
/// Most events kept together.
const TOGETHER: u32 = 256;

/// A band of hazard ratios, variant / control, that holds at all times together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PaceBand {
    /// The likeliest ratio; none before both arms have a success.
    pub ratio: Option<f64>,
    /// The band.
    pub band: RatioInterval,
    /// No single ratio fits all the time: what earlier and later events allow no longer overlaps.
    pub varies: bool,
}

/// Draws from the urn with nearly equal shares of B.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "(f64, u32, f64, f64)", into = "(f64, u32, f64, f64)")]
struct Stretch {
    first: f64,
    count: u32,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

impl From<(f64, u32, f64, f64)> for Stretch {
    fn from((first, count, mean, squares): (f64, u32, f64, f64)) -> Self {
        Self { first, count, mean, squares }
    }
}

impl From<Stretch> for (f64, u32, f64, f64) {
    fn from(stretch: Stretch) -> Self {
        (stretch.first, stretch.count, stretch.mean, stretch.squares)
    }
}

impl Stretch {
    fn takes(&self, share: f64) -> bool {
        self.count < TOGETHER && (share - self.first).abs() <= ALIKE * self.first.min(1.0 - self.first)
    }

    fn add(&mut self, share: f64) {
        self.count += 1;
        let before = share - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (share - self.mean);
    }

    /// Σ ln(1 + s (r − 1)) by Taylor's formula to the second order about the mean share: the third is below 1e-7 per event and changes its sign.
    fn ln_normaliser(&self, excess: f64) -> f64 {
        let slope = excess / self.mean.mul_add(excess, 1.0);
        f64::from(self.count) * (self.mean * excess).ln_1p() - 0.5 * self.squares * slope * slope
    }

    /// Its derivative by ln r.
    fn expected(&self, excess: f64) -> f64 {
        let whole = self.mean.mul_add(excess, 1.0);
        (excess + 1.0) * (f64::from(self.count) * self.mean / whole - self.squares * excess / whole.powi(3))
    }
}

/// How things stood after some event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Standing {
    /// Whole stretches before the open one.
    stretches: usize,
    open: Stretch,
    successes_a: u64,
    successes_b: u64,
    ln_e: f64,
}

/// The past of an urn, as far as its likelihood at another hazard ratio needs it, and the band narrowed so far.
///
/// Under a hazard ratio r the next clicker comes from B with probability y_B r / (y_A + y_B r), y being those who wait. With L_r the likelihood
/// of the arms drawn and M the mixture of the [`UrnProcess`](super::UrnProcess), whose e-value is M / L₁, M / L_r is a test martingale under r for
/// every r, and the band holds all r for which it has stayed below 1/α (Ville 1939; confidence sequences: Robbins 1970; the urn:
/// Grünwald, Ly, Pérez-Ortiz & ter Schure 2020). ln L_r is concave in ln r, so that it is an interval. r = 1 is outside exactly when the anytime
/// p-value is at most α.
///
/// It can be written down and gone on with: every number in it is finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaceTrace {
    ln_bound: f64,
    whole: Vec<Stretch>,
    now: Standing,
    /// Where the e-value stood highest since the band was narrowed last.
    highest: Option<Standing>,
    ln_e_max: f64,
    lower: f64,
    upper: f64,
    varies: bool,
}

impl PaceTrace {
    /// Starts before the first event, with the whole range.
    pub fn new(level: Level) -> Self {
        let now = Standing { stretches: 0, open: Stretch::default(), successes_a: 0, successes_b: 0, ln_e: 0.0 };
        Self {
            ln_bound: -level.alpha().ln(),
            whole: Vec::new(),
            now,
            highest: None,
            ln_e_max: 0.0,
            lower: f64::MIN,
            upper: f64::MAX,
            varies: false,
        }
    }

    /// Takes the next first click: which arm it came from, B's share of those who waited before it, and the e-process's ln E after it.
    pub fn observe(&mut self, arm: Arm, share_b: f64, ln_e: f64) {
        if self.now.open.count == 0 {
            self.now.open.first = share_b;
        } else if !self.now.open.takes(share_b) {
            self.whole.push(self.now.open);
            self.now.stretches = self.whole.len();
            self.now.open = Stretch { first: share_b, ..Stretch::default() };
        }
        self.now.open.add(share_b);
        match arm {
            Arm::A => self.now.successes_a += 1,
            Arm::B => self.now.successes_b += 1,
        }
        self.now.ln_e = ln_e;
        if ln_e > self.ln_e_max {
            self.ln_e_max = ln_e;
            self.highest = Some(self.now);
        }
    }

    /// Narrows the band by what is known now, and by where the evidence stood highest since the last time; answers it. Fewer calls
    /// leave it wider, never wrong.
    pub fn narrow(&mut self) -> PaceBand {
        if let Some(highest) = self.highest.take() {
            self.intersect(&highest);
        }
        let now = self.now;
        self.intersect(&now);
        let both = now.successes_a > 0 && now.successes_b > 0;
        PaceBand {
            ratio: both.then(|| self.likeliest(&now).exp()),
            band: RatioInterval {
                lower: if self.lower <= -FARTHEST { 0.0 } else { self.lower.exp() },
                upper: (self.upper < FARTHEST).then(|| self.upper.exp()),
            },
            varies: self.varies,
        }
    }

    fn stretches<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = &'a Stretch> {
        self.whole.iter().take(standing.stretches).chain(std::iter::once(&standing.open).filter(|open| open.count > 0))
    }

    /// How far ln L_r is above the bound: r is allowed where this is above 0.
    fn room(&self, standing: &Standing, ln_ratio: f64) -> f64 {
        let excess = ln_ratio.exp_m1();
        let normaliser: f64 = self.stretches(standing).map(|stretch| stretch.ln_normaliser(excess)).sum();
        (standing.successes_b as f64).mul_add(ln_ratio, -normaliser) - standing.ln_e + self.ln_bound
    }

    fn likeliest(&self, standing: &Standing) -> f64 {
        match (standing.successes_a, standing.successes_b) {
            (0, 0) => 0.0,
            (_, 0) => -FARTHEST,
            (0, _) => FARTHEST,
            (_, successes_b) => {
                let score = |ln_ratio: f64| {
                    let excess = ln_ratio.exp_m1();
                    successes_b as f64 - self.stretches(standing).map(|stretch| stretch.expected(excess)).sum::<f64>()
                };
                bracketed_root(score, -FARTHEST, FARTHEST)
            }
        }
    }

    fn intersect(&mut self, standing: &Standing) {
        let room = |ln_ratio: f64| self.room(standing, ln_ratio);
        // Nothing changes while both ends are still allowed, which is most of the time.
        let (low, high) = (self.lower.max(-FARTHEST), self.upper.min(FARTHEST));
        let (low_is_in, high_is_in) = (room(low) > 0.0, room(high) > 0.0);
        if low_is_in && high_is_in {
            return;
        }
        let middle = self.likeliest(standing);
        // No difference is its own bracket, so that band and p-value agree to the last bit.
        let zero_is_out = room(0.0) <= 0.0;
        let end = |from: f64| {
            let inner = if zero_is_out && (from < 0.0) != (middle < 0.0) { 0.0 } else { from };
            bracketed_root(room, inner, middle)
        };
        let new_lower = if low <= middle && !low_is_in {
            end(low)
        } else if low > middle {
            end(-FARTHEST)
        } else {
            low
        };
        let new_upper = if high >= middle && !high_is_in {
            end(high)
        } else if high < middle {
            end(FARTHEST)
        } else {
            high
        };
        if new_lower > high {
            (self.lower, self.upper, self.varies) = (high, high, true);
        } else if new_upper < low {
            (self.lower, self.upper, self.varies) = (low, low, true);
        } else {
            self.lower = self.lower.max(new_lower);
            self.upper = self.upper.min(new_upper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sequential::UrnProcess;
    use super::*;

    /// Plays `arms` through urn and trace, narrowing after every `each` events.
    fn play(waiting: [u64; 2], arms: &str, each: usize) -> (UrnProcess, PaceBand) {
        let level = Level::USUAL;
        let mut urn = UrnProcess::planned(waiting[0], waiting[1], 0.2).unwrap();
        let mut trace = PaceTrace::new(level);
        for (number, letter) in (1..).zip(arms.bytes()) {
            let arm = if letter == b'A' { Arm::A } else { Arm::B };
            let share = urn.share_b();
            urn.observe(arm).unwrap();
            trace.observe(arm, share, urn.ln_e());
            if number % each == 0 {
                trace.narrow();
            }
        }
        let band = trace.narrow();
        (urn, band)
    }

    fn contains_one(band: &PaceBand) -> bool {
        band.band.lower < 1.0 && band.band.upper.is_none_or(|upper| upper > 1.0)
    }

    // Each ratio tried one by one with the urn's own formula.
    #[test]
    fn the_band_is_where_the_mixture_does_not_reject() {
        let arms = "ABBABBBABBABABBBBABB".repeat(20);
        let (urn, band) = play([700, 900], &arms, usize::MAX);
        let ln_likelihood = |ratio: f64| {
            let (mut a, mut b, mut sum) = (700.0_f64, 900.0_f64, 0.0);
            for letter in arms.bytes() {
                let whole = a + b * ratio;
                if letter == b'A' {
                    sum += (a / whole).ln();
                    a -= 1.0;
                } else {
                    sum += (b * ratio / whole).ln();
                    b -= 1.0;
                }
            }
            sum
        };
        let room = |ratio: f64| ln_likelihood(ratio) - ln_likelihood(1.0) - urn.ln_e() + 20.0_f64.ln();
        let upper = band.band.upper.unwrap();
        assert!(room(band.band.lower).abs() < 1e-3 && room(upper).abs() < 1e-3, "{band:?}");
        assert!(band.band.lower < band.ratio.unwrap() && band.ratio.unwrap() < upper && !band.varies);
        let likeliest = band.ratio.unwrap();
        assert!(
            ln_likelihood(likeliest) >= ln_likelihood(likeliest * 1.001) && ln_likelihood(likeliest) >= ln_likelihood(likeliest / 1.001)
        );
    }

    #[test]
    fn one_is_outside_exactly_when_the_p_value_is_small() {
        let back = format!("{}{}", "B".repeat(30), "A".repeat(60));
        let slow = "ABB".repeat(40);
        for (waiting, arms) in [([500, 500], "ABBB".repeat(30)), ([500, 500], "AB".repeat(40)), ([300, 900], back), ([60, 90], slow)] {
            for length in 1..=arms.len() {
                let (urn, band) = play(waiting, &arms[..length], 10);
                assert_eq!(!contains_one(&band), urn.anytime_p_value().at_most(0.05), "{waiting:?}, {length} of {arms}: {band:?}");
            }
        }
    }

    #[test]
    fn an_effect_that_turns_round_is_said_to_vary_and_a_band_without_data_is_endless() {
        let (_, turned) = play([2000, 2000], &format!("{}{}", "B".repeat(200), "A".repeat(900)), 20);
        assert!(turned.varies, "{turned:?}");
        let (_, nothing) = play([10, 10], "", 1);
        assert_eq!(nothing, PaceBand { ratio: None, band: RatioInterval { lower: 0.0, upper: None }, varies: false });
        let (_, one_sided) = play([1000, 1000], &"B".repeat(40), 1);
        assert!(one_sided.ratio.is_none() && one_sided.band.lower > 1.0 && one_sided.band.upper.is_none(), "{one_sided:?}");
    }

    #[test]
    fn exchanging_the_arms_turns_the_band_round() {
        let arms = "ABBABBBABB".repeat(12);
        let other: String = arms.chars().map(|letter| if letter == 'A' { 'B' } else { 'A' }).collect();
        let ((_, one), (_, two)) = (play([400, 700], &arms, 7), play([700, 400], &other, 7));
        assert!((one.band.lower * two.band.upper.unwrap() - 1.0).abs() < 1e-3, "{one:?} {two:?}");
    }
}
