//! Whole days simulated: time is moved, not slept.

use super::*;

const CAMPAIGN: CampaignNumber = CampaignNumber(1);

fn at(milliseconds: i64) -> Timestamp {
    // Midnight, so that a simulated day is one day of the limits.
    Timestamp::from_millisecond(1_764_547_200_000 + milliseconds).unwrap()
}

/// Letters that left: when, and to which provider.
struct Day {
    sent: Vec<(i64, &'static str)>,
}

impl Day {
    /// The most letters that left within any span of so many milliseconds.
    fn most_within(&self, span: i64, provider: Option<&str>) -> usize {
        let times: Vec<i64> =
            self.sent.iter().filter(|(_, to)| provider.is_none_or(|wanted| wanted == *to)).map(|(time, _)| *time).collect();
        let mut first = 0;
        times
            .iter()
            .enumerate()
            .map(|(last, time)| {
                while time - times[first] >= span {
                    first += 1;
                }
                last - first + 1
            })
            .max()
            .unwrap_or_default()
    }

    fn to(&self, provider: &str) -> usize {
        self.sent.iter().filter(|(_, to)| *to == provider).count()
    }
}

/// Several processes with workers that ask at uneven moments, each taking up to 50 letters of a queue that never runs dry for `plenty`.
fn simulate(throttles: &Throttles, limits: &RelayLimits, nodes: u64, hours: i64, plenty: &[&'static str]) -> Day {
    let known: Vec<String> = ["google", "microsoft", "other"].map(str::to_owned).to_vec();
    let mut processes: Vec<Throttle> = (0..nodes).map(|_| Throttle::new(throttles.clone(), known.clone())).collect();
    processes.iter_mut().for_each(|throttle| throttle.share(nodes));
    let mut sent = Vec::new();
    // When each process asks next.
    let mut asks: Vec<i64> = (0..nodes as i64).map(|process| process * 37).collect();
    let (mut turn, end) = (0_usize, hours * 3_600_000);
    loop {
        let (process, now) = asks.iter().copied().enumerate().min_by_key(|(_, asks)| *asks).unwrap();
        if now >= end {
            return Day { sent };
        }
        let throttle = &mut processes[process];
        let offer = throttle.offer("relay", limits, CAMPAIGN, 50, at(now));
        let mut taken: BTreeMap<String, u32> = BTreeMap::new();
        for number in 0..offer.total {
            // Round and round the providers that may get one.
            let allowed = |provider: &&&str| {
                let most = match &offer.providers {
                    None => u32::MAX,
                    Some(offered) => offered.iter().find(|(name, _)| name == **provider).map_or(0, |(_, allowed)| *allowed),
                };
                taken.get(**provider).copied().unwrap_or_default() < most
            };
            let candidates: Vec<&'static str> = plenty.iter().filter(allowed).copied().collect();
            let Some(provider) = candidates.get(number as usize % candidates.len().max(1)) else { break };
            *taken.entry((*provider).to_owned()).or_default() += 1;
            sent.push((now, *provider));
        }
        throttle.settle("relay", limits, CAMPAIGN, &offer, &taken);
        turn += 1;
        // As workers do: not before there may be something, not at once, and not in step.
        let next = offer.next.duration_since(at(now)).as_millis() as i64;
        asks[process] = now + next.clamp(100, 500) + [40, 0, 90, 25][turn % 4];
    }
}

/// The limit is kept over any hour and any second (but for what a bucket saves up), and used to at least 95 %.
fn check(name: &str, day: &Day, provider: Option<&str>, per_second: f64, hours: i64) {
    let saved = (per_second * SAVED_SECONDS).max(2.0) + 2.0;
    for seconds in [1, 60, 3600] {
        let most = day.most_within(seconds * 1000, provider);
        assert!(most as f64 <= per_second * seconds as f64 + saved, "{name}: {most} within {seconds} s");
    }
    let all = provider.map_or(day.sent.len(), |provider| day.to(provider));
    let possible = per_second * (hours * 3600) as f64;
    assert!(all as f64 >= 0.95 * possible, "{name}: {all} of {possible}");
    assert!(all as f64 <= possible + saved, "{name}: {all} of {possible}");
}

#[test]
fn over_a_day_each_rate_is_kept_and_hardly_undershot() {
    for (rate, hours) in [(0.1, 24), (1.0, 24), (7.5, 4), (80.0, 1)] {
        let limits = RelayLimits { per_second: rate, ..RelayLimits::default() };
        check("relay", &simulate(&Throttles::default(), &limits, 1, hours, &["other"]), None, rate, hours);
        let throttles = Throttles { campaign_per_second: rate, ..Throttles::default() };
        check("campaign", &simulate(&throttles, &RelayLimits::default(), 1, hours, &["other"]), None, rate, hours);
    }
}

#[test]
fn providers_are_limited_apart_and_the_relay_over_all() {
    let providers = BTreeMap::from([("google".to_owned(), 2.0), ("microsoft".to_owned(), 0.5)]);
    let throttles = Throttles { campaign_per_second: 0.0, providers };
    let limits = RelayLimits { per_second: 5.0, ..RelayLimits::default() };
    let day = simulate(&throttles, &limits, 1, 6, &["google", "microsoft", "other"]);
    check("relay", &day, None, 5.0, 6);
    // Whoever is not limited takes what the others may not: no token of the relay is left.
    check("google at most", &Day { sent: day.sent.iter().filter(|(_, to)| *to == "microsoft").copied().collect() }, None, 0.5, 6);
    assert!(day.most_within(3_600_000, Some("google")) <= 7_200 + 6);
    assert!(day.to("other") > day.to("microsoft"));
    let only_limited = simulate(&throttles, &RelayLimits::default(), 1, 6, &["google"]);
    check("google", &only_limited, None, 2.0, 6);
}

#[test]
fn several_processes_keep_one_limit_together() {
    let limits = RelayLimits { per_second: 6.0, ..RelayLimits::default() };
    let day = simulate(&Throttles::default(), &limits, 3, 6, &["other"]);
    let possible = 6.0 * 6.0 * 3600.0;
    assert!(day.sent.len() as f64 >= 0.95 * possible, "{}", day.sent.len());
    assert!(day.most_within(3_600_000, None) <= 6 * 3600 + 3 * 6);
}

#[test]
fn a_warm_up_sends_more_each_day_and_never_more_than_that() {
    let limits = RelayLimits { warm_up_from: "2025-12-01".to_owned(), warm_up_first: 500, per_day: 10_000, ..RelayLimits::default() };
    let of_day = |day: i64| limits.on_day_of(at(day * 86_400_000)).unwrap();
    assert_eq!((of_day(0), of_day(1), of_day(2), of_day(7), of_day(8)), (500, 750, 1125, 8542, 10_000));
    assert_eq!(of_day(-3), 500, "before its first day it is as on the first");
}

#[test]
fn tokens_of_letters_that_were_not_there_are_given_back() {
    let limits = RelayLimits { per_second: 1.0, ..RelayLimits::default() };
    let mut throttle = Throttle::new(Throttles::default(), Vec::new());
    for second in 0..10 {
        let offer = throttle.offer("relay", &limits, CAMPAIGN, 50, at(second * 1000));
        assert!(offer.total >= 1, "{second}");
        throttle.settle("relay", &limits, CAMPAIGN, &offer, &BTreeMap::new());
    }
    let mut offer = throttle.offer("relay", &limits, CAMPAIGN, 50, at(20_000));
    assert_eq!(offer.total, 2);
    throttle.lower("relay", &limits, CAMPAIGN, &mut offer, 1);
    assert_eq!(offer.total, 1);
    assert_eq!(throttle.offer("relay", &limits, CAMPAIGN, 50, at(20_000)).total, 1, "the other one is there again");
    let empty = throttle.offer("relay", &limits, CAMPAIGN, 50, at(20_000));
    assert_eq!((empty.total, empty.next), (0, at(21_000)));
}

#[test]
fn a_clock_set_back_neither_stops_nor_floods() {
    let limits = RelayLimits { per_second: 10.0, ..RelayLimits::default() };
    let mut throttle = Throttle::new(Throttles::default(), Vec::new());
    let mut take = |milliseconds: i64| throttle.offer("relay", &limits, CAMPAIGN, 50, at(milliseconds)).total;
    assert_eq!((take(0), take(10_000), take(5_000), take(5_500)), (1, 20, 0, 5));
}
