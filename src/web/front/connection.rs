//! One connection as long as it asks for pixels and links: read, judge, wait until durable, answer.
//!
//! Cast: [`answer_once`] (a connection that asks at once and only once: read, answered and closed without ever being waited on), [`answer`]
//! (any other), [`Step`], [`Reply`].
//!
//! What is read stays in a buffer of the worker's; a connection has memory of its own only while a request is incomplete. A connection on
//! which nothing whole came for a while is closed.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::Sleep;

use super::Worker;
use super::answers::{Answer, write};
use super::request::{HitRequest, Read, read};
use super::stream::Stream;
use crate::app::clock;
use crate::ids::EventId;
use crate::signal::{HitKind, RequestFacts};
use crate::tracking::gate::{Place, TICK};
use crate::tracking::hit::{admit_opened, open};
use crate::web::public::{pixel, redirect};

/// A longer request is the application's.
const READ_AT_MOST: usize = 16 * 1024;
/// A connection without a whole request for this long, or twice at most, is closed; so is one that does not take its answer.
const IDLE: Duration = Duration::from_secs(20);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AT_MOST]);
    static WRITE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1024));
}

/// What came of reading.
enum Step {
    Reply(Reply),
    HandOver,
    Closed,
}

/// What to answer, and when.
struct Reply {
    answer: Answer,
    is_head: bool,
    is_last: bool,
    now: Timestamp,
    waits_for: Option<(Place, u64)>,
}

/// One connection's own state.
struct State {
    stream: Stream,
    peer: IpAddr,
    /// What was read and not answered.
    rest: Vec<u8>,
    idle: Pin<Box<Sleep>>,
    is_alive: bool,
}

/// Answers a pixel or link that is there already, if it is the last the connection asks for. Otherwise hands the connection back, with
/// what was read of it.
pub async fn answer_once(mut stream: TcpStream, peer: SocketAddr, worker: &Worker) -> Option<(TcpStream, Vec<u8>)> {
    enum First {
        Reply(Reply),
        Other(Vec<u8>),
    }
    let first = READ.with_borrow_mut(|buffer| match stream.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(First::Other(Vec::new())),
        Err(_) | Ok(0) => None,
        Ok(length) => {
            let bytes = buffer.get(..length).unwrap_or_default();
            let once = match read(bytes) {
                Read::Hit(request, _) if request.is_last && worker.site.edge.roles.track => judge(&request, peer.ip(), worker),
                Read::Hit(..) | Read::Incomplete | Read::Other => None,
            };
            Some(once.map_or_else(|| First::Other(bytes.to_vec()), First::Reply))
        }
    });
    let reply = match first? {
        First::Reply(reply) => reply,
        First::Other(read) => return Some((stream, read)),
    };
    let _busy = Busy::new(worker);
    settle(&reply, worker).await;
    let left = WRITE.with_borrow_mut(|bytes| {
        bytes.clear();
        write(&reply.answer, reply.is_head, true, reply.now, bytes);
        match stream.write(bytes) {
            Ok(written) => bytes.get(written..).unwrap_or_default().to_vec(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bytes.clone(),
            Err(_) => Vec::new(),
        }
    });
    if !left.is_empty() {
        let mut stream = tokio::net::TcpStream::from_std(stream).ok()?;
        // Whoever does not take its answer goes without.
        let _ = tokio::time::timeout(IDLE, stream.write_all(&left)).await;
    }
    None
}

/// Waits until what is answered is durable.
async fn settle(reply: &Reply, worker: &Worker) {
    if let Some((place, patience)) = reply.waits_for {
        // Late or shed: the reader gets the answer all the same. A late hit is in the writer's hands; shed ones are counted and shown.
        let _ = worker.gate.settled(place, patience).await;
    }
}

/// Answers pixels and links, beginning with what was `read` of them. Hands the connection back, with what was read of it, when something
/// else is asked for.
pub async fn answer(stream: Stream, peer: SocketAddr, read: Vec<u8>, worker: &Worker) -> Option<(Stream, Vec<u8>)> {
    let idle = Box::pin(tokio::time::sleep(IDLE));
    let mut state = State { stream, peer: peer.ip(), rest: read, idle, is_alive: true };
    loop {
        let reply = match poll_fn(|context| state.step(context, worker)).await {
            Step::Reply(reply) => reply,
            Step::HandOver => return Some((state.stream, state.rest)),
            Step::Closed => return None,
        };
        let _busy = Busy::new(worker);
        settle(&reply, worker).await;
        let is_last = reply.is_last || worker.stopping.load(Ordering::Relaxed);
        if state.send(&reply, is_last).await.is_err() || is_last {
            return None;
        }
    }
}

/// A request taken and not answered yet.
struct Busy<'a>(&'a Worker);

