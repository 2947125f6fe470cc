//! HTTP: pages for people who log in, pages for reviewers and recipients, pixels and links, and the API.
//!
//! Cast: [`serve`], [`front`] (where every connection comes in; answers pixels and links), [`edge`] (what every handler shares),
//! [`Web`] (what handlers of pages share beside it: people), [`routes`] (the whole table on one page), [`error`] (the only place that
//! knows status codes), [`session`] (who is asking), [`throttle`] (guessing passwords takes long), `misses` (so does guessing tokens),
//! `slow` (bodies come in time), [`form`] (bodies, within limits),
//! [`frame`] (headers and the log line round every answer), `public`, `admin`, `review`, `api` (handlers), [`view`] (what pages show).
//!
//! Handlers translate; what can be done is in `app`. Nothing here writes SQL, computes a statistic, or logs an address, a token or a
//! query string.

mod admin;
mod api;
mod assets;
pub mod edge;
pub mod error;
pub mod form;
pub mod frame;
pub mod front;
mod listing;
mod misses;
mod public;
mod review;
pub mod routes;
pub mod session;
mod slow;
pub mod throttle;
pub mod view;

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::{Semaphore, watch};

use crate::app::clock;
use crate::app::lab::Lab;
use crate::app::outpost::Outpost;
use crate::app::recount::Background;
use crate::app::roles::Roles;
use crate::ids::base32;
use crate::vault::account::hash_password;
use crate::vault::store as people;
use edge::Edge;
use error::Fault;
use throttle::Throttle;

pub use public::pixel::GIF;

/// Password checks at the same time: each takes 19 MiB.
const PASSWORD_CHECKS: usize = 2;
/// How long requests under way may take when the server stops, in seconds.
const LAST_REQUESTS_SECONDS: u64 = 30;

/// What every handler shares.
pub struct Web {
    /// The running Letterlab.
    pub lab: Lab,
    /// Failed logins of late.
    pub logins: Throttle,
    /// Proves, at first run, that somebody at the server's terminal is asking.
    pub setup_code: String,
    /// Whether recipients and users come by https.
    pub secure: bool,
    decoy_hash: String,
    password_checks: Semaphore,
    /// States and counts made anew, when somebody asks for it.
    pub recount: Arc<Background>,
    /// What is shared without people.
    pub edge: web::Data<Edge>,
}

impl Web {
    /// Prepares what handlers share.
    ///
    /// # Errors
    /// Only when the password hash function does not work.
    pub fn new(lab: Lab, edge: web::Data<Edge>) -> anyhow::Result<Self> {
        let decoy_hash = hash_password(&fresh_key(), clock::fresh())?;
        let setup_code: String = fresh_key().chars().take(12).collect();
        Ok(Self {
            lab,
            logins: Throttle::default(),
            setup_code,
            secure: edge.secure,
            decoy_hash,
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            recount: Arc::default(),
            edge,
        })
    }

    /// Runs work that waits for a database, off the threads that answer requests.
    ///
    /// # Errors
    /// What `work` answers, and a panic in it.
    pub async fn run<T, E>(&self, work: impl FnOnce(&Lab) -> Result<T, E> + Send + 'static) -> Result<T, Fault>
    where
        T: Send + 'static,
        E: Into<Fault> + Send + 'static,
    {
        let lab = self.lab.clone();
        match tokio::task::spawn_blocking(move || work(&lab)).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Fault::internal(anyhow::anyhow!("a request's work ended unexpectedly"))),
        }
    }

    /// The address a request comes from, or the one a trusted proxy named.
    pub fn peer(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.edge.peer(request)
    }
}

/// A fresh secret as text: 52 characters.
fn fresh_key() -> String {
    base32().encode(&clock::fresh_key())
}

/// Answers requests on `listener` until `stop` says so; then takes no more and finishes what runs.
///
/// # Errors
/// When the server cannot start, or its threads fail.
pub async fn serve(lab: Lab, listener: TcpListener, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    serve_roles(lab, Roles::ALL, listener, stop).await
}

/// The same for some of the roles: what the others answer is not found.
///
/// # Errors
/// When the server cannot start, or its threads fail.
pub async fn serve_roles(lab: Lab, roles: Roles, listener: TcpListener, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let edge = web::Data::new(Edge::new(lab.outpost(), roles));
    if !roles.web {
        drop(lab);
        return front::serve(Site { edge, pages: None }, listener, stop).await;
    }
    let shared = web::Data::new(Web::new(lab, edge.clone()).map_err(std::io::Error::other)?);
    form::clear_uploads(&form::upload_folder(&shared));
    announce_first_run(&shared, &listener).await;
    front::serve(Site { edge, pages: Some(shared) }, listener, stop).await
}

/// Answers pixels, links and what strangers ask, without any way to people.
///
/// # Errors
/// When the server cannot start, or its threads fail.
pub async fn serve_outpost(outpost: Outpost, listener: TcpListener, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    front::serve(Site { edge: web::Data::new(Edge::new(outpost, Roles::TRACK)), pages: None }, listener, stop).await
}

/// What a process answers: its edge, and what pages need if it has any.
#[derive(Clone)]
struct Site {
    edge: web::Data<Edge>,
    pages: Option<web::Data<Web>>,
}

async fn announce_first_run(shared: &Web, listener: &TcpListener) {
    let is_first = shared.run(|lab| lab.vault.read(people::account_count)).await.is_ok_and(|count| count == 0);
    if is_first {
        let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let code = &shared.setup_code;
        tracing::warn!(%address, set_up_code = %code, "there is no account yet: open /setup and create the administrator");
    }
}

/// A page as an answer.
fn page(view: &impl askama::Template) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(view.render()?))
}

/// On to another page of this site, after a form.
fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}
