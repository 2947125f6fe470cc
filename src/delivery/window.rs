//! When letters may leave: a sending window, and a recipient's quiet hours.
//!
//! Cast: [`Window`] (days and hours), [`zone`] (a time zone by name or offset), [`Quiet`] (hours in which a person is left alone).
//!
//! Pure: time is an argument. It never guesses a zone: where none is known, the operator's counts.

use std::collections::BTreeMap;

use jiff::civil::{Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};

/// A time zone, by a name of the IANA data (`Europe/Berlin`) or an offset (`+02:00`).
pub fn zone(text: &str) -> Option<TimeZone> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    offset(text).map(TimeZone::fixed).or_else(|| TimeZone::get(text).ok())
}

fn offset(text: &str) -> Option<Offset> {
    let text = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")).unwrap_or(text);
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':').unwrap_or((text.get(1..)?, "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Hours of some days of the week; hours that end before they begin go on past midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Window {
    /// Reads `08:00-18:00`, `Mon-Fri 08:00-18:00` or `Tue 09:00-12:00`.
    ///
    /// # Errors
    /// What is wrong, with an example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no window; write 08:00-18:00 or Mon-Fri 08:00-18:00");
        let (days, hours) = text.trim().rsplit_once(' ').unwrap_or(("", text.trim()));
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let time = |text: &str| {
            // To midnight is to the end of the day.
            let text = if text.trim() == "24:00" { "00:00" } else { text.trim() };
            Time::strptime("%H:%M", text).map_err(|_| wrong())
        };
        let window = Self { days: days_of(days).ok_or_else(wrong)?, from: time(from)?, to: time(to)? };
        // Only "00:00-24:00" is the same hour twice and yet a whole day.
        let is_whole_day = hours.split_once('-').is_some_and(|(from, to)| to.trim() == "24:00" && from.trim() != "24:00");
        if window.from == window.to && !is_whole_day { Err(format!("{text:?} begins when it ends")) } else { Ok(window) }
    }

    /// Whether it is open.
    pub fn contains(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let local = now.to_zoned(zone.clone());
        let (time, today) = (local.time(), local.weekday());
        if self.from < self.to {
            return self.days.contains(&today) && self.from <= time && time < self.to;
        }
        // Past midnight the day it began on counts.
        (self.days.contains(&today) && time >= self.from) || (self.days.contains(&today.previous()) && time < self.to)
    }

    /// `now` while it is open; otherwise when it opens next.
    pub fn opens(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        if self.contains(now, zone) { now } else { next(now, zone, self.from, |moment| self.contains(moment, zone)).unwrap_or(now) }
    }

    /// `now` while it is closed; otherwise when it closes. One that never closes is looked at again at the end of the day.
    pub fn closes(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        if !self.contains(now, zone) {
            return now;
        }
        let closed = next(now, zone, self.to, |moment| !self.contains(moment, zone));
        closed.or_else(|| next(now, zone, self.to, |_| true)).unwrap_or(now)
    }
}

/// The first moment after `now` at this time of day for which `good` says yes, within a week.
fn next(now: Timestamp, zone: &TimeZone, time: Time, good: impl Fn(Timestamp) -> bool) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    (0..=8)
        .filter_map(|days| today.checked_add(Span::new().days(days)).ok())
        .map(|date| date.to_datetime(time))
        // Where clocks go back, a time of day comes twice.
        .flat_map(|local| [zone.to_ambiguous_timestamp(local).compatible(), zone.to_ambiguous_timestamp(local).later()])
        .filter_map(Result::ok)
        .find(|moment| *moment > now && good(*moment))
}

fn days_of(text: &str) -> Option<Vec<Weekday>> {
    let day = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        DAYS.iter().position(|(name, _)| text == *name)
    };
    let (first, last) = match text.trim() {
        "" => (0, 6),
        text => match text.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(text)?, day(text)?),
        },
    };
    // Sat-Mon goes on past Sunday.
    let length = (last + 7 - first) % 7;
    Some((0..=length).filter_map(|step| DAYS.get((first + step) % 7).map(|(_, day)| *day)).collect())
}

/// Hours in which a person is left alone.
#[derive(Debug, Clone)]
pub struct Quiet {
    hours: Window,
    attribute: String,
    otherwise: TimeZone,
}

impl Quiet {
    /// `attribute` names the merge field with a person's zone; without a zone that is known, `otherwise` counts.
    pub fn new(hours: Window, attribute: &str, otherwise: TimeZone) -> Self {
        Self { hours, attribute: attribute.to_owned(), otherwise }
    }

