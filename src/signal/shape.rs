//! Shapes by which programs give themselves away that write what browsers write, and the one of Apple Mail.
//!
//! Cast: [`is_imitation`], [`ends_in_a_word`], [`is_lone_product`], [`is_apple_mail`]; all look at a user agent in lower case.
//!
//! Knows no robot by name.

use super::rules::Sign;
use super::signs::Signs;

/// What may stand alone where browsers name a system. Anything else of letters only is a product's name.
const SYSTEMS: &str = "arch aarch compatible debian fedora freebsd gentoo kubuntu linux linuxmint mageia mandriva mobile netbsd openbsd \
    opensuse raspbian slackware suse touch ubuntu unknown viera xbox";

/// Chrome's and Firefox's version of 2016. Before it, all kinds of vendors added their bare names.
const OF_OUR_TIME: u32 = 50;

/// Apple Mail without its prefetch sends a WebKit's words and names no browser behind them.
pub(super) fn is_apple_mail(text: &[u8], signs: Signs) -> bool {
    if !text.starts_with(b"mozilla/5.0 (") {
        return false;
    }
    let Some(rest) = behind(text, b"(khtml, like gecko)") else { return false };
    let mac = text.starts_with(b"mozilla/5.0 (macintosh; intel mac os x") && rest.is_empty();
    let apple_mobile = signs.has(Sign::Phone) || signs.has(Sign::Tablet);
    let mobile = rest.strip_prefix(b" mobile/").is_some_and(|build| build.iter().all(u8::is_ascii_alphanumeric));
    mac || (apple_mobile && mobile)
}

/// Marks of programs that imitate a browser. They write its name in lower case, separate what they add by semicolons (some apps do, too),
/// or put a name of their own where browsers have none.
pub(super) fn is_imitation(text: &[u8], original: &str, signs: Signs) -> bool {
    if !text.starts_with(b"mozilla/") {
        return is_word(text);
    }
    original.trim_start().starts_with("mozilla")
        || (has_semicolon_outside_comments(text) && !signs.has(Sign::InApp))
        || has_letters_in_its_version(text)
        || adds_compatible(text, signs)
        || is_compatible_within_its_engine(text)
        || (is_on_a_desk(signs) && has_a_product_among_systems(text, signs))
        || has_a_product_for_a_system(text, signs)
}

/// A computer on a desk, and nothing that people hold or watch.
fn is_on_a_desk(signs: Signs) -> bool {
    let elsewhere = [Sign::Phone, Sign::Tablet, Sign::Android, Sign::OtherBrowser];
    signs.has(Sign::Desktop) && !elsewhere.into_iter().any(|sign| signs.has(sign))
}

/// Letters only, and enough of them to be a name.
fn is_word(text: &[u8]) -> bool {
    text.len() >= 3 && text.iter().all(u8::is_ascii_alphabetic)
}

fn is_system(word: &[u8]) -> bool {
    SYSTEMS.split_ascii_whitespace().any(|system| system.as_bytes() == word)
}

/// 0 where there are no digits.
fn leading_number(text: &[u8]) -> u32 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
}

/// Chrome's version is numbers and dots; who puts a browser's string together from parts forgets the space behind it.
fn has_letters_in_its_version(text: &[u8]) -> bool {
    let Some(rest) = behind(text, b"chrome/") else { return false };
    let version = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    version > 0 && rest.get(version).is_some_and(u8::is_ascii_alphabetic)
}

/// A browser's whole string, and behind it in a comment what it is compatible with.
fn adds_compatible(text: &[u8], signs: Signs) -> bool {
    let browser = signs.has(Sign::Chrome) || signs.has(Sign::Safari) || signs.has(Sign::Firefox);
    browser && behind(text, b")").is_some_and(|rest| behind(rest, b"(compatible;").is_some())
}

