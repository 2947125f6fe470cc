//! The parts of a running server, started together and stopped together.
//!
//! Cast: [`Service`], [`Listeners`] (bound by the caller, so that a taken port is told before anything starts).
//!
//! `serve`, `demo` and the tests all run this same service; nothing here is theirs alone.

use std::net::TcpListener;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::watch;

use crate::app::jobs;
use crate::app::lab::{Background, Lab};
use crate::app::outpost::{self, Outpost};
use crate::app::roles::Roles;
use crate::smtpd;
use crate::web;

/// Sockets the service answers on.
pub struct Listeners {
    /// Pages, pixels and links.
    pub web: TcpListener,
    /// Returned mail, if wanted.
    pub bounces: Option<TcpListener>,
}

/// A running server.
pub struct Service {
    stop: watch::Sender<bool>,
    web: JoinHandle<std::io::Result<()>>,
    background: JoinHandle<anyhow::Result<()>>,
    writers: Background,
}

/// Binds an address; the message of a taken port says what to do.
///
/// # Errors
/// When the address is taken, not ours, or not an address.
pub fn bind(address: &str, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there already, perhaps another Letterlab; stop it or choose another port"
            }
            std::io::ErrorKind::PermissionDenied => "this user may not listen there; ports below 1024 need special rights",
            _ => "write it as 127.0.0.1:8025",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address} (setting {setting}): {hint}"))
    })
}

impl Service {
    /// Starts pages, background work and the listener for returned mail, each on threads of its own.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(lab: Lab, writers: Background, listeners: Listeners) -> anyhow::Result<Self> {
        Self::start_roles(lab, writers, Roles::ALL, listeners)
    }

    /// Starts what these roles ask for.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_roles(lab: Lab, writers: Background, roles: Roles, listeners: Listeners) -> anyhow::Result<Self> {
        let pages = lab.clone();
        Self::spawn(
            writers,
            move |stopping| web::serve_roles(pages, roles, listeners.web, stopping),
            move |stopping| async move {
                if let Some(listener) = listeners.bounces {
                    tokio::spawn(take_returned_mail(lab.clone(), listener, stopping.clone()));
                }
                jobs::run(lab, roles, stopping).await;
            },
        )
    }

    /// Starts a tracking node, which holds no way to people.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_outpost(outpost: Outpost, writers: Background, listener: TcpListener) -> anyhow::Result<Self> {
        let pages = outpost.clone();
        Self::spawn(writers, |stopping| web::serve_outpost(pages, listener, stopping), |stopping| outpost::run(outpost, stopping))
    }

    fn spawn<P, B>(
        writers: Background,
        pages: impl FnOnce(watch::Receiver<bool>) -> P + Send + 'static,
        background: impl FnOnce(watch::Receiver<bool>) -> B + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        P: Future<Output = std::io::Result<()>>,
        B: Future<Output = ()>,
    {
        let (stop, stopping) = watch::channel(false);
        let for_pages = stopping.clone();
        let web = std::thread::Builder::new().name("web".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(pages(for_pages))
        })?;
        let background = std::thread::Builder::new().name("background".to_owned()).spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("work").enable_all().build()?;
            runtime.block_on(background(stopping));
            Ok(())
        })?;
        Ok(Self { stop, web, background, writers })
    }

    /// Tells every part to finish what it is at, and waits for them. Everything taken is durable afterwards.
    ///
    /// # Errors
    /// When a part ended with an error.
    pub fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(true);
        let web = self.web.join().map_err(|_| anyhow::anyhow!("the web server ended unexpectedly"))?;
        let background = self.background.join().map_err(|_| anyhow::anyhow!("background work ended unexpectedly"))?;
        self.writers.join();
        web.context("the web server failed")?;
        background
    }

    /// Whether a part has ended by itself, which it never should.
    pub fn has_failed(&self) -> bool {
        self.web.is_finished() || self.background.is_finished()
    }
}

async fn take_returned_mail(lab: Lab, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    match listener {
        Ok(listener) => {
            let mut settings = smtpd::Settings::new(lab.config.bounce.domain.clone());
            // Anybody may write to postmaster: what all sessions together hold in memory stays small. Returned mail is, too.
            settings.message_bytes_max = 8 * 1024 * 1024;
            settings.connections_max = 50;
            let handler = lab.bounce_listener();
            drop(lab);
            smtpd::serve(listener, settings, handler, async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            })
            .await;
        }
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the listener for returned mail cannot be used"),
    }
}
