//! Who is asking: a logged-in user by cookie, a program by API key, a reviewer by link.
//!
//! Cast: [`gate`] (lets a request through to its route, or not), [`User`], [`Program`], [`Review`] (what a handler is then given),
//! [`start`], [`end`].
//!
//! A session's key is random and known to the browser only: the vault keeps its hash. A password is never kept anywhere.

use std::future::{Ready, ready};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, web};
use jiff::SignedDuration;
use subtle::ConstantTimeEq;

use super::edge::PAUSE_SECONDS;
use super::error::Fault;
use super::routes::Reach;
use super::view::{Account as Shown, Flash, Page, Section, Tone};
use super::{Web, fresh_key};
use crate::app::campaigns;
use crate::campaign::store::Campaign;
use crate::vault::account::{Account, Role, key_hash};
use crate::vault::store as people;

/// How long a session lasts.
const HOURS: i64 = 12;

/// A logged-in user.
#[derive(Debug, Clone)]
pub struct User {
    /// Who.
    pub account: Account,
    /// What every form of this session carries.
    pub csrf: String,
}

/// A program with an API key.
#[derive(Debug, Clone)]
pub struct Program {
    /// Whose key.
    pub account: Account,
}

/// A reviewer, by a link that still works.
#[derive(Debug, Clone)]
pub struct Review {
    /// The campaign the link shows.
    pub campaign: Campaign,
    /// The link's token, for addresses on the page.
    pub token: String,
}

impl User {
    /// The user of a request that passed the gate.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// The frame of a page for this user.
    pub fn page(&self, title: &str, section: Section) -> Page {
        Page {
            title: title.to_owned(),
            section,
            account: Some(Shown { name: self.account.login.clone(), role: self.account.role.as_str().to_owned() }),
            csrf: self.csrf.clone(),
            flashes: Vec::new(),
        }
    }

    /// Whether a form's text is this session's.
    pub fn sent(&self, csrf: &str) -> bool {
        same(csrf, &self.csrf)
    }
}

/// Compares two secrets without telling by its time where they differ.
pub fn same(one: &str, other: &str) -> bool {
    !other.is_empty() && bool::from(one.as_bytes().ct_eq(other.as_bytes()))
}

/// A message above a page's content.
pub fn flash(tone: Tone, text: &str) -> Flash {
    Flash { tone, text: text.to_owned() }
}

/// Lets a request through to a route for `reach`, or answers why not.
pub async fn gate(
    reach: Reach,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let admitted = match reach {
        Reach::Anybody | Reach::Recipient => Ok(()),
        Reach::Marketer => user(&request, Role::Marketer).await,
        Reach::Administrator => user(&request, Role::Administrator).await,
        Reach::ApiKey => program(&request).await,
        Reach::Reviewer => review(&request).await,
    };
    match admitted {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(fault) => Ok(request.error_response(fault)),
    }
}

fn shared(request: &ServiceRequest) -> Result<web::Data<Web>, Fault> {
    request.app_data::<web::Data<Web>>().cloned().ok_or_else(|| Fault::internal(anyhow::anyhow!("the application was not configured")))
}

async fn user(request: &ServiceRequest, least: Role) -> Result<(), Fault> {
    let web = shared(request)?;
    let login = |expired| Fault::Login { next: afterwards(request), expired };
    let key = request.cookie(cookie_name(&web)).map(|cookie| key_hash(cookie.value())).ok_or_else(|| login(false))?;
    let found = web.run(move |lab| lab.vault.read(|conn| people::session_by_key(conn, &key, lab.clock.now()))).await?;
    let session = found.ok_or_else(|| login(true))?;
    if request.method() != Method::GET && is_foreign(request, &web) {
        return Err(Fault::Forbidden("The form was sent from another site. Open the page here and send it again."));
    }
    if least == Role::Administrator && session.account.role != Role::Administrator {
        return Err(Fault::Forbidden("Only an administrator may see this. Ask one to do it, or to change your role."));
    }
    request.extensions_mut().insert(User { account: session.account, csrf: session.csrf });
    Ok(())
}

/// Where to go after logging in: the page asked for; after a form, the start.
fn afterwards(request: &ServiceRequest) -> String {
    if request.method() == Method::GET { request.uri().to_string() } else { "/campaigns".to_owned() }
}

/// A path on this site, or the start: nobody is sent elsewhere by a made-up link to the login page. Browsers drop tabs and line ends
/// before they read an address, so that `/<tab>/evil` is `//evil` to them.
pub fn safe_next(next: &str) -> &str {
    let local =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(|character: char| character == '\\' || character.is_control());
    if local { next } else { "/campaigns" }
}

