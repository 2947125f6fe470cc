//! Somebody is told of what happens by itself and wants a person: a campaign that pauses.
//!
//! Cast: [`Notice`], [`tell`] (by mail and to a program, as the settings want it), [`to_whom`].
//!
//! What is told stands on the campaign's page and in the log, too: a notice that cannot be given is logged and not tried again, and the
//! mail goes over the relays, which may be what is the matter; the program need not. It never names a recipient.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::app::clock;
use crate::app::config::Notify;
use crate::app::lab::Lab;
use crate::app::test_mail::refusal;
use crate::campaign::store::Campaign;
use crate::delivery::note::{Note, note};
use crate::delivery::smtp::{BeforeDot, Connection};
use crate::ids::EventId;

/// How long either way may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether the program has ended.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u128 = PATIENCE.as_millis() / LOOK.as_millis();

/// What is told, as a program gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What happened: `paused`.
    pub event: &'static str,
    /// The campaign's name.
    pub campaign: String,
    /// Why, in words.
    pub reason: String,
    /// The page to look at.
    pub page: String,
    /// The sender's address: where a notice by mail comes from.
    #[serde(skip)]
    from: String,
}

impl Notice {
    /// A campaign that was paused, and not by a person.
    pub fn paused(lab: &Lab, campaign: &Campaign, reason: &str) -> Self {
        Self {
            event: "paused",
            campaign: campaign.definition.name.clone(),
            reason: reason.to_owned(),
            page: format!("{}/campaigns/{}", lab.config.web.base_url, campaign.number),
            from: campaign.definition.sender.address.clone(),
        }
    }

    fn subject(&self) -> String {
        format!("Letterlab: campaign {} is paused", self.campaign)
    }

    fn text(&self) -> String {
        let Self { campaign, reason, page, .. } = self;
        format!(
            "Campaign {campaign} is paused: {reason}.\n\nNothing is lost: the letters that have not left wait. Look at it and resume it on\n{page}\n"
        )
    }
}

/// Who is told, in words.
pub fn to_whom(settings: &Notify) -> String {
    match (settings.mail.as_str(), settings.command.first()) {
        ("", None) => "nobody; [notify] in the settings".to_owned(),
        (mail, None) => mail.to_owned(),
        ("", Some(program)) => program.clone(),
        (mail, Some(program)) => format!("{mail}, {program}"),
    }
}

/// Tells whoever is to be told; takes half a minute at most.
pub async fn tell(lab: &Lab, notice: &Notice) {
    let (mail, program) = tokio::join!(by_mail(lab, notice), by_program(&lab.config.notify.command, notice));
    for (way, told) in [("by mail", mail), ("by the program of the settings", program)] {
        if let Err(error) = told {
            tracing::error!(event = notice.event, campaign = notice.campaign, "nobody could be told {way}: {error:#}");
        }
    }
}

async fn by_mail(lab: &Lab, notice: &Notice) -> anyhow::Result<()> {
    let to = lab.config.notify.mail.as_str();
    if to.is_empty() {
        return Ok(());
    }
    let now = lab.clock.now();
    let domain = notice.from.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let id = format!("{}@{domain}", EventId::from_bytes(clock::fresh()));
    let (subject, text) = (notice.subject(), notice.text());
    let message = note(&Note { from: &notice.from, to, subject: &subject, text: &text, date: now, id: &id })?;
    let signed = lab.dkim.sign(&domain, message, now)?;
    let relay = lab.sending.relays.choose(&domain, now, &[]).context("no relay can be used now")?;
    let sending = async {
        let mut open = Connection::open(&relay.smtp).await?;
        let refused = refusal(open.transact(&notice.from, to, &signed, async { BeforeDot::Send }).await);
        open.quit().await;
        match refused {
            Some(why) => bail!(why),
            None => Ok(()),
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.context("the relay did not answer in time")?
}

async fn by_program(words: &[String], notice: &Notice) -> anyhow::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let line = serde_json::to_string(notice)? + "\n";
    tokio::task::spawn_blocking(move || run(command, &line)).await?
}

fn run(mut command: Command, line: &str) -> anyhow::Result<()> {
    let mut child = command.spawn().context("it does not start")?;
    if let Some(mut input) = child.stdin.take() {
        // Whoever does not care to read it is told all the same.
        let _ = input.write_all(line.as_bytes());
    }
    for _ in 0..LOOKS {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("it ended with {status}"),
            None => std::thread::sleep(LOOK),
        }
    }
    child.kill()?;
    child.wait()?;
    bail!("it did not end within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_by(script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        run(command, "{}\n").err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_program_that_fails_is_told_as_such_and_one_that_does_not_read_is_not() {
        assert_eq!(told_by("cat"), "");
        assert_eq!(told_by("exit 0"), "");
        assert_eq!(told_by("exit 3"), "it ended with exit status: 3");
        let missing = run(Command::new("/nowhere/at/all"), "{}\n").unwrap_err();
        assert!(format!("{missing:#}").starts_with("it does not start: "), "{missing:#}");
    }

    #[test]
    fn the_status_page_says_who_is_told() {
        let to = |mail: &str, command: &[&str]| {
            to_whom(&Notify { mail: mail.to_owned(), command: command.iter().map(|word| (*word).to_owned()).collect() })
        };
        assert_eq!(to("", &[]), "nobody; [notify] in the settings");
        assert_eq!(to("ops@example.org", &["/bin/tell", "me"]), "ops@example.org, /bin/tell");
        assert_eq!((to("ops@example.org", &[]).as_str(), to("", &["/bin/tell"]).as_str()), ("ops@example.org", "/bin/tell"));
    }
}
