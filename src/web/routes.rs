//! The whole table: every address, and who may reach it.
//!
//! Cast: [`TABLE`], [`Entry`], [`Reach`], [`configure`], which builds the application from the table and from nothing else.
//!
//! An address that is not here does not exist; a handler cannot be reached but through its entry's gate.

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{Resource, Route, web};

use super::edge::Edge;
use super::error::Fault;
use super::frame::frame;
use super::session::gate;
use super::{Web, admin, api, assets, public, review};

/// Who may reach a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everybody.
    Anybody,
    /// Whoever has a letter's pixel, link or unsubscribe address; the token in the path is judged by the handler, because a forged
    /// pixel is answered like a genuine one.
    Recipient,
    /// Whoever has a reviewer's link that still works.
    Reviewer,
    /// Everybody who is logged in.
    Marketer,
    /// Administrators who are logged in.
    Administrator,
    /// Programs with an API key.
    ApiKey,
}

/// One route.
pub struct Entry {
    /// Its method.
    pub method: Method,
    /// Its path; `{name}` stands for one part, escaped where needed.
    pub path: &'static str,
    /// Who may reach it.
    pub reach: Reach,
    handler: fn() -> Route,
}

const fn entry(method: Method, path: &'static str, reach: Reach, handler: fn() -> Route) -> Entry {
    Entry { method, path, reach, handler }
}

use Reach::{Administrator, Anybody, ApiKey, Marketer, Recipient, Reviewer};

