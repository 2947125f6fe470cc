//! Property tests over the whole room: symmetry, agreement of test and interval, nesting, and no NaN or panic for any counts up to 1e12.

use proptest::prelude::*;

use super::*;

const FAMILIES: [ScoreFamily; 3] = [ScoreFamily::Plain, ScoreFamily::MiettinenNurminen, ScoreFamily::SkewnessCorrected];

/// Trials of every order of magnitude, with rates from none over rare to all.
pub(super) fn any_count(most: u64) -> impl Strategy<Value = Count> {
    let exponent = (most as f64).log10();
    (0.0..exponent, 0u8..6, 0.0..1.0f64).prop_map(|(size, kind, share)| {
        let trials = 10f64.powf(size).floor().max(1.0) as u64;
        let few = ((share * 8.0) as u64).min(trials);
        let successes = match kind {
            0 => 0,
            1 => trials,
            2 => few,
            3 => trials - few,
            _ => (trials as f64 * share) as u64,
        };
        Count::new(successes.min(trials), trials).unwrap()
    })
}

pub(super) fn level(confidence: f64) -> Level {
    Level::new(confidence).unwrap()
}

pub(super) fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()) + 1e-13
}

pub(super) fn check_p(p: PValue) {
    assert!(p.ln() <= 0.0 && (0.0..=1.0).contains(&p.value()));
}

