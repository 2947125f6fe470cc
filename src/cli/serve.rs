//! `letterlab serve`: everything a running installation does, until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use anyhow::Context;

use crate::app::clock::Clock;
use crate::app::config::Config;
use crate::app::outpost::Outpost;
use crate::app::roles::Roles;
use crate::cli::ending::Signals;
use crate::cli::service::{Listeners, Service, bind};

/// Serve pages, pixels and links, send letters, take returned mail in.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Which work this process does: track (pixels and links), web (pages and API), send (letters and what is due), bounce (returned mail).
    /// `track` alone opens neither the people's database nor anything of theirs
    #[arg(long, value_name = "ROLES", default_value = "track,web,send,bounce")]
    roles: Roles,
}

pub(super) fn run(command: &Serve, settings: Config) -> anyhow::Result<ExitCode> {
    super::log_to_stderr(settings.log.format, &settings.log.filter)?;
    let signals = Signals::listen()?;
    let roles = command.roles;
    let listeners = Listeners {
        web: bind(&settings.web.listen, "web.listen")?,
        bounces: match settings.bounce.listen.as_str() {
            address if roles.bounce && !address.is_empty() => Some(bind(address, "bounce.listen")?),
            _ => None,
        },
    };
    let address = listeners.web.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let (service, end) = if roles.need_people() {
        let (lab, writers) = super::open(settings, Clock::wall())?;
        tracing::info!(%address, %roles, base_url = lab.config.web.base_url, vault = %lab.vault.location(), ledger = %lab.ledger.location(), "letterlab is ready");
        let end = signals.for_the_end()?;
        (Service::start_roles(lab, writers, roles, listeners)?, end)
    } else {
        let (outpost, writers) = Outpost::open(settings, Clock::wall()).context("Letterlab cannot start")?;
        tracing::info!(%address, %roles, base_url = outpost.config.web.base_url, ledger = %outpost.ledger.location(), "letterlab is ready");
        let end = signals.for_the_end()?;
        (Service::start_outpost(outpost, writers, listeners.web)?, end)
    };
    end.wait(&service);
    tracing::info!("stopping: letters at hand are finished, the rest waits for the next start");
    // Asked before everything is told to stop: a part that ended by itself must look like a failure to whoever restarts services.
    let failed = service.has_failed();
    service.stop()?;
    tracing::info!("stopped");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
