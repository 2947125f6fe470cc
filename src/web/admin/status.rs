//! Whether everything is accounted for.

use actix_web::{HttpResponse, web};

use crate::app::networks::{OLD_DAYS, Table};
use crate::app::notices;
use crate::app::outpost::{Live, live};
use crate::app::recount::{CheckError, CheckStage, Checked, Stage};
use crate::app::relays::{self, Tested};
use crate::app::status::{Status, status};
use crate::report::wording::moment;
use crate::tracking::floods::MOST_A_DAY;
use crate::web::error::Fault;
use crate::web::form::PostForm;
use crate::web::session::User;
use crate::web::view::format::{count, counted};
use crate::web::view::status::{HealthRow, LawRow, StatusView};
use crate::web::view::{Badge, Fact, Section, Tone};
use crate::web::{Web, page, see_other};

/// Most differences named on the page; the API names all.
const DIFFERENCES_SHOWN: usize = 10;

/// `GET /status`
pub async fn show(web: web::Data<Web>, user: User) -> Result<HttpResponse, Fault> {
    view(&web, &user, &[]).await
}

/// `POST /status/relays` with `sender`, which may be empty.
pub async fn test_relays(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let sender = Some(form.fields.trimmed("sender")).filter(|sender| !sender.is_empty());
    let tested = relays::test(web.lab.sending.relays.all(), None, sender).await;
    view(&web, &form.user, &tested).await
}

/// `POST /status/rebuild`
pub async fn rebuild(web: web::Data<Web>, _form: PostForm) -> Result<HttpResponse, Fault> {
    web.recount.start(&web.lab).map_err(Fault::internal)?;
    Ok(see_other("/status#rebuild"))
}

/// `POST /status/rebuild/stop`
pub async fn stop_rebuild(web: web::Data<Web>, _form: PostForm) -> Result<HttpResponse, Fault> {
    web.recount.stop();
    Ok(see_other("/status#rebuild"))
}

/// `POST /status/verify`
pub async fn verify(web: web::Data<Web>, _form: PostForm) -> Result<HttpResponse, Fault> {
    match web.run(|lab| Ok::<_, Fault>(lab.checking.start(lab))).await? {
        // The page tells how far the other one is.
        Ok(()) | Err(CheckError::UnderWay) => Ok(see_other("/status#rebuild")),
        Err(error) => Err(error.into()),
    }
}

/// `POST /status/verify/stop`
pub async fn stop_verify(web: web::Data<Web>, _form: PostForm) -> Result<HttpResponse, Fault> {
    web.lab.checking.stop();
    Ok(see_other("/status#rebuild"))
}

/// How far comparing is, in words; and whether it is at work.
fn check(stage: &CheckStage) -> (String, bool) {
    match stage {
        CheckStage::Idle => (String::new(), false),
        CheckStage::Running { campaign, percent } => {
            (format!("Comparing: campaign {campaign}, {percent} % of all events looked at."), true)
        }
        CheckStage::Ended { at, campaigns } => {
            let sum = |of: fn(&Checked) -> u64| count(campaigns.iter().map(of).sum());
            let differences: Vec<&str> =
                campaigns.iter().flat_map(|checked| &checked.verified.differences).map(String::as_str).take(DIFFERENCES_SHOWN).collect();
            let words = format!(
                "Compared, {}: {} events, {} counts and {} recipients of {} campaigns; {} differences. {}",
                moment(*at),
                sum(|checked| checked.verified.events),
                sum(|checked| checked.verified.counts),
                sum(|checked| checked.verified.recipients),
                count(campaigns.len() as u64),
                sum(|checked| checked.verified.differences.len() as u64),
                differences.join("; ")
            );
            (words.trim_end().to_owned(), false)
        }
        CheckStage::Stopped { at } => (format!("Comparing was stopped, {}; nothing was changed.", moment(*at)), false),
        CheckStage::Failed { at } => (format!("Comparing broke off, {}: the log says why.", moment(*at)), false),
    }
}

