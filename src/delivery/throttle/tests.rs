//! Whole days simulated: time is moved, not slept.

use jiff::tz::TimeZone;

use super::*;
use crate::delivery::window::Window;

const CAMPAIGN: CampaignNumber = CampaignNumber(1);

fn at(milliseconds: i64) -> Timestamp {
    // Midnight, so that a simulated day is one day of the limits.
    Timestamp::from_millisecond(1_764_547_200_000 + milliseconds).unwrap()
}

const DAY: i64 = 86_400_000;

/// Letters that left together: when, to which provider, how many.
struct Sent {
    at: i64,
    to: &'static str,
    letters: usize,
}

/// Everything that left.
struct Log(Vec<Sent>);

impl Log {
    /// The most letters that left within any span of so many milliseconds.
    fn most_within(&self, span: i64, provider: Option<&str>) -> usize {
        let chosen: Vec<&Sent> = self.0.iter().filter(|sent| provider.is_none_or(|wanted| wanted == sent.to)).collect();
        let (mut first, mut within, mut most) = (0, 0, 0);
        for sent in &chosen {
            within += sent.letters;
            while sent.at - chosen[first].at >= span {
                within -= chosen[first].letters;
                first += 1;
            }
            most = most.max(within);
        }
        most
    }

    fn to(&self, provider: &str) -> usize {
        self.0.iter().filter(|sent| sent.to == provider).map(|sent| sent.letters).sum()
    }

    fn all(&self) -> usize {
        self.0.iter().map(|sent| sent.letters).sum()
    }

    /// Letters of one day of the simulation.
    fn on_day(&self, day: i64) -> usize {
        self.0.iter().filter(|sent| sent.at / DAY == day).map(|sent| sent.letters).sum()
    }
}

/// What is simulated: several processes with workers that ask at uneven moments, each taking up to 50 letters of a queue that never runs
/// dry for the providers in `plenty`.
#[derive(Default)]
struct Scene {
    throttles: Throttles,
    limits: RelayLimits,
    window: Option<Window>,
    nodes: u64,
    days: i64,
}

