//! When a letter is tried again.
//!
//! Cast: [`Cause`] (why it was not taken), [`wait`].
//!
//! Pure: chance is an argument.

use jiff::SignedDuration;

/// Why a letter was not taken this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The relay wants it later: greylisting, a busy server, a full mailbox.
    Later,
    /// The relay or the provider holds something against us, for now: more letters soon would make it worse.
    Blocked,
    /// The connection was lost before the last dot.
    Connection,
}

impl Cause {
    /// The first wait and the longest one, in seconds.
    const fn bounds(self) -> (i64, i64) {
        match self {
            Self::Later => (60, 4 * 3600),
            Self::Blocked => (3600, 8 * 3600),
            Self::Connection => (15, 3600),
        }
    }
}

/// The wait after `attempts` earlier ones: doubling up to the longest, spread by ±20 % so that letters deferred together do not come back
/// together. `chance` is from 0 to 255.
pub fn wait(cause: Cause, attempts: u32, chance: u8) -> SignedDuration {
    let (first, longest) = cause.bounds();
    let base = (first << attempts.min(12)).min(longest);
    let spread = i64::from(chance) * 40 / 255 - 20;
    SignedDuration::from_millis(base * 1000 + base * 10 * spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let later = |attempts, chance| wait(Cause::Later, attempts, chance);
        assert_eq!(later(0, 0), SignedDuration::from_secs(48));
        assert_eq!(later(0, 255), SignedDuration::from_secs(72));
        assert!(later(1, 128) > later(0, 128));
        for cause in [Cause::Later, Cause::Blocked, Cause::Connection] {
            let longest = SignedDuration::from_secs(cause.bounds().1 * 12 / 10);
            assert_eq!(wait(cause, u32::MAX, 255), longest);
            assert!((0..40).all(|attempts| wait(cause, attempts, 7) <= wait(cause, attempts + 1, 7)), "{cause:?}");
        }
    }
}
