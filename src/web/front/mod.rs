//! The front door: every connection comes in here, and requests for pixels and links are answered right here.
//!
//! Cast: [`serve`], a [`Worker`] per processor with its own runtime and its own accept loop, [`connection`] (answers pixels and links),
//! `arrival` (whose connection is it, and the handshake of TLS), [`request`] (reads them), [`answers`] (the bytes that go out), [`rewind`] (hands a connection on with what was read of it).
//!
//! Anything else than a plain GET or HEAD of a pixel or link goes, with its whole connection, to the application on the same thread: one
//! table of routes, one set of handlers. It never answers a page, and never keeps anything of a request.

mod answers;
mod arrival;
mod connection;
mod proxy_protocol;
pub mod request;
mod rewind;
mod stream;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_service::{IntoServiceFactory as _, Service, ServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use super::{LAST_REQUESTS_SECONDS, Site, routes};
use crate::tracking::gate::Gate;
use arrival::Door;
use rewind::Rewound;
use stream::Stream;

/// Most threads that answer requests; database work runs elsewhere.
const WORKERS_MOST: usize = 8;
/// Connections waiting to be accepted: a newsletter's readers come all at once.
const BACKLOG: i32 = 4096;
/// Connections of one worker, those at the application included; beyond it they wait to be accepted.
const CONNECTIONS: usize = 20_000;
/// How far a worker may be ahead of the one with the fewest connections before it leaves the next to others.
const AHEAD: usize = 4;
/// Connections accepted in a row, before those that are there get their turn.
const IN_A_ROW: usize = 16;
/// How often what cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// The wait after connections could not be accepted, most likely for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// What the connections of one thread share.
pub(super) struct Worker {
    site: Site,
    door: Door,
    gate: Gate,
    /// Set once no further request is to be taken.
    stopping: AtomicBool,
    /// Requests taken and not answered.
    busy: AtomicUsize,
    /// Connections per worker, and which is ours.
    open: Arc<Vec<AtomicUsize>>,
    number: usize,
    pages: mpsc::UnboundedSender<(Handed, Open)>,
}

/// A connection that counts as its worker's until this is dropped.
struct Open(Arc<Worker>);

impl Open {
    fn new(worker: &Arc<Worker>) -> Self {
        worker.ours().fetch_add(1, Ordering::Relaxed);
        Self(worker.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ours().fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on its way to the application.
struct Handed {
    stream: Stream,
    peer: SocketAddr,
    read: Vec<u8>,
    protocol: Protocol,
}

/// Answers on `listener` until `stop` says so; then takes no more and finishes what runs.
///
/// # Errors
/// When a worker cannot start or ends by itself.
pub(super) async fn serve(site: Site, listener: TcpListener, stop: watch::Receiver<bool>) -> io::Result<()> {
    let (door, certificates) = Door::open(&site.edge)?;
    let freshening = tokio::spawn(arrival::keep_fresh(certificates));
    let served = serve_behind(site, door, listener, stop).await;
    freshening.abort();
    served
}

async fn serve_behind(site: Site, door: Door, listener: TcpListener, stop: watch::Receiver<bool>) -> io::Result<()> {
    // Listening again only widens the queue.
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let count = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS_MOST);
    let open: Arc<Vec<AtomicUsize>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
    let mut ends = tokio::task::JoinSet::new();
    for number in 0..count {
        let (site, door, listener, stop, open) = (site.clone(), door.clone(), listener.try_clone()?, stop.clone(), open.clone());
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name(format!("web {number}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, work(site, door, listener, stop, open, number)));
            // Nobody listening means that the other workers are done for already.
            let _ = ended.send(done);
        })?;
        ends.spawn(end);
    }
    while let Some(end) = ends.join_next().await {
        match end {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) | Err(_) => return Err(io::Error::other("a worker of the web server ended unexpectedly")),
        }
    }
    Ok(())
}

async fn work(
    site: Site,
    door: Door,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    open: Arc<Vec<AtomicUsize>>,
    number: usize,
) -> io::Result<()> {
    // As a stream only because a stream can be waited on without taking what comes: a listener of tokio's registers all it accepts, and
    // its bare file descriptors want unsafe code.
    let listener = tokio::net::TcpStream::from_std(TcpStream::from(OwnedFd::from(listener)))?;
    let (pages, handed) = mpsc::unbounded_channel();
    let gate = Gate::new(site.edge.outpost.tracker.intake.clone());
    let worker = Arc::new(Worker {
        site: site.clone(),
        door,
        gate,
        stopping: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
        open,
        number,
        pages,
    });
    let keeper = tokio::spawn({
        let worker = worker.clone();
        async move { worker.gate.keep().await }
    });
    let leave = Arc::new(Notify::new());
    let at_pages = std::rc::Rc::new(std::cell::Cell::new(0_usize));
    let answering = tokio::task::spawn_local(answer_pages(site, handed, leave.clone(), at_pages.clone()));
    tokio::select! {
        never = accept(&listener, &worker) => match never {},
        ended = answering => return Err(io::Error::other(format!("the application ended: {ended:?}"))),
        // An error means that nobody can say stop any more: that is a stop, too.
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    worker.stopping.store(true, Ordering::Relaxed);
    leave.notify_waiters();
    let mut left = Duration::from_secs(LAST_REQUESTS_SECONDS);
    while (worker.busy.load(Ordering::Relaxed) > 0 || at_pages.get() > 0) && !left.is_zero() {
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
        leave.notify_waiters();
    }
    keeper.abort();
    Ok(())
}

async fn accept(listener: &tokio::net::TcpStream, worker: &Arc<Worker>) -> std::convert::Infallible {
    let mut in_a_row = 0;
    loop {
        if worker.is_full() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        match next(listener).await {
            Ok((stream, peer)) => {
                let open = Open::new(worker);
                tokio::spawn(async move {
                    if let Some(handed) = arrive(stream, peer, &open.0).await {
                        let pages = open.0.pages.clone();
                        // A worker that has ended closes the connection.
                        let _ = pages.send((handed, open));
                    }
                });
                in_a_row += 1;
                if worker.is_ahead() || in_a_row >= IN_A_ROW {
                    in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!("connections cannot be accepted at the moment: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// The next connection. It is not waited on yet: one that asks at once and only once never needs to be.
async fn next(listener: &tokio::net::TcpStream) -> io::Result<(TcpStream, SocketAddr)> {
    let accept = || {
        let (stream, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        // Gone again already.
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((TcpStream::from(stream), peer))
    };
    listener.async_io(Interest::READABLE, accept).await
}

/// From the first byte to the last hit answered. What comes back is for the application.
async fn arrive(stream: TcpStream, peer: SocketAddr, worker: &Worker) -> Option<Handed> {
    let (stream, read) = if worker.door.is_open() { connection::answer_once(stream, peer, worker).await? } else { (stream, Vec::new()) };
    let stream = tokio::net::TcpStream::from_std(stream).ok()?;
    let (stream, peer, protocol) = worker.door.welcome(stream, peer).await?;
    if protocol == Protocol::Http2 {
        return Some(Handed { stream, peer, read: Vec::new(), protocol });
    }
    let (stream, read) = connection::answer(stream, peer, read, worker).await?;
    Some(Handed { stream, peer, read, protocol })
}

impl Worker {
    fn ours(&self) -> &AtomicUsize {
        static NONE: AtomicUsize = AtomicUsize::new(0);
        self.open.get(self.number).unwrap_or(&NONE)
    }

    fn is_full(&self) -> bool {
        self.ours().load(Ordering::Relaxed) >= CONNECTIONS
    }

    fn is_ahead(&self) -> bool {
        let fewest = self.open.iter().map(|open| open.load(Ordering::Relaxed)).min().unwrap_or_default();
        self.ours().load(Ordering::Relaxed) > fewest + AHEAD
    }
}

/// Runs the application on the connections handed to it, until the last door to it is closed.
async fn answer_pages(
    site: Site,
    mut handed: mpsc::UnboundedReceiver<(Handed, Open)>,
    leave: Arc<Notify>,
    at_pages: std::rc::Rc<std::cell::Cell<usize>>,
) -> Result<(), String> {
    let app = App::new().configure(|config| routes::configure(config, site.edge, site.pages));
    let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
    let service = HttpService::build()
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(30)))
        .client_request_timeout(Duration::from_secs(20))
        .graceful_shutdown_signal(move || {
            let leave = leave.clone();
            async move { leave.notified().await }
        })
        .finish(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await
        .map_err(|error| format!("{error:?}"))?;
    let service = std::rc::Rc::new(service);
    while let Some((Handed { stream, peer, read, protocol }, open)) = handed.recv().await {
        if let Stream::Plain(stream) = &stream {
            let _ = stream.set_nodelay(true);
        }
        let (service, at_pages) = (service.clone(), at_pages.clone());
        at_pages.set(at_pages.get() + 1);
        tokio::task::spawn_local(async move {
            if let Err(error) = service.call((Rewound::new(read, stream), protocol, Some(peer))).await {
                tracing::debug!("a connection ended early: {error}");
            }
            at_pages.set(at_pages.get() - 1);
            drop(open);
        });
    }
    Ok(())
}
