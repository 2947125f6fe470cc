//! Readers: people who open and click with known probabilities, and machines that do so for reasons of their own.
//!
//! Cast: [`Truth`], the probabilities; [`Readers`], who act on them; [`Simulated`], what they really did, per variant.
//!
//! Which variant a letter is they learn from its subject, as people do. They never follow a redirect and never contact anything but
//! the tracking address. What a person decides depends on the seed and the address only.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use reqwest::{Client, Method, redirect};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::clients::{APPLE_PREFETCH, Client as MailClient, Profile, Scanner};
use super::letter::{self, Letter};
use super::receiver::Received;
use super::{DemoError, Progress, Settings, chance};

/// Letters being read at a time, including those whose readers have not got round to them.
const READING_MAX: usize = 50_000;
/// Share of openers who unsubscribe.
const UNSUBSCRIBE_SHARE: f64 = 0.004;
/// Share of clickers who click twice.
const DOUBLE_CLICK_SHARE: f64 = 0.08;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How often people really open and click.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Probability that a person opens a delivered letter, 0 to 1.
    pub open: f64,
    /// Probability that a person who opened clicks, 0 to 1.
    pub click: f64,
    /// The variants. The longest text found in the subject decides which one a letter is.
    pub variants: Vec<VariantTruth>,
}

/// How one variant differs from the base.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantTruth {
    /// Part of the subject, or all of it.
    pub subject: String,
    /// Relative change of the open probability: 0.2 turns 0.30 into 0.36.
    pub open_lift: f64,
    /// Relative change of the click probability.
    pub click_lift: f64,
}

impl Truth {
    fn variant(&self, subject: &str) -> Option<usize> {
        let found =
            self.variants.iter().enumerate().filter(|(_, variant)| !variant.subject.is_empty() && subject.contains(&variant.subject));
        found.max_by_key(|(_, variant)| variant.subject.len()).map(|(at, _)| at)
    }

    /// Probability of opening, and of clicking once opened, for a variant; the base for none.
    pub fn probabilities(&self, variant: Option<usize>) -> (f64, f64) {
        let (open_lift, click_lift) =
            variant.and_then(|at| self.variants.get(at)).map_or((0.0, 0.0), |variant| (variant.open_lift, variant.click_lift));
        ((self.open * (1.0 + open_lift)).clamp(0.0, 1.0), (self.click * (1.0 + click_lift)).clamp(0.0, 1.0))
    }
}

/// What was simulated for one variant, in letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Letters received.
    pub delivered: u64,
    /// Opened by a person.
    pub opened: u64,
    /// Of these, opened with images loaded from the tracker in the person's name.
    pub opened_visibly: u64,
    /// Clicked by a person.
    pub clicked: u64,
    /// Of these, clicked on a tracked link.
    pub clicked_visibly: u64,
    /// Unsubscribed with one click.
    pub unsubscribed: u64,
    /// Pixel loaded by a machine.
    pub machine_opened: u64,
    /// Links fetched by a machine.
    pub machine_clicked: u64,
    /// Requests that failed or were answered with an error.
    pub requests_failed: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.opened += other.opened;
        self.opened_visibly += other.opened_visibly;
        self.clicked += other.clicked;
        self.clicked_visibly += other.clicked_visibly;
        self.unsubscribed += other.unsubscribed;
        self.machine_opened += other.machine_opened;
        self.machine_clicked += other.machine_clicked;
        self.requests_failed += other.requests_failed;
    }
}

/// What really happened in a demonstration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simulated {
    /// Per variant, in the order of [`Truth::variants`].
    pub variants: Vec<Counts>,
    /// Letters whose subject fits no variant.
    pub others: Counts,
    /// Messages that could not be read as mail.
    pub unreadable: u64,
    /// Recipients refused at once.
    pub refused: u64,
    /// Recipients put off once.
    pub postponed: u64,
    /// Letters taken and sent back.
    pub returned: u64,
    /// Letters that should have been sent back, but the bounce listener did not take them.
    pub returns_failed: u64,
}