impl Scene {
    fn play(&self, plenty: &[&'static str]) -> Log {
        let known: Vec<String> = ["google", "microsoft", "other"].map(str::to_owned).to_vec();
        let nodes = self.nodes.max(1);
        let mut processes: Vec<Throttle> = (0..nodes).map(|_| Throttle::new(self.throttles.clone(), known.clone())).collect();
        processes.iter_mut().for_each(|throttle| throttle.share(nodes));
        // What the store counts for all of them.
        let mut reserved: BTreeMap<i64, u64> = BTreeMap::new();
        let mut log = Log(Vec::new());
        // When each process asks next.
        let mut asks: Vec<i64> = (0..nodes as i64).map(|process| process * 37).collect();
        let (mut turn, end) = (0_usize, self.days.max(1) * DAY);
        loop {
            let (process, now) = asks.iter().copied().enumerate().min_by_key(|(_, asks)| *asks).unwrap();
            if now >= end {
                return log;
            }
            turn += 1;
            // As workers do: not before there may be something, not at once, and not in step.
            let jitter = [40, 0, 90, 25][turn % 4];
            if let Some(window) = &self.window
                && !window.contains(at(now), &TimeZone::UTC)
            {
                asks[process] = now + window.opens(at(now), &TimeZone::UTC).duration_since(at(now)).as_millis() as i64 + jitter;
                continue;
            }
            let next = self.ask(&mut processes[process], &mut reserved, now, plenty, &mut log);
            asks[process] = now + (next.duration_since(at(now)).as_millis() as i64).clamp(100, 500) + jitter;
        }
    }

    /// One worker's round; answers when to ask again.
    fn ask(
        &self,
        throttle: &mut Throttle,
        reserved: &mut BTreeMap<i64, u64>,
        now: i64,
        plenty: &[&'static str],
        log: &mut Log,
    ) -> Timestamp {
        let mut offer = throttle.offer("relay", &self.limits, CAMPAIGN, 50, at(now));
        let day = day_of(at(now));
        if let Some(most) = self.limits.on_day_of(at(now)).filter(|_| offer.total > 0) {
            let so_far = reserved.entry(day).or_default();
            let granted = u64::from(offer.total).min(most - *so_far);
            *so_far += granted;
            throttle.lower("relay", &self.limits, CAMPAIGN, &mut offer, granted as u32);
            if granted == 0 {
                throttle.settle("relay", &self.limits, CAMPAIGN, &offer, &BTreeMap::new());
                return tomorrow(at(now));
            }
        }
        let mut left = offer.total;
        let mut taken: BTreeMap<String, u32> = BTreeMap::new();
        // Round and round the providers that may get some.
        for (number, provider) in plenty.iter().enumerate() {
            let allowed = match &offer.providers {
                None => u32::MAX,
                Some(offered) => offered.iter().find(|(name, _)| name == provider).map_or(0, |(_, allowed)| *allowed),
            };
            let letters = allowed.min(left.div_ceil((plenty.len() - number) as u32)).min(left);
            if letters > 0 {
                left -= letters;
                taken.insert((*provider).to_owned(), letters);
                log.0.push(Sent { at: now, to: provider, letters: letters as usize });
            }
        }
        throttle.settle("relay", &self.limits, CAMPAIGN, &offer, &taken);
        if let Some(so_far) = reserved.get_mut(&day) {
            *so_far -= u64::from(left);
        }
        offer.next
    }
}

/// The limit is kept over any hour and any second (but for what a bucket saves up), and used to at least 95 %.
fn check(name: &str, log: &Log, provider: Option<&str>, per_second: f64, hours: i64) {
    let saved = (per_second * SAVED_SECONDS).max(2.0) + 2.0;
    for seconds in [1, 60, 3600, 86_400] {
        let most = log.most_within(seconds * 1000, provider);
        assert!(most as f64 <= per_second * seconds as f64 + saved, "{name}: {most} within {seconds} s");
    }
    let all = provider.map_or(log.all(), |provider| log.to(provider));
    let possible = per_second * (hours * 3600) as f64;
    assert!(all as f64 >= 0.95 * possible, "{name}: {all} of {possible}");
    assert!(all as f64 <= possible + saved, "{name}: {all} of {possible}");
}

#[test]
fn over_a_day_a_relay_s_rate_is_kept_and_hardly_undershot() {
    for rate in [0.1, 1.0, 7.5, 80.0] {
        let limits = RelayLimits { per_second: rate, ..RelayLimits::default() };
        check("relay", &Scene { limits, ..Scene::default() }.play(&["other"]), None, rate, 24);
    }
}

#[test]
fn over_a_day_a_campaign_s_rate_is_kept_and_hardly_undershot() {
    for rate in [0.1, 1.0, 7.5] {
        let throttles = Throttles { campaign_per_second: rate, ..Throttles::default() };
        check("campaign", &Scene { throttles, ..Scene::default() }.play(&["other"]), None, rate, 24);
    }
}

#[test]
fn over_a_day_providers_are_limited_apart_and_the_relay_over_all() {
    let providers = BTreeMap::from([("google".to_owned(), 2.0), ("microsoft".to_owned(), 0.5)]);
    let throttles = Throttles { campaign_per_second: 0.0, providers, by_mx: true };
    let limits = RelayLimits { per_second: 5.0, ..RelayLimits::default() };
    let log = Scene { throttles: throttles.clone(), limits, ..Scene::default() }.play(&["google", "microsoft", "other"]);
    check("relay", &log, None, 5.0, 24);
    check("microsoft", &log, Some("microsoft"), 0.5, 24);
    // Whoever is not limited takes what the others may not: no token of the relay is left.
    assert!(log.most_within(3_600_000, Some("google")) <= 7_200 + 6);
    assert!(log.to("other") > log.to("microsoft"));
    let only_limited = Scene { throttles, ..Scene::default() }.play(&["google", "microsoft"]);
    check("google", &only_limited, Some("google"), 2.0, 24);
    check("microsoft beside it", &only_limited, Some("microsoft"), 0.5, 24);
}

#[test]
fn over_a_day_several_processes_keep_one_limit_together() {
    let limits = RelayLimits { per_second: 6.0, ..RelayLimits::default() };
    let log = Scene { limits, nodes: 3, ..Scene::default() }.play(&["other"]);
    assert!(log.all() as f64 >= 0.95 * 6.0 * 86_400.0, "{}", log.all());
    for seconds in [60, 3600, 86_400] {
        assert!(log.most_within(seconds as i64 * 1000, None) <= 6 * seconds + 3 * 6, "within {seconds} s");
    }
    // Of a day's letters each process takes as many as there are, and all of them no more than that.
    let limits = RelayLimits { per_day: 10_000, ..RelayLimits::default() };
    let log = Scene { limits, nodes: 3, days: 2, ..Scene::default() }.play(&["other"]);
    assert_eq!((log.on_day(0), log.on_day(1)), (10_000, 10_000));
}

#[test]
fn each_day_of_a_warm_up_is_used_to_the_last_letter() {
    let limits = RelayLimits { warm_up_from: "2025-12-01".to_owned(), warm_up_first: 400, per_day: 1000, ..RelayLimits::default() };
    let alone = Scene { limits: limits.clone(), days: 5, ..Scene::default() }.play(&["other"]);
    assert_eq!((0..5).map(|day| alone.on_day(day)).collect::<Vec<_>>(), [400, 600, 900, 1000, 1000]);
    // With a rate beside it, which is what fills a day; and providers, whose tokens come back when the day is full.
    let limits = RelayLimits { per_second: 0.011, ..limits };
    let throttles = Throttles { campaign_per_second: 0.0, providers: BTreeMap::from([("google".to_owned(), 1.0)]), by_mx: true };
    let log = Scene { limits, throttles, days: 5, ..Scene::default() }.play(&["google"]);
    let days: Vec<usize> = (0..5).map(|day| log.on_day(day)).collect();
    assert_eq!(days[..3], [400, 600, 900]);
    assert!(days[3..].iter().all(|letters| (903..=952).contains(letters)), "0.011 a second are 950 a day: {days:?}");
}

#[test]
fn within_a_sending_window_the_rate_is_kept_and_outside_nothing_leaves() {
    let limits = RelayLimits { per_second: 4.0, ..RelayLimits::default() };
    for (hours, open) in [("08:00-18:00", 10), ("22:00-06:00", 8)] {
        let window = Window::parse(hours).unwrap();
        let log = Scene { limits: limits.clone(), window: Some(window.clone()), ..Scene::default() }.play(&["other"]);
        check(hours, &log, None, 4.0, open);
        assert!(log.0.iter().all(|sent| window.contains(at(sent.at), &TimeZone::UTC)), "{hours}");
    }
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