    /// Until when this person is left alone, if now.
    pub fn until(&self, attributes: &BTreeMap<String, String>, now: Timestamp) -> Option<Timestamp> {
        let own = attributes.get(&self.attribute).and_then(|text| zone(text));
        let end = self.hours.closes(now, own.as_ref().unwrap_or(&self.otherwise));
        (end > now).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_open_and_close_in_their_own_zone() {
        // 2026-11-22 is a Sunday.
        let cases = [
            ("08:00-18:00", "UTC", "2026-11-22T12:00:00Z", true, "2026-11-22T12:00:00Z"),
            ("08:00-18:00", "UTC", "2026-11-22T18:00:00Z", false, "2026-11-23T08:00:00Z"),
            ("08:00-18:00", "+05:30", "2026-11-22T12:29:59Z", true, "2026-11-22T12:29:59Z"),
            ("08:00-18:00", "Europe/Berlin", "2026-11-22T06:00:00Z", false, "2026-11-22T07:00:00Z"),
            ("Mon-Fri 08:00-18:00", "UTC", "2026-11-22T12:00:00Z", false, "2026-11-23T08:00:00Z"),
            ("Sat-Mon 08:00-18:00", "UTC", "2026-11-22T12:00:00Z", true, "2026-11-22T12:00:00Z"),
            ("22:00-06:00", "UTC", "2026-11-22T23:00:00Z", true, "2026-11-22T23:00:00Z"),
            ("Sat 22:00-06:00", "UTC", "2026-11-22T05:59:00Z", true, "2026-11-22T05:59:00Z"),
            ("Sat 22:00-06:00", "UTC", "2026-11-22T06:00:00Z", false, "2026-11-28T22:00:00Z"),
            ("Sun 12:00-24:00", "UTC", "2026-11-22T23:59:00Z", true, "2026-11-22T23:59:00Z"),
            ("Sat-Sun 00:00-24:00", "UTC", "2026-11-22T23:59:00Z", true, "2026-11-22T23:59:00Z"),
            ("Sat-Sun 00:00-24:00", "UTC", "2026-11-23T00:00:00Z", false, "2026-11-28T00:00:00Z"),
        ];
        for (text, place, now, open, opens) in cases {
            let window = Window::parse(text).unwrap();
            let zone = zone(place).unwrap();
            assert_eq!((window.contains(at(now), &zone), window.opens(at(now), &zone)), (open, at(opens)), "{text} {place} {now}");
        }
    }

    #[test]
    fn quiet_hours_end_in_the_person_s_own_morning() {
        let quiet = Quiet::new(Window::parse("21:00-08:00").unwrap(), "time_zone", TimeZone::UTC);
        let in_zone = |zone: &str| BTreeMap::from([("time_zone".to_owned(), zone.to_owned())]);
        let now = at("2026-11-22T20:30:00Z");
        assert_eq!(quiet.until(&in_zone("Europe/Berlin"), now), Some(at("2026-11-23T07:00:00Z")));
        assert_eq!(quiet.until(&in_zone("America/New_York"), now), None);
        assert_eq!(quiet.until(&in_zone("nowhere"), now), None, "the operator's zone: UTC, half past eight");
        assert_eq!(quiet.until(&BTreeMap::new(), at("2026-11-22T21:00:00Z")), Some(at("2026-11-23T08:00:00Z")));
    }

    #[test]
    fn a_change_of_clocks_moves_no_local_hour() {
        let window = Window::parse("08:00-18:00").unwrap();
        let berlin = zone("Europe/Berlin").unwrap();
        assert_eq!(window.opens(at("2026-10-24T20:00:00Z"), &berlin), at("2026-10-25T07:00:00Z"), "winter begins in that night");
        assert_eq!(window.opens(at("2026-03-28T20:00:00Z"), &berlin), at("2026-03-29T06:00:00Z"), "summer begins in that night");
    }

    #[test]
    fn whole_days_close_at_midnight_and_a_whole_week_is_looked_at_again_then() {
        for (text, closes) in [("Sat-Sun 00:00-24:00", "2026-11-23T00:00:00Z"), ("00:00-24:00", "2026-11-22T00:00:00Z")] {
            assert_eq!(Window::parse(text).unwrap().closes(at("2026-11-21T12:00:00Z"), &TimeZone::UTC), at(closes), "{text}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_begins_and_ends_windows_twice() {
        let berlin = zone("Europe/Berlin").unwrap();
        // 02:00 to 03:00 is once from 00:00Z and again from 01:00Z.
        let ending = Window::parse("20:00-02:30").unwrap();
        assert_eq!(ending.closes(at("2026-10-25T00:10:00Z"), &berlin), at("2026-10-25T00:30:00Z"));
        assert_eq!(ending.closes(at("2026-10-25T01:10:00Z"), &berlin), at("2026-10-25T01:30:00Z"), "not a day later");
        let beginning = Window::parse("02:30-04:00").unwrap();
        assert_eq!(beginning.opens(at("2026-10-25T01:10:00Z"), &berlin), at("2026-10-25T01:30:00Z"));
    }

    #[test]
    fn what_is_no_window_is_said_so() {
        for wrong in ["", "8-18", "25:00-26:00", "Mon-Fri", "Mun 08:00-18:00", "08:00-08:00", "00:00-00:00", "24:00-24:00"] {
            assert!(Window::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "+25:00", "Europe/Nowhere", "+1:99"] {
            assert!(zone(wrong).is_none(), "{wrong}");
        }
    }
}
