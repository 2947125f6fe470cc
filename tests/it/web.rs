//! Purpose: what the web server answers to whom: pixels, links, recipients' pages, logins, forms, the API.
//!
//! Cast: [`Server`] (the real server on a real socket, over a [`World`]), [`Reply`], and one story per promise.
//!
//! Never: a status without looking at what it says, or a wait for time instead of for something.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on has failed")]

use std::net::TcpListener;

use letterlab::app::clock;
use letterlab::app::lab::Lab;
use letterlab::ids::EventId;
use letterlab::vault::account::{Account, Role, hash_password, key_hash};
use letterlab::vault::store;
use letterlab::web;
use letterlab::web::routes::{Reach, TABLE};
use reqwest::{Client, Method, redirect};
use tokio::sync::watch;

use crate::servers::dns::Dns;
use crate::world::{Engine, FIREFOX, Room, SITE, World, on_both_engines};

const PEOPLE: &str = "email,first_name,recording_mode,consent_source,consent_date\n\
    anna@example.com,Anna,pseudonymous,form,2026-01-01\n\
    boris@example.org,Boris,pseudonymous,form,2026-01-01\n";
const CAMPAIGN: &str = r#"
name = "story"
list = "customers"
[sender]
name = "Letterlab"
address = "news@example.org"
[letter]
subject = "Hello"
format = "markdown"
text = "Hello, [read this](https://example.org/a?b=c&d=e#f)"
[test]
element = "subject"
metric = "open"
[[variants]]
[[variants]]
value = "Good morning"
"#;
const PASSWORD: &str = "a long password";

on_both_engines!(
    pixels_are_the_same_for_every_token,
    links_lead_where_they_were_frozen_to,
    unsubscribing_takes_a_post_in_any_encoding_and_no_more,
    measuring_can_be_stopped_without_unsubscribing,
    every_route_is_reachable_by_whom_the_table_says,
    a_form_of_another_session_or_site_is_refused,
    a_session_ends_and_says_so,
    guessing_a_password_takes_long,
    the_first_account_is_made_once,
    a_program_runs_a_campaign,
    sending_is_steered_from_the_page_and_by_programs,
    a_program_is_told_what_is_wrong,
    a_draft_is_sealed_on_its_page_and_launched_later,
    a_file_is_imported_and_removed,
    a_draft_is_written_changed_and_deleted_with_nothing_lost,
    no_page_for_reviewers_names_a_person,
    pictures_are_taken_in_and_letters_looked_into,
    whole_letters_are_compared_stored_and_changed_on_the_page,
    programs_compare_letters_and_read_the_proof,
    a_result_names_chances_guards_and_power_and_is_saved_as_scripts,
    a_senders_domain_is_looked_up_on_the_page_and_by_programs,
    accounts_are_made_changed_and_removed_on_the_page,
    states_and_counts_are_made_anew_from_the_page_and_by_programs,
    who_asks_to_verify_while_that_is_under_way_is_told_what_to_do,
);

/// The real server over a world's lab; ends with this value.
struct Server {
    base: String,
    client: Client,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The cookies it sets, as a browser would send them back.
    fn cookies(&self) -> String {
        let all = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned());
        all.collect::<Vec<_>>().join("; ")
    }

    /// The secret of the first form on the page.
    fn csrf(&self) -> String {
        self.text().split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
    }
}

impl Server {
    fn start(lab: &Lab) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopping) = watch::channel(false);
        let lab = lab.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(web::serve(lab, listener, stopping)).unwrap();
        });
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self { base, client, stop, thread: Some(thread) }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body: answer.bytes().await.unwrap().to_vec() }
    }

    async fn get(&self, path: &str, cookies: &str) -> Reply {
        self.send(Method::GET, path, &[("cookie", cookies)], "").await
    }

    async fn post(&self, path: &str, cookies: &str, fields: &[(&str, &str)]) -> Reply {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.send(Method::POST, path, &[("cookie", cookies), kind], urlencoded(fields)).await
    }

    /// Logs in and answers the session's cookie.
    async fn log_in(&self, login: &str) -> String {
        let answer = self.try_log_in(login, PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.cookies()
    }

    async fn try_log_in(&self, login: &str, password: &str) -> Reply {
        let form = self.get("/login", "").await;
        let fields = [("csrf", &*form.csrf()), ("login", login), ("password", password), ("next", "/people")];
        self.post("/login", &form.cookies(), &fields).await
    }

    /// The secret that this session's forms carry.
    async fn csrf(&self, cookies: &str) -> String {
        self.get("/campaigns", cookies).await.csrf()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn urlencoded(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

fn multipart(fields: &[(&str, &str)], file: Option<(&str, &str)>) -> String {
    let mut body: String = fields
        .iter()
        .map(|(name, value)| format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
        .collect();
    if let Some((name, content)) = file {
        let head =
            format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"people.csv\"\r\nContent-Type: text/csv\r\n\r\n");
        body.push_str(&format!("{head}{content}\r\n"));
    }
    body + "--line--\r\n"
}

const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=line");

fn account(lab: &Lab, login: &str, role: Role) -> Account {
    let account = Account { id: EventId::from_bytes(clock::fresh()).to_string(), login: login.to_owned(), role };
    let hash = hash_password(PASSWORD, clock::fresh()).unwrap();
    lab.vault.write(|conn| store::create_account(conn, &account, &hash, lab.clock.now())).unwrap();
    account
}

/// An administrator, a marketer, and an API key.
fn accounts(lab: &Lab) -> String {
    let admin = account(lab, "ada", Role::Administrator);
    account(lab, "max", Role::Marketer);
    let key = "a key of the story";
    lab.vault.write(|conn| store::create_api_key(conn, &key_hash(key), &admin.id, "story", lab.clock.now())).unwrap();
    format!("Bearer {key}")
}

async fn sent(engine: Engine) -> World {
    World::with_campaign_sent(engine, PEOPLE, CAMPAIGN).await
}

fn stored_hits(world: &World) -> i64 {
    world.load();
    world.status().hits_stored
}

async fn pixels_are_the_same_for_every_token(engine: Engine) {
    let world = sent(engine).await;
    let server = Server::start(&world.lab);
    let path = format!("/o/{}.gif", world.letter_to("anna@example.com").pixel().unwrap());
    let forged = format!("/o/{}.gif", "a".repeat(52));
    let agent = [("user-agent", FIREFOX)];
    let genuine = server.send(Method::GET, &path, &agent, "").await;
    assert_eq!((genuine.status, genuine.body.len(), stored_hits(&world)), (200, 43, 1), "recorded before it is answered");
    assert_eq!(
        data_encoding::HEXLOWER.encode(&genuine.body),
        "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b"
    );
    let seen = |reply: &Reply| {
        let mut headers: Vec<(String, String)> =
            reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        headers
    };
    for (name, value) in [
        ("content-length", "43"),
        ("content-type", "image/gif"),
        ("cache-control", "no-store, private, max-age=0"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex, nofollow, noarchive"),
        ("set-cookie", ""),
        ("etag", ""),
    ] {
        assert_eq!(genuine.header(name), value, "{name}");
    }
    for path in [forged.as_str(), "/o/x.gif", &path.replace("/o/", "/o/a")] {
        let reply = server.send(Method::GET, path, &agent, "").await;
        assert_eq!((reply.status, &reply.body, seen(&reply)), (200, &genuine.body, seen(&genuine)), "{path}");
    }
    let head = server.send(Method::HEAD, &path, &agent, "").await;
    assert_eq!((head.status, head.body.len(), seen(&head)), (200, 0, seen(&genuine)));
    assert_eq!(stored_hits(&world), 2, "HEAD is recorded, forged tokens are not");
    assert_eq!(world.results("story").arms.iter().map(|arm| arm.successes).sum::<u64>(), 1);
    assert_eq!(world.status().hits_refused, 3);
}

/// What stands between the tags of a page: positions within drawings, which are written in `%` too, are none of its words.
fn words_of(page: &str) -> String {
    page.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, words)| words).collect::<Vec<_>>().join(" ")
}

/// Path and query of an address in a letter.
fn path_of(url: &str) -> String {
    url.strip_prefix(SITE).unwrap_or_else(|| panic!("{url} is not ours")).to_owned()
}

async fn links_lead_where_they_were_frozen_to(engine: Engine) {
    let world = sent(engine).await;
    let server = Server::start(&world.lab);
    let letter = world.letter_to("anna@example.com");
    let path = format!("/c/{}", letter.links().first().unwrap());
    for method in [Method::GET, Method::HEAD] {
        let reply = server.send(method, &format!("{path}?to=https://evil.example"), &[("user-agent", FIREFOX)], "").await;
        assert_eq!((reply.status, reply.header("location"), reply.body.len()), (302, "https://example.org/a?b=c&d=e#f", 0));
        assert_eq!((reply.header("cache-control"), reply.header("referrer-policy")), ("no-store, private, max-age=0", "no-referrer"));
    }
    let reply = server.send(Method::GET, &format!("/c/{}", "b".repeat(52)), &[], "").await;
    assert_eq!((reply.status, reply.header("location"), reply.header("cache-control")), (404, "", "no-store, private, max-age=0"));
    assert!(reply.text().contains("This link leads nowhere"), "{}", reply.text());
    // The campaign ends: nothing more is recorded, links go on working.
    world.tidy();
    let before = stored_hits(&world);
    world.close("story");
    world.tidy();
    let reply = server.send(Method::GET, &path, &[("user-agent", FIREFOX)], "").await;
    assert_eq!((reply.status, stored_hits(&world)), (302, before));
}

async fn unsubscribing_takes_a_post_in_any_encoding_and_no_more(engine: Engine) {
    let world = sent(engine).await;
    let server = Server::start(&world.lab);
    let suppressed = |address: &str| world.person(address).suppressed.is_some();
    let path = format!("/u/{}", world.letter_to("anna@example.com").unsubscribe_token());
    for method in [Method::GET, Method::HEAD] {
        let reply = server.send(method, &path, &[], "").await;
        assert_eq!((reply.status, reply.header("set-cookie")), (200, ""));
        assert!(!suppressed("anna@example.com"), "looking changes nothing");
    }
    let urlencoded = ("content-type", "application/x-www-form-urlencoded");
    for _ in 0..2 {
        let reply = server.send(Method::POST, &path, &[urlencoded], "List-Unsubscribe=One-Click").await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().contains("You are unsubscribed"));
        assert!(suppressed("anna@example.com"));
    }
    let path = format!("/u/{}", world.letter_to("boris@example.org").unsubscribe_token());
    let foreign = ("origin", "https://mail.example");
    let reply = server.send(Method::POST, &path, &[MULTIPART, foreign], multipart(&[("List-Unsubscribe", "One-Click")], None)).await;
    assert_eq!(reply.status, 200);
    assert!(suppressed("boris@example.org"), "no cookie, no secret, from anywhere");
    let reply = server.send(Method::POST, &format!("/u/{}", "c".repeat(52)), &[urlencoded], "List-Unsubscribe=One-Click").await;
    assert_eq!(reply.status, 404);
    world.tidy();
    assert_eq!(world.results("story").arms.iter().map(|arm| arm.unsubscribed).sum::<u64>(), 2, "twice by one person counts once");
}

async fn measuring_can_be_stopped_without_unsubscribing(engine: Engine) {
    let world = sent(engine).await;
    let server = Server::start(&world.lab);
    let letter = world.letter_to("anna@example.com");
    let (pixel, path) = (format!("/o/{}.gif", letter.pixel().unwrap()), format!("/u/{}", letter.unsubscribe_token()));
    server.send(Method::GET, &pixel, &[("user-agent", FIREFOX)], "").await;
    world.tidy();
    let reply = server.post(&path, "", &[("action", "stop-measurement")]).await;
    assert!(reply.status == 200 && reply.text().contains("no longer recorded"), "{}", reply.text());
    assert!(world.person("anna@example.com").suppressed.is_none());
    let reply = server.send(Method::GET, &pixel, &[("user-agent", FIREFOX)], "").await;
    assert_eq!((reply.status, reply.body.len()), (200, 43));
    assert_eq!(world.results("story").arms.iter().map(|arm| arm.successes).sum::<u64>(), 0, "what was recorded before is gone");
}

/// Who walks the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Nobody,
    Marketer,
    Administrator,
    Program,
    Reviewer,
}

