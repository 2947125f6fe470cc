//! Property tests of the rest of the room: exact tests, means, several arms, sequences, the Bayesian reading, planning and the distributions.
//!
//! Cast: the same laws as in `properties` (symmetry, monotonicity, scale, agreement of test and interval, nesting, no NaN), method by method.

use proptest::prelude::*;

use super::properties::{any_count, check_interval, check_p, close, level};
use super::*;

const HUGE: u64 = 1_000_000_000_000;

fn any_mean() -> impl Strategy<Value = MeanSummary> {
    (-3.0..6.0f64, -3.0..6.0f64, 0.31..12.0f64)
        .prop_map(|(mean, sd, size)| MeanSummary::new(10f64.powf(mean), 10f64.powf(sd), 10f64.powf(size).floor().max(2.0) as u64).unwrap())
}

fn scaled(summary: MeanSummary, factor: f64) -> MeanSummary {
    MeanSummary::new(summary.mean() * factor, summary.sd() * factor, summary.n()).unwrap()
}

/// Clicks among opens: every recipient is one of clicked, only opened, neither.
fn any_ratio() -> impl Strategy<Value = RatioSums> {
    (2u64..HUGE, 0.0001..0.9f64, 0.0..1.0f64).prop_map(|(n, open, click)| {
        let opens = (n as f64 * open).floor().max(1.0);
        let clicks = (opens * click).floor();
        RatioSums { n, sum_y: clicks, sum_x: opens, sum_yy: clicks, sum_xx: opens, sum_xy: clicks }
    })
}

fn nested(inner: Interval, outer: Interval, hair: f64) -> bool {
    outer.lower <= inner.lower + hair && inner.upper <= outer.upper + hair
}

fn one_more(count: Count) -> Count {
    Count::new((count.successes() + 1).min(count.trials()), count.trials()).unwrap()
}

fn posterior(count: Count) -> Posterior {
    Posterior::new(count, 1.0, 1.0).unwrap()
}

