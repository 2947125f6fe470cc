//! Mail programs and machines: who uses which, and how each announces itself.
//!
//! Cast: [`Profile`], one person's mail program, image setting and scanner; [`Client`]; [`Scanner`].
//!
//! User-agent strings have the shape of real ones and are written for the demonstration. Nothing here knows how hits are classified.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::chance;

/// The user agent Apple's privacy proxy sends.
pub(super) const APPLE_PREFETCH: &str = "Mozilla/5.0";
const GMAIL_PROXY: &str = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
const YAHOO_PROXY: &str = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
const OUTLOOK_DESKTOP: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; Microsoft Outlook 16.0.17928; ms-office; MSOffice 16)";

/// A mail program, by how it loads images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Gmail, in app or browser: images come through Google's proxy when the letter is opened.
    Gmail,
    /// Yahoo Mail: images come through Yahoo's proxy.
    Yahoo,
    /// Apple Mail with privacy protection: a machine loads images after delivery, the person's own opening is invisible.
    AppleMailPrivacy,
    /// Mail on an iPhone without privacy protection.
    IPhone,
    /// A mail app on Android.
    Android,
    /// Outlook for Windows.
    OutlookDesktop,
    /// Thunderbird.
    Thunderbird,
    /// A mailbox read in a desktop browser.
    Webmail,
}

/// A machine that looks into letters before people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanner {
    /// Gets every link and says who it is.
    Named,
    /// Asks with HEAD for every link, looking like a browser.
    Head,
    /// Gets pixel and every link at once, looking like a browser.
    Browser,
}

/// How letters to one person are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) client: Client,
    /// Whether the mail program shows images without being asked.
    pub(super) shows_images: bool,
    pub(super) scanner: Option<Scanner>,
    version: u32,
}

/// Mail programs by provider in percent, adding up to 100, and the share of mailboxes behind a scanner.
fn shares(domain: &str) -> (&'static [(u32, Client)], f64) {
    use Client::{Android, AppleMailPrivacy, Gmail, IPhone, OutlookDesktop, Thunderbird, Webmail, Yahoo};
    match domain.split('.').next().unwrap_or_default() {
        "gmail" => (&[(80, Gmail), (13, AppleMailPrivacy), (7, IPhone)], 0.0),
        "icloud" => (&[(85, AppleMailPrivacy), (15, IPhone)], 0.0),
        "yahoo" => (&[(85, Yahoo), (8, AppleMailPrivacy), (7, Android)], 0.0),
        "outlook" => (&[(55, Webmail), (25, OutlookDesktop), (10, Android), (10, AppleMailPrivacy)], 0.02),
        "corp" => (&[(70, OutlookDesktop), (15, Webmail), (15, IPhone)], 0.6),
        _ => (&[(30, Webmail), (20, Thunderbird), (20, Android), (15, IPhone), (15, AppleMailPrivacy)], 0.05),
    }
}

impl Profile {
    /// The profile of an address: the same for every letter.
    pub(super) fn of(seed: u64, address: &str) -> Self {
        let mut chance = chance::of(seed, address, "profile");
        let domain = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        let (clients, scanned) = shares(&domain);
        let client = pick(clients, &mut chance);
        let shows_images = match client {
            Client::OutlookDesktop => chance.random::<f64>() < 0.6,
            Client::Thunderbird => chance.random::<f64>() < 0.5,
            _ => chance.random::<f64>() < 0.95,
        };
        let is_scanned = chance.random::<f64>() < scanned;
        let scanner = match chance.random_range(0..3) {
            0 => Scanner::Named,
            1 => Scanner::Head,
            _ => Scanner::Browser,
        };
        Self { client, shows_images, scanner: is_scanned.then_some(scanner), version: chance.random_range(0..8) }
    }

    /// How the pixel is asked for when the person opens the letter; `None` when the opening is invisible.
    pub(super) fn pixel_agent(&self) -> Option<String> {
        if !self.shows_images {
            return None;
        }
        match self.client {
            Client::Gmail => Some(GMAIL_PROXY.to_owned()),
            Client::Yahoo => Some(YAHOO_PROXY.to_owned()),
            Client::AppleMailPrivacy => None,
            Client::IPhone => Some(format!("{} Mobile/15E148", self.iphone())),
            Client::Android => Some(format!(
                "Mozilla/5.0 (Linux; Android {}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{}.0.0.0 Mobile Safari/537.36",
                11 + self.version % 5,
                self.chrome()
            )),
            Client::OutlookDesktop => Some(OUTLOOK_DESKTOP.to_owned()),
            Client::Thunderbird => Some(format!(
                "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Thunderbird/{0}.{1}.0",
                128 + self.version,
                self.version % 4
            )),
            Client::Webmail => Some(self.desktop()),
        }
    }

    /// The browser a clicked link opens in.
    pub(super) fn browser_agent(&self) -> String {
        match self.client {
            Client::IPhone => format!("{} Version/17.{} Mobile/15E148 Safari/604.1", self.iphone(), self.version),
            Client::AppleMailPrivacy if self.version.is_multiple_of(2) => {
                format!("{} Version/17.{} Mobile/15E148 Safari/604.1", self.iphone(), self.version)
            }
            Client::AppleMailPrivacy => {
                format!(
                    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{} Safari/605.1.15",
                    self.version
                )
            }
            Client::Android | Client::Gmail | Client::Yahoo => {
                format!(
                    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
                    self.chrome()
                )
            }
            Client::OutlookDesktop => format!("{} Edg/{}.0.0.0", self.desktop(), self.chrome()),
            Client::Thunderbird => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0", 128 + self.version),
            Client::Webmail => self.desktop(),
        }
    }

    fn iphone(&self) -> String {
        format!("Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)", self.version)
    }

    fn desktop(&self) -> String {
        format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
            self.chrome()
        )
    }

    fn chrome(&self) -> u32 {
        138 + self.version
    }
}

impl Scanner {
    /// How the machine announces itself.
    pub(super) fn agent(self) -> &'static str {
        match self {
            Self::Named => "Barracuda Sentinel (EE)",
            Self::Head | Self::Browser => {
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
            }
        }
    }
}

fn pick(shares: &[(u32, Client)], chance: &mut ChaCha8Rng) -> Client {
    let percent = chance.random_range(0..100);
    let mut sum = 0;
    for (share, client) in shares {
        sum += share;
        if percent < sum {
            return *client;
        }
    }
    Client::Webmail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for domain in ["gmail.example", "icloud.example", "yahoo.example", "outlook.example", "corp.example", "else.example"] {
            assert_eq!(shares(domain).0.iter().map(|(share, _)| share).sum::<u32>(), 100, "{domain}");
        }
    }

    #[test]
    fn a_profile_repeats_and_fits_its_provider() {
        let profiles: Vec<Profile> = (0..2000).map(|n| Profile::of(5, &format!("p{n}@corp.example"))).collect();
        assert_eq!(profiles[7], Profile::of(5, "P7@corp.example"));
        let scanned = profiles.iter().filter(|profile| profile.scanner.is_some()).count();
        assert!((1100..1300).contains(&scanned), "{scanned}");
        assert!((0..200).all(|n| Profile::of(5, &format!("p{n}@gmail.example")).scanner.is_none()));
    }

    #[test]
    fn apple_privacy_hides_the_persons_own_opening() {
        let mut profile = Profile::of(1, "a@icloud.example");
        profile.client = Client::AppleMailPrivacy;
        profile.shows_images = true;
        assert_eq!(profile.pixel_agent(), None);
        assert!(profile.browser_agent().contains("Safari"));
    }
}