impl Actor {
    const fn may(self, reach: Reach) -> bool {
        match reach {
            Reach::Anybody | Reach::Recipient => true,
            Reach::Reviewer => matches!(self, Self::Reviewer),
            Reach::Marketer => matches!(self, Self::Marketer | Self::Administrator),
            Reach::Administrator => matches!(self, Self::Administrator),
            Reach::ApiKey => matches!(self, Self::Program),
        }
    }
}

async fn every_route_is_reachable_by_whom_the_table_says(engine: Engine) {
    let world = sent(engine).await;
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let share = letterlab::app::campaigns::share(&world.lab, &world.campaign("story"), 1);
    let share = share.rsplit('/').next().unwrap().to_owned();
    let (admin, marketer) = (server.log_in("ada").await, server.log_in("max").await);
    for entry in TABLE {
        for actor in [Actor::Nobody, Actor::Marketer, Actor::Administrator, Actor::Program, Actor::Reviewer] {
            // Logging out would end the walk.
            if entry.path == "/logout" && actor.may(entry.reach) {
                continue;
            }
            let token = if actor == Actor::Reviewer { share.clone() } else { "a".repeat(52) };
            let path = entry
                .path
                .replace("{token}", &token)
                .replace("{number}", "1")
                .replace("{campaign}", "story")
                .replace("{variant}", "a")
                .replace("/lists/{name}", "/lists/customers")
                .replace("/assets/{name}", "/assets/live.js");
            let headers: Vec<(&str, &str)> = match actor {
                Actor::Marketer => vec![("cookie", &marketer)],
                Actor::Administrator => vec![("cookie", &admin)],
                Actor::Program => vec![("authorization", &key)],
                Actor::Nobody | Actor::Reviewer => vec![],
            };
            // Without a form's secret and without a body: who may come in is refused further inside, never at the gate.
            let reply = server.send(entry.method.as_str().parse().unwrap(), &path, &headers, "").await;
            let turned_away = match entry.reach {
                Reach::Anybody | Reach::Recipient => false,
                Reach::Marketer => reply.status == 303 && reply.header("location").starts_with("/login?"),
                // An administrator who sends a form without its secret was let in and is refused further inside.
                Reach::Administrator => {
                    let inside = entry.method == "POST" && actor == Actor::Administrator;
                    reply.header("location").starts_with("/login?") || (reply.status == 403 && !inside)
                }
                Reach::ApiKey => reply.status == 401,
                Reach::Reviewer => reply.status == 404,
            };
            assert_eq!(
                turned_away,
                !actor.may(entry.reach),
                "{actor:?} {} {}: {} {}",
                entry.method,
                entry.path,
                reply.status,
                reply.text()
            );
            assert!(reply.status < 500, "{actor:?} {} {}: {}", entry.method, entry.path, reply.text());
            if entry.method == "POST" && matches!(entry.reach, Reach::Marketer | Reach::Administrator) && actor.may(entry.reach) {
                assert_eq!(reply.status, 403, "{} without the form's secret: {}", entry.path, reply.text());
            }
            let hit = entry.path.starts_with("/o/") || entry.path.starts_with("/c/");
            if !hit {
                assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{}", entry.path);
                assert!(reply.header("strict-transport-security").starts_with("max-age="), "the site is https");
            }
        }
    }
    let reply = server.get("/nothing", "").await;
    assert_eq!(reply.status, 404);
    assert_eq!(server.post("/privacy", "", &[]).await.status, 405);
}

async fn a_form_of_another_session_or_site_is_refused(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    world.import(PEOPLE);
    world.draft(CAMPAIGN);
    let server = Server::start(&world.lab);
    let (mine, other) = (server.log_in("max").await, server.log_in("ada").await);
    let (secret, others) = (server.csrf(&mine).await, server.csrf(&other).await);
    let body = |csrf: &str| urlencoded(&[("csrf", csrf), ("confirmed", "yes")]);
    let urlencoded_kind = ("content-type", "application/x-www-form-urlencoded");
    let cases: [(&[(&str, &str)], String); 5] = [
        (&[], body("")),
        (&[], body(&others)),
        (&[("sec-fetch-site", "cross-site")], body(&secret)),
        (&[("sec-fetch-site", "same-site")], body(&secret)),
        (&[("origin", "https://evil.example")], body(&secret)),
    ];
    for (headers, body) in cases {
        let mut all = vec![("cookie", mine.as_str()), urlencoded_kind];
        all.extend(headers);
        let reply = server.send(Method::POST, "/campaigns/1/delete", &all, body).await;
        assert_eq!(reply.status, 403, "{headers:?}: {}", reply.text());
    }
    assert_eq!(world.state("story"), "draft");
    // Hidden by the browser because of our own referrer policy: the form's secret decides.
    let all = [("cookie", mine.as_str()), urlencoded_kind, ("origin", "null")];
    let reply = server.send(Method::POST, "/campaigns/1/delete", &all, body(&secret)).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/campaigns?done=deleted"));
    let stolen = server.post("/login", "", &[("csrf", "x"), ("login", "max"), ("password", PASSWORD)]).await;
    assert_eq!(stolen.status, 403, "the login form, too, must be the one this browser was shown");
    // Empty parts cost a stranger nothing to send: they must not fill our memory.
    let parts = format!("{}--x--\r\n", "--x\r\ncontent-disposition: form-data; name=\"\"\r\n\r\n\r\n".repeat(2_000));
    let reply = server.send(Method::POST, "/login", &[("content-type", "multipart/form-data; boundary=x")], parts).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
}

async fn a_session_ends_and_says_so(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    let server = Server::start(&world.lab);
    let reply = server.try_log_in("max", PASSWORD).await;
    assert_eq!(reply.header("location"), "/people");
    let set = reply.header("set-cookie");
    for part in ["__Host-letterlab_session=", "HttpOnly", "SameSite=Lax", "Path=/", "Secure"] {
        assert!(set.contains(part), "{part} in {set}");
    }
    let cookies = reply.cookies();
    assert_eq!(server.get("/people?x=1", &cookies).await.status, 200);
    world.wait(12);
    let reply = server.get("/people?x=1", &cookies).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/login?next=/people%3Fx%3D1&ended=yes"));
    let reply = server.get(reply.header("location"), &cookies).await;
    assert!(reply.text().contains("Your session has ended") && reply.text().contains("value=\"/people?x=1\""), "{}", reply.text());
    let again = server.log_in("max").await;
    let secret = server.csrf(&again).await;
    let reply = server.post("/logout", &again, &[("csrf", &secret)]).await;
    assert_eq!(reply.header("location"), "/login?left=yes");
    assert_eq!(server.get("/people", &again).await.status, 303, "the key is worth nothing any more");
}