const GET: Method = Method::GET;
const HEAD: Method = Method::HEAD;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// Every route. Entries of one path stand together; a fixed path stands before one with a part in braces in its place.
#[rustfmt::skip]
pub static TABLE: &[Entry] = &[
    // Pixels and links: the hot path, without a frame round it.
    entry(GET,    "/o/{token}.gif",                              Recipient,     || web::to(public::pixel::show)),
    entry(HEAD,   "/o/{token}.gif",                              Recipient,     || web::to(public::pixel::show)),
    entry(GET,    "/c/{token}",                                  Recipient,     || web::to(public::redirect::follow)),
    entry(HEAD,   "/c/{token}",                                  Recipient,     || web::to(public::redirect::follow)),
    // Recipients and strangers.
    entry(GET,    "/u/{token}",                                  Recipient,     || web::to(public::unsubscribe::show)),
    entry(HEAD,   "/u/{token}",                                  Recipient,     || web::to(public::unsubscribe::show)),
    entry(POST,   "/u/{token}",                                  Recipient,     || web::to(public::unsubscribe::act)),
    entry(GET,    "/i/{name}",                                   Anybody,       || web::to(public::image::show)),
    entry(GET,    "/privacy",                                    Anybody,       || web::to(public::privacy::show)),
    entry(GET,    "/robots.txt",                                 Anybody,       || web::to(public::robots)),
    entry(GET,    "/favicon.ico",                                Anybody,       || web::to(assets::icon)),
    // Judged by its handler: a tracking node knows no accounts.
    entry(GET,    "/metrics",                                    Anybody,       || web::to(public::metrics::show)),
    entry(GET,    "/healthz",                                    Anybody,       || web::to(public::health::lives)),
    entry(GET,    "/readyz",                                     Anybody,       || web::to(public::health::ready)),
    entry(GET,    "/assets/{name}",                              Anybody,       || web::to(assets::show)),
    // Logging in.
    entry(GET,    "/",                                           Anybody,       || web::to(admin::login::start)),
    entry(GET,    "/setup",                                      Anybody,       || web::to(admin::setup::show)),
    entry(POST,   "/setup",                                      Anybody,       || web::to(admin::setup::create)),
    entry(GET,    "/login",                                      Anybody,       || web::to(admin::login::show)),
    entry(POST,   "/login",                                      Anybody,       || web::to(admin::login::check)),
    entry(POST,   "/logout",                                     Marketer,      || web::to(admin::login::leave)),
    // Accounts.
    entry(GET,    "/account",                                    Marketer,      || web::to(admin::accounts::own)),
    entry(POST,   "/account/password",                           Marketer,      || web::to(admin::accounts::change_password)),
    entry(POST,   "/account/api-key",                            Marketer,      || web::to(admin::accounts::make_key)),
    entry(POST,   "/account/api-keys/withdraw",                  Marketer,      || web::to(admin::accounts::withdraw_keys)),
    entry(GET,    "/accounts",                                   Administrator, || web::to(admin::accounts::index)),
    entry(POST,   "/accounts",                                   Administrator, || web::to(admin::accounts::create)),
    entry(POST,   "/accounts/password",                          Administrator, || web::to(admin::accounts::set_password)),
    entry(POST,   "/accounts/withdraw",                          Administrator, || web::to(admin::accounts::withdraw)),
    entry(POST,   "/accounts/remove",                            Administrator, || web::to(admin::accounts::remove)),
    // People.
    entry(GET,    "/people",                                     Marketer,      || web::to(admin::people::index)),
    entry(GET,    "/people/import",                              Marketer,      || web::to(admin::import::show)),
    entry(POST,   "/people/import",                              Marketer,      || web::to(admin::import::take)),
    entry(GET,    "/people/lists/{name}",                        Marketer,      || web::to(admin::people::list)),
    entry(GET,    "/people/lists/{name}/export.csv",             Marketer,      || web::to(admin::people::export)),
    entry(POST,   "/people/letters",                             Marketer,      || web::to(admin::person::letters)),
    entry(POST,   "/people/suppress",                            Marketer,      || web::to(admin::person::suppress)),
    entry(POST,   "/people/unsuppress",                          Marketer,      || web::to(admin::person::unsuppress)),
    entry(POST,   "/people/erase",                               Marketer,      || web::to(admin::person::erase)),
    // Pictures for letters.
    entry(GET,    "/images",                                     Marketer,      || web::to(admin::images::show)),
    entry(POST,   "/images",                                     Marketer,      || web::to(admin::images::take)),
    // Campaigns.
    entry(GET,    "/campaigns",                                  Marketer,      || web::to(admin::campaigns::index)),
    entry(GET,    "/campaigns/new",                              Marketer,      || web::to(admin::draft::new)),
    entry(POST,   "/campaigns/new",                              Marketer,      || web::to(admin::draft::create)),
    entry(POST,   "/campaigns/upload",                           Marketer,      || web::to(admin::draft::upload)),
    entry(POST,   "/campaigns/letter/parts",                     Marketer,      || web::to(admin::letter::parts)),
    entry(POST,   "/campaigns/letter/rewrite",                   Marketer,      || web::to(admin::letter::rewrite)),
    entry(POST,   "/campaigns/letter/compare",                   Marketer,      || web::to(admin::letter::compare)),
    entry(GET,    "/campaigns/{number}",                         Marketer,      || web::to(admin::campaign::show)),
    entry(GET,    "/campaigns/{number}/edit",                    Marketer,      || web::to(admin::draft::edit)),
    entry(POST,   "/campaigns/{number}/edit",                    Marketer,      || web::to(admin::draft::change)),
    entry(POST,   "/campaigns/{number}/edit-file",               Marketer,      || web::to(admin::draft::change_by_file)),
    entry(GET,    "/campaigns/{number}/campaign.toml",           Marketer,      || web::to(admin::draft::file)),
    entry(GET,    "/campaigns/{number}/check",                   Marketer,      || web::to(admin::preflight::show)),
    entry(POST,   "/campaigns/{number}/check",                   Marketer,      || web::to(admin::preflight::ask)),
    entry(GET,    "/campaigns/{number}/check/people",            Marketer,      || web::to(admin::preflight::people)),
    entry(GET,    "/campaigns/{number}/preview",                 Marketer,      || web::to(admin::preview::show)),
    entry(POST,   "/campaigns/{number}/preview",                 Marketer,      || web::to(admin::preview::choose)),
    entry(GET,    "/campaigns/{number}/preview/{variant}",       Marketer,      || web::to(admin::preview::frame)),
    entry(POST,   "/campaigns/{number}/test-mail",               Marketer,      || web::to(admin::preview::test_mail)),
    entry(GET,    "/campaigns/{number}/progress",                Marketer,      || web::to(admin::campaign::progress)),
    entry(POST,   "/campaigns/{number}/launch",                  Marketer,      || web::to(admin::steer::launch)),
    entry(POST,   "/campaigns/{number}/pause",                   Marketer,      || web::to(admin::steer::pause)),
    entry(POST,   "/campaigns/{number}/resume",                  Marketer,      || web::to(admin::steer::resume)),
    entry(POST,   "/campaigns/{number}/cancel",                  Marketer,      || web::to(admin::steer::cancel)),
    entry(POST,   "/campaigns/{number}/resend",                  Marketer,      || web::to(admin::steer::resend)),
    entry(POST,   "/campaigns/{number}/seal",                    Marketer,      || web::to(admin::steer::seal)),
    entry(POST,   "/campaigns/{number}/schedule",                Marketer,      || web::to(admin::steer::schedule)),
    entry(POST,   "/campaigns/{number}/decide",                  Marketer,      || web::to(admin::steer::decide)),
    entry(POST,   "/campaigns/{number}/close",                   Marketer,      || web::to(admin::steer::close)),
    entry(POST,   "/campaigns/{number}/delete",                  Marketer,      || web::to(admin::steer::delete)),
    entry(GET,    "/campaigns/{number}/results",                 Marketer,      || web::to(admin::results::show)),
    entry(GET,    "/campaigns/{number}/results.csv",             Marketer,      || web::to(admin::results::csv)),
    entry(GET,    "/campaigns/{number}/results.json",            Marketer,      || web::to(admin::results::json)),
    entry(GET,    "/campaigns/{number}/results.R",               Marketer,      || web::to(admin::results::r)),
    entry(GET,    "/campaigns/{number}/results.py",              Marketer,      || web::to(admin::results::python)),
    entry(GET,    "/campaigns/{number}/assignment",              Marketer,      || web::to(admin::assignment::show)),
    entry(GET,    "/campaigns/{number}/assignment.csv",          Marketer,      || web::to(admin::assignment::csv)),
    entry(POST,   "/campaigns/{number}/share",                   Marketer,      || web::to(admin::results::share)),
    // The server itself.
    entry(GET,    "/status",                                     Administrator, || web::to(admin::status::show)),
    entry(GET,    "/domain",                                     Administrator, || web::to(admin::domain::show)),
    entry(POST,   "/status/relays",                              Administrator, || web::to(admin::status::test_relays)),
    entry(POST,   "/status/rebuild",                             Administrator, || web::to(admin::status::rebuild)),
    entry(POST,   "/status/rebuild/stop",                        Administrator, || web::to(admin::status::stop_rebuild)),
    entry(POST,   "/status/verify",                              Administrator, || web::to(admin::status::verify)),
    entry(POST,   "/status/verify/stop",                         Administrator, || web::to(admin::status::stop_verify)),
    // Reviewers.
    entry(GET,    "/r/{token}",                                  Reviewer,      || web::to(review::show)),
    entry(GET,    "/r/{token}/results.csv",                      Reviewer,      || web::to(review::csv)),
    entry(GET,    "/r/{token}/results.json",                     Reviewer,      || web::to(review::json)),
    entry(GET,    "/r/{token}/results.R",                        Reviewer,      || web::to(review::r)),
    entry(GET,    "/r/{token}/results.py",                       Reviewer,      || web::to(review::python)),
    // Programs.
    entry(GET,    "/api",                                        Anybody,       || web::to(api::describe)),
    entry(GET,    "/api/v1/status",                              ApiKey,        || web::to(api::status::show)),
    entry(GET,    "/api/v1/rebuild",                             ApiKey,        || web::to(api::status::rebuild)),
    entry(POST,   "/api/v1/rebuild",                             ApiKey,        || web::to(api::status::start_rebuild)),
    entry(POST,   "/api/v1/rebuild/stop",                        ApiKey,        || web::to(api::status::stop_rebuild)),
    entry(GET,    "/api/v1/verify",                              ApiKey,        || web::to(api::status::checked)),
    entry(POST,   "/api/v1/verify",                              ApiKey,        || web::to(api::status::start_check)),
    entry(POST,   "/api/v1/verify/stop",                         ApiKey,        || web::to(api::status::stop_check)),
    entry(GET,    "/api/v1/domain",                              ApiKey,        || web::to(api::domain::check)),
    entry(GET,    "/api/v1/lists",                               ApiKey,        || web::to(api::people::lists)),
    entry(GET,    "/api/v1/lists/{name}/people",                 ApiKey,        || web::to(api::people::export)),
    entry(POST,   "/api/v1/lists/{name}/people",                 ApiKey,        || web::to(api::people::import)),
    entry(GET,    "/api/v1/images",                              ApiKey,        || web::to(api::letters::images)),
    entry(POST,   "/api/v1/images",                              ApiKey,        || web::to(api::letters::upload)),
    entry(POST,   "/api/v1/letters/compare",                     ApiKey,        || web::to(api::letters::compare)),
    entry(POST,   "/api/v1/letters/parts",                       ApiKey,        || web::to(api::letters::parts)),
    entry(POST,   "/api/v1/letters/rewrite",                     ApiKey,        || web::to(api::letters::rewrite)),
    entry(POST,   "/api/v1/people/letters",                      ApiKey,        || web::to(api::people::letters_to)),
    entry(POST,   "/api/v1/people/suppress",                     ApiKey,        || web::to(api::people::suppress)),
    entry(POST,   "/api/v1/people/unsuppress",                   ApiKey,        || web::to(api::people::unsuppress)),
    entry(POST,   "/api/v1/people/erase",                        ApiKey,        || web::to(api::people::erase)),
    entry(POST,   "/api/v1/relays/test",                         ApiKey,        || web::to(api::steer::test_relays)),
    entry(GET,    "/api/v1/campaigns",                           ApiKey,        || web::to(api::campaigns::list)),
    entry(POST,   "/api/v1/campaigns",                           ApiKey,        || web::to(api::campaigns::create)),
    entry(GET,    "/api/v1/campaigns/{campaign}",                ApiKey,        || web::to(api::campaigns::get)),
    entry(PUT,    "/api/v1/campaigns/{campaign}",                ApiKey,        || web::to(api::campaigns::replace)),
    entry(DELETE, "/api/v1/campaigns/{campaign}",                ApiKey,        || web::to(api::campaigns::delete)),
    entry(POST,   "/api/v1/campaigns/{campaign}/seal",           ApiKey,        || web::to(api::steer::seal)),
    entry(POST,   "/api/v1/campaigns/{campaign}/launch",         ApiKey,        || web::to(api::steer::launch)),
    entry(POST,   "/api/v1/campaigns/{campaign}/pause",          ApiKey,        || web::to(api::steer::pause)),
    entry(POST,   "/api/v1/campaigns/{campaign}/resume",         ApiKey,        || web::to(api::steer::resume)),
    entry(POST,   "/api/v1/campaigns/{campaign}/cancel",         ApiKey,        || web::to(api::steer::cancel)),
    entry(POST,   "/api/v1/campaigns/{campaign}/resend",         ApiKey,        || web::to(api::steer::resend)),
    entry(POST,   "/api/v1/campaigns/{campaign}/schedule",       ApiKey,        || web::to(api::steer::schedule)),
    entry(POST,   "/api/v1/campaigns/{campaign}/decide",         ApiKey,        || web::to(api::steer::decide)),
    entry(POST,   "/api/v1/campaigns/{campaign}/close",          ApiKey,        || web::to(api::steer::close)),
    entry(POST,   "/api/v1/campaigns/{campaign}/reclassify",     ApiKey,        || web::to(api::steer::reclassify)),
    entry(POST,   "/api/v1/campaigns/{campaign}/share",          ApiKey,        || web::to(api::steer::share)),
    entry(GET,    "/api/v1/campaigns/{campaign}/verify",         ApiKey,        || web::to(api::status::verify)),
    entry(GET,    "/api/v1/campaigns/{campaign}/lacking",        ApiKey,        || web::to(api::letters::lacking)),
    entry(GET,    "/api/v1/campaigns/{campaign}/preflight",      ApiKey,        || web::to(api::preflight::check)),
    entry(GET,    "/api/v1/campaigns/{campaign}/preview/{variant}", ApiKey,     || web::to(api::preflight::preview)),
    entry(POST,   "/api/v1/campaigns/{campaign}/test-mail",      ApiKey,        || web::to(api::preflight::test_mail)),
    entry(GET,    "/api/v1/campaigns/{campaign}/proof",          ApiKey,        || web::to(api::campaigns::proof)),
    entry(GET,    "/api/v1/campaigns/{campaign}/progress",       ApiKey,        || web::to(api::campaigns::progress)),
    entry(GET,    "/api/v1/campaigns/{campaign}/outlook",        ApiKey,        || web::to(api::campaigns::outlook)),
    entry(GET,    "/api/v1/campaigns/{campaign}/assignment",     ApiKey,        || web::to(api::campaigns::assignment)),
    entry(GET,    "/api/v1/campaigns/{campaign}/results",        ApiKey,        || web::to(api::campaigns::results)),
    entry(GET,    "/api/v1/campaigns/{campaign}/results.csv",    ApiKey,        || web::to(api::campaigns::results_csv)),
    entry(GET,    "/api/v1/campaigns/{campaign}/results.R",      ApiKey,        || web::to(api::campaigns::results_r)),
    entry(GET,    "/api/v1/campaigns/{campaign}/results.py",     ApiKey,        || web::to(api::campaigns::results_python)),
];

