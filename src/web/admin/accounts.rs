//! Accounts: one's own (password, API keys), and for administrators everybody's.
//!
//! Cast: [`own`] with [`change_password`], [`make_key`], [`withdraw_keys`]; [`index`] with [`create`], [`set_password`], [`withdraw`], [`remove`].
//!
//! No page ever holds a password; a key is on the page that answers its making, and on no other.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::login;
use super::steer::done;
use crate::app::accounts::{self, AccountError, Listed};
use crate::app::lab::Lab;
use crate::report::wording::moment;
use crate::vault::account::{PASSWORD_CHARACTERS_MIN, Role};
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm};
use crate::web::session::{self, User, flash};
use crate::web::throttle::in_words;
use crate::web::view::account::{AccountRow, AccountsView, KeyRow, OwnAccountView};
use crate::web::view::{Choice, Choices, Field, Flash, Section, Tone};
use crate::web::{Web, page, see_other};

const DIFFER: &str = "The two passwords differ. Type both again.";

/// What is wrong, in words, if it is the user who can mend it.
fn told(error: AccountError) -> Result<String, Fault> {
    match error {
        AccountError::Database(error) => Err(error.into()),
        AccountError::Password(crate::vault::account::PasswordFault::Hash) => Err(Fault::internal(error)),
        told => {
            let words = told.to_string();
            let mut letters = words.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
            Ok(format!("{first}{}.", letters.as_str()))
        }
    }
}

/// Does something with accounts, off the threads that answer requests; what the user can mend is the inner error.
async fn act<T: Send + 'static>(
    web: &Web,
    work: impl FnOnce(&Lab) -> Result<T, AccountError> + Send + 'static,
) -> Result<Result<T, String>, Fault> {
    match web.run(move |lab| Ok::<_, Fault>(work(lab))).await? {
        Ok(value) => Ok(Ok(value)),
        Err(error) => told(error).map(Err),
    }
}

fn shown(status: StatusCode, view: &impl Template) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::build(status).content_type("text/html; charset=utf-8").body(view.render()?))
}

async fn listed(web: &Web) -> Result<Vec<Listed>, Fault> {
    web.run(accounts::all).await
}

// One's own.

async fn own_view(web: &Web, user: &User, flashes: Vec<Flash>, key: Option<String>) -> Result<OwnAccountView, Fault> {
    let all = listed(web).await?;
    let keys = all.into_iter().find(|listed| listed.account.login == user.account.login).map(|listed| listed.api_keys).unwrap_or_default();
    let rows = keys.into_iter().map(|(label, at)| KeyRow { label, made: moment(at) }).collect();
    let mut page = user.page("Your account", Section::Elsewhere);
    page.flashes = flashes;
    Ok(OwnAccountView {
        page,
        login: user.account.login.clone(),
        role: user.account.role.as_str().to_owned(),
        password_length: PASSWORD_CHARACTERS_MIN,
        keys: rows,
        key,
    })
}

/// `GET /account`
pub async fn own(web: web::Data<Web>, user: User, request: HttpRequest) -> Result<HttpResponse, Fault> {
    page(&own_view(&web, &user, done(&request), None).await?)
}

async fn own_refused(web: &Web, user: &User, why: &str) -> Result<HttpResponse, Fault> {
    shown(StatusCode::UNPROCESSABLE_ENTITY, &own_view(web, user, vec![flash(Tone::Stop, why)], None).await?)
}

/// `POST /account/password` with `current`, `password`, `password_again`. Every session ends but this one, which begins anew.
pub async fn change_password(web: web::Data<Web>, request: HttpRequest, form: PostForm) -> Result<HttpResponse, Fault> {
    let (user, fields) = (form.user, form.fields);
    let own_login = user.account.login.clone();
    if fields.get("password") != fields.get("password_again") {
        return own_refused(&web, &user, DIFFER).await;
    }
    // Whoever found the browser open is not to guess the password at this form either.
    let peer = web.peer(&request);
    if let Err(seconds) = web.logins.begin(&own_login, peer, web.lab.clock.now()) {
        return own_refused(&web, &user, &format!("Too many wrong passwords. Try again in {}.", in_words(seconds))).await;
    }
    if login::account(&web, &own_login, fields.get("current")).await?.is_none() {
        return own_refused(&web, &user, "The current password is another one. Nothing was changed.").await;
    }
    web.logins.succeeded(&own_login, peer);
    let password = fields.get("password").to_owned();
    match act(&web, move |lab| accounts::set_password(lab, &own_login, &password)).await? {
        Err(why) => own_refused(&web, &user, &why).await,
        Ok(()) => {
            let cookie = session::start(&web, &user.account).await?;
            let mut answer = see_other("/account?done=password");
            answer.add_cookie(&cookie).map_err(|error| Fault::internal(anyhow::Error::from(error)))?;
            Ok(answer)
        }
    }
}

