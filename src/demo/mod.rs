//! The demonstration world: made-up people, a mail receiver that behaves like the internet, and readers who open and click.
//!
//! Cast: [`people`], a list to import; [`receiver`], the mailboxes; `returns`, the bounces they send; [`readers`], who reads and how
//! often; [`run`], all of it for as long as a demonstration lasts.
//!
//! It is a client of the public interfaces like anyone else: it speaks SMTP and HTTP, and learns everything from the letters as
//! received. It contacts nothing but the tracking address and the bounce listener it was given: links to anywhere else are never
//! followed. Everybody's behaviour follows from the seed and the address, so a demonstration can be repeated.

mod chance;
mod clients;
mod letter;
pub mod people;
pub mod readers;
pub mod receiver;
mod returns;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use readers::{Counts, Simulated, Truth, VariantTruth};

/// Letters that may wait between receiver and readers; when it is full, the receiver makes its clients wait.
const WAITING_LETTERS: usize = 256;

/// What a demonstration needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides every person's behaviour.
    pub seed: u64,
    /// How often people open and click.
    pub truth: Truth,
    /// Start of every tracked URL, such as `http://127.0.0.1:8080`. Nothing else is ever contacted.
    pub tracking: String,
    /// Where returned mail goes, by SMTP.
    pub bounces_to: SocketAddr,
    /// HTTP requests at a time.
    pub requests_max: usize,
    /// People react at a random moment up to this long after delivery; machines react at once.
    pub patience: Duration,
    /// A folder for the first letters as they arrived, for a look with other programs.
    pub keep: Option<PathBuf>,
}

/// How far a demonstration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Letters taken by the receiver.
    pub received: u64,
    /// Letters whose readers are done with them.
    pub read: u64,
    /// Letters sent back.
    pub returned: u64,
}

/// Why a demonstration could not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The tracking address is not plain HTTP.
    #[error("the tracking address {0:?} is not usable in a demonstration: give one that starts with http://")]
    TrackingAddress(String),
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client for the readers")]
    Client(#[source] reqwest::Error),
}

/// Receives, bounces and reads until `stop` completes; then finishes what was received and tells what really happened.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    progress: impl Fn(Progress) + Send + Sync + 'static,
    stop: impl Future<Output = ()> + Send,
) -> Result<Simulated, DemoError> {
    let readers = readers::Readers::new(&settings)?;
    let (letters, letters_in) = mpsc::channel(WAITING_LETTERS);
    let (returns, returns_in) = mpsc::channel(WAITING_LETTERS);
    let (report, mut reported) = watch::channel(Progress::default());
    let receiver = receiver::Receiver::new(letters, returns, report.clone()).keeping(settings.keep.clone());
    let tallies = receiver.tallies();

    let serving = receiver.serve(listener, stop);
    let reading = readers.read_all(letters_in, report.clone());
    let returning = returns::send_all(returns_in, settings.bounces_to, settings.seed, report);
    let watching = async {
        while reported.changed().await.is_ok() {
            progress(*reported.borrow_and_update());
        }
    };
    // The receiver's end closes both channels, their ends close the reports.
    let ((), mut simulated, returned, ()) = tokio::join!(serving, reading, returning, watching);
    let tallies = tallies.read();
    simulated.refused = tallies.refused;
    simulated.postponed = tallies.postponed;
    simulated.returned = returned.sent;
    simulated.returns_failed = returned.failed;
    Ok(simulated)
}

#[cfg(test)]
mod tests;
