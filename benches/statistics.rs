//! Time for the statistics of one result page: `cargo bench --bench statistics`.
//!
//! Cast: [`Page`] (the counts of a test with eight arms), [`PARTS`] (what a page computes, with the functions the page calls), a table of
//! microseconds per part. A plain program: the figures are for a person, nothing is asserted.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use letterlab::experiment::decide::{judge, judge_guard};
use letterlab::experiment::design::{Limit, Method, Metric};
use letterlab::experiment::evenness::even;
use letterlab::experiment::plan::{self, Question};
use letterlab::experiment::watch::Watched;
use letterlab::ids::VariantNumber;
use letterlab::report::countings::counting;
use letterlab::report::counts::Way;
use letterlab::report::reading::{MaybeCount, all_equal, chances, comparisons, rate};
use letterlab::stats::{Count, Level, PValue, benjamini_hochberg, label_sequence, sample_ratio};

const ARMS: u64 = 8;
/// Points of the anytime-valid band on a page.
const MARKS: usize = 60;

struct Page {
    primary: Vec<MaybeCount>,
    secondary: Vec<MaybeCount>,
    rare: Vec<Count>,
    variants: Vec<VariantNumber>,
}

impl Page {
    /// Eight arms of `n`; their rates rise from `base` by `deviates` standard errors in all.
    fn new(n: u64, base: f64, deviates: f64) -> Self {
        let arms = |base: f64| -> Vec<Count> {
            let error = (base * (1.0 - base) / n as f64).sqrt();
            (0..ARMS)
                .map(|arm| {
                    let rate = base + deviates * error * arm as f64 / (ARMS - 1) as f64;
                    Count::new(((rate * n as f64) as u64).min(n), n).unwrap()
                })
                .collect()
        };
        let maybe = |counts: Vec<Count>| counts.into_iter().map(Ok).collect();
        Self {
            primary: maybe(arms(base)),
            secondary: maybe(arms(base / 4.0)),
            rare: arms(0.002),
            variants: (0u8..8).map(VariantNumber).collect(),
        }
    }

    fn counts(&self) -> Vec<Count> {
        self.primary.iter().flatten().copied().collect()
    }
}

type Part = (&'static str, fn(&Page));

/// Everything a page computes from counts.
const PARTS: [Part; 9] = [
    ("rates with intervals, two metrics", |page| {
        for count in page.primary.iter().chain(&page.secondary) {
            black_box(rate(count, Level::USUAL));
        }
    }),
    ("comparisons of the primary metric", |page| {
        black_box(comparisons(&page.primary, &page.variants, Level::USUAL));
    }),
    ("comparisons of a secondary metric", |page| {
        let compared = comparisons(&page.secondary, &page.variants, Level::USUAL);
        let p_values: Vec<PValue> = compared.iter().filter_map(|comparison| comparison.p_value).map(PValue::from_value).collect();
        black_box(benjamini_hochberg(&p_values));
    }),
    ("raw, standard, strict", |page| {
        for way in [Way::Raw, Way::Standard, Way::Strict] {
            black_box(counting(way, Metric::Open, &page.primary, Level::USUAL));
        }
    }),
    ("chances and losses of eight", |page| {
        black_box(chances(&page.primary));
    }),
    ("verdict, omnibus", |page| {
        black_box((judge(&page.counts(), 0.05), all_equal(&page.primary)));
    }),
    ("checks and guards", |page| {
        let sizes: Vec<u64> = page.rare.iter().map(|count| count.trials()).collect();
        let _ = black_box((sample_ratio(&sizes, &[1.0; ARMS as usize]), even(&page.rare), even(&page.counts()), even(&page.rare)));
        for limit in Limit::USUAL {
            for (variant, count) in page.variants.iter().zip(&page.rare).skip(1) {
                black_box(judge_guard(limit, *variant, page.rare[0], *count));
            }
        }
    }),
    ("power reached", |page| {
        let control = page.counts()[0];
        let question = Question {
            base: control.rate().unwrap(),
            weights: vec![u32::try_from(control.trials()).unwrap_or(u32::MAX); ARMS as usize],
            significance: 0.05,
            power: 0.8,
            method: Method::Fixed,
            loss: 0.0,
            machines: 0.0,
            prefetched: 0.0,
        };
        let letters = ARMS * control.trials();
        let _ = black_box((plan::detectable(&question, letters), plan::power(&question, letters, 0.2)));
    }),
    ("anytime-valid band", |page| {
        let counts = page.counts();
        for mark in 1..=MARKS as u64 {
            let so_far = |count: Count| count.successes() * mark / MARKS as u64;
            for variant in &counts[1..] {
                let _ = black_box(label_sequence(so_far(counts[0]), so_far(*variant), 0.5, 100.0, Level::USUAL));
            }
        }
    }),
];

/// Microseconds per call, the fastest of several rounds: what other work on the machine adds is not ours.
fn microseconds(mut call: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(150) {
        let round = Instant::now();
        call();
        best = best.min(round.elapsed());
    }
    best.as_secs_f64() * 1e6
}

fn main() {
    let pages = [
        ("10^4, 20 %", Page::new(10_000, 0.2, 4.0)),
        ("10^6, 20 %", Page::new(1_000_000, 0.2, 4.0)),
        ("10^8, 20 %", Page::new(100_000_000, 0.2, 4.0)),
        ("10^8, 0.1 %", Page::new(100_000_000, 0.001, 4.0)),
        ("10^8, 20 % far", Page::new(100_000_000, 0.2, 400.0)),
    ];
    print!("{:<36}", "microseconds, 8 arms of");
    for (name, _) in &pages {
        print!("{name:>16}");
    }
    println!();
    let mut sums = vec![0.0; pages.len()];
    for (name, part) in PARTS {
        print!("{name:<36}");
        for ((_, page), sum) in pages.iter().zip(&mut sums) {
            let time = microseconds(|| part(page));
            *sum += time;
            print!("{time:>16.1}");
        }
        println!();
    }
    print!("{:<36}", "sum");
    for sum in &sums {
        print!("{sum:>16.1}");
    }
    println!();
    let firsts: Vec<VariantNumber> = (0u8..8).map(VariantNumber).cycle().take(20_000).collect();
    let replay = microseconds(|| {
        black_box(Watched::replay(&[1_000_000; 8], &firsts, 0.18, 0.05, &[]).unwrap());
    });
    println!("\nreplay of first successes, eight arms: {:.2} microseconds each", replay / firsts.len() as f64);
}