/// What every process answers, whatever its roles.
const EVERYWHERE: [&str; 8] = ["/i/{name}", "/privacy", "/robots.txt", "/favicon.ico", "/metrics", "/healthz", "/readyz", "/assets/{name}"];

/// Builds the application: of the table, what its roles answer. `pages` is there where pages are.
pub fn configure(config: &mut web::ServiceConfig, edge: web::Data<Edge>, pages: Option<web::Data<Web>>) {
    let (answers_hits, answers_pages) = (edge.roles.track, pages.is_some());
    config.app_data(edge);
    if let Some(pages) = pages {
        config.app_data(pages);
    }
    let answered = |entry: &Entry| {
        if is_hit(entry) { answers_hits } else { answers_pages || EVERYWHERE.contains(&entry.path) }
    };
    let (hits, framed): (Vec<&[Entry]>, Vec<&[Entry]>) = TABLE
        .chunk_by(|one, other| one.path == other.path)
        .filter(|entries| entries.iter().all(answered))
        .partition(|entries| entries.iter().all(is_hit));
    for entries in hits {
        config.service(resource(entries));
    }
    let pages = web::scope("").wrap(from_fn(frame)).configure(|config| {
        for entries in framed {
            config.service(resource(entries));
        }
    });
    config.service(pages.default_service(web::to(|| async { Err::<&str, Fault>(Fault::NotFound) })));
}