/// `(KHTML, like Gecko; compatible; Name/1.0)`. A fetcher that an assistant sends because a person asked ends its name in `-User`; where
/// it says no more about itself, that is told neither way.
fn is_compatible_within_its_engine(text: &[u8]) -> bool {
    let Some(rest) = behind(text, b"like gecko; compatible") else { return false };
    let name = rest.trim_ascii_start().strip_prefix(b";").unwrap_or(rest).split(|byte| matches!(byte, b'/' | b';' | b')')).next();
    name.is_none_or(|name| !name.trim_ascii().ends_with(b"-user"))
}

/// A name without a version behind a browser's whole string. Browsers of our time that add something add a version; most that do not
/// are tools that measure pages, but some watch over a person's work.
pub(super) fn ends_in_a_word(text: &[u8], signs: Signs) -> bool {
    if !is_on_a_desk(signs) || signs.has(Sign::InApp) {
        return false;
    }
    let version = behind(text, b" chrome/").or_else(|| behind(text, b" firefox/")).unwrap_or_default();
    if leading_number(version) < OF_OUR_TIME {
        return false;
    }
    let rest = behind(text, b" safari/").or_else(|| behind(text, b" firefox/"));
    let Some(rest) = rest else { return false };
    let mut words = rest.split(|byte| *byte == b' ').skip(1);
    let (Some(word), None) = (words.next(), words.next()) else { return false };
    is_word(word) && !is_system(word) && !word.ends_with(b"browser") && !word.ends_with(b"chrome")
}

/// `(X11; Linux x86_64; Name)`: Chrome names no more there than the system and its processor.
fn has_a_product_among_systems(text: &[u8], signs: Signs) -> bool {
    let Some(rest) = text.strip_prefix(b"mozilla/5.0 (").filter(|_| signs.has(Sign::Chrome)) else { return false };
    let comment = rest.split(|byte| *byte == b')').next().unwrap_or_default();
    if ![b"x11;".as_slice(), b"windows nt", b"macintosh;"].into_iter().any(|system| comment.starts_with(system)) {
        return false;
    }
    let mut parts = comment.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    parts.any(|part| part.len() > 3 && is_word(part) && !is_system(part))
}

/// `Mozilla/5.0 (Name)` before an engine, and no system anywhere.
fn has_a_product_for_a_system(text: &[u8], signs: Signs) -> bool {
    let systems = [Sign::Platform, Sign::Phone, Sign::Tablet, Sign::Desktop, Sign::Android];
    if systems.into_iter().any(|sign| signs.has(sign)) {
        return false;
    }
    let comment = text.strip_prefix(b"mozilla/5.0 (").and_then(|rest| rest.split(|byte| *byte == b')').next());
    comment.is_some_and(|comment| is_word(comment) && !is_system(comment))
}

/// The text behind the first place where these bytes stand.
fn behind<'t>(text: &'t [u8], part: &[u8]) -> Option<&'t [u8]> {
    text.windows(part.len()).position(|window| window == part).and_then(|at| text.get(at + part.len()..))
}

/// A product's name where browsers name a system: `Mozilla/5.0 (compatible; Name/1.0)`, `Mozilla/5.0 Name`.
pub(super) fn is_lone_product(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"mozilla/5.0 ").or_else(|| text.strip_prefix(b"mozilla/4.0 ")) else { return false };
    let inside = rest.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).unwrap_or(rest);
    let said = inside.strip_prefix(b"compatible;").map(<[u8]>::trim_ascii);
    let first = said.unwrap_or(inside).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let mut parts = first.split(|byte| *byte == b'/');
    let is_name = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    let named = parts.next().is_some_and(|name| is_name(name) && name.iter().any(u8::is_ascii_alphabetic));
    named && parts.next().is_none_or(is_name) && parts.next().is_none() && (said.is_some() || !inside.contains(&b';'))
}

fn has_semicolon_outside_comments(text: &[u8]) -> bool {
    let mut depth = 0_i32;
    for byte in text {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth <= 0 => return true,
            _ => {}
        }
    }
    false
}
