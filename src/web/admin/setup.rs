//! First run: the first account is an administrator's.
//!
//! Only while there is no account. From this very machine nothing more is asked; from elsewhere, the code in the server's log.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template as _;

use super::login::{OpenForm, form_cookie};
use crate::app::clock;
use crate::db::DbError;
use crate::ids::base32;
use crate::vault::account::{Account, PASSWORD_CHARACTERS_MIN, PasswordFault, Role, hash_password};
use crate::vault::store as people;
use crate::web::error::Fault;
use crate::web::view::account::SetupView;
use crate::web::view::{Field, Page};
use crate::web::{Web, fresh_key, see_other, session};

/// `GET /setup`
pub async fn show(web: web::Data<Web>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    only_first(&web).await?;
    form(&web, StatusCode::OK, Complaints::default(), "", is_here(&web, &request))
}

async fn only_first(web: &Web) -> Result<(), Fault> {
    let count = web.run(|lab| lab.vault.read(people::account_count)).await?;
    if count == 0 { Ok(()) } else { Err(Fault::NotFound) }
}

#[derive(Default)]
struct Complaints {
    login: Option<String>,
    password: Option<String>,
    code: Option<String>,
}

impl Complaints {
    fn any(&self) -> bool {
        self.login.is_some() || self.password.is_some() || self.code.is_some()
    }
}

fn form(web: &Web, status: StatusCode, complaints: Complaints, login: &str, here: bool) -> Result<HttpResponse, Fault> {
    let secret = fresh_key();
    let html = SetupView {
        page: Page { csrf: secret.clone(), ..Page::anonymous("First run") },
        login: Field { value: login.to_owned(), error: complaints.login },
        password_error: complaints.password,
        code: (!here).then(|| Field { value: String::new(), error: complaints.code }),
        password_length: PASSWORD_CHARACTERS_MIN,
    }
    .render()?;
    Ok(HttpResponse::build(status).cookie(form_cookie(web, secret)).content_type("text/html; charset=utf-8").body(html))
}

/// Whether the request comes from this machine by its own name and through no proxy, so that whoever sends it could read the log.
///
/// A proxy need not say that it is one: nginx by default sends its own name for this server and no X-Forwarded-For. So behind one, and
/// with https, which only a proxy can have ended, nobody is here.
fn is_here(web: &Web, request: &HttpRequest) -> bool {
    if web.lab.config.web.proxied || web.secure {
        return false;
    }
    let headers = request.headers();
    let proxied = ["x-forwarded-for", "forwarded", "via", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    let host = headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    let loopback = request.peer_addr().is_some_and(|address| address.ip().is_loopback());
    loopback && !proxied && ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

/// `POST /setup`
pub async fn create(web: web::Data<Web>, request: HttpRequest, form: OpenForm) -> Result<HttpResponse, Fault> {
    only_first(&web).await?;
    let fields = form.0;
    let (login, here) = (fields.trimmed("login").to_owned(), is_here(&web, &request));
    let complaints = complaints(&web, &fields, here)?;
    if complaints.any() {
        return self::form(&web, StatusCode::UNPROCESSABLE_ENTITY, complaints, &login, here);
    }
    let id = base32().encode(&clock::fresh());
    let account = Account { id, login: login.clone(), role: Role::Administrator };
    let (new, password) = (account.clone(), fields.get("password").to_owned());
    let made = web
        .run(move |lab| {
            let hash = hash_password(&password, clock::fresh()).map_err(Fault::internal)?;
            let now = lab.clock.now();
            lab.vault
                .write(|conn| {
                    // Asked again inside the transaction: of two who come first, one does.
                    let first = people::account_count(conn)? == 0;
                    if first {
                        people::create_account(conn, &new, &hash, now)?;
                    }
                    Ok::<_, DbError>(first)
                })
                .map_err(Fault::from)
        })
        .await?;
    if !made {
        return Err(Fault::NotFound);
    }
    tracing::info!("the first administrator was created");
    let cookie = session::start(&web, &account).await?;
    let mut answer = see_other("/people?done=welcome");
    answer.add_cookie(&cookie).map_err(|error| Fault::internal(anyhow::Error::from(error)))?;
    Ok(answer)
}

fn complaints(web: &Web, fields: &crate::web::form::Fields, here: bool) -> Result<Complaints, Fault> {
    let mut complaints = Complaints::default();
    if !here {
        let given = fields.trimmed("code").to_lowercase();
        if let Err(seconds) = web.logins.begin("the set-up code", None, web.lab.clock.now()) {
            return Err(Fault::TooOften(seconds));
        }
        if session::same(&given, &web.setup_code) {
            web.logins.succeeded("the set-up code", None);
        } else {
            complaints.code = Some("This is not the code in the server’s log. It changes with every start.".to_owned());
        }
    }
    let login = fields.trimmed("login");
    if login.is_empty() || login.chars().count() > 200 || login.chars().any(char::is_control) {
        complaints.login = Some("Write a name or an e-mail address, at most 200 characters.".to_owned());
    }
    let password = fields.get("password");
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        complaints.password = Some(format!("{}.", PasswordFault::TooShort));
    } else if password.len() > 1024 {
        complaints.password = Some("At most 1,024 bytes.".to_owned());
    } else if password != fields.get("password_again") {
        complaints.password = Some("The two passwords differ. Type both again.".to_owned());
    }
    Ok(complaints)
}
