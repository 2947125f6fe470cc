//! Purpose: a running installation for tests that come from outside: by HTTP, by mail, by browser.
//!
//! Cast: [`Installation`] (databases, service and address of one), [`wait_until`] (a condition with a deadline).
//!
//! Never: a fixed port, a server that outlives its test, or waiting for time instead of for something.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use letterlab::app::campaigns;
use letterlab::app::clock::Clock;
use letterlab::app::config;
use letterlab::app::lab::Lab;
use letterlab::cli::service::{Listeners, Service};
use letterlab::report::page::ResultPage;
use tempfile::TempDir;

use crate::servers::postgres::Databases;
use crate::world::Engine;

/// What a test may wait for at most.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The domain returned mail comes to.
pub const BOUNCE_DOMAIN: &str = "bounces.news.test";

/// A running installation; ends with this value.
pub struct Installation {
    /// Everything inside.
    pub lab: Lab,
    /// `http://127.0.0.1:…`
    pub base: String,
    service: Option<Service>,
    // Dropped last: the databases after everything that uses them.
    _databases: Option<Databases>,
    folder: TempDir,
}

impl Installation {
    /// Starts one that hands its letters to `relay` and takes returned mail on `bounces`.
    pub fn start(engine: Engine, relay: SocketAddr, bounces: Option<TcpListener>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let web = TcpListener::bind("127.0.0.1:0")?;
        let base = format!("http://{}", web.local_addr()?);
        let mut settings = config::load(None, std::iter::empty())?;
        let databases = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Databases::create()?),
        };
        let inside = |name: &str| folder.path().join(name);
        (settings.database.vault, settings.database.ledger) = match &databases {
            None => (format!("sqlite:{}", inside("vault.db").display()), format!("sqlite:{}", inside("ledger.db").display())),
            Some(pair) => (pair.vault_url()?, pair.ledger_url()?),
        };
        settings.files.keys = inside("keys.toml");
        settings.files.returned_mail = inside("returned-mail");
        settings.files.spool = inside("spool");
        settings.web.base_url = base.clone();
        settings.bounce.domain = BOUNCE_DOMAIN.to_owned();
        settings.relay.host = relay.ip().to_string();
        settings.relay.port = Some(relay.port());
        settings.relay.hello_name = Some("news.test".to_owned());
        let (lab, writers) = Lab::open(settings, Clock::wall())?;
        let service = Service::start(lab.clone(), writers, Listeners { web, bounces })?;
        Ok(Self { lab, base, service: Some(service), _databases: databases, folder })
    }

    /// The installation's own folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A campaign's result as it stands.
    pub fn results(&self, name: &str) -> Result<ResultPage> {
        Ok(campaigns::results(&self.lab, &campaigns::find(&self.lab, name)?)?)
    }

    /// Stops everything and checks that all was accounted for.
    pub fn finish(mut self) -> Result<()> {
        let service = self.service.take().context("stopped once")?;
        let lab = self.lab.clone();
        let status = letterlab::app::status::status(&lab)?;
        let Self { lab: ours, base: _, service: _, _databases: databases, folder } = self;
        drop((lab, ours));
        service.stop()?;
        drop((databases, folder));
        for law in status.laws {
            if !law.holds {
                bail!("{}: {}", law.name, law.numbers);
            }
        }
        Ok(())
    }
}

/// Looks again and again until `look` answers something, and fails with `what` when it takes too long.
pub async fn wait_until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > DEADLINE {
            bail!("{what} did not happen within {} seconds", DEADLINE.as_secs());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