/// How far it is, in words; and whether it is at work.
fn recount(stage: Stage) -> (String, bool) {
    match stage {
        Stage::Idle => (String::new(), false),
        Stage::Running { of, recipients, mended } => {
            (format!("At work: {} of {} recipients looked at, {} mended.", count(recipients), count(of), count(mended)), true)
        }
        Stage::Ended { at, rebuilt } => {
            let end = if rebuilt.is_finished { "Finished" } else { "Stopped; the next one goes on" };
            let words = format!(
                "{end}, {}: {} recipients looked at, {} mended, {} counts corrected.",
                moment(at),
                count(rebuilt.recipients),
                count(rebuilt.mended),
                count(rebuilt.corrected)
            );
            (words, false)
        }
        Stage::Failed { at } => (format!("Broke off, {}: the log says why. The next one goes on.", moment(at)), false),
    }
}

async fn view(web: &Web, user: &User, tested: &[Tested]) -> Result<HttpResponse, Fault> {
    let (status, live) = web.run(|lab| Ok::<_, anyhow::Error>((status(lab)?, live(&lab.outpost())))).await?;
    let laws: Vec<LawRow> = status.laws.iter().map(law).collect();
    let mut health = health(&status);
    health.insert(1, tracker(&live));
    let broken = laws.iter().filter(|law| !law.holds).count();
    let (summary, overall) = match broken {
        0 => ("Everything adds up.".to_owned(), Badge::new("Good", Tone::Good)),
        1 => ("One sum does not come out; see below.".to_owned(), Badge::new("Look", Tone::Stop)),
        several => (format!("{several} sums do not come out; see below."), Badge::new("Look", Tone::Stop)),
    };
    let facts = vec![
        Fact::new("Letterlab", env!("CARGO_PKG_VERSION")),
        Fact::new("People", &status.vault),
        Fact::new("Events", &status.ledger),
        Fact::new("Recipients reach it at", &web.lab.config.web.base_url),
        Fact::new("Relay", &web.lab.config.relay.host),
        Fact::new("Told when a campaign pauses by itself", &notices::to_whom(&web.lab.config.notify)),
    ];
    let as_of = moment(web.lab.clock.now());
    let step = |relay: &Tested, step: &crate::delivery::smtp::ProbeStep| (relay.relay.clone(), step.what, step.good, step.detail.clone());
    let tried = tested.iter().flat_map(|relay| relay.steps.iter().map(move |found| step(relay, found))).collect();
    let (recount, check) = (recount(web.recount.stage()), check(&web.lab.checking.stage()));
    page(&StatusView { page: user.page("Status", Section::Status), summary, overall, laws, health, tried, recount, check, facts, as_of })
}

/// What this process's tracker does now.
fn tracker(live: &Live) -> HealthRow {
    let classes: Vec<String> = crate::signal::Class::ALL
        .into_iter()
        .map(|class| {
            format!("{} {class}", count(live.judged.iter().filter(|judged| judged.class == class).map(|judged| judged.hits).sum()))
        })
        .collect();
    let milliseconds = |micros: u64| format!("{:.1} ms", micros as f64 / 1_000.0);
    let commits = match live.commits.count {
        0 => "Nothing was made durable yet.".to_owned(),
        groups => format!(
            "{} groups made durable, in {} on average, {} at most.",
            count(groups),
            milliseconds(live.commits.mean_micros()),
            milliseconds(live.commits.slowest_micros)
        ),
    };
    let (tone, word) = match live {
        Live { limited: 1.., .. } => (Tone::Warn, "guessed at"),
        Live { flooded: 1.., .. } => (Tone::Warn, "flooded"),
        _ => (Tone::Good, "well"),
    };
    let flooded = match live.flooded {
        0 => String::new(),
        many => format!(
            "{} above {} of one letter in a day, answered and not stored; ",
            counted(many, "hit", "hits"),
            count(u64::from(MOST_A_DAY))
        ),
    };
    HealthRow {
        name: "Pixels and links, this process".to_owned(),
        state: Badge::new(word, tone),
        detail: format!(
            "{:.1} requests per second; since the start {}; {flooded}{} forged tokens, {} of them turned away. {commits}",
            live.per_second,
            classes.join(", "),
            count(live.refused),
            count(live.limited)
        ),
    }
}