async fn guessing_a_password_takes_long(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    let server = Server::start(&world.lab);
    for _ in 0..5 {
        assert_eq!(server.try_log_in("max", "a wrong password").await.status, 401);
    }
    let reply = server.try_log_in("max", PASSWORD).await;
    assert!(reply.status == 429 && reply.text().contains("5 seconds"), "even the right one has to wait: {}", reply.text());
    assert_eq!(server.try_log_in("ada", PASSWORD).await.status, 303, "others do not");
    world.wait(1);
    assert_eq!(server.try_log_in("max", PASSWORD).await.status, 303);
    let unknown = server.try_log_in("nobody", PASSWORD).await;
    let wrong = server.try_log_in("ada", "a wrong password").await;
    let message = |reply: &Reply| reply.text().split("role=\"alert\">").nth(1).unwrap().split("</div>").next().unwrap().to_owned();
    assert_eq!((unknown.status, message(&unknown)), (wrong.status, message(&wrong)), "nobody learns which logins there are");
}

async fn the_first_account_is_made_once(engine: Engine) {
    let world = World::new(engine).await;
    let public = Server::start(&world.lab).get("/setup", "").await;
    assert!(public.text().contains("Set-up code"), "with https a proxy stands in front, and it need not name itself");
    let mut lab = world.lab.clone();
    let mut config = (*lab.config).clone();
    config.web.base_url = "http://127.0.0.1:8025".to_owned();
    lab.config = std::sync::Arc::new(config);
    let server = Server::start(&lab);
    assert_eq!(server.get("/", "").await.header("location"), "/setup");
    let form = server.get("/setup", "").await;
    assert!(!form.text().contains("Set-up code"), "this is the server's own machine");
    let fields = |password: &'static str| vec![("login", "ada"), ("password", password), ("password_again", password)];
    let mut short = fields("short");
    let secret = form.csrf();
    short.push(("csrf", &secret));
    let reply = server.post("/setup", &form.cookies(), &short).await;
    assert!(reply.status == 422 && reply.text().contains("at least 10 characters") && reply.text().contains("value=\"ada\""));
    let named = [("host", "news.example.org")];
    let reply = server.send(Method::GET, "/setup", &named, "").await;
    assert!(reply.text().contains("Set-up code"), "reached by another name it may be anybody");
    let all = [("cookie", &*reply.cookies()), ("content-type", "application/x-www-form-urlencoded"), ("host", "news.example.org")];
    let mut good = fields(PASSWORD);
    let secret = reply.csrf();
    good.extend([("csrf", secret.as_str()), ("code", "wrong")]);
    let reply = server.send(Method::POST, "/setup", &all, urlencoded(&good)).await;
    assert!(reply.status == 422 && reply.text().contains("not the code"), "{}", reply.text());
    let mut good = fields(PASSWORD);
    let secret = form.csrf();
    good.push(("csrf", &secret));
    let reply = server.post("/setup", &form.cookies(), &good).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/people?done=welcome"));
    assert_eq!(server.get("/status", &reply.cookies()).await.status, 200, "the first is an administrator");
    assert_eq!(server.get("/setup", "").await.status, 404);
    assert_eq!(server.post("/setup", &form.cookies(), &good).await.status, 404);
}