/// Everybody who reads.
pub struct Readers {
    shared: Arc<Shared>,
}

/// What all readers share.
struct Shared {
    http: Client,
    requests: Semaphore,
    seed: u64,
    truth: Truth,
    tracking: String,
    patience: Duration,
}

impl Readers {
    /// Fails when the tracking address is not plain HTTP: the demonstration has no certificates.
    pub fn new(settings: &Settings) -> Result<Self, DemoError> {
        let tracking = settings.tracking.trim_end_matches('/').to_owned();
        if !tracking.starts_with("http://") || tracking.len() <= "http://".len() {
            return Err(DemoError::TrackingAddress(settings.tracking.clone()));
        }
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(settings.requests_max)
            .tcp_nodelay(true)
            .build()
            .map_err(DemoError::Client)?;
        let requests = Semaphore::new(settings.requests_max.max(1));
        let shared = Shared { http, requests, seed: settings.seed, truth: settings.truth.clone(), tracking, patience: settings.patience };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reads until the channel closes and the last reader is done.
    pub async fn read_all(self, mut letters: mpsc::Receiver<Received>, progress: watch::Sender<Progress>) -> Simulated {
        let mut simulated = Simulated { variants: vec![Counts::default(); self.shared.truth.variants.len()], ..Simulated::default() };
        let mut reading = JoinSet::new();
        loop {
            tokio::select! {
                received = letters.recv(), if reading.len() < READING_MAX => match received {
                    Some(received) => { reading.spawn(read_one(self.shared.clone(), received)); }
                    None => break,
                },
                Some(read) = reading.join_next() => simulated.count(read.ok().flatten(), &progress),
            }
        }
        while let Some(read) = reading.join_next().await {
            simulated.count(read.ok().flatten(), &progress);
        }
        simulated
    }
}

impl Simulated {
    fn count(&mut self, read: Option<(Option<usize>, Counts)>, progress: &watch::Sender<Progress>) {
        match read {
            None => self.unreadable += 1,
            Some((variant, counts)) => match variant.and_then(|at| self.variants.get_mut(at)) {
                Some(sum) => sum.add(&counts),
                None => self.others.add(&counts),
            },
        }
        progress.send_modify(|progress| progress.read += 1);
    }
}

/// One letter from arrival to the last click: its variant and what was done.
async fn read_one(shared: Arc<Shared>, received: Received) -> Option<(Option<usize>, Counts)> {
    let letter = letter::read(&received.message, &shared.tracking)?;
    let address = received.recipient.clone();
    // Readers may wait long; the letter's bytes need not.
    drop(received);
    let variant = shared.truth.variant(&letter.subject);
    let profile = Profile::of(shared.seed, &address);
    let mut reader = Reader {
        shared: &shared,
        letter: &letter,
        profile: &profile,
        address: &address,
        counts: Counts { delivered: 1, ..Counts::default() },
    };
    reader.machines().await;
    reader.person(shared.truth.probabilities(variant)).await;
    Some((variant, reader.counts))
}

struct Reader<'a> {
    shared: &'a Shared,
    letter: &'a Letter,
    profile: &'a Profile,
    address: &'a str,
    counts: Counts,
}