fn is_hit(entry: &Entry) -> bool {
    entry.path.starts_with("/o/") || entry.path.starts_with("/c/")
}

fn resource(entries: &'static [Entry]) -> Resource {
    let path = entries.first().map_or("", |entry| entry.path);
    let with_routes = entries.iter().fold(web::resource(path), |resource, entry| {
        let route = (entry.handler)().method(entry.method.clone());
        let reach = entry.reach;
        // Recipients' routes have no gate: what they carry is judged by their handlers.
        let gated = if reach == Recipient { route } else { route.wrap(from_fn(move |request, next| gate(reach, request, next))) };
        resource.route(gated)
    });
    with_routes.default_service(web::to(|| async { Err::<&str, Fault>(Fault::Method) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_path_stand_together_and_none_is_there_twice() {
        let mut paths: Vec<&str> = TABLE.chunk_by(|one, other| one.path == other.path).map(|entries| entries[0].path).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count);
        let mut routes: Vec<(&str, &Method)> = TABLE.iter().map(|entry| (entry.path, &entry.method)).collect();
        routes.sort_by_key(|(path, method)| (*path, method.as_str().to_owned()));
        routes.dedup();
        assert_eq!(routes.len(), TABLE.len());
    }

    #[test]
    fn only_reading_routes_are_open_to_everybody_but_logging_in_and_the_recipients_own_page() {
        for entry in TABLE.iter().filter(|entry| matches!(entry.reach, Anybody | Recipient | Reviewer)) {
            let reads = entry.method == Method::GET || entry.method == Method::HEAD;
            assert!(reads || ["/setup", "/login", "/u/{token}"].contains(&entry.path), "{} {}", entry.method, entry.path);
        }
    }
}