/// Away from the boundary, where rounding decides.
fn clear_of(p: PValue, alpha: f64) -> bool {
    (p.ln() - alpha.ln()).abs() > 1e-7
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exact_intervals_contain_nest_mirror_and_rise(count in any_count(HUGE), low in 0.5..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let interval = clopper_pearson(count, narrow).unwrap();
        check_interval(interval, 0.0, 1.0);
        prop_assert!(interval.contains(count.rate().unwrap()), "{interval:?}");
        prop_assert!(nested(interval, clopper_pearson(count, wide).unwrap(), 1e-13));
        let mirrored = clopper_pearson(count.complement(), narrow).unwrap();
        prop_assert!(close(interval.lower, 1.0 - mirrored.upper) && close(interval.upper, 1.0 - mirrored.lower), "{interval:?} {mirrored:?}");
        for method in [clopper_pearson, wilson] {
            let (here, above) = (method(count, narrow).unwrap(), method(one_more(count), narrow).unwrap());
            prop_assert!(here.lower <= above.lower + 1e-13 && here.upper <= above.upper + 1e-13, "{here:?} {above:?}");
        }
        let mirrored = wilson(count.complement(), narrow).unwrap();
        let interval = wilson(count, narrow).unwrap();
        prop_assert!(close(interval.lower, 1.0 - mirrored.upper), "{interval:?} {mirrored:?}");
    }

    #[test]
    fn binomial_tails_are_complements_and_rise_with_the_rate(count in any_count(HUGE), rate in 0.0001..0.9f64) {
        let at_least = ln_binomial_at_least(count, rate).unwrap();
        prop_assert!(at_least <= 0.0 && !at_least.is_nan());
        if count.successes() > 0 {
            let below = Count::new(count.successes() - 1, count.trials()).unwrap();
            let sum = at_least.exp() + ln_binomial_at_most(below, rate).unwrap().exp();
            prop_assert!((sum - 1.0).abs() < 1e-11, "{sum}");
        }
        prop_assert!(ln_binomial_at_least(count, rate * 1.1).unwrap() >= at_least - 1e-9 * at_least.abs());
    }

    #[test]
    fn fisher_does_not_mind_swapped_arms_or_swapped_answers(a in any_count(1_000_000), b in any_count(1_000_000)) {
        for test in [fisher, fisher_mid_p] {
            let p = test(a, b).unwrap();
            check_p(p);
            let near = |other: PValue| (p.ln() - other.ln()).abs() <= 1e-9 * p.ln().abs().max(1.0);
            prop_assert!(near(test(b, a).unwrap()), "{p:?} {:?}", test(b, a));
            prop_assert!(near(test(a.complement(), b.complement()).unwrap()), "{p:?}");
        }
    }

    #[test]
    fn ratio_intervals_nest_and_kinds_agree(a in any_count(HUGE), b in any_count(HUGE), low in 0.7..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let ends = |interval: RatioInterval| Interval { lower: interval.lower, upper: interval.upper.unwrap_or(f64::INFINITY) };
        for method in [koopman_ratio, scas_ratio] {
            let (inner, outer) = (ends(method(a, b, narrow).unwrap().interval), ends(method(a, b, wide).unwrap().interval));
            prop_assert!(outer.lower <= inner.lower * (1.0 + 1e-9) && inner.upper <= outer.upper * (1.0 + 1e-9), "{inner:?} {outer:?}");
        }
        match katz_ratio(a, b, narrow) {
            Ok(interval) => {
                let (inner, outer) = (ends(interval), ends(katz_ratio(a, b, wide).unwrap()));
                prop_assert!(outer.lower <= inner.lower && inner.upper <= outer.upper && inner.lower <= inner.upper);
                let swapped = ends(katz_ratio(b, a, narrow).unwrap());
                prop_assert!(close(inner.lower, 1.0 / swapped.upper) && close(inner.upper, 1.0 / swapped.lower));
            }
            Err(reason) => prop_assert!(reason == NotEstimable::NoSuccesses && (a.successes() == 0 || b.successes() == 0)),
        }
    }

    #[test]
    fn a_wider_guard_is_easier_to_hold(a in any_count(HUGE), b in any_count(HUGE), margin in 0.0001..0.4f64) {
        let (strict, lenient) = (guard_not_worse(a, b, margin).unwrap(), guard_not_worse(a, b, 2.0 * margin).unwrap());
        check_p(strict);
        // with p above a half the score has no say
        prop_assert!(lenient <= strict || strict.value() > 0.3, "{strict:?} {lenient:?}");
    }

    #[test]
    fn means_swap_scale_agree_and_nest(a in any_mean(), b in any_mean(), factor in -3.0..3.0f64, low in 0.5..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let (here, there) = (welch(a, b, narrow).unwrap(), welch(b, a, narrow).unwrap());
        check_p(here.p_value);
        prop_assert!(close(here.t, -there.t) && close(here.interval.lower, -there.interval.upper), "{here:?} {there:?}");
        let factor = 10f64.powf(factor);
        let larger = welch(scaled(a, factor), scaled(b, factor), narrow).unwrap();
        // the difference of nearly equal means has the rounding of the means
        let hair = 1e-12 * (a.mean() + b.mean()) / here.standard_error;
        prop_assert!((larger.t - here.t).abs() <= 1e-9 * here.t.abs() + hair, "{here:?} {larger:?}");
        if clear_of(here.p_value, narrow.alpha()) {
            prop_assert_eq!(here.p_value.at_most(narrow.alpha()), !here.interval.contains(0.0), "{:?}", here);
        }
        prop_assert!(nested(here.interval, welch(a, b, wide).unwrap().interval, 0.0));
        let (lift, back) = (mean_lift(a, b, narrow).unwrap(), mean_lift(b, a, narrow).unwrap());
        prop_assert!(lift.interval.lower >= -1.0 && lift.interval.lower <= lift.lift && lift.lift <= lift.interval.upper, "{lift:?}");
        if lift.interval.upper < 1e300 && back.interval.upper < 1e300 {
            let product = (1.0 + lift.interval.lower) * (1.0 + back.interval.upper);
            prop_assert!(lift.interval.lower < -0.999_999 || (product - 1.0).abs() < 1e-6, "{product} {lift:?} {back:?}");
        }
        let rescaled = mean_lift(scaled(a, factor), scaled(b, factor), narrow).unwrap();
        prop_assert!((rescaled.lift - lift.lift).abs() <= 1e-9 * (1.0 + lift.lift) + 1e-15, "{lift:?} {rescaled:?}");
    }

    #[test]
    fn clicks_to_opens_swap_agree_and_nest(a in any_ratio(), b in any_ratio(), low in 0.5..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        match delta_ratio(a, b, narrow) {
            Ok(here) => {
                let there = delta_ratio(b, a, narrow).unwrap();
                check_p(here.p_value);
                prop_assert!(close(here.z, -there.z) && close(here.interval.lower, -there.interval.upper));
                prop_assert!(nested(here.interval, delta_ratio(a, b, wide).unwrap().interval, 0.0));
                if clear_of(here.p_value, narrow.alpha()) {
                    prop_assert_eq!(here.p_value.at_most(narrow.alpha()), !here.interval.contains(0.0), "{:?}", here);
                }
            }
            Err(reason) => prop_assert_eq!(reason, NotEstimable::ZeroVariance),
        }
    }

    #[test]
    fn tests_of_many_arms_do_not_mind_their_order_or_the_scale_of_weights(
        arms in prop::collection::vec(any_count(HUGE), 2..8),
        weights in prop::collection::vec(0.1..9.0f64, 8),
        scale in -9..9i32,
    ) {
        let turned: Vec<Count> = arms.iter().rev().copied().collect();
        for method in [homogeneity, machine_balance] {
            let (here, there) = (method(&arms).unwrap(), method(&turned).unwrap());
            check_p(here.p_value);
            prop_assert!(close(here.statistic, there.statistic) && here.degrees == there.degrees, "{here:?} {there:?}");
        }
        let counts: Vec<u64> = arms.iter().map(|arm| arm.trials()).collect();
        let weights = &weights[..counts.len()];
        // by powers of two: others change the weights themselves in their last bit, and 1e12 recipients feel that
        let rescaled: Vec<f64> = weights.iter().map(|weight| weight * 2f64.powi(scale)).collect();
        let (here, there) = (sample_ratio(&counts, weights).unwrap(), sample_ratio(&counts, &rescaled).unwrap());
        prop_assert!(close(here.statistic, there.statistic), "{here:?} {there:?}");
        let (here, there) =
            (sample_ratio_sequence(&counts, weights, 100.0).unwrap(), sample_ratio_sequence(&counts, &rescaled, 100.0).unwrap());
        prop_assert!(close(here, there), "{here} {there}");
        let (first, last) = (winner(&arms, 0.05).unwrap(), winner(&turned, 0.05).unwrap());
        prop_assert_eq!(first.winner.map(|index| arms.len() - 1 - index), last.winner);
    }

    #[test]
    fn an_average_of_e_values_lies_between_them(values in prop::collection::vec(-700.0..700.0f64, 1..12)) {
        let average = average_ln_e(&values).unwrap();
        let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        prop_assert!(least - 1e-9 <= average && average <= most + 1e-9);
        check_p(e_to_p(average));
    }

    #[test]
    fn label_sequences_swap_nest_and_agree(a in 0..HUGE, b in 0..HUGE, share in 0.05..0.95f64, low in 0.5..0.95f64) {
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let here = label_sequence(a, b, share, 80.0, narrow).unwrap();
        let there = label_sequence(b, a, 1.0 - share, 80.0, narrow).unwrap();
        prop_assert!((here.ln_e - there.ln_e).abs() <= 1e-9 * here.ln_e.abs() + 1e-4, "{here:?} {there:?}");
        let inverse = there.ratio.upper.map_or(0.0, |upper| 1.0 / upper);
        prop_assert!(close(here.ratio.lower, inverse) || (here.ratio.lower / inverse - 1.0).abs() < 1e-6, "{here:?} {there:?}");
        let outer = label_sequence(a, b, share, 80.0, wide).unwrap().ratio;
        prop_assert!(outer.lower <= here.ratio.lower * (1.0 + 1e-12));
        prop_assert!(here.ratio.upper.is_none_or(|upper| outer.upper.is_none_or(|outer| upper <= outer * (1.0 + 1e-12))));
        if (here.ln_e + narrow.alpha().ln()).abs() > 1e-3 {
            prop_assert_eq!(here.p_value.at_most(narrow.alpha()), !here.ratio.contains(1.0), "{:?}", here);
        }
    }

    #[test]
    fn rate_and_mean_sequences_are_wider_than_a_single_look(count in any_count(HUGE), z in -30.0..30.0f64, low in 0.8..0.99f64) {
        let level = level(low);
        let band = rate_sequence(count, 0.5, 0.5, level).unwrap();
        let mirrored = rate_sequence(count.complement(), 0.5, 0.5, level).unwrap();
        prop_assert!(close(band.lower, 1.0 - mirrored.upper), "{band:?} {mirrored:?}");
        prop_assert!(band.contains(count.rate().unwrap()));
        let reading = asymptotic_sequence(count.trials(), z, 1.0, level, 10_000).unwrap();
        check_p(reading.p_value);
        prop_assert!(reading.half_width >= level.z_two_sided());
        if clear_of(reading.p_value, level.alpha()) {
            prop_assert_eq!(reading.p_value.at_most(level.alpha()), z.abs() > reading.half_width, "{:?}", reading);
        }
        let doubled = asymptotic_sequence(count.trials(), 2.0 * z, 2.0, level, 10_000).unwrap();
        prop_assert!(close(doubled.half_width, 2.0 * reading.half_width) && close(doubled.p_value.ln(), reading.p_value.ln()));
    }

    #[test]
    fn an_urn_turned_around_tells_the_same(arms in prop::collection::vec(any::<bool>(), 0..60), a in 60u64..HUGE, b in 60u64..HUGE, tau in 0.01..3.0f64) {
        for planned in [false, true] {
            let start = if planned { UrnProcess::planned } else { UrnProcess::new };
            let (mut here, mut there) = (start(a, b, tau).unwrap(), start(b, a, tau).unwrap());
            for from_b in &arms {
                here.observe(if *from_b { Arm::B } else { Arm::A }).unwrap();
                there.observe(if *from_b { Arm::A } else { Arm::B }).unwrap();
                prop_assert!(here.anytime_p_value() <= here.p_value());
            }
            prop_assert!((here.ln_e() - there.ln_e()).abs() <= 1e-9 * here.ln_e().abs().max(1.0), "{} {}", here.ln_e(), there.ln_e());
        }
    }

    #[test]
    fn plans_grow_and_undo_each_other(base in 0.001..0.6f64, lift in 0.01..0.6f64, power in 0.2..0.95f64, alpha in 0.001..0.2f64, ratio in 0.1..10.0f64) {
        let rate = base * (1.0 + lift);
        let plan = Plan::new(alpha, power, ratio).unwrap();
        let size = sample_size_two_proportions(base, rate, plan).unwrap();
        let reached = power_two_proportions(base, rate, size.n_a, size.n_b, alpha).unwrap();
        // rounding a handful up changes the split, and with it the pooled rate
        prop_assume!(size.n_a.min(size.n_b) >= 100);
        prop_assert!(reached >= power - 1e-3, "{reached} {power}");
        prop_assert!(power_two_proportions(base, rate, 2 * size.n_a, 2 * size.n_b, alpha).unwrap() >= reached);
        let smaller = sample_size_two_proportions(base, base * (1.0 + 0.5 * lift), plan).unwrap();
        prop_assert!(smaller.n_a >= size.n_a);
        let found = detectable_effect(base, size.n_a, size.n_b, alpha, power).unwrap();
        prop_assert!(found.p_b <= rate * (1.0 + 1e-3), "{found:?}");
        let mixed = dilution(base, rate, 0.3).unwrap();
        prop_assert!(mixed.inflation_mixed >= 1.0 && mixed.observed_lift <= lift * (1.0 + 1e-9), "{mixed:?}");
        let means = sample_size_means(1.0, base, plan).unwrap();
        prop_assert!(power_means(1.0, base, means.n_a, means.n_b, alpha).unwrap() >= power - 1e-3);
        prop_assert!(detectable_difference_of_means(1.0, means.n_a, means.n_b, alpha, power).unwrap() <= base * (1.0 + 1e-9));
        let roll = test_and_roll(size.n_a + 2, 1.0, lift).unwrap();
        prop_assert!(roll > 0.0 && roll <= 0.5 * (size.n_a + 2) as f64);
    }

    #[test]
    fn tails_fall_and_their_inverses_undo_them(x in -37.0..1e4f64, step in 0.0001..3.0f64, df in 0.6..1e9f64, ln_tail in -690.0..-0.0001f64) {
        prop_assert!(ln_normal_sf(x + step) < ln_normal_sf(x) || x < -5.0);
        prop_assert!(close(normal_sf(x) + normal_cdf(x), 1.0));
        prop_assert!(ln_chi_square_sf(x.abs() + step, df) <= ln_chi_square_sf(x.abs(), df) + 1e-12);
        prop_assert!(ln_student_sf(x + step, df).unwrap() <= ln_student_sf(x, df).unwrap() + 1e-12);
        check_p(two_sided_normal(x));
        check_p(two_sided_student(x, df).unwrap());
        let tail = ln_tail.exp();
        prop_assert!((normal_sf(normal_isf(tail)) / tail - 1.0).abs() < 1e-10);
        prop_assert!((ln_student_sf(student_isf(tail, df).unwrap(), df).unwrap().exp() / tail - 1.0).abs() < 1e-9);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn chances_swap_rise_and_their_intervals_nest(a in any_count(HUGE), b in any_count(HUGE), low in 0.5..0.95f64) {
        let (one, other) = (posterior(a), posterior(b));
        let (narrow, wide) = (level(low), level(0.5 + 0.5 * low));
        let chance = ln_prob_b_beats_a(one, other);
        prop_assert!(chance <= 0.0);
        prop_assert!(ln_prob_b_beats_a(one, posterior(one_more(b))) >= chance - 1e-9 * chance.abs() - 1e-12);
        let (losses, swapped) = (expected_losses(one, other), expected_losses(other, one));
        prop_assert!(close(losses.choose_a, swapped.choose_b) && close(losses.choose_b, swapped.choose_a));
        let (inner, outer) = (lift_interval(one, other, narrow).unwrap(), lift_interval(one, other, wide).unwrap());
        prop_assert!(nested(inner, outer, 1e-9 * (1.0 + inner.upper)), "{inner:?} {outer:?}");
        let back = lift_interval(other, one, narrow).unwrap();
        // a lift near −1 has lost the digits of its ratio
        let product = (1.0 + inner.lower) * (1.0 + back.upper);
        let lost = 1e-15 / (1.0 + inner.lower).min(1.0 + back.upper);
        prop_assert!((product - 1.0).abs() < 1e-8 + lost, "{inner:?} {back:?}");
    }

    #[test]
    fn chances_of_many_arms_add_up_in_any_order(arms in prop::collection::vec(any_count(HUGE), 2..5)) {
        let posteriors: Vec<Posterior> = arms.iter().copied().map(posterior).collect();
        let turned: Vec<Posterior> = posteriors.iter().rev().copied().collect();
        let (here, there) = (best_of(&posteriors).unwrap(), best_of(&turned).unwrap());
        let sum: f64 = here.iter().map(|arm| arm.chance).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        for (one, other) in here.iter().zip(there.iter().rev()) {
            prop_assert!((one.chance - other.chance).abs() < 1e-9 && close(one.expected_loss, other.expected_loss), "{one:?} {other:?}");
            prop_assert!(one.expected_loss >= 0.0 && (0.0..=1.0).contains(&one.chance));
        }
    }
}
