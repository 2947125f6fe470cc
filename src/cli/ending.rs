//! What the system tells a running service: to end, or to look at its files again.
//!
//! Cast: [`Signals`].
//!
//! SIGHUP never ends a service, from its first moment on: who reloads it does not know how far its start has come. What is read again
//! then is the affair of those who read it.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service::Service;

/// Listens from when it is made.
pub(super) struct Signals {
    runtime: tokio::runtime::Runtime,
}

/// Listens for the end, too.
pub(super) struct End {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on SIGHUP does not end this process; SIGTERM and Ctrl-C still do, at once.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        // What was listened for once stays so, whether anybody hears it or not.
        let _ = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
        drop(inside);
        Ok(Self { runtime })
    }

    /// From now on SIGTERM and Ctrl-C are waited for, and none of them is lost: before anything begins that has to be ended in order.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub(super) fn for_the_end(self) -> anyhow::Result<End> {
        let inside = self.runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
        drop(inside);
        Ok(End { runtime: self.runtime, terminate, interrupt })
    }
}

impl End {
    /// Returns at SIGTERM, Ctrl-C, or when a part of the service has failed.
    pub(super) fn wait(self, service: &Service) {
        let Self { runtime, mut terminate, mut interrupt } = self;
        runtime.block_on(async {
            let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = look.tick() => if service.has_failed() { return },
                }
            }
        });
    }
}
