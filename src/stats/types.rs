//! The words the whole room shares: what goes in and what comes out.
//!
//! Cast: [`Count`] (successes out of trials), [`Level`] (a confidence level), [`PValue`] (kept as its natural logarithm),
//! [`Interval`] and [`RatioInterval`], [`InvalidInput`] (the caller handed over nonsense) and [`NotEstimable`] (the data
//! cannot answer). Never holds an identifier, a date or a name.

use serde::{Deserialize, Serialize};

use super::tails::normal_isf;

/// Largest number of trials a [`Count`] may hold: every integer up to here is exact in an `f64`.
pub const MAX_TRIALS: u64 = 1 << 53;

/// An argument outside its allowed range; names the argument and what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{argument} must be {allowed}, but it is {given}")]
pub struct InvalidInput {
    /// Name of the argument as in the function's signature.
    pub argument: &'static str,
    /// What would have been accepted.
    pub allowed: &'static str,
    /// What was given.
    pub given: String,
}

impl InvalidInput {
    pub(crate) fn new(argument: &'static str, allowed: &'static str, given: impl ToString) -> Self {
        Self { argument, allowed, given: given.to_string() }
    }
}

/// Why a figure cannot be given. A value with a reason, never a sentinel number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotEstimable {
    /// An arm has no recipients (n = 0).
    #[error("an arm has no recipients: send to at least one recipient in every arm")]
    EmptyArm,
    /// Fewer than two arms were given.
    #[error("fewer than two arms: a comparison needs at least two")]
    TooFewArms,
    /// A ratio needs successes that are not there.
    #[error("an arm has no successes: this ratio needs at least one in each arm")]
    NoSuccesses,
    /// An arm has fewer than two observations, so its variance is unknown.
    #[error("an arm has fewer than two observations: a variance needs at least two")]
    TooFewObservations,
    /// Nothing varies in any arm.
    #[error("zero variance in every arm: all observations are equal")]
    ZeroVariance,
    /// A ratio of means needs positive means.
    #[error("a mean is not positive: a ratio of means needs positive means")]
    NonPositiveMean,
    /// The exact calculation would enumerate too many tables.
    #[error("the arms are too large for enumeration: use the Fisher test or the score test")]
    TooLarge,
    /// No effect inside the range of rates is detectable with these sizes.
    #[error("no rate up to 100 % is detectable with these sizes: use more recipients")]
    NotDetectable,
    /// A number that should be finite is not, or an iteration did not settle.
    #[error("the calculation left the range of floating-point numbers")]
    NotFinite,
    /// An argument is outside its range.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
}

/// A figure, or the reason why there is none.
pub type Estimate<T> = Result<T, NotEstimable>;

/// Successes out of trials of one arm: opens, clicks, conversions, bounces … among n recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCount")]
pub struct Count {
    successes: u64,
    trials: u64,
}

#[derive(Deserialize)]
struct RawCount {
    successes: u64,
    trials: u64,
}

impl TryFrom<RawCount> for Count {
    type Error = InvalidInput;
    fn try_from(raw: RawCount) -> Result<Self, InvalidInput> {
        Self::new(raw.successes, raw.trials)
    }
}

impl Count {
    /// Checked constructor. `trials` may be 0 (every estimate then says [`NotEstimable::EmptyArm`]).
    ///
    /// # Errors
    /// `trials` above [`MAX_TRIALS`], or `successes` above `trials`.
    pub fn new(successes: u64, trials: u64) -> Result<Self, InvalidInput> {
        if trials > MAX_TRIALS {
            return Err(InvalidInput::new("trials", "at most 2^53", trials));
        }
        if successes > trials {
            return Err(InvalidInput::new("successes", "at most the number of trials", successes));
        }
        Ok(Self { successes, trials })
    }

    /// Number of successes.
    pub fn successes(self) -> u64 {
        self.successes
    }

    /// Number of trials (recipients).
    pub fn trials(self) -> u64 {
        self.trials
    }

    /// Number of trials without success.
    pub fn failures(self) -> u64 {
        self.trials - self.successes
    }

    /// Share of successes, in [0, 1].
    ///
    /// # Errors
    /// [`NotEstimable::EmptyArm`] when there are no trials.
    pub fn rate(self) -> Estimate<f64> {
        if self.trials == 0 { Err(NotEstimable::EmptyArm) } else { Ok(self.x() / self.n()) }
    }

    pub(crate) fn x(self) -> f64 {
        self.successes as f64
    }

    pub(crate) fn n(self) -> f64 {
        self.trials as f64
    }