fn sending(status: &Status) -> String {
    let paused = status.paused.iter().map(|(name, reason)| format!("{name} is paused: {reason}."));
    let troubled = status.relays_in_trouble.iter().map(|(name, trouble)| format!("Relay {name} rests: {trouble}."));
    let all: Vec<String> = paused.chain(troubled).collect();
    if all.is_empty() { "No campaign is paused, no relay rests.".to_owned() } else { all.join(" ") }
}

fn aged(table: &Table) -> String {
    let networks = counted(table.networks as u64, "network", "networks");
    format!("{networks}, {} old.", counted(table.days.unsigned_abs(), "day", "days"))
}

fn networks(status: &Status) -> HealthRow {
    const REFRESH: &str = "Run `letterlab signal networks refresh`, then start the service again.";
    let (tone, word, detail) = match &status.networks {
        Err(error) => (Tone::Stop, "unreadable", format!("{error}. {REFRESH}")),
        Ok(None) => (Tone::Warn, "missing", format!("Without the table machines are told by their names and behaviour only. {REFRESH}")),
        Ok(Some(table)) if table.days > OLD_DAYS => (Tone::Warn, "old", format!("{} {REFRESH}", aged(table))),
        Ok(Some(table)) => (Tone::Good, "up to date", aged(table)),
    };
    HealthRow { name: "Table of networks".to_owned(), state: Badge::new(word, tone), detail }
}

fn law(law: &crate::app::status::Law) -> LawRow {
    let (name, sum) = law.name.split_once(": ").unwrap_or((&law.name, ""));
    LawRow { name: name.to_owned(), law: sum.to_owned(), numbers: law.numbers.clone(), holds: law.holds }
}

fn health(status: &Status) -> Vec<HealthRow> {
    let number = |value: i64| count(value.unsigned_abs());
    let row = |name: &str, good: bool, word: &str, detail: String| HealthRow {
        name: name.to_owned(),
        state: Badge::new(word, if good { Tone::Good } else { Tone::Warn }),
        detail,
    };
    let level = |waiting: bool| if waiting { "catching up" } else { "up to date" };
    let outcomes = if status.unrelayed >= 1000 { "1,000 or more".to_owned() } else { count(status.unrelayed as u64) };
    vec![
        row(
            "Hits",
            status.hits_shed == 0 && status.spool_works && status.spool_set_aside == 0,
            match status {
                Status { spool_works: false, .. } => "the spool cannot be written",
                Status { hits_shed: 1.., .. } => "some were shed",
                Status { spool_set_aside: 1.., .. } => "some cannot be read",
                _ => "none lost",
            },
            format!(
                "{} stored, {} with a forged token, {} answered without recording, {} shed since the start, {} on their way to the ledger, {} damaged files of the spool set aside.",
                number(status.hits_stored),
                number(status.hits_refused),
                number(status.hits_unrecorded),
                count(status.hits_shed),
                count(status.hits_waiting),
                count(status.spool_set_aside as u64)
            ),
        ),
        row(
            "Sending",
            status.paused.is_empty() && status.relays_in_trouble.is_empty(),
            if status.paused.is_empty() && status.relays_in_trouble.is_empty() { "well" } else { "look" },
            sending(status),
        ),
        row(
            "Counting",
            true,
            level(status.uncounted > 0),
            format!(
                "{} events not yet counted, {} not yet filed under their recipients.",
                number(status.uncounted),
                number(status.unfiled)
            ),
        ),
        row("Outcomes of letters", true, level(status.unrelayed > 0), format!("{outcomes} not yet noted as events.")),
        row(
            "Machines and people",
            status.letters_to_judge.0 == 0,
            level(status.letters_to_judge.0 > 0),
            format!(
                "{} letters' hits are due to be judged together, {} have hits that are not final.",
                number(status.letters_to_judge.0),
                number(status.letters_to_judge.1)
            ),
        ),
        networks(status),
    ]
}
