//! When somebody agreed or left, as a file, a form or a command says it.
//!
//! Cast: [`read_moment`], [`WrongMoment`].
//!
//! It never takes a moment to come: as a consent's it would outlast every later choice.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Clocks differ. Not for a day's difference between time zones: a consent stored with a moment ahead would outlast a choice made before it.
const CLOCKS_AHEAD_MOST: SignedDuration = SignedDuration::from_mins(10);

/// Why a text is no moment gone by. Reads on after the name of a column or an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongMoment {
    /// No date.
    #[error("is not a date; write 2026-05-31 or 2026-05-31T14:00:00Z")]
    Unreadable,
    /// A date to come.
    #[error("has a date in the future, in UTC; write the day or moment that was")]
    ToCome,
}

/// RFC 3339: a date, meaning its first moment in UTC, or a date and time; without an offset (as Mailchimp writes) in UTC.
///
/// # Errors
/// [`WrongMoment`].
pub fn read_moment(text: &str, now: Timestamp) -> Result<Timestamp, WrongMoment> {
    let in_utc = |time: civil::DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let has_time = text.get(10..11).is_some_and(|between| matches!(between, "T" | "t" | " "));
    let with_offset = text.parse::<Timestamp>().ok().filter(|_| has_time);
    let without = || match text.len() {
        10 => text.parse::<civil::Date>().ok().and_then(|date| in_utc(date.into())),
        _ if has_time => text.parse::<civil::DateTime>().ok().and_then(in_utc),
        _ => None,
    };
    let moment = with_offset.or_else(without).ok_or(WrongMoment::Unreadable)?;
    if moment.duration_since(now) > CLOCKS_AHEAD_MOST { Err(WrongMoment::ToCome) } else { Ok(moment) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_to_come_is_refused_but_for_what_clocks_differ() {
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-06-01", Ok("2026-06-01T00:00:00Z")),
            ("2026-06-02", Err(WrongMoment::ToCome)),
            ("2026-06-01 12:05:00", Ok("2026-06-01T12:05:00Z")),
            ("2026-06-01 13:30:00", Err(WrongMoment::ToCome)),
            ("2026-06-01T14:05:00+02:00", Ok("2026-06-01T12:05:00Z")),
            ("2026-06-01T12:30:00Z", Err(WrongMoment::ToCome)),
            ("2027-05-01", Err(WrongMoment::ToCome)),
            ("1.6.2026", Err(WrongMoment::Unreadable)),
            ("20260601T120000Z", Err(WrongMoment::Unreadable)),
            ("", Err(WrongMoment::Unreadable)),
        ] {
            assert_eq!(read_moment(text, now), expected.map(|moment: &str| moment.parse().unwrap()), "{text}");
        }
    }
}