    pub(crate) fn misses(self) -> f64 {
        self.failures() as f64
    }

    /// The same arm with success and failure exchanged.
    pub(crate) fn complement(self) -> Self {
        Self { successes: self.failures(), trials: self.trials }
    }
}

/// Refuses arms without recipients.
pub(crate) fn require_trials(counts: &[Count]) -> Estimate<()> {
    if counts.iter().any(|count| count.trials == 0) { Err(NotEstimable::EmptyArm) } else { Ok(()) }
}

/// A confidence level, kept as its error rate alpha in (0, 1).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Level {
    alpha: f64,
}

impl Level {
    /// The usual 95 %.
    pub const USUAL: Self = Self { alpha: 0.05 };

    /// From the confidence, e.g. 0.95.
    ///
    /// # Errors
    /// `confidence` not strictly between 0 and 1.
    pub fn new(confidence: f64) -> Result<Self, InvalidInput> {
        if confidence > 0.0 && confidence < 1.0 {
            Ok(Self { alpha: 1.0 - confidence })
        } else {
            Err(InvalidInput::new("confidence", "strictly between 0 and 1", confidence))
        }
    }

    /// From the error rate, e.g. 0.05; keeps tiny error rates exact.
    ///
    /// # Errors
    /// `alpha` not strictly between 0 and 1.
    pub fn from_alpha(alpha: f64) -> Result<Self, InvalidInput> {
        if alpha > 0.0 && alpha < 1.0 { Ok(Self { alpha }) } else { Err(InvalidInput::new("alpha", "strictly between 0 and 1", alpha)) }
    }

    /// Error rate, 1 − confidence.
    pub fn alpha(self) -> f64 {
        self.alpha
    }

    /// Confidence, 1 − alpha.
    pub fn confidence(self) -> f64 {
        1.0 - self.alpha
    }

    /// Two-sided standard normal critical value z_{1−alpha/2}.
    pub fn z_two_sided(self) -> f64 {
        normal_isf(self.alpha / 2.0)
    }
}

/// A p-value kept as its natural logarithm, so that 1e-3000 is still a number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct PValue {
    ln: f64,
}

impl PValue {
    /// p = 1.
    pub const ONE: Self = Self { ln: 0.0 };

    /// From ln p. Values above 0 (rounding past 1) become p = 1; a NaN becomes p = 1 too, the answer that claims nothing.
    pub fn from_ln(ln: f64) -> Self {
        if ln < 0.0 { Self { ln } } else { Self::ONE }
    }

    /// From p itself, in [0, 1].
    pub fn from_value(p: f64) -> Self {
        Self::from_ln(p.ln())
    }

    /// p as a number; 0 below about 5e-324.
    pub fn value(self) -> f64 {
        self.ln.exp()
    }

    /// Natural logarithm of p.
    pub fn ln(self) -> f64 {
        self.ln
    }

    /// Decimal logarithm of p.
    pub fn log10(self) -> f64 {
        self.ln / std::f64::consts::LN_10
    }

    /// Whether p ≤ alpha.
    pub fn at_most(self, alpha: f64) -> bool {
        self.ln <= alpha.ln()
    }

    /// p times a factor, capped at 1.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self::from_ln(self.ln + factor.ln())
    }

    pub(crate) fn max(self, other: Self) -> Self {
        if self.ln >= other.ln { self } else { other }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        if self.ln <= other.ln { self } else { other }
    }
}

/// A closed interval, lower ≤ upper, both finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Interval {
    /// Whether the value lies in the interval, ends included.
    pub fn contains(self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }
}

/// An interval of a ratio B / A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatioInterval {
    /// Lower end, ≥ 0.
    pub lower: f64,
    /// Upper end; `None` when the data put no bound on it (no successes in A).
    pub upper: Option<f64>,
}

impl RatioInterval {
    /// Whether the ratio lies in the interval, ends included.
    pub fn contains(self, ratio: f64) -> bool {
        self.lower <= ratio && self.upper.is_none_or(|upper| ratio <= upper)
    }
}

/// A number strictly between 0 and 1, or the complaint about it.
pub(crate) fn require_open_unit(argument: &'static str, value: f64) -> Result<f64, InvalidInput> {
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(InvalidInput::new(argument, "strictly between 0 and 1", value)) }
}

/// A finite number above 0, or the complaint about it.
pub(crate) fn require_positive(argument: &'static str, value: f64) -> Result<f64, InvalidInput> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(InvalidInput::new(argument, "a finite number above 0", value)) }
}