pub(super) fn check_interval(interval: Interval, floor: f64, ceiling: f64) {
    assert!(floor <= interval.lower && interval.lower <= interval.upper && interval.upper <= ceiling, "{interval:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn swapping_the_arms_turns_every_difference_around(a in any_count(1_000_000_000), b in any_count(1_000_000_000)) {
        let (here, there) = (pooled_z(a, b).unwrap(), pooled_z(b, a).unwrap());
        prop_assert!(close(here.z, -there.z));
        for family in FAMILIES {
            let (here, there) = (score_difference(family, a, b, level(0.95)).unwrap(), score_difference(family, b, a, level(0.95)).unwrap());
            prop_assert!(close(here.test.z, -there.test.z), "{family:?} {here:?} {there:?}");
            prop_assert!(close(here.interval.lower, -there.interval.upper), "{family:?} {here:?} {there:?}");
            prop_assert!(close(here.interval.upper, -there.interval.lower), "{family:?} {here:?} {there:?}");
        }
        let (here, there) = (newcombe_difference(a, b, level(0.95)).unwrap(), newcombe_difference(b, a, level(0.95)).unwrap());
        prop_assert!(close(here.lower, -there.upper) && close(here.upper, -there.lower));
    }

    #[test]
    fn swapping_the_arms_inverts_the_ratio(a in any_count(1_000_000), b in any_count(1_000_000)) {
        for family in FAMILIES {
            let (here, there) = (score_ratio(family, a, b, level(0.9)).unwrap().interval, score_ratio(family, b, a, level(0.9)).unwrap().interval);
            let inverse = |upper: Option<f64>| upper.map_or(0.0, |value| 1.0 / value);
            prop_assert!(close(here.lower, inverse(there.upper)), "{family:?} {here:?} {there:?}");
            prop_assert!(close(there.lower, inverse(here.upper)), "{family:?} {here:?} {there:?}");
        }
    }

    #[test]
    fn test_and_interval_agree_on_significance(a in any_count(1_000_000_000_000), b in any_count(1_000_000_000_000), confidence in 0.7..0.999f64) {
        let level = level(confidence);
        for family in FAMILIES {
            let reading = score_difference(family, a, b, level).unwrap();
            let ratio = score_ratio(family, a, b, level).unwrap();
            // a hair's breadth at the boundary is rounding
            if (reading.test.p_value.ln() - level.alpha().ln()).abs() > 1e-7 {
                let significant = reading.test.p_value.at_most(level.alpha());
                prop_assert_eq!(!significant, reading.interval.contains(0.0), "{:?} {:?}", family, reading);
                prop_assert_eq!(!significant, ratio.interval.contains(1.0), "{:?} {:?}", family, ratio);
            }
        }
    }

    #[test]
    fn intervals_nest_in_the_level(a in any_count(1_000_000_000), b in any_count(1_000_000_000), low in 0.5..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let nested = |inner: Interval, outer: Interval| outer.lower <= inner.lower + 1e-13 && inner.upper <= outer.upper + 1e-13;
        prop_assert!(nested(wilson(a, narrow).unwrap(), wilson(a, wide).unwrap()));
        prop_assert!(nested(newcombe_difference(a, b, narrow).unwrap(), newcombe_difference(a, b, wide).unwrap()));
        prop_assert!(nested(agresti_caffo_difference(a, b, narrow).unwrap(), agresti_caffo_difference(a, b, wide).unwrap()));
        prop_assert!(nested(rate_sequence(a, 0.5, 0.5, narrow).unwrap(), rate_sequence(a, 0.5, 0.5, wide).unwrap()));
        for family in FAMILIES {
            let (inner, outer) = (score_difference(family, a, b, narrow).unwrap().interval, score_difference(family, a, b, wide).unwrap().interval);
            prop_assert!(nested(inner, outer), "{family:?} {inner:?} {outer:?}");
        }
    }

    #[test]
    fn no_counts_up_to_a_million_millions_give_nan_or_panic(a in any_count(1_000_000_000_000), b in any_count(1_000_000_000_000)) {
        let level = level(0.95);
        check_p(pooled_z(a, b).unwrap().p_value);
        check_interval(wilson(a, level).unwrap(), 0.0, 1.0);
        check_interval(newcombe_difference(a, b, level).unwrap(), -1.0, 1.0);
        check_interval(agresti_caffo_difference(a, b, level).unwrap(), -1.0, 1.0);
        check_interval(rate_sequence(a, 0.5, 0.5, level).unwrap(), 0.0, 1.0);
        for family in FAMILIES {
            let reading = score_difference(family, a, b, level).unwrap();
            check_p(reading.test.p_value);
            check_interval(reading.interval, -1.0, 1.0);
            prop_assert!(reading.interval.contains(reading.estimate) || family == ScoreFamily::SkewnessCorrected);
            let ratio = score_ratio(family, a, b, level).unwrap().interval;
            prop_assert!(ratio.lower >= 0.0 && ratio.upper.is_none_or(|upper| upper >= ratio.lower), "{ratio:?}");
        }
        check_p(homogeneity(&[a, b, a]).unwrap().p_value);
        check_p(sample_ratio(&[a.trials(), b.trials()], &[0.7, 0.3]).unwrap().p_value);
        prop_assert!(sample_ratio_sequence(&[a.trials(), b.trials()], &[0.7, 0.3], 100.0).unwrap().is_finite());
        check_p(guard_not_worse(a, b, 0.01).unwrap());
        check_p(winner(&[a, b, a], 0.05).unwrap().p_max);
        let labels = label_sequence(a.successes(), b.successes(), 0.3, 50.0, level).unwrap();
        prop_assert!(labels.ln_e.is_finite() && labels.ratio.lower >= 0.0 && labels.ratio.upper.is_none_or(|upper| upper >= labels.ratio.lower));
    }

    #[test]
    fn adjusted_p_values_are_never_below_the_raw_ones_and_keep_their_order(raw in prop::collection::vec(-800.0..0.0f64, 1..12)) {
        let raw: Vec<PValue> = raw.into_iter().map(PValue::from_ln).collect();
        for adjusted in [holm(&raw), benjamini_hochberg(&raw)] {
            prop_assert_eq!(adjusted.len(), raw.len());
            for (one, before) in adjusted.iter().zip(&raw) {
                prop_assert!(one >= before);
                for (other, other_before) in adjusted.iter().zip(&raw) {
                    prop_assert!(before > other_before || one <= other);
                }
            }
        }
    }

    #[test]
    fn both_tails_of_the_beta_add_up_to_one(a in -3.0..12.0f64, b in -3.0..12.0f64, deviate in -9.0..9.0f64) {
        let (a, b) = (10f64.powf(a), 10f64.powf(b));
        let mean = a / (a + b);
        let spread = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
        let x = (mean + deviate * spread).clamp(0.0, 1.0);
        let tails = beta_distribution(a, b, x).unwrap();
        prop_assert!((tails.ln_cdf.exp() + tails.ln_sf.exp() - 1.0).abs() < 1e-12, "{tails:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bayesian_figures_and_fisher_stay_in_range(a in any_count(1_000_000_000_000), b in any_count(1_000_000_000_000)) {
        check_p(fisher(a, b).unwrap());
        check_p(fisher_mid_p(a, b).unwrap());
        prop_assert!(fisher_mid_p(a, b).unwrap() <= fisher(a, b).unwrap());
        let (one, other) = (Posterior::new(a, 1.0, 1.0).unwrap(), Posterior::new(b, 1.0, 1.0).unwrap());
        let (forth, back) = (prob_b_beats_a(one, other), prob_b_beats_a(other, one));
        prop_assert!((forth + back - 1.0).abs() < 1e-9, "{forth} {back}");
        let losses = expected_losses(one, other);
        prop_assert!(losses.choose_a >= 0.0 && losses.choose_b >= 0.0);
        let lift = lift_interval(one, other, level(0.9)).unwrap();
        prop_assert!(-1.0 <= lift.lower && lift.lower <= lift.upper, "{lift:?}");
        let best = best_of(&[one, other]).unwrap();
        prop_assert!((best.iter().map(|arm| arm.chance).sum::<f64>() - 1.0).abs() < 1e-9, "{best:?}");
    }

    #[test]
    fn swapping_the_arms_swaps_boschloo(a in any_count(60), b in any_count(60)) {
        let (here, there) = (boschloo(a, b).unwrap(), boschloo(b, a).unwrap());
        prop_assert!(close(here.b_less.value(), there.b_greater.value()) && close(here.p_value.value(), there.p_value.value()));
        // uniformly more powerful than the one-sided Fisher test it is built on
        let conditional = hypergeometric::Hypergeometric::new(a.trials(), b.trials(), a.successes() + b.successes()).ln_at_least(b.successes());
        prop_assert!(here.b_greater.ln() <= conditional + 1e-9);
    }
}