async fn a_program_runs_a_campaign(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let with_key = [("authorization", key.as_str())];
    let reply = server.send(Method::POST, "/api/v1/lists/customers/people", &with_key, PEOPLE).await;
    assert_eq!((reply.status, &reply.json()["added"]), (200, &serde_json::json!(2)), "{}", reply.text());
    let json: serde_json::Value = serde_json::to_value(toml::from_str::<toml::Value>(CAMPAIGN).unwrap()).unwrap();
    let as_json = [("authorization", key.as_str()), ("content-type", "application/json")];
    let reply = server.send(Method::POST, "/api/v1/campaigns", &as_json, json.to_string()).await;
    assert_eq!((reply.status, reply.header("location")), (201, "/api/v1/campaigns/story"), "{}", reply.text());
    let reply = server.send(Method::GET, "/api/v1/campaigns/story/preflight", &with_key, "").await;
    assert_eq!((reply.status, &reply.json()["level"]), (200, &serde_json::json!("warn")), "no preheader: {}", reply.text());
    let reply = server.send(Method::GET, "/api/v1/campaigns/story/preview/b?first_name=Lan", &with_key, "").await;
    assert_eq!((reply.status, &reply.json()["subject"]), (200, &serde_json::json!("Good morning")), "{}", reply.text());
    let reply =
        server.send(Method::POST, "/api/v1/campaigns/story/test-mail", &with_key, r#"{"to": "ada@example.org", "variants": ["B"]}"#).await;
    assert_eq!(reply.json(), serde_json::json!([{"variant": "B", "accepted": true, "why": ""}]));
    assert_eq!(world.received().last().unwrap().subject, "Good morning");
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/seal", &with_key, "").await;
    assert_eq!((reply.status, &reply.json()["state"], world.received().len()), (200, &serde_json::json!("sealed"), 1), "{}", reply.text());
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/launch", &with_key, "").await;
    assert_eq!((reply.status, &reply.json()["state"]), (200, &serde_json::json!("sending")), "{}", reply.text());
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/pause", &with_key, "").await;
    assert_eq!(reply.json()["paused"], "paused by an administrator", "a login may be an address; reviewers see this");
    server.send(Method::POST, "/api/v1/campaigns/story/resume", &with_key, "").await;
    let reply = server.send(Method::GET, "/api/v1/campaigns/story/progress", &with_key, "").await;
    assert_eq!(
        (&reply.json()["mailings"]["enrolled"], &reply.json()["mailings"]["queued"]),
        (&serde_json::json!(2), &serde_json::json!(2))
    );
    let reply = server.send(Method::GET, "/api/v1/campaigns/1/results", &with_key, "").await;
    assert_eq!(reply.json()["arms"].as_array().unwrap().len(), 2);
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/share", &with_key, r#"{"days": 3}"#).await;
    let link = reply.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&path_of(&link), "").await.status, 200);
    world.wait(24 * 3 + 1);
    let ended = server.get(&path_of(&link), "").await;
    assert!(ended.status == 404 && ended.text().contains("This link has ended"));
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/reclassify", &with_key, r#"{"dry_run": true}"#).await;
    assert!(reply.text().contains(r#""dry_run":true,"letters":0,"changes":{"hits":0"#), "{}", reply.text());
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/close", &with_key, "").await;
    assert_eq!(reply.json()["state"], "closed");
}

async fn sending_is_steered_from_the_page_and_by_programs(engine: Engine) {
    let mut world = World::new(engine).await;
    let key = accounts(&world.lab);
    world.import(PEOPLE);
    world.draft(CAMPAIGN);
    world.mailboxes.answer("anna@example.com", crate::mailboxes::Answer::Always(letterlab::smtpd::Reply::mailbox_unknown()));
    let server = Server::start(&world.lab);
    let with_key = [("authorization", key.as_str())];
    let session = server.log_in("ada").await;
    let secret = server.csrf(&session).await;
    let form = async |path: &str, fields: &[(&str, &str)]| {
        let fields: Vec<(&str, &str)> = [("csrf", secret.as_str())].iter().chain(fields).copied().collect();
        server.post(path, &session, &fields).await
    };

    // Held back until a moment, and let go.
    assert_eq!(form("/campaigns/1/schedule", &[("start", "tomorrow")]).await.status, 400);
    let past = form("/campaigns/1/schedule", &[("start", "2020-11-23T08:00")]).await;
    assert!(past.status == 400 && past.text().contains("cannot leave at 2020-11-23T08:00:00Z: it is"), "{}", past.text());
    let past = server.send(Method::POST, "/api/v1/campaigns/story/schedule", &with_key, r#"{"start": "2020-11-23T08:00:00Z"}"#).await;
    assert!(past.status == 400 && past.text().contains("Write a later moment"), "{}", past.text());
    assert_eq!(form("/campaigns/1/schedule", &[("start", "2026-11-23T08:00")]).await.status, 303);
    world.launch("story").unwrap();
    let page = server.get("/campaigns/1", &session).await.text();
    assert!(page.contains("The first letter leaves at") && page.contains("Cancel sending"), "{page}");
    assert_eq!(world.send_a_batch().await.taken, 0);
    let reply = server.send(Method::POST, "/api/v1/campaigns/story/schedule", &with_key, r#"{"start": "soon"}"#).await;
    assert_eq!(reply.status, 400);
    assert_eq!(server.send(Method::POST, "/api/v1/campaigns/story/schedule", &with_key, "").await.status, 200);
    world.deliver_everything().await;

    // What became of each, in numbers and per person.
    let page = server.get("/campaigns/1/progress", &session).await.text();
    assert!(page.contains("Why letters were not accepted") && page.contains("hard 550 5.1.1"), "{page}");
    let page = form("/people/letters", &[("address", "anna@example.com")]).await.text();
    assert!(page.contains("story") && page.contains("550 5.1.1 no such mailbox here") && page.contains("rcpt"), "{page}");
    assert!(form("/people/letters", &[("address", "who@example.com")]).await.text().contains("nobody has this address"));
    let reply = server.send(Method::POST, "/api/v1/people/letters", &with_key, r#"{"address": "boris@example.org"}"#).await;
    assert_eq!(
        (&reply.json()["letters"][0]["campaign_name"], &reply.json()["letters"][0]["state"]),
        (&serde_json::json!("story"), &serde_json::json!("accepted"))
    );

    // One person: no more letters, letters again, erased; by page and by program.
    let boris = [("address", "boris@example.org")];
    let shown = async || form("/people/letters", &boris).await.text();
    assert!(shown().await.contains("may be mailed"));
    assert_eq!(form("/people/suppress", &boris).await.header("location"), "/people?done=suppressed");
    assert!(shown().await.contains("by hand") && shown().await.contains("Take the suppression back"));
    let ask = async |path: &str, address: &str| {
        server.send(Method::POST, &format!("/api/v1/people/{path}"), &with_key, format!(r#"{{"address": "{address}"}}"#)).await
    };
    let letters = ask("letters", "boris@example.org").await.json();
    assert_eq!((&letters["may_be_mailed"], &letters["suppressed"]), (&false.into(), &"by hand".into()));
    assert_eq!(ask("suppress", "boris@example.org").await.json()["new"], false);
    assert_eq!(form("/people/unsuppress", &boris).await.status, 303);
    assert_eq!(ask("unsuppress", "boris@example.org").await.json()["new"], false);
    let bounced = ask("unsuppress", "anna@example.com").await;
    assert!(bounced.status == 409 && bounced.text().contains("hard bounce"), "{}", bounced.text());
    assert_eq!(ask("suppress", "who@example.org").await.status, 404);
    assert_eq!(form("/people/erase", &boris).await.status, 400, "not without the tick");
    assert_eq!(form("/people/erase", &[boris[0], ("confirmed", "yes")]).await.header("location"), "/people?done=erased");
    assert_eq!(ask("letters", "boris@example.org").await.status, 404);
    assert_eq!(ask("erase", "boris@example.org").await.status, 404);
    world.import(PEOPLE);
    assert_eq!(ask("erase", "boris@example.org").await.status, 204);
    world.import(PEOPLE);

    // Relays tried out.
    let page = form("/status/relays", &[("sender", "news@example.org")]).await.text();
    assert!(page.contains("Tried just now") && page.contains("letters from this address are taken"), "{page}");
    let reply = server.send(Method::POST, "/api/v1/relays/test", &with_key, "").await;
    assert_eq!((&reply.json()[0]["relay"], &reply.json()[0]["good"]), (&serde_json::json!("relay"), &serde_json::json!(true)));

    // Cancelled, by page and by program.
    for name in ["second", "third"] {
        world.draft(&CAMPAIGN.replace("story", name));
        world.launch(name).unwrap();
    }
    assert_eq!(form("/campaigns/2/resend", &[]).await.status, 400, "not without the tick");
    assert_eq!(form("/campaigns/2/resend", &[("confirmed", "yes")]).await.status, 303);
    assert_eq!(server.send(Method::POST, "/api/v1/campaigns/third/resend", &with_key, "").await.status, 200);
    assert_eq!(form("/campaigns/2/cancel", &[]).await.status, 400, "not without the tick");
    assert_eq!(form("/campaigns/2/cancel", &[("confirmed", "yes")]).await.status, 303);
    assert_eq!(server.send(Method::POST, "/api/v1/campaigns/third/cancel", &with_key, "").await.status, 200);
    let received = world.received().len();
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.counts("second").accepted, world.state("third")), (received, 0, "observing"));
}

async fn a_draft_is_sealed_on_its_page_and_launched_later(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    world.import(PEOPLE);
    world.draft(CAMPAIGN);
    let server = Server::start(&world.lab);
    let session = server.log_in("max").await;
    let page = server.get("/campaigns/1", &session).await;
    assert!(page.text().contains("Seal only") && page.text().contains("Seal and launch"), "{}", page.text());
    let csrf = page.csrf();
    assert_eq!(server.post("/campaigns/1/seal", &session, &[("csrf", &csrf)]).await.status, 400, "not without the tick");
    let sealed = server.post("/campaigns/1/seal", &session, &[("csrf", &csrf), ("confirmed", "yes")]).await;
    assert_eq!((sealed.status, sealed.header("location"), world.state("story")), (303, "/campaigns/1?done=sealed", "sealed"));
    let page = server.get("/campaigns/1?done=sealed", &session).await.text();
    assert!(page.contains("Nothing was sent") && !page.contains("Seal only"), "{page}");
    let launched = server.post("/campaigns/1/launch", &session, &[("csrf", &csrf), ("confirmed", "yes")]).await;
    assert_eq!((launched.status, world.state("story")), (303, "sending"), "{}", launched.text());
}

async fn a_program_is_told_what_is_wrong(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    world.import(PEOPLE);
    let server = Server::start(&world.lab);
    let with_key = [("authorization", key.as_str())];
    let wrong = CAMPAIGN.replace("metric = \"open\"", "metric = \"sales\"");
    let reply = server.send(Method::POST, "/api/v1/campaigns", &with_key, wrong.clone()).await;
    let line = wrong.lines().position(|line| line.starts_with("metric")).unwrap() + 1;
    assert_eq!((reply.status, &reply.json()["problems"][0]["key"]), (422, &serde_json::json!("test.metric")));
    assert_eq!(reply.json()["problems"][0]["line"], line);
    world.draft(CAMPAIGN);
    for (method, path, body, status, words) in [
        (Method::POST, "/api/v1/campaigns", CAMPAIGN, 409, "exists already"),
        (Method::GET, "/api/v1/campaigns/other", "", 404, "no campaign is named"),
        (Method::POST, "/api/v1/campaigns/story/decide", r#"{"variant": "B"}"#, 409, "observing"),
        (Method::POST, "/api/v1/campaigns/story/decide", r#"{"arm": "B"}"#, 400, "unknown field"),
        (Method::POST, "/api/v1/campaigns/story/pause", "", 409, "is draft; it sends nothing"),
        (Method::POST, "/api/v1/campaigns/story/resume", "", 409, "it is not paused"),
        (
            Method::POST,
            "/api/v1/campaigns/story/schedule",
            r#"{"start": "tomorrow"}"#,
            400,
            "start: 'tomorrow' is no moment; write it with its offset",
        ),
        (Method::POST, "/api/v1/campaigns/story/share", "", 409, "draft"),
        (Method::POST, "/api/v1/lists/x/people", "name\nanna", 400, "no e-mail column"),
        (Method::POST, "/api/v1/lists/x/people?recording_mode=off", "email\na@example.org", 400, "belong together"),
        (
            Method::POST,
            "/api/v1/lists/x/people?recording_mode=off&consent_source=shop&consent_date=2099-01-01",
            "email\na@example.org",
            400,
            "in the future",
        ),
        (Method::GET, "/api/v1/lists/x/people", "", 404, "No list is named \"x\"; there are: customers."),
        (Method::PATCH, "/api/v1/campaigns", "", 405, "cannot be done here"),
        (Method::GET, "/api/v1/nothing", "", 404, "nothing here; GET /api shows every route"),
        (Method::GET, "/api/campaigns", "", 404, "GET /api shows every route"),
        (Method::POST, "/api/v1/people/letters", r#"{"address": "nobody@example.org"}"#, 404, "Nobody has this address"),
    ] {
        let reply = server.send(method.clone(), path, &with_key, body).await;
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(reply.status == status && error.contains(words), "{method} {path}: {} {error}", reply.status);
    }
    let reply = server.send(Method::POST, "/api/v1/campaigns", &with_key, vec![b' '; 5 * 1024 * 1024]).await;
    assert!(reply.status == 413 && reply.json()["error"].as_str().unwrap().contains("4 MB"), "{}", reply.text());
    assert_eq!(server.send(Method::DELETE, "/api/v1/campaigns/story", &with_key, "").await.status, 204);
}

async fn a_file_is_imported_and_removed(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let session = server.log_in("max").await;
    let secret = server.csrf(&session).await;
    let headers = [("cookie", session.as_str()), MULTIPART];
    let fields = [("csrf", secret.as_str()), ("list", "customers"), ("mode", "file")];
    let file = format!("{PEOPLE}nobody,,,,\n");
    let reply = server.send(Method::POST, "/people/import", &headers, multipart(&fields, Some(("file", &file)))).await;
    let text = reply.text();
    assert!(reply.status == 200 && text.contains("Every line is accounted for") && text.contains("2 + 0 + 0 + 0 + 1 = 3"), "{text}");
    assert!(!text.contains("nobody"), "what was refused is not repeated");
    // A consent that nobody stated is made up neither here nor for programs.
    let unstated = "email,recording_mode\ncarla@example.org,identified\n";
    let text = server.send(Method::POST, "/people/import", &headers, multipart(&fields, Some(("file", unstated)))).await.text();
    assert!(text.contains("identified needs the person") && text.contains("consent_source (where) and consent_date (when)"), "{text}");
    let with_key = [("authorization", key.as_str())];
    let report = server.send(Method::POST, "/api/v1/lists/customers/people", &with_key, unstated).await.json();
    assert_eq!((&report["refused"], &report["refused_by_kind"]["consent"]), (&1.into(), &1.into()));
    let uploads: Vec<_> = std::fs::read_dir(world.folder().join("uploads")).unwrap().collect();
    assert!(uploads.is_empty(), "{uploads:?}");
    let reply = server.send(Method::POST, "/people/import", &headers, multipart(&fields, Some(("file", "email\n\"open")))).await;
    assert!(reply.status == 422 && reply.text().contains("never closed"), "{}", reply.text());
    let stated =
        [("csrf", secret.as_str()), ("list", ""), ("mode", "identified"), ("consent_source", "fair"), ("consent_date", "2030-01-01")];
    let reply = server.send(Method::POST, "/people/import", &headers, multipart(&stated, Some(("file", PEOPLE)))).await;
    let text = reply.text();
    assert!(
        reply.status == 422 && text.contains("Name the list") && text.contains("still to come") && text.contains("value=\"fair\""),
        "{text}"
    );
    let forged = [("csrf", "wrong"), ("list", "customers"), ("mode", "file")];
    let reply = server.send(Method::POST, "/people/import", &headers, multipart(&forged, Some(("file", PEOPLE)))).await;
    assert_eq!(reply.status, 403);
    let list = server.get("/people/lists/customers", &session).await.text();
    assert!(list.contains("anna@example.com") && list.contains("Boris"), "{list}");
    let export = server.get("/people/lists/customers/export.csv", &session).await;
    assert!(export.header("content-disposition").contains("people.csv") && export.text().lines().count() == 3, "{}", export.text());
    assert_eq!(server.get("/people/lists/other", &session).await.status, 404);
}

async fn a_draft_is_written_changed_and_deleted_with_nothing_lost(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    world.import(PEOPLE);
    let server = Server::start(&world.lab);
    let session = server.log_in("max").await;
    let secret = server.csrf(&session).await;
    let form = |body: &'static str, name: &'static str| {
        vec![
            ("csrf", secret.as_str()),
            ("name", name),
            ("list", "customers"),
            ("sender_name", "Fern"),
            ("sender_address", "news@example.org"),
            ("subject", "Hello"),
            ("format", "markdown"),
            ("body", body),
            ("mode", "pseudonymous"),
            ("element", "subject"),
            ("variant_2_value", "Good day"),
            ("test_share", "50"),
            ("metric", "click"),
            ("level", "5"),
            ("hours", "48"),
            ("rule", "hand"),
            ("method", "anytime"),
            ("holdout", "0"),
            ("planned_lift", "30"),
        ]
    };
    let reply = server.post("/campaigns/new", &session, &form("Dear {{ frist_name }}", "from-form")).await;
    let text = reply.text();
    assert!(reply.status == 422 && text.contains("did you mean first_name") && text.contains("Dear {{ frist_name }}"), "{text}");
    let reply = server.post("/campaigns/new", &session, &form("Dear {{ first_name }}, [look](https://example.org/)", "from-form")).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/campaigns/1?done=drafted"), "{}", reply.text());
    let page = server.get("/campaigns/1", &session).await.text();
    assert!(page.contains("Seal and launch") && page.contains("1 of 2 people"), "{page}");
    assert!(page.contains("What this test can show") && page.contains("a click rate of 3 % is assumed"), "{page}");
    let preview = server.get("/campaigns/1/preview/b", &session).await;
    assert!(
        preview.header("content-security-policy").starts_with("sandbox;") && preview.text().contains("[first_name]"),
        "{}",
        preview.text()
    );
    let edit = server.get("/campaigns/1/edit", &session).await.text();
    assert!(edit.contains("Dear {{ first_name }}") && edit.contains("value=\"50\""), "{edit}");
    assert!(edit.contains("value=\"anytime\" checked") && edit.contains("name=\"holdout\" type=\"number\" value=\"0\""), "{edit}");
    let reply =
        server.post("/campaigns/1/edit", &session, &form("Dear {{ first_name }}, [welcome](https://example.org/)", "from-form-2")).await;
    assert_eq!(reply.header("location"), "/campaigns/1?done=changed", "{}", reply.text());
    let file = server.get("/campaigns/1/campaign.toml", &session).await.text();
    let pasted = file.replace("from-form-2", "from-file").replace("share = 0.5", "share = 1.5");
    let headers = [("cookie", session.as_str()), MULTIPART];
    let reply = server.send(Method::POST, "/campaigns/upload", &headers, multipart(&[("csrf", &secret), ("toml", &pasted)], None)).await;
    assert!(reply.status == 422 && reply.text().contains("test.share") && reply.text().contains("from-file"), "{}", reply.text());
    let pasted = pasted.replace("share = 1.5", "share = 1.0");
    let upload = multipart(&[("csrf", &secret)], Some(("toml_file", &pasted)));
    let reply = server.send(Method::POST, "/campaigns/upload", &headers, upload).await;
    assert_eq!(reply.header("location"), "/campaigns/2?done=drafted", "{}", reply.text());
    let reply = server.post("/campaigns/2/delete", &session, &[("csrf", &secret)]).await;
    assert_eq!(reply.status, 400, "what cannot be undone wants its tick");
    server.post("/campaigns/2/delete", &session, &[("csrf", &secret), ("confirmed", "yes")]).await;
    assert_eq!(server.get("/campaigns/2", &session).await.status, 404);
    let reply = server.post("/campaigns/1/launch", &session, &[("csrf", &secret), ("confirmed", "yes")]).await;
    assert_eq!(reply.header("location"), "/campaigns/1?done=launched", "{}", reply.text());
    assert_eq!(server.get("/campaigns/1/edit", &session).await.status, 409);
    let fragment = server.get("/campaigns/1/progress?seen=sending", &session).await.text();
    assert!(fragment.starts_with("<section") && fragment.contains("data-running=\"true\""), "{fragment}");
    let moved_on = server.get("/campaigns/1/progress?seen=sealed", &session).await.text();
    assert!(moved_on.contains("data-running=\"false\""), "the page is to be loaded again");
}

async fn no_page_for_reviewers_names_a_person(engine: Engine) {
    let world = sent(engine).await;
    let server = Server::start(&world.lab);
    let link = path_of(&letterlab::app::campaigns::share(&world.lab, &world.campaign("story"), 30));
    for path in [
        link.clone(),
        format!("{link}/results.csv"),
        format!("{link}/results.json"),
        format!("{link}/results.R"),
        format!("{link}/results.py"),
    ] {
        let reply = server.get(&path, "").await;
        let text = reply.text().to_lowercase();
        assert_eq!(reply.status, 200, "{path}");
        for word in ["anna", "boris", "example.com", "log out"] {
            assert!(!text.contains(word), "{word} in {path}");
        }
        for person in ["anna@example.com", "boris@example.org"] {
            for pseudonym in world.pseudonyms(person) {
                assert!(!text.contains(&pseudonym.to_string()), "a pseudonym in {path}");
            }
        }
        assert_eq!(reply.header("set-cookie"), "");
    }
}

async fn a_result_names_chances_guards_and_power_and_is_saved_as_scripts(engine: Engine) {
    let world = World::with_campaign_sent(
        engine,
        &crate::world::people(80),
        &CAMPAIGN.replace("[[variants]]\n[[", "secondary = [\"click\"]\n[[variants]]\n[["),
    )
    .await;
    for letter in world.received().iter().take(30) {
        world.open(&letter.pixel().unwrap(), FIREFOX).await;
    }
    world.tidy();
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let session = server.log_in("max").await;
    let link = path_of(&letterlab::app::campaigns::share(&world.lab, &world.campaign("story"), 30));
    let text = server.get(&link, "").await.text();
    for words in [
        "The chances",
        "never replaces it",
        "Guards",
        "Unsubscribe, variant B",
        "Power reached",
        "does not decide",
        "descriptive",
        "95 % interval",
    ] {
        assert!(text.contains(words), "{words} on {text}");
    }
    let outside_figures = words_of(&text);
    assert!(!outside_figures.contains("95%") && !text.contains("5.00 %</dd>"), "one style of per cent: {outside_figures}");
    let of_marketer = "/campaigns/1".to_owned();
    for (base, cookie, key) in
        [(&link, "", ""), (&of_marketer, session.as_str(), ""), (&"/api/v1/campaigns/story".to_owned(), "", key.as_str())]
    {
        for (ending, kind, words) in
            [("R", "text/x-r; charset=utf-8", "arm <- c(\"A\", \"B\")"), ("py", "text/x-python; charset=utf-8", "arm = [\"A\", \"B\"]")]
        {
            let path = format!("{base}/results.{ending}");
            let reply = server.send(Method::GET, &path, &[("cookie", cookie), ("authorization", key)], "").await;
            assert_eq!((reply.status, reply.header("content-type")), (200, kind), "{path}");
            assert_eq!(reply.header("content-disposition"), format!("attachment; filename=\"story-results.{ending}\""));
            assert!(reply.text().contains(words), "{path}: {}", reply.text());
        }
    }
    let page = server.get(&link, "").await.text();
    assert!(page.contains(&format!("{link}/results.R")) && page.contains(&format!("{link}/results.py")));
}

async fn a_senders_domain_is_looked_up_on_the_page_and_by_programs(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    let dns = Dns::start(&[("_dmarc.example.org", "TXT", "v=DMARC1; p=none; rua=mailto:<d@example.org>")]).unwrap();
    let mut lab = world.lab.clone();
    let mut config = (*lab.config).clone();
    config.domain.resolver = dns.address().to_string();
    lab.config = std::sync::Arc::new(config);
    let server = Server::start(&lab);
    let admin = server.log_in("ada").await;

    let question = server.get("/domain", &admin).await.text();
    assert!(question.contains("Ask the DNS") && !question.contains("DMARC"), "{question}");
    let page = server.get("/domain?name=example.org&ip=192.0.2.25", &admin).await.text();
    assert!(page.contains("there is no SPF record") && page.contains("v=spf1 ip4:192.0.2.25 ~all"), "{page}");
    assert!(page.contains("p=none; rua=mailto:&#60;d@example.org") && page.contains("it has no name"), "{page}");
    assert_eq!(server.get("/domain?name=nonsense", &admin).await.status, 400);

    let authorization = format!("Bearer {}", key.trim_start_matches("Bearer "));
    let headers: &[(&str, &str)] = &[("authorization", &authorization)];
    let report = server.send(Method::GET, "/api/v1/domain?name=example.org&ip=192.0.2.25", headers, "").await.json();
    assert_eq!((&report["domain"], &report["level"]), (&"example.org".into(), &"stop".into()), "{report}");
    let dmarc = report["findings"].as_array().unwrap().iter().find(|finding| finding["subject"] == "DMARC").unwrap();
    assert_eq!(dmarc["level"], "ok", "{report}");
    for bad in ["/api/v1/domain", "/api/v1/domain?name=example.org&ip=here", "/api/v1/domain?name=a..b"] {
        assert_eq!(server.send(Method::GET, bad, headers, "").await.status, 400, "{bad}");
    }
}

async fn pictures_are_taken_in_and_letters_looked_into(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    world.import(PEOPLE);
    let server = Server::start(&world.lab);
    let with_key = [("authorization", key.as_str())];
    let picture = b"GIF89a one small picture".to_vec();
    // By a program: stored once, whatever it is sent how often.
    let reply = server.send(Method::POST, "/api/v1/images", &with_key, picture.clone()).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{SITE}/i/")) && url.ends_with(".gif"), "{url}");
    assert_eq!(server.send(Method::POST, "/api/v1/images", &with_key, picture.clone()).await.json()["url"], url);
    let reply = server.send(Method::POST, "/api/v1/images", &with_key, "<svg xmlns=''/>").await;
    assert!(reply.status == 400 && reply.text().contains("save it as PNG"), "{}", reply.text());
    assert_eq!(server.send(Method::GET, "/api/v1/images", &with_key, "").await.json().as_array().unwrap().len(), 1);
    // Anybody who has the address sees it, for a year; a guess or another ending finds nothing.
    let path = path_of(&url);
    let shown = server.get(&path, "").await;
    assert_eq!((shown.status, shown.header("content-type"), &shown.body), (200, "image/gif", &picture));
    assert!(shown.header("cache-control").contains("immutable") && shown.header("cross-origin-resource-policy") == "cross-origin");
    for wrong in [path.replace(".gif", ".png"), path.replace("/i/", "/i/0"), "/i/0123456789abcdefghijklmnop.gif".to_owned()] {
        assert_eq!(server.get(&wrong, "").await.status, 404, "{wrong}");
    }
    // By a person.
    let cookies = server.log_in("max").await;
    let csrf = server.get("/images", &cookies).await.csrf();
    let send = async |bytes: &[u8]| {
        let head = format!(
            "--x\r\ncontent-disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n--x\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n"
        );
        let body = [head.as_bytes(), bytes, b"\r\n--x--\r\n"].concat();
        server.send(Method::POST, "/images", &[("cookie", &cookies), ("content-type", "multipart/form-data; boundary=x")], body).await
    };
    let taken = send(b"\x89PNG\r\n\x1a\nother").await;
    assert!(
        taken.status == 200 && taken.text().contains("The picture is here") && taken.text().contains(".png</code>"),
        "{}",
        taken.text()
    );
    let refused = send(&[b"GIF89a".to_vec(), vec![0; 3 * 1024 * 1024]].concat()).await;
    assert!(refused.status == 422 && refused.text().contains("at most 2 MB"), "{}", refused.text());
    // What may vary in a letter, and tags of other systems.
    let letter =
        r##"{"format": "html", "source": "<style>.a{color:red}</style><p>Hi <a id='offer' href='https://a.example/'>Buy</a></p>"}"##;
    let parts = server.send(Method::POST, "/api/v1/letters/parts", &with_key, letter).await.json();
    assert_eq!((&parts["parts"][1]["address"], &parts["rules"][0]), (&"offer".into(), &".a".into()), "{parts}");
    let reply = server.send(Method::POST, "/api/v1/letters/parts", &with_key, r#"{"format": "mjml", "source": "<p>{{ a"}"#).await;
    assert!(reply.status == 400 && reply.text().contains("line 1"), "{}", reply.text());
    let tags = server.send(Method::POST, "/api/v1/letters/rewrite", &with_key, r#"{"text": "*|FNAME|* *|EMAIL|*"}"#).await.json();
    assert_eq!((&tags["text"], &tags["left"][0]["tag"]), (&"{{ first_name }} *|EMAIL|*".into(), &"*|EMAIL|*".into()));
    // The same on the form, with nothing lost and nothing stored.
    let csrf = server.get("/campaigns/new", &cookies).await.csrf();
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "kept"),
        ("format", "html"),
        ("subject", "*|FNAME|*!"),
        ("body", "<p id=x>{{ .Subscriber.City }} *|EMAIL|*</p>"),
    ];
    let page = server.post("/campaigns/letter/rewrite", &cookies, &fields).await;
    let text = page.text();
    for expected in [
        "value=\"kept\"",
        "value=\"{{ first_name }}!\"",
        "subject, line 1",
        "could not be rewritten",
        "&#60;p id=x&#62;{{ city }} *|EMAIL|*",
    ] {
        assert!(
            text.contains(expected) || text.contains(&expected.replace("&#60;", "&lt;").replace("&#62;", "&gt;")),
            "{expected}: {text}"
        );
    }
    let seen = [("csrf", csrf.as_str()), ("format", "html"), ("body", "<script>x()</script><p id=x>{{ city }}</p>")];
    let frame = server.post("/campaigns/letter/parts", &cookies, &seen).await;
    let policy = frame.header("content-security-policy").to_owned();
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    assert!(policy.starts_with("sandbox allow-scripts; default-src 'none'") && !policy.contains("unsafe-eval"), "{policy}");
    assert!(!policy.contains("script-src 'unsafe-inline'") && frame.text().matches(&format!("<script nonce=\"{nonce}\">")).count() == 1);
    assert!(frame.text().contains("data-letterlab-part=\"0\""), "{}", frame.text());
    let broken =
        server.post("/campaigns/letter/parts", &cookies, &[("csrf", csrf.as_str()), ("format", "html"), ("body", "<b>{{ <i>")]).await;
    assert!(broken.text().contains("cannot be shown yet") && !broken.text().contains("<i>"), "{}", broken.text());
    // People whom a needed field is missing for are known before anything is sent.
    let needs = CAMPAIGN.replace("Hello, [read", "Hello {{ city | default('x') }} {{ first_name }}, [read");
    world
        .import_into(
            "customers",
            "email,first_name,city,recording_mode,consent_source,consent_date\ncleo@example.net,,Bern,pseudonymous,form,2026-01-01\n",
        )
        .unwrap();
    world.draft(&needs);
    let lacking = server.send(Method::GET, "/api/v1/campaigns/story/lacking", &with_key, "").await.json();
    assert_eq!(lacking, serde_json::json!({ "people": 3, "lacking": 1, "fields": { "first_name": 1 } }));
    let page = server.get("/campaigns/1", &cookies).await.text();
    assert!(page.contains("Worth a look before launch:") && page.contains("1 of 3 people lacks a value the letter needs"), "{page}");
    // What says stop on the list is told on the campaign's own page, and a launch by a program is refused for it.
    world.draft(
        &CAMPAIGN.replace("\"story\"", "\"large\"").replace("Hello, [read", &format!("{} [read", "Words and words. ".repeat(8_000))),
    );
    let page = server.get("/campaigns/2", &cookies).await.text();
    assert!(page.contains("To be mended before launch: size: 1") && page.contains("Gmail cuts letters at 102 kB"), "{page}");
    let refused = server.send(Method::POST, "/api/v1/campaigns/large/launch", &with_key, "").await;
    assert!(refused.status == 422 && refused.text().contains("102 kB"), "{} {}", refused.status, refused.text());
}

const LETTER_A: &str = "<h1>Autumn</h1><p>Three things <b>changed</b>.</p><p><a href=\"https://shop.example/\">Buy now</a></p>";

/// A campaign's form whose variants bring whole letters.
fn whole_letters<'a>(csrf: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("csrf", csrf),
        ("name", "whole"),
        ("list", "customers"),
        ("sender_name", "Fern"),
        ("sender_address", "news@example.org"),
        ("subject", "Hello"),
        ("format", "html"),
        ("body", LETTER_A),
        ("images", "linked"),
        ("mode", "pseudonymous"),
        ("element", "letters"),
        ("test_share", "100"),
        ("metric", "click"),
        ("level", "5"),
        ("hours", "48"),
        ("rule", "hand"),
        ("method", "fixed"),
        ("holdout", "0"),
        ("planned_lift", "30"),
    ];
    for (name, value) in more {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields
}

async fn whole_letters_are_compared_stored_and_changed_on_the_page(engine: Engine) {
    let world = World::new(engine).await;
    accounts(&world.lab);
    world.import(PEOPLE);
    let server = Server::start(&world.lab);
    let session = server.log_in("max").await;
    let secret = server.csrf(&session).await;
    assert!(server.get("/campaigns/new?by=letters", &session).await.text().contains("value=\"letters\" checked"));
    let other_words = LETTER_A.replace("Three things", "Some <i>quite</i> other &lt;script&gt;");
    let two = [("variant_2_body", other_words.as_str()), ("variant_2_subject", "Good day")];
    // Two differences: refused with both, side by side, nothing lost; the letters are shown as text.
    for path in ["/campaigns/letter/compare", "/campaigns/new"] {
        let reply = server.post(path, &session, &whole_letters(&secret, &two)).await;
        let text = reply.text();
        assert_eq!(reply.status, if path == "/campaigns/new" { 422 } else { 200 }, "{text}");
        assert!(text.contains("B from A in 2 elements") && text.contains("differs in <bdi>subject</bdi>"), "{path}: {text}");
        assert!(text.contains("<del>Hello</del>") && text.contains("<ins>Good day</ins>"), "{path}: {text}");
        assert!(text.contains("value=\"Good day\"") && text.contains("value=\"whole\""), "what was typed stays: {text}");
        assert!(!text.contains("<i>quite</i>") && text.contains("Some &#60;i&#62;quite"), "text, not markup: {text}");
        assert!(text.contains("<ins>Some quite other &#60;script&#62;</ins>") && !text.contains("<script>"), "text, not markup: {text}");
        assert_eq!(text.contains("It differs from A in 2 elements; see above."), path == "/campaigns/new");
    }
    assert_eq!(server.get("/campaigns/1", &session).await.status, 404, "nothing was stored");
    let noise = LETTER_A.replace("<p>", "<p >\n");
    let same = server.post("/campaigns/new", &session, &whole_letters(&secret, &[("variant_2_body", &noise)])).await;
    assert!(same.status == 422 && same.text().contains("differ in nothing a reader"), "{}", same.text());
    let missing = server.post("/campaigns/new", &session, &whole_letters(&secret, &[])).await;
    assert!(missing.status == 422 && missing.text().contains("Paste or choose the letter of this variant"), "{}", missing.text());
    let broken = whole_letters(&secret, &[("variant_2_body", "<p>{{ first_name")]);
    for path in ["/campaigns/new", "/campaigns/letter/compare"] {
        let reply = server.post(path, &session, &broken).await;
        assert!(reply.text().contains("{{ first_name</textarea>"), "{path}: {}", reply.text());
        assert!(reply.text().contains("needs your attention"), "{path}: {}", reply.text());
    }
    // One difference, the letter in a file: adopted, and its name says how it is written.
    let link = LETTER_A.replace("https://shop.example/", "https://shop.example/more");
    let mut body = String::new();
    for (name, value) in whole_letters(&secret, &[("variant_3_weight", "1")]) {
        body.push_str(&format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    let file = |content: &[u8]| {
        let head =
            "--line\r\nContent-Disposition: form-data; name=\"variant_2_file\"; filename=\"b.html\"\r\nContent-Type: text/html\r\n\r\n";
        [body.as_bytes(), head.as_bytes(), content, b"\r\n--line--\r\n"].concat()
    };
    let headers = [("cookie", session.as_str()), MULTIPART];
    let unreadable = server.send(Method::POST, "/campaigns/new", &headers, file(b"<p>caf\xe9</p>")).await;
    assert!(unreadable.status == 422 && unreadable.text().contains("b.html is not text in UTF-8"), "{}", unreadable.text());
    let reply = server.send(Method::POST, "/campaigns/new", &headers, file(link.as_bytes())).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/campaigns/1?done=drafted"), "{}", reply.text());
    let page = server.get("/campaigns/1", &session).await.text();
    assert!(page.contains("B differs from A in: link &#39;Buy now&#39;") && page.contains("Tried just now"), "{page}");
    assert!(page.contains("2 people and a made-up one") && page.contains("Hash of the proof"), "{page}");
    // The draft is changed on the page: the form shows both letters, and another link is another draft.
    let form = server.get("/campaigns/1/edit", &session).await.text();
    assert!(form.contains("value=\"letters\" checked") && form.contains("https://shop.example/more"), "{form}");
    let another = link.replace("/more", "/less");
    let changed = whole_letters(&secret, &[("variant_2_body", &another), ("subject", "Hello again")]);
    let reply = server.post("/campaigns/1/edit", &session, &changed).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/campaigns/1?done=changed"), "{}", reply.text());
    let definition = world.campaign("whole").definition;
    assert_eq!(definition.newsletter.subject, "Hello again");
    let brought = definition.variants[1].letter.as_ref().unwrap();
    assert!(brought.subject == "Hello again" && brought.body.source.contains("/less"), "{brought:?}");
    // As another subject alone it becomes the subject under test.
    let subject = whole_letters(&secret, &[("variant_2_subject", "Good day"), ("variant_2_body", LETTER_A)]);
    assert_eq!(server.post("/campaigns/1/edit", &session, &subject).await.status, 303);
    let page = server.get("/campaigns/1", &session).await.text();
    assert!(page.contains("B differs from A in: subject."), "{page}");
    // Sealed, the proof is the one that was kept; it stands on the result, too.
    letterlab::app::campaigns::seal(&world.lab, &world.campaign("whole")).unwrap();
    let hash = world.campaign("whole").proof.unwrap().hash;
    let page = server.get("/campaigns/1", &session).await.text();
    assert!(page.contains("Shown before the launch") && page.contains(&hash), "{page}");
    let result = server.get("/campaigns/1/results", &session).await.text();
    assert!(result.contains("B differs from A in: subject.") && result.contains("2 people and a made-up one"), "{result}");
    assert!(result.contains(&hash[..16]), "{result}");
}

async fn programs_compare_letters_and_read_the_proof(engine: Engine) {
    let world = World::new(engine).await;
    let key = accounts(&world.lab);
    world.import(PEOPLE);
    let server = Server::start(&world.lab);
    let with_key = [("authorization", key.as_str())];
    let compare = async |letters: serde_json::Value| {
        server.send(Method::POST, "/api/v1/letters/compare", &with_key, serde_json::json!({ "letters": letters }).to_string()).await
    };
    let letter = |source: &str, subject: &str| serde_json::json!({ "format": "html", "source": source, "subject": subject });
    let link = LETTER_A.replace("https://shop.example/", "https://shop.example/more");
    let one = compare(serde_json::json!([letter(LETTER_A, "Hello"), letter(&link, "Hello")])).await.json();
    assert_eq!((&one["is_test"], &one["outcome"]["one"]["facet"]), (&true.into(), &"link".into()), "{one}");
    assert_eq!(one["differences"][0]["variant"][1], serde_json::json!({ "text": "more", "differs": true }), "{one}");
    let two = compare(serde_json::json!([letter(LETTER_A, "Hello"), letter(&link, "Good day"), letter(LETTER_A, "Hello")])).await.json();
    assert_eq!((&two["is_test"], two["differences"].as_array().unwrap().len()), (&false.into(), 2), "{two}");
    assert_eq!(two["twins"], serde_json::json!([[0, 2]]));
    assert_eq!(two["same_letters"], serde_json::json!(["A and C are the same letter."]));
    let alone = compare(serde_json::json!([letter(LETTER_A, "Hello")])).await;
    assert!(alone.status == 400 && alone.text().contains("two to 8 letters"), "{}", alone.text());
    let broken = compare(serde_json::json!([letter(LETTER_A, "Hello"), letter("<p>{{ a", "Hello")])).await;
    assert!(broken.status == 400 && broken.text().contains("letter B cannot be read"), "{}", broken.text());
    // The proof: of a draft tried just now, of a sealed campaign the one kept.
    world.draft(CAMPAIGN);
    let proof = async || server.send(Method::GET, "/api/v1/campaigns/story/proof", &with_key, "").await.json();
    let tried = proof().await;
    assert_eq!(
        (&tried["kept"], &tried["statements"][0], &tried["people"]),
        (&false.into(), &"B differs from A in: subject".into(), &2.into())
    );
    letterlab::app::campaigns::seal(&world.lab, &world.campaign("story")).unwrap();
    let kept = proof().await;
    let shown = server.send(Method::GET, "/api/v1/campaigns/story", &with_key, "").await.json();
    assert_eq!((&kept["kept"], &kept["hash"]), (&true.into(), &shown["proof"]["hash"]), "{shown}");
    assert_eq!(shown["proof"]["hash"].as_str().map(str::len), Some(64));
}

async fn accounts_are_made_changed_and_removed_on_the_page(engine: Engine) {
    let world = sent(engine).await;
    accounts(&world.lab);
    let server = Server::start(&world.lab);
    let ada = server.log_in("ada").await;
    let secret = server.get("/accounts", &ada).await.csrf();
    let refused = server
        .post(
            "/accounts",
            &ada,
            &[("csrf", &secret), ("new_login", "eve"), ("role", "marketer"), ("password", "short"), ("password_again", "short")],
        )
        .await;
    assert!(
        refused.status == 422 && refused.text().contains("at least 10 characters") && refused.text().contains("value=\"eve\""),
        "{}",
        refused.text()
    );
    let taken = server
        .post(
            "/accounts",
            &ada,
            &[("csrf", &secret), ("new_login", "max"), ("role", "marketer"), ("password", PASSWORD), ("password_again", PASSWORD)],
        )
        .await;
    assert!(taken.status == 422 && taken.text().contains("already"), "{}", taken.text());
    let made = server
        .post(
            "/accounts",
            &ada,
            &[("csrf", &secret), ("new_login", "eve"), ("role", "marketer"), ("password", PASSWORD), ("password_again", PASSWORD)],
        )
        .await;
    assert_eq!(made.header("location"), "/accounts?done=account", "{}", made.text());

    // Eve makes herself a key, which works, and changes her password, which withdraws it.
    let eve = server.log_in("eve").await;
    let own = server.get("/account", &eve).await;
    assert!(own.text().contains("as marketer.") && !own.text().contains("/accounts\""), "{}", own.text());
    let secret_of_eve = own.csrf();
    let shown = server.post("/account/api-key", &eve, &[("csrf", &secret_of_eve), ("label", "nightly import")]).await.text();
    let key =
        shown.split("Bearer ").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_else(|| panic!("no key on {shown}")).to_owned();
    let by_program = |key: String| {
        let server = &server;
        async move { server.send(Method::GET, "/api/v1/lists/customers/people", &[("authorization", &format!("Bearer {key}"))], "").await }
    };
    let export = by_program(key.clone()).await;
    assert!(export.status == 200 && export.text().contains("anna@example.com"), "{}", export.text());
    let listed = server.get("/account", &eve).await.text();
    assert!(listed.contains("nightly import") && !listed.contains(&key), "a key is shown once");
    let change = |current: &'static str| {
        [
            ("csrf", secret_of_eve.clone()),
            ("current", current.to_owned()),
            ("password", "quite another one".to_owned()),
            ("password_again", "quite another one".to_owned()),
        ]
    };
    let post = |fields: [(&'static str, String); 4]| {
        let (server, eve) = (&server, eve.clone());
        async move { server.post("/account/password", &eve, &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await }
    };
    let wrong = post(change("not the password")).await;
    assert!(wrong.status == 422 && wrong.text().contains("Nothing was changed"), "{}", wrong.text());
    // A wrong password makes the next try wait.
    world.lab.clock.advance(jiff::SignedDuration::from_mins(10));
    let changed = post(change(PASSWORD)).await;
    assert_eq!(changed.header("location"), "/account?done=password", "{}", changed.text());
    assert_eq!(server.get("/account", &changed.cookies()).await.status, 200, "this browser stays logged in");
    assert_eq!(server.get("/account", &eve).await.status, 303, "the session before has ended");
    assert_eq!(by_program(key).await.status, 401, "keys made with the old password are withdrawn");

    // The administrator removes her, but not himself as the last one.
    let unticked = server.post("/accounts/remove", &ada, &[("csrf", &secret), ("login", "eve")]).await;
    assert!(unticked.status == 422 && unticked.text().contains("cannot be undone"), "{}", unticked.text());
    let removed = server.post("/accounts/remove", &ada, &[("csrf", &secret), ("login", "eve"), ("confirmed", "yes")]).await;
    assert_eq!(removed.header("location"), "/accounts?done=removed", "{}", removed.text());
    assert_eq!(server.get("/account", &changed.cookies()).await.status, 303);
    let last = server.post("/accounts/remove", &ada, &[("csrf", &secret), ("login", "ada"), ("confirmed", "yes")]).await;
    assert!(last.status == 422 && last.text().contains("last administrator"), "{}", last.text());
}

async fn states_and_counts_are_made_anew_from_the_page_and_by_programs(engine: Engine) {
    let world = sent(engine).await;
    world.open(&world.letter_to("anna@example.com").pixel().unwrap(), FIREFOX).await;
    world.tidy();
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let by_program = |method: Method, path: &'static str| {
        let (server, key) = (&server, key.clone());
        async move { server.send(method, path, &[("authorization", &key)], "").await }
    };
    let differences =
        || async { by_program(Method::GET, "/api/v1/campaigns/story/verify").await.json()["differences"].as_array().unwrap().len() };
    let ended = || async {
        for _ in 0..10_000 {
            let stage = by_program(Method::GET, "/api/v1/rebuild").await.json();
            if stage["stage"] != "running" {
                return stage;
            }
        }
        panic!("the rebuild does not end");
    };
    assert_eq!(by_program(Method::GET, "/api/v1/rebuild").await.json()["stage"], "idle");
    let damage = "UPDATE tally SET value = value + 1 WHERE name = 'open raw'";
    assert_eq!(differences().await, 0);
    world.sql(Room::Ledger, damage);
    assert!(differences().await > 0, "a program is told");
    let checked = || async {
        for _ in 0..10_000 {
            let stage = by_program(Method::GET, "/api/v1/verify").await.json();
            if stage["stage"] != "running" {
                return stage;
            }
        }
        panic!("verifying does not end");
    };
    assert_eq!(checked().await["stage"], "ended", "one at a time: the place is free again, and tells what was found");
    assert_eq!(by_program(Method::POST, "/api/v1/verify").await.status, 202);
    let found = checked().await;
    assert!(!found["campaigns"][0]["differences"].as_array().unwrap().is_empty(), "{found}");
    assert_eq!(by_program(Method::POST, "/api/v1/verify/stop").await.json()["stage"], "ended", "nothing is at work");
    let admin = server.log_in("ada").await;
    let page = server.get("/status", &admin).await;
    assert!(page.text().contains("Derive them again") && page.text().contains("Only compare"), "{}", page.text());
    assert!(page.text().contains("open raw"), "what was found is named: {}", page.text());
    let compared = server.post("/status/verify", &admin, &[("csrf", &page.csrf())]).await;
    assert_eq!(compared.header("location"), "/status#rebuild", "{}", compared.text());
    checked().await;
    let begun = server.post("/status/rebuild", &admin, &[("csrf", &page.csrf())]).await;
    assert_eq!(begun.header("location"), "/status#rebuild", "{}", begun.text());
    let done = ended().await;
    assert!(done["stage"] == "ended" && done["is_finished"] == true && done["corrected"].as_u64() > Some(0), "{done}");
    assert_eq!(differences().await, 0);
    assert!(server.get("/status", &admin).await.text().contains("Finished, "), "the page says what was done");

    world.sql(Room::Ledger, damage);
    assert_eq!(by_program(Method::POST, "/api/v1/rebuild").await.status, 202);
    let done = ended().await;
    assert!(done["corrected"].as_u64() > Some(0), "{done}");
    assert_eq!(by_program(Method::POST, "/api/v1/rebuild/stop").await.json()["stage"], "ended", "nothing is at work");
    assert_eq!(differences().await, 0);
}

async fn who_asks_to_verify_while_that_is_under_way_is_told_what_to_do(engine: Engine) {
    let world = sent(engine).await;
    let key = accounts(&world.lab);
    let server = Server::start(&world.lab);
    let by_program = |method: Method, path: &'static str| {
        let (server, key) = (&server, key.clone());
        async move { server.send(method, path, &[("authorization", &key)], "").await }
    };
    let stage = || async { by_program(Method::GET, "/api/v1/verify").await.json() };
    let ended = || async {
        for _ in 0..10_000 {
            let stage = stage().await;
            if stage["stage"] != "running" {
                return stage;
            }
        }
        panic!("verifying does not end");
    };
    let admin = server.log_in("ada").await;
    let secret = server.csrf(&admin).await;
    let number = world.campaign("story").number;
    let under_way = serde_json::json!({"stage": "running", "campaign": number, "percent": 0});

    let place = world.lab.checking.take(number, world.now()).unwrap();
    for (method, path) in [(Method::POST, "/api/v1/verify"), (Method::GET, "/api/v1/campaigns/story/verify")] {
        let refused = by_program(method, path).await;
        let said = refused.text();
        assert!(refused.status == 409 && said.contains("wait until that has ended, or stop it"), "{path}: {} {said}", refused.status);
    }
    // The page's button leads to where the page says how far the other one is, and how to stop it.
    let asked = server.post("/status/verify", &admin, &[("csrf", &secret)]).await;
    assert_eq!((asked.status, asked.header("location")), (303, "/status#rebuild"), "{}", asked.text());
    let page = server.get("/status", &admin).await.text();
    assert!(page.contains(&format!("Comparing: campaign {number}, 0 %")) && page.contains("\"/status/verify/stop\""), "{page}");
    assert_eq!(stage().await, under_way, "no second one was begun by anybody");
    drop(place);
    assert_eq!(stage().await["stage"], "failed", "it left without an end");

    let asked = server.post("/status/verify", &admin, &[("csrf", &secret)]).await;
    assert_eq!((asked.status, &ended().await["stage"]), (303, &"ended".into()), "{}", asked.text());
    drop(world.lab.checking.take(number, world.now()).unwrap());
    assert_eq!(by_program(Method::POST, "/api/v1/verify").await.status, 202);
    assert_eq!(ended().await["campaigns"][0]["differences"], serde_json::json!([]));
    let one = by_program(Method::GET, "/api/v1/campaigns/story/verify").await;
    assert_eq!((one.status, &one.json()["differences"]), (200, &serde_json::json!([])));
}