/// Whether a browser says that another site caused this request. Browsers that hide it (`Origin: null` follows from our
/// `no-referrer`) are held by the form's own secret.
pub fn is_foreign(request: &ServiceRequest, web: &Web) -> bool {
    foreign(request.headers(), web)
}

/// The same, from headers.
pub fn foreign(headers: &header::HeaderMap, web: &Web) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match text("origin") {
        None | Some("null") => false,
        Some(origin) => {
            let host = origin.split_once("://").map_or(origin, |(_, host)| host);
            origin != web.lab.config.web.base_url && text("host") != Some(host)
        }
    }
}

async fn program(request: &ServiceRequest) -> Result<(), Fault> {
    let web = shared(request)?;
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = match header.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() => key_hash(key.trim()),
        _ => return Err(Fault::Key),
    };
    let account = web.run(move |lab| lab.vault.read(|conn| people::api_key_account(conn, &key))).await?.ok_or(Fault::Key)?;
    request.extensions_mut().insert(Program { account });
    Ok(())
}

async fn review(request: &ServiceRequest) -> Result<(), Fault> {
    let web = shared(request)?;
    let token = request.match_info().get("token").unwrap_or_default().to_owned();
    let now = web.lab.clock.now();
    let number = web
        .lab
        .keys
        .open_share(&token, now)
        .map_err(|_| if web.edge.miss(web.edge.peer(request.request())) { Fault::TooOften(PAUSE_SECONDS) } else { Fault::Ended })?;
    let campaign = web.run(move |lab| campaigns::by_number(lab, number)).await.map_err(|fault| match fault {
        Fault::Missing(_) => Fault::Ended,
        other => other,
    })?;
    request.extensions_mut().insert(Review { campaign, token });
    Ok(())
}

fn from_gate<T: Clone + 'static>(request: &HttpRequest, otherwise: Fault) -> Ready<Result<T, Fault>> {
    ready(request.extensions().get::<T>().cloned().ok_or(otherwise))
}

impl FromRequest for User {
    type Error = Fault;
    type Future = Ready<Result<Self, Fault>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        from_gate(request, Fault::Login { next: "/campaigns".to_owned(), expired: false })
    }
}

impl FromRequest for Program {
    type Error = Fault;
    type Future = Ready<Result<Self, Fault>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        from_gate(request, Fault::Key)
    }
}

impl FromRequest for Review {
    type Error = Fault;
    type Future = Ready<Result<Self, Fault>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        from_gate(request, Fault::Ended)
    }
}

/// The session cookie's name; `__Host-` makes a browser insist on https and on this very host.
pub const fn cookie_name(web: &Web) -> &'static str {
    if web.secure { "__Host-letterlab_session" } else { "letterlab_session" }
}

/// Starts a session; the cookie ends with the browser, the session after [`HOURS`].
///
/// # Errors
/// When the vault cannot be written.
pub async fn start(web: &Web, account: &Account) -> Result<Cookie<'static>, Fault> {
    let (key, csrf, id) = (fresh_key(), fresh_key(), account.id.clone());
    let hash = key_hash(&key);
    web.run(move |lab| {
        let now = lab.clock.now();
        let expires = now.checked_add(SignedDuration::from_hours(HOURS)).unwrap_or(now);
        lab.vault.write(|conn| people::create_session(conn, &hash, &id, &csrf, now, expires))
    })
    .await?;
    Ok(cookie(web, cookie_name(web), key))
}

/// A cookie as ours are: not for scripts, not for other sites' forms.
pub fn cookie(web: &Web, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value).path("/").http_only(true).same_site(SameSite::Lax).secure(web.secure).finish()
}

/// Ends the session of a request.
///
/// # Errors
/// When the vault cannot be written.
pub async fn end(web: &Web, request: &HttpRequest) -> Result<Cookie<'static>, Fault> {
    if let Some(hash) = request.cookie(cookie_name(web)).map(|cookie| key_hash(cookie.value())) {
        web.run(move |lab| lab.vault.write(|conn| people::end_session(conn, &hash))).await?;
    }
    let mut gone = cookie(web, cookie_name(web), String::new());
    gone.make_removal();
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_logging_in_nobody_is_sent_elsewhere() {
        for (next, safe) in [
            ("/campaigns/3?x=1", "/campaigns/3?x=1"),
            ("//evil.example", "/campaigns"),
            ("https://evil.example", "/campaigns"),
            ("/\\evil.example", "/campaigns"),
            ("/\t/evil.example", "/campaigns"),
            ("/\n/evil.example", "/campaigns"),
            ("", "/campaigns"),
        ] {
            assert_eq!(safe_next(next), safe);
        }
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(!same("", "") && !same("a", "") && !same("a", "ab") && same("ab", "ab"));
    }
}
