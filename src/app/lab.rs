//! Everything put together once, and passed on: the whole of a running Letterlab.
//!
//! Cast: [`Lab`] (databases, keys, clock, tracker, letters), [`Lab::open`], [`Background`] (threads to wait for at the end).
//!
//! It has no verbs of its own: what can be done is in [`super::campaigns`], what happens by itself in [`super::jobs`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use crate::app::clock::{self, Clock};
use crate::app::config::Config;
use crate::app::keyfile;
use crate::app::outpost::{Outpost, reach};
use crate::app::recount::Checking;
use crate::app::sending::Sending;
use crate::bounce;
use crate::db::{LedgerDb, VaultDb};
use crate::delivery::dkim::DkimKeys;
use crate::delivery::journal::{self, Journal};
use crate::delivery::send::Letters;
use crate::ids::CampaignNumber;
use crate::token::Keys;
use crate::tracking::{Tracker, intake};

/// A running Letterlab. Copies share everything.
#[derive(Clone)]
pub struct Lab {
    /// The settings.
    pub config: Arc<Config>,
    /// People.
    pub vault: VaultDb,
    /// Events.
    pub ledger: LedgerDb,
    /// Signing keys; the tracker shares them.
    pub keys: Arc<Keys>,
    /// Keys that sign letters.
    pub dkim: Arc<DkimKeys>,
    /// The time.
    pub clock: Clock,
    /// Answers pixels and links.
    pub tracker: Arc<Tracker>,
    /// Makes each step of sending durable.
    pub journal: Journal,
    /// What steers the workers.
    pub sending: Arc<Sending>,
    /// Wakes background work before its time.
    pub nudge: Arc<tokio::sync::Notify>,
    /// Returned mail taken in since the start.
    pub returned: Arc<bounce::intake::Tallies>,
    /// The one place for comparing states and counts with the events.
    pub checking: Arc<Checking>,
    letters: Arc<Mutex<HashMap<CampaignNumber, Arc<Letters>>>>,
}

/// Threads that end after every copy of the [`Lab`] or [`Outpost`] is dropped.
pub struct Background {
    intake: intake::Writer,
    journal: Option<journal::Writer>,
}

impl Background {
    pub(super) const fn of_outpost(intake: intake::Writer) -> Self {
        Self { intake, journal: None }
    }

    /// Waits until everything taken is durable.
    pub fn join(self) {
        self.intake.join();
        if let Some(journal) = self.journal {
            journal.join();
        }
    }
}

impl Lab {
    /// Opens databases and key file, making them when missing, and starts the writers.
    ///
    /// # Errors
    /// Whatever keeps Letterlab from starting, with what to do.
    pub fn open(config: Config, clock: Clock) -> anyhow::Result<(Self, Background)> {
        let keys = keyfile::read_or_create(&config.files.keys, clock::fresh_key(), clock.now())?;
        let dkim = keyfile::dkim_keys(&config.domain.dkim)?;
        let sending = Arc::new(Sending::new(&config)?);
        let (outpost, intake, knows_campaigns) = Outpost::begin(Arc::new(config), clock, keys.clone(), |loader| loader)?;
        let vault = reach(&outpost.config.database.vault, knows_campaigns, VaultDb::open, VaultDb::open_later)?;
        let journal_clock = outpost.clock.clone();
        let journal = journal::start(vault.clone(), Arc::new(move || journal_clock.now()), clock::fresh_in_turn);
        let (journal, journal_writer) = journal.context("the writer of deliveries cannot be started")?;
        outpost.learn(knows_campaigns)?;
        let Outpost { config, ledger, clock, tracker } = outpost;
        let lab = Self {
            config,
            vault,
            ledger,
            keys: Arc::new(keys),
            dkim: Arc::new(dkim),
            clock,
            tracker,
            journal,
            sending,
            nudge: Arc::default(),
            returned: Arc::default(),
            checking: Arc::default(),
            letters: Arc::default(),
        };
        Ok((lab, Background { intake, journal: Some(journal_writer) }))
    }

    /// What answers pixels and links, without people.
    pub fn outpost(&self) -> Outpost {
        Outpost { config: self.config.clone(), ledger: self.ledger.clone(), clock: self.clock.clone(), tracker: self.tracker.clone() }
    }

    /// A campaign's compiled letters; compiled once per process.
    ///
    /// # Errors
    /// When the sealed letter does not compile any more, which an upgrade could cause.
    pub fn letters(&self, campaign: &crate::campaign::store::Campaign) -> anyhow::Result<Arc<Letters>> {
        if let Some(known) = self.letters.lock().unwrap_or_else(PoisonError::into_inner).get(&campaign.number) {
            return Ok(known.clone());
        }
        let mut letters = compile_letters(campaign)?;
        letters.images = super::images::inside(&self.ledger, &letters.arms)?;
        let letters = Arc::new(letters);
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).insert(campaign.number, letters.clone());
        Ok(letters)
    }

    /// The handler behind the listener for returned mail.
    pub fn bounce_listener(&self) -> bounce::intake::Listener {
        let clock = self.clock.clone();
        bounce::intake::Listener {
            vault: self.vault.clone(),
            keys: self.keys.clone(),
            domain: self.config.bounce.domain.clone(),
            kept: self.config.files.returned_mail.clone(),
            now: Arc::new(move || clock.now()),
            mint: clock::fresh,
            tallies: self.returned.clone(),
        }
    }
}

/// A campaign's letters, without the pictures inside them.
///
/// # Errors
/// What keeps a variant from being compiled.
pub fn compile_letters(campaign: &crate::campaign::store::Campaign) -> anyhow::Result<Letters> {
    let definition = &campaign.definition;
    let arms = definition.arms().map_err(|problems| {
        anyhow::anyhow!(
            "the letter of campaign {} does not compile: {}",
            definition.name,
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        )
    })?;
    Ok(Letters {
        campaign: campaign.number,
        list: definition.list.clone(),
        from_address: definition.sender.address.clone(),
        reply_to: arms.iter().map(|arm| arm.reply_to.clone()).collect(),
        images: Vec::new(),
        trap_link: definition.trap_link,
        arms: arms.into_iter().map(|arm| arm.letter).collect(),
    })
}
