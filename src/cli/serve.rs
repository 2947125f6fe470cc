//! `letterlab serve`: everything a running installation does, until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use anyhow::Context;

use crate::app::clock::Clock;
use crate::app::config::Config;
use crate::app::outpost::Outpost;
use crate::app::roles::Roles;
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
    let roles = command.roles;
    let listeners = Listeners {
        web: bind(&settings.web.listen, "web.listen")?,
        bounces: match settings.bounce.listen.as_str() {
            address if roles.bounce && !address.is_empty() => Some(bind(address, "bounce.listen")?),
            _ => None,
        },
    };
    let address = listeners.web.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let service = if roles.need_people() {
        let (lab, writers) = super::open(settings, Clock::wall())?;
        tracing::info!(%address, %roles, base_url = lab.config.web.base_url, vault = %lab.vault.location(), ledger = %lab.ledger.location(), "letterlab is ready");
        Service::start_roles(lab, writers, roles, listeners)?
    } else {
        let (outpost, writers) = Outpost::open(settings, Clock::wall()).context("Letterlab cannot start")?;
        tracing::info!(%address, %roles, base_url = outpost.config.web.base_url, ledger = %outpost.ledger.location(), "letterlab is ready");
        Service::start_outpost(outpost, writers, listeners.web)?
    };
    wait_for_a_signal(&service)?;
    tracing::info!("stopping: letters at hand are finished, the rest waits for the next start");
    // Asked before everything is told to stop: a part that ended by itself must look like a failure to whoever restarts services.
    let failed = service.has_failed();
    service.stop()?;
    tracing::info!("stopped");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns at SIGTERM, Ctrl-C, or when a part of the service has failed.
pub(super) fn wait_for_a_signal(service: &Service) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
        let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = look.tick() => if service.has_failed() { return Ok(()) },
            }
        }
    })
}
