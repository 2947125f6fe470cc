//! `letterlab demo`: a whole newsletter test on this machine, with nothing set up.
//!
//! Cast: [`Demo`] (what may be chosen), the steps of [`run`] in their order, [`Stage`] (everything that runs meanwhile).
//!
//! Everything inside is real: the import, the letters over SMTP, the pixels and links loaded from received mail over HTTP, the
//! returned mail. Only the people and the receiver are made up, and time: the clock is moved ahead instead of waiting for days.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{MultiProgress, ProgressBar};
use jiff::SignedDuration;
use tokio::sync::oneshot;

use crate::app::accounts;
use crate::app::campaigns::{self, Progress};
use crate::app::clock::{self, Clock};
use crate::app::config::{self, Config, LogFormat};
use crate::app::domain::keys;
use crate::app::lab::Lab;
use crate::app::people::import_file;
use crate::app::{jobs, status};
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::cli::service::{Listeners, Service, bind};
use crate::delivery::smtp::{RelaySettings, Security, Timeouts};
use crate::demo as world;
use crate::report::export;
use crate::report::wording::{counted, percent};
use crate::vault::account::Role;
use crate::vault::import::ImportOptions;

/// The usual port; any other when it is taken, because a demonstration should never fail for that.
const USUAL_ADDRESS: &str = "127.0.0.1:8025";
/// The sender's domain.
const DOMAIN: &str = "letterlab.example";
const CONTROL: &str = "What changed this autumn";
const VARIANT: &str = "Three changes, two minutes";
/// Chance that a person opens a letter with the control's subject, and clicks once it is open.
const TRUE_OPEN: f64 = 0.32;
const TRUE_CLICK: f64 = 0.30;
/// A demonstration that stands still for so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// See a whole newsletter test happen on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// How many made-up people, 100 to 1,000,000
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    people: u64,
    /// How much better variant B really is, relative: 0.1 means 10 % more people open; 0 means no difference
    #[arg(long, default_value_t = 0.1, value_parser = lift, allow_negative_numbers = true)]
    lift: f64,
    /// Decides who does what: the same seed shows the same test
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// Keep the first hundred letters as they arrived in this folder, with the DNS records that verify their signatures
    #[arg(long, value_name = "FOLDER")]
    mail: Option<PathBuf>,
    /// End after the result is printed instead of serving the pages until Ctrl-C
    #[arg(long)]
    exit: bool,
}

fn lift(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(lift) if (-0.9..=2.0).contains(&lift) => Ok(lift),
        _ => Err("write a number from -0.9 to 2, such as 0.1".to_owned()),
    }
}

/// Everything that runs while the demonstration lasts.
struct Stage {
    lab: Lab,
    service: Service,
    readers: JoinHandle<anyhow::Result<world::Simulated>>,
    all_sent: oneshot::Sender<()>,
    seen: Arc<Mutex<world::Progress>>,
}