impl Reader<'_> {
    fn draw(&self, purpose: &str) -> f64 {
        chance::of(self.shared.seed, self.address, purpose).random()
    }

    /// What machines do as soon as the letter is there.
    async fn machines(&mut self) {
        if self.profile.client == MailClient::AppleMailPrivacy && self.load_pixels(APPLE_PREFETCH).await {
            self.counts.machine_opened = 1;
        }
        let Some(scanner) = self.profile.scanner else { return };
        if scanner == Scanner::Browser && self.load_pixels(scanner.agent()).await {
            self.counts.machine_opened = 1;
        }
        let method = if scanner == Scanner::Head { Method::HEAD } else { Method::GET };
        let mut reached = false;
        for url in &self.letter.links {
            reached |= self.request(method.clone(), url, scanner.agent(), false).await;
        }
        // Machines do not know which link unsubscribes: looking at it must not.
        for url in &self.letter.unsubscribe_links {
            self.request(method.clone(), url, scanner.agent(), false).await;
        }
        self.counts.machine_clicked = u64::from(reached);
    }

    /// What the person does when she or he gets round to it.
    async fn person(&mut self, (open, click): (f64, f64)) {
        if self.draw("open") >= open {
            return;
        }
        self.wait("when opened", 1.0).await;
        self.counts.opened = 1;
        if let Some(agent) = self.profile.pixel_agent() {
            self.counts.opened_visibly = u64::from(self.load_pixels(&agent).await);
        }
        if self.draw("click") < click && self.letter.links.len() + self.letter.untracked_links > 0 {
            self.wait("when clicked", 0.1).await;
            self.counts.clicked = 1;
            self.click().await;
        }
        if self.draw("unsubscribe") < UNSUBSCRIBE_SHARE {
            self.unsubscribe().await;
        }
    }

    /// Clicks one link: the first most often, the second half as often, and so on.
    async fn click(&mut self) {
        let weights: Vec<f64> = (1..=self.letter.links.len()).map(|place| 1.0 / place as f64).collect();
        let mut point = self.draw("link") * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            point -= weight;
            point < 0.0
        });
        let letter = self.letter;
        let Some(url) = chosen.or(weights.len().checked_sub(1)).and_then(|at| letter.links.get(at)) else { return };
        let agent = self.profile.browser_agent();
        if self.request(Method::GET, url, &agent, true).await {
            self.counts.clicked_visibly = 1;
        }
        if self.draw("double click") < DOUBLE_CLICK_SHARE {
            self.request(Method::GET, url, &agent, true).await;
        }
    }

    /// RFC 8058: the mail program posts; no page is seen.
    async fn unsubscribe(&mut self) {
        let letter = self.letter;
        let Some(url) = &letter.unsubscribe else { return };
        if self.request(Method::POST, url, &self.profile.browser_agent(), false).await {
            self.counts.unsubscribed = 1;
        }
    }

    async fn load_pixels(&mut self, agent: &str) -> bool {
        let letter = self.letter;
        let mut loaded = false;
        for url in &letter.pixels {
            loaded |= self.request(Method::GET, url, agent, false).await;
        }
        loaded
    }

    /// One request; whether it was answered without error. `by_person` adds what browsers send when somebody clicks.
    async fn request(&mut self, method: Method, url: &str, agent: &str, by_person: bool) -> bool {
        // The semaphore is never closed; were it, going on without a permit would only be less polite.
        let _permit = self.shared.requests.acquire().await;
        let mut request = self.shared.http.request(method.clone(), url).header("User-Agent", agent);
        if by_person {
            request =
                request.header("Accept-Language", "en-GB,en;q=0.8").header("Accept", "text/html,*/*;q=0.8").header("Sec-Fetch-User", "?1");
        }
        if method == Method::POST {
            request = request.header("Content-Type", "application/x-www-form-urlencoded").body("List-Unsubscribe=One-Click");
        }
        let answered = match request.send().await {
            Ok(response) => {
                let status = response.status();
                // Read to the end so that the connection can be used again.
                response.bytes().await.is_ok() && (status.is_success() || status.is_redirection())
            }
            Err(error) => {
                // The URL holds a token: it stays out of the log.
                tracing::debug!(error = %error.without_url(), "a reader's request failed");
                false
            }
        };
        self.counts.requests_failed += u64::from(!answered);
        answered
    }

    async fn wait(&self, purpose: &str, share: f64) {
        let pause = self.shared.patience.mul_f64(self.draw(purpose) * share);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}