/// `POST /account/api-key` with `label`: the answer shows the key, once.
pub async fn make_key(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let (own_login, label) = (form.user.account.login.clone(), form.fields.trimmed("label").to_owned());
    match act(&web, move |lab| accounts::make_api_key(lab, &own_login, &label)).await? {
        Err(why) => own_refused(&web, &form.user, &why).await,
        Ok(key) => page(&own_view(&web, &form.user, Vec::new(), Some(key)).await?),
    }
}

/// `POST /account/api-keys/withdraw`
pub async fn withdraw_keys(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let own_login = form.user.account.login.clone();
    match act(&web, move |lab| accounts::withdraw_api_keys(lab, &own_login)).await? {
        Err(why) => own_refused(&web, &form.user, &why).await,
        Ok(_) => Ok(see_other("/account?done=withdrawn")),
    }
}

// Everybody's.

async fn everybody(web: &Web, user: &User, fields: &Fields, flashes: Vec<Flash>) -> Result<AccountsView, Fault> {
    let row = |listed: Listed| AccountRow {
        is_own: listed.account.login == user.account.login,
        login: listed.account.login,
        role: listed.account.role.as_str().to_owned(),
        made: moment(listed.created_at),
        keys: listed.api_keys.into_iter().map(|(label, at)| KeyRow { label, made: moment(at) }).collect(),
    };
    let roles = [
        (Role::Marketer.as_str(), "Marketer", "People, campaigns and results."),
        (Role::Administrator.as_str(), "Administrator", "The same, and accounts, status and domain."),
    ];
    let chosen = Role::from_word(fields.get("role")).unwrap_or(Role::Marketer);
    let mut page = user.page("Accounts", Section::Status);
    page.flashes = flashes;
    Ok(AccountsView {
        page,
        rows: listed(web).await?.into_iter().map(row).collect(),
        login: Field::new(fields.trimmed("new_login")),
        role: Choices { options: Choice::several(&roles, chosen.as_str()), error: None },
        password_length: PASSWORD_CHARACTERS_MIN,
    })
}

/// `GET /accounts`
pub async fn index(web: web::Data<Web>, user: User, request: HttpRequest) -> Result<HttpResponse, Fault> {
    page(&everybody(&web, &user, &Fields::default(), done(&request)).await?)
}

/// Back to the list: with what was done, or with why it was not and what had been typed.
async fn answer(web: &Web, form: &PostForm, word: &str, outcome: Result<(), String>) -> Result<HttpResponse, Fault> {
    match outcome {
        Ok(()) => Ok(see_other(&format!("/accounts?done={word}"))),
        Err(why) => {
            let view = everybody(web, &form.user, &form.fields, vec![flash(Tone::Stop, &why)]).await?;
            shown(StatusCode::UNPROCESSABLE_ENTITY, &view)
        }
    }
}

/// `POST /accounts` with `new_login`, `role`, `password`, `password_again`.
pub async fn create(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let fields = &form.fields;
    let (new, password) = (fields.trimmed("new_login").to_owned(), fields.get("password").to_owned());
    let outcome = match Role::from_word(fields.get("role")) {
        None => Err("Choose what the account may do.".to_owned()),
        Some(_) if password != fields.get("password_again") => Err(DIFFER.to_owned()),
        Some(role) => act(&web, move |lab| accounts::create(lab, &new, role, &password)).await?,
    };
    answer(&web, &form, "account", outcome).await
}

/// `POST /accounts/password` with `login`, `password`, `password_again`.
pub async fn set_password(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let fields = &form.fields;
    let (whose, password) = (fields.get("login").to_owned(), fields.get("password").to_owned());
    let outcome = if whose == form.user.account.login {
        Err("Your own password is changed under your name, above.".to_owned())
    } else if password != fields.get("password_again") {
        Err(DIFFER.to_owned())
    } else {
        act(&web, move |lab| accounts::set_password(lab, &whose, &password)).await?
    };
    answer(&web, &form, "password", outcome).await
}

/// `POST /accounts/withdraw` with `login`.
pub async fn withdraw(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let whose = form.fields.get("login").to_owned();
    let outcome = act(&web, move |lab| accounts::withdraw_api_keys(lab, &whose).map(|_| ())).await?;
    answer(&web, &form, "withdrawn", outcome).await
}

/// `POST /accounts/remove` with `login` and `confirmed`.
pub async fn remove(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let whose = form.fields.get("login").to_owned();
    let outcome = if form.fields.get("confirmed") != "yes" {
        Err("Tick that the account is to be removed; it cannot be undone.".to_owned())
    } else {
        act(&web, move |lab| accounts::remove(lab, &whose)).await?
    };
    answer(&web, &form, "removed", outcome).await
}