pub(super) fn run(command: &Demo) -> anyhow::Result<ExitCode> {
    super::log_to_stderr(LogFormat::Text, "error")?;
    let scratch = tempfile::Builder::new().prefix("letterlab-demo-").tempdir().context("no scratch folder can be made")?;
    println!("Letterlab demo: {} made-up people, seed {}, everything in {}\n", command.people, command.seed, scratch.path().display());

    let stage = set_up(command, scratch.path())?;
    wait_for_the_pages(&stage.lab)?;
    clock::seed_chance(command.seed);
    let password = create_account(&stage.lab)?;
    import_people(command, &stage.lab, scratch.path())?;
    let campaign = launch(&stage.lab)?;
    watch_it_being_sent(&stage, campaign.number.0, command.people)?;
    let (lab, service, simulated) = let_readers_finish(stage)?;
    settle(&lab)?;

    // The plan looks once, three days after the last letter; nobody wants to wait for that here.
    lab.clock.advance(SignedDuration::from_hours(i64::from(campaign.definition.design.observe_hours)));
    jobs::tidy(&lab)?;
    let campaign = campaigns::by_number(&lab, campaign.number)?;
    print_result(&lab, &campaign, &simulated, command)?;
    print_addresses(&lab, &campaign, &password);
    if !command.exit {
        println!("\nPress Ctrl-C to end; the scratch folder is then removed.");
        super::ending::Signals::listen()?.for_the_end()?.wait(&service);
    }
    drop(lab);
    service.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn set_up(command: &Demo, scratch: &Path) -> anyhow::Result<Stage> {
    let web = TcpListener::bind(USUAL_ADDRESS).or_else(|_| TcpListener::bind("127.0.0.1:0")).context("no port is free")?;
    let receiver = bind("127.0.0.1:0", "demo")?;
    let bounces = bind("127.0.0.1:0", "demo")?;
    let base_url = format!("http://{}", web.local_addr()?);
    let bounces_to = bounces.local_addr()?;
    let mut settings = settings(scratch, &base_url, receiver.local_addr()?.port())?;
    sign_letters(&mut settings, command.mail.as_deref())?;
    let (lab, writers) = super::open(settings, Clock::wall())?;
    let service = Service::start(lab.clone(), writers, Listeners { web, bounces: Some(bounces) })?;
    let world = world::Settings {
        seed: command.seed,
        truth: truth(command.lift),
        tracking: base_url,
        bounces_to,
        requests_max: 64,
        patience: Duration::from_millis(500),
        keep: command.mail.clone(),
    };
    let seen = Arc::new(Mutex::new(world::Progress::default()));
    let (all_sent, sent) = oneshot::channel();
    let note = seen.clone();
    let readers = std::thread::Builder::new().name("readers".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async move {
            receiver.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(receiver)?;
            let progress = move |progress| *note.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            // Dropping the sender ends the demonstration too.
            let stop = async move { drop(sent.await) };
            Ok(world::run(listener, world, progress, stop).await?)
        })
    })?;
    Ok(Stage { lab, service, readers, all_sent, seen })
}

/// The pages draw keys when they start: only after that may chance be seeded, or who draws first would decide who gets which arm.
fn wait_for_the_pages(lab: &Lab) -> anyhow::Result<()> {
    let address = lab.config.web.base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).context("the pages do not answer")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("the pages do not answer")?;
    Ok(())
}

fn truth(lift: f64) -> world::Truth {
    let variant = |subject: &str, open_lift| world::VariantTruth { subject: subject.to_owned(), open_lift, click_lift: 0.0 };
    world::Truth { open: TRUE_OPEN, click: TRUE_CLICK, variants: vec![variant(CONTROL, 0.0), variant(VARIANT, lift)] }
}

fn settings(scratch: &Path, base_url: &str, relay_port: u16) -> anyhow::Result<Config> {
    let mut settings = config::load(None, std::iter::empty())?;
    let inside = |name: &str| scratch.join(name);
    settings.web.base_url = base_url.to_owned();
    settings.database.vault = format!("sqlite:{}", inside("vault.db").display());
    settings.database.ledger = format!("sqlite:{}", inside("ledger.db").display());
    settings.files.keys = inside("keys.toml");
    settings.files.returned_mail = inside("returned-mail");
    settings.domain.key_folder = inside("dkim");
    settings.files.spool = inside("spool");
    settings.bounce.domain = format!("bounces.{DOMAIN}");
    settings.relay = RelaySettings {
        host: "127.0.0.1".to_owned(),
        port: Some(relay_port),
        security: Security::None,
        credentials: None,
        hello_name: Some(DOMAIN.to_owned()),
        root_certificates: None,
        timeouts: Timeouts::default(),
        messages_per_connection: 1000,
        minutes_per_connection: 5,
    };
    Ok(settings)
}

/// The demonstration's letters are signed like any; the public keys stand beside the letters that are kept, as no DNS knows them.
fn sign_letters(settings: &mut Config, mail: Option<&Path>) -> anyhow::Result<()> {
    let made = keys::make(&settings.domain.key_folder, DOMAIN, "demo", clock::fresh_key).context("no keys can be made")?;
    settings.domain.dkim = made.iter().map(|key| key.entry.clone()).collect();
    if let Some(folder) = mail {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let records: String = made.iter().map(|key| format!("{}\n", key.record.zone_line())).collect();
        std::fs::write(folder.join("dns.txt"), records).with_context(|| format!("{} cannot be written to", folder.display()))?;
    }
    Ok(())
}

