//! Logging in and out.
//!
//! Unknown logins take as long as wrong passwords; failures make the next attempt wait; what was typed as a password is never kept.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use askama::Template as _;

use crate::vault::account::{Account, password_matches};
use crate::vault::store as people;
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm, SMALL_BYTES, read_form};
use crate::web::session::{self, safe_next};
use crate::web::throttle::in_words;
use crate::web::view::account::{LoginNotice, LoginView};
use crate::web::view::{Field, Page};
use crate::web::{Web, fresh_key, see_other};

/// Holds the secret of a form shown before anybody is logged in.
const FORM_COOKIE: &str = "letterlab_form";

/// `GET /`: to the campaigns, or to the first run.
pub async fn start(web: web::Data<Web>) -> Result<HttpResponse, Fault> {
    let count = web.run(|lab| lab.vault.read(people::account_count)).await?;
    Ok(see_other(if count == 0 { "/setup" } else { "/campaigns" }))
}

/// `GET /login`
pub async fn show(web: web::Data<Web>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let query = Fields::parse(request.query_string())?;
    let notice = match (query.get("ended"), query.get("left")) {
        ("yes", _) => LoginNotice::Expired,
        (_, "yes") => LoginNotice::LoggedOut,
        _ => LoginNotice::None,
    };
    form(&web, StatusCode::OK, notice, "", safe_next(query.get("next")))
}

fn form(web: &Web, status: StatusCode, notice: LoginNotice, login: &str, next: &str) -> Result<HttpResponse, Fault> {
    let secret = fresh_key();
    let page = Page { csrf: secret.clone(), ..Page::anonymous("Log in") };
    let html = LoginView { page, notice, login: Field::new(login), next: next.to_owned() }.render()?;
    let cookie = session::cookie(web, FORM_COOKIE, secret);
    Ok(HttpResponse::build(status).cookie(cookie).content_type("text/html; charset=utf-8").body(html))
}

/// The cookie that a form shown before login is checked against.
pub fn form_cookie(web: &Web, secret: String) -> actix_web::cookie::Cookie<'static> {
    session::cookie(web, FORM_COOKIE, secret)
}

/// A form sent before anybody is logged in: its secret must be the one in the cookie that came with the page.
#[derive(Debug)]
pub struct OpenForm(pub Fields);

impl FromRequest for OpenForm {
    type Error = Fault;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let web = web::Data::<Web>::extract(&request).await.map_err(|_| Fault::internal(anyhow::anyhow!("not configured")))?;
            let fields = read_form(&request, &mut payload, SMALL_BYTES).await?;
            let cookie = request.cookie(FORM_COOKIE).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
            if session::foreign(request.headers(), &web) || !session::same(fields.get("csrf"), &cookie) {
                return Err(Fault::Forbidden(
                    "The form is not the one this browser was shown. Reload the page and send it again; cookies must be allowed.",
                ));
            }
            Ok(Self(fields))
        })
    }
}

/// `POST /login`
pub async fn check(web: web::Data<Web>, request: HttpRequest, form: OpenForm) -> Result<HttpResponse, Fault> {
    let fields = form.0;
    let (login, next) = (fields.trimmed("login").to_owned(), safe_next(fields.get("next")).to_owned());
    let peer = web.peer(&request);
    if let Err(seconds) = web.logins.begin(&login, peer, web.lab.clock.now()) {
        let notice = LoginNotice::Throttled { wait: in_words(seconds) };
        return self::form(&web, StatusCode::TOO_MANY_REQUESTS, notice, &login, &next);
    }
    let Some(account) = account(&web, &login, fields.get("password")).await? else {
        return self::form(&web, StatusCode::UNAUTHORIZED, LoginNotice::Refused, &login, &next);
    };
    web.logins.succeeded(&login, peer);
    let cookie = session::start(&web, &account).await?;
    let mut answer = see_other(&next);
    answer.add_cookie(&cookie).map_err(|error| Fault::internal(anyhow::Error::from(error)))?;
    Ok(answer)
}

/// The account with this login and password. An unknown login is checked against a decoy, so that it takes as long.
pub(super) async fn account(web: &Web, login: &str, password: &str) -> Result<Option<Account>, Fault> {
    let (login, password, decoy) = (login.to_owned(), password.to_owned(), web.decoy_hash.clone());
    let _turn = web.password_checks.acquire().await.map_err(Fault::internal)?;
    web.run(move |lab| {
        let found = lab.vault.read(|conn| people::account_by_login(conn, &login))?;
        let (account, hash) = found.map_or((None, decoy), |(account, hash)| (Some(account), hash));
        let matches = password_matches(&password, &hash);
        Ok::<_, Fault>(account.filter(|_| matches))
    })
    .await
}

/// `POST /logout`
pub async fn leave(web: web::Data<Web>, request: HttpRequest, _form: PostForm) -> Result<HttpResponse, Fault> {
    let gone = session::end(&web, &request).await?;
    let mut answer = see_other("/login?left=yes");
    answer.add_cookie(&gone).map_err(|error| Fault::internal(anyhow::Error::from(error)))?;
    Ok(answer)
}