impl<'a> Busy<'a> {
    fn new(worker: &'a Worker) -> Self {
        worker.busy.fetch_add(1, Ordering::Relaxed);
        Self(worker)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    fn step(&mut self, context: &mut Context<'_>, worker: &Worker) -> Poll<Step> {
        if !self.rest.is_empty() {
            // Asked for before the last answer: another request stands here already.
            let rest = std::mem::take(&mut self.rest);
            if let Some(step) = self.understand(&rest, worker) {
                return Poll::Ready(step);
            }
            self.rest = rest;
        }
        loop {
            let step = READ.with_borrow_mut(|buffer| {
                let mut into = ReadBuf::new(buffer);
                match Pin::new(&mut self.stream).poll_read(context, &mut into) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_)) => return Poll::Ready(Some(Step::Closed)),
                    Poll::Ready(Ok(())) if into.filled().is_empty() => return Poll::Ready(Some(Step::Closed)),
                    Poll::Ready(Ok(())) => {}
                }
                if self.rest.is_empty() {
                    let step = self.understand(into.filled(), worker);
                    if step.is_none() {
                        self.rest.extend_from_slice(into.filled());
                    }
                    return Poll::Ready(step);
                }
                let mut all = std::mem::take(&mut self.rest);
                all.extend_from_slice(into.filled());
                let step = self.understand(&all, worker);
                if step.is_none() {
                    self.rest = all;
                }
                Poll::Ready(step)
            });
            match step {
                Poll::Ready(Some(step)) => return Poll::Ready(step),
                Poll::Ready(None) if self.rest.len() >= READ_AT_MOST => return Poll::Ready(Step::HandOver),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    ready!(self.idle.as_mut().poll(context));
                    if !std::mem::take(&mut self.is_alive) {
                        return Poll::Ready(Step::Closed);
                    }
                    self.idle.set(tokio::time::sleep(IDLE));
                }
            }
        }
    }

    /// The step the bytes ask for; what stands behind the request is kept. None: the request is incomplete.
    fn understand(&mut self, bytes: &[u8], worker: &Worker) -> Option<Step> {
        match read(bytes) {
            Read::Incomplete => None,
            Read::Hit(request, length) => {
                if worker.site.edge.roles.track
                    && let Some(reply) = judge(&request, self.peer, worker)
                {
                    self.is_alive = true;
                    self.rest.extend_from_slice(bytes.get(length..).unwrap_or_default());
                    return Some(Step::Reply(reply));
                }
                self.rest.extend_from_slice(bytes);
                Some(Step::HandOver)
            }
            Read::Other => {
                self.rest.extend_from_slice(bytes);
                Some(Step::HandOver)
            }
        }
    }

    async fn send(&mut self, reply: &Reply, is_last: bool) -> std::io::Result<()> {
        let left = poll_fn(|context| {
            WRITE.with_borrow_mut(|bytes| {
                bytes.clear();
                write(&reply.answer, reply.is_head, is_last, reply.now, bytes);
                match Pin::new(&mut self.stream).poll_write(context, bytes) {
                    Poll::Ready(Ok(written)) if written == bytes.len() => Poll::Ready(Ok(Vec::new())),
                    Poll::Ready(Ok(written)) => Poll::Ready(Ok(bytes.get(written..).unwrap_or_default().to_vec())),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    // Full already: the rest waits below, with a limit.
                    Poll::Pending => Poll::Ready(Ok(bytes.clone())),
                }
            })
        })
        .await?;
        if !left.is_empty() {
            tokio::time::timeout(IDLE, self.stream.write_all(&left)).await??;
        }
        if let Stream::Tls(stream) = &mut self.stream {
            // What was written is only encrypted so far; a last answer ends in order.
            let sent = async { if is_last { stream.shutdown().await } else { stream.flush().await } };
            tokio::time::timeout(IDLE, sent).await??;
        }
        Ok(())
    }
}

/// None: only the application can find out what this is.
fn judge(request: &HitRequest<'_>, socket: IpAddr, worker: &Worker) -> Option<Reply> {
    let edge = &worker.site.edge;
    let tracker = &edge.outpost.tracker;
    let now = edge.outpost.clock.now();
    let peer = edge.peer_behind(Some(socket), request.forwarded_for, request.forwarded);
    let (refused, patience) = match request.kind {
        HitKind::Open => (Answer::Pixel, pixel::PATIENCE),
        HitKind::Click => (Answer::Nothing, redirect::PATIENCE),
    };
    let mut reply = Reply { answer: refused, is_head: request.is_head, is_last: request.is_last, now, waits_for: None };
    let Some(payload) = open(tracker, request.kind, request.token) else {
        if edge.miss(peer) {
            (reply.answer, reply.is_last) = (Answer::TooMany, true);
        }
        return Some(reply);
    };
    // Launched elsewhere a moment ago, perhaps: that takes a look at the database.
    let target = tracker.targets.campaign(payload.campaign)?;
    if request.kind == HitKind::Click {
        let onward = payload.link.and_then(|link| target.links.get(&(payload.variant, link)));
        let Some(onward) = onward.filter(|url| redirect::is_header_value(url)) else { return Some(reply) };
        reply.answer = Answer::Onward(onward.clone());
    }
    let facts = RequestFacts {
        method: if request.is_head { "HEAD" } else { "GET" },
        peer,
        user_agent: request.user_agent,
        purpose: request.purpose,
        referer: request.referer,
        accept_language: request.accept_language,
        fetch_user: request.fetch_user,
    };
    let event = admit_opened(tracker, request.kind, &payload, target.records, facts, now, EventId::from_bytes(clock::fresh_in_turn()));
    let ticks = u64::try_from(patience.as_millis() / TICK.as_millis()).unwrap_or(1);
    reply.waits_for = event.and_then(|event| worker.gate.submit(&event)).map(|place| (place, ticks));
    Some(reply)
}