fn create_account(lab: &Lab) -> anyhow::Result<String> {
    let password: String = data_encoding::HEXLOWER.encode(&clock::fresh()[..6]);
    accounts::create(lab, "demo", Role::Administrator, &password)?;
    Ok(password)
}

fn import_people(command: &Demo, lab: &Lab, scratch: &Path) -> anyhow::Result<()> {
    let file = scratch.join("people.csv");
    world::people::write(BufWriter::new(File::create(&file)?), command.people, command.seed, "readers")
        .context("people cannot be made up")?;
    let bar = super::import::bar("importing");
    let options = ImportOptions { list: "readers".to_owned(), stated: None };
    let report = import_file(
        lab,
        &file,
        &options,
        &mut |progress| {
            bar.set_length(progress.of_lines);
            bar.set_position(progress.lines);
            ControlFlow::Continue(())
        },
        &mut |_| {},
    )?;
    bar.finish_and_clear();
    println!("  imported     {} ({} refused)", counted(report.added, "person", "people"), report.refused);
    Ok(())
}

fn launch(lab: &Lab) -> anyhow::Result<Campaign> {
    let text = include_str!("demo.toml").replace("{control}", CONTROL).replace("{variant}", VARIANT);
    let number = campaigns::draft(lab, &text, &|_| Err("the demonstration has no files".to_owned())).map_err(|error| match error {
        campaigns::CampaignError::Problems(problems) => {
            anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        other => other.into(),
    })?;
    campaigns::launch(lab, &campaigns::by_number(lab, number)?, &mut |_, _| {})?;
    let campaign = campaigns::by_number(lab, number)?;
    let hash = campaign.sealed.as_ref().map(|sealed| sealed.hash.as_str()).unwrap_or_default();
    println!("  sealed       the plan, with {}", hash.get(..16).unwrap_or_default());
    println!("  variants     A {CONTROL:?}\n               B {VARIANT:?}");
    Ok(campaign)
}

/// Shows letters, readers and returns until every letter of the test is out. Postponed ones would come back in minutes: once only
/// they are left, the clock is moved ahead.
fn watch_it_being_sent(stage: &Stage, number: u32, people: u64) -> anyhow::Result<()> {
    let bars = MultiProgress::new();
    let sending = bars.add(super::import::bar("sending"));
    let reading = bars.add(super::import::bar("reading"));
    let mut still = Still::new();
    loop {
        let campaign = campaigns::by_number(&stage.lab, crate::ids::CampaignNumber(number))?;
        let progress = campaigns::progress(&stage.lab, &campaign)?;
        let seen = *stage.seen.lock().unwrap_or_else(PoisonError::into_inner);
        show(&sending, &reading, &progress, seen, people);
        if let Some(reason) = &campaign.paused {
            bail!("the campaign paused: {reason}");
        }
        if campaign.state >= State::Observing {
            break;
        }
        let mailings = progress.mailings;
        still.check((mailings.accepted, mailings.refused, mailings.queued, mailings.in_hand))?;
        if mailings.in_hand == 0 && mailings.queued > 0 && still.rounds > 8 {
            stage.lab.clock.advance(SignedDuration::from_mins(2));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    sending.finish_and_clear();
    reading.finish_and_clear();
    Ok(())
}

fn show(sending: &ProgressBar, reading: &ProgressBar, progress: &Progress, seen: world::Progress, people: u64) {
    let all = progress.mailings.enrolled.max(1).min(people);
    sending.set_length(all);
    sending.set_position(all.saturating_sub(progress.mailings.waiting()));
    reading.set_length(seen.received.max(1));
    reading.set_position(seen.read);
}

/// Notices that nothing moves any more.
struct Still {
    last: (u64, u64, u64, u64),
    rounds: u32,
    since: std::time::Instant,
}

impl Still {
    fn new() -> Self {
        Self { last: (0, 0, 0, 0), rounds: 0, since: std::time::Instant::now() }
    }

    fn check(&mut self, now: (u64, u64, u64, u64)) -> anyhow::Result<()> {
        if now == self.last {
            self.rounds += 1;
        } else {
            *self = Self { last: now, ..Self::new() };
        }
        if self.since.elapsed() > PATIENCE {
            bail!("nothing has moved for {} seconds: accepted, refused, queued, in hand = {now:?}", PATIENCE.as_secs());
        }
        Ok(())
    }
}

fn let_readers_finish(stage: Stage) -> anyhow::Result<(Lab, Service, world::Simulated)> {
    let Stage { lab, service, readers, all_sent, seen } = stage;
    let _ = all_sent.send(());
    let bar = super::import::bar("reading");
    while !readers.is_finished() {
        let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        bar.set_length(seen.received.max(1));
        bar.set_position(seen.read);
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
    let simulated = readers.join().map_err(|_| anyhow::anyhow!("the readers ended unexpectedly"))??;
    let all = all_counts(&simulated);
    println!(
        "  received     {} letters; {} were refused, {} postponed and accepted later, {} came back",
        all.delivered, simulated.refused, simulated.postponed, simulated.returned
    );
    println!(
        "  readers      {} people opened, {} clicked, {} unsubscribed; machines touched {} letters",
        all.opened,
        all.clicked,
        all.unsubscribed,
        all.machine_opened + all.machine_clicked
    );
    if all.requests_failed + simulated.returns_failed + simulated.unreadable > 0 {
        bail!(
            "{} requests, {} returned letters and {} received letters failed",
            all.requests_failed,
            simulated.returns_failed,
            simulated.unreadable
        );
    }
    Ok((lab, service, simulated))
}

fn all_counts(simulated: &world::Simulated) -> world::Counts {
    let mut all = simulated.others;
    for counts in &simulated.variants {
        all.delivered += counts.delivered;
        all.opened += counts.opened;
        all.clicked += counts.clicked;
        all.unsubscribed += counts.unsubscribed;
        all.machine_opened += counts.machine_opened;
        all.machine_clicked += counts.machine_clicked;
        all.requests_failed += counts.requests_failed;
    }
    all
}

/// Waits until every outcome and hit is counted.
fn settle(lab: &Lab) -> anyhow::Result<()> {
    let mut still = Still::new();
    loop {
        jobs::tidy(lab)?;
        let status = status::status(lab)?;
        if status.uncounted == 0 && status.unrelayed == 0 && status.hits_waiting == 0 {
            return Ok(());
        }
        still.check((status.uncounted.unsigned_abs(), status.unrelayed as u64, status.hits_waiting, 0))?;
    }
}

fn print_result(lab: &Lab, campaign: &Campaign, simulated: &world::Simulated, command: &Demo) -> anyhow::Result<()> {
    let page = campaigns::results(lab, campaign)?;
    println!("\n{}", export::table(&page));
    println!("  The truth that was simulated, beside the estimate:");
    println!("    {:<3} {:>14} {:>26} {:>22}", "", "true open rate", "people who opened, counted", "estimated open rate");
    for ((letter, lift), (counts, arm)) in [('A', 0.0), ('B', command.lift)].into_iter().zip(simulated.variants.iter().zip(&page.arms)) {
        let true_rate = (TRUE_OPEN * (1.0 + lift)).clamp(0.0, 1.0);
        let counted = counts.opened as f64 / counts.delivered.max(1) as f64;
        let estimate = arm.successes as f64 / arm.trials.max(1) as f64;
        println!("    {letter:<3} {:>14} {:>26} {:>22}", percent(true_rate), percent(counted), percent(estimate));
    }
    println!("    People whose mail program blocks pictures open unseen, so the estimate lies below the truth in both arms alike.");
    let status = status::status(lab)?;
    println!("\n  Accounts");
    for law in &status.laws {
        println!("    {:<6} {}: {}", if law.holds { "holds" } else { "BROKEN" }, law.name, law.numbers);
    }
    if status.laws.iter().any(|law| !law.holds) {
        bail!("a law of conservation is broken; please report this with the seed {}", command.seed);
    }
    Ok(())
}

fn print_addresses(lab: &Lab, campaign: &Campaign, password: &str) {
    let base = &lab.config.web.base_url;
    println!("\n  Result page      {base}/campaigns/{}/results   (log in as demo, password {password})", campaign.number);
    println!("  Reviewer's page  {}", campaigns::share(lab, campaign, 1));
}
