//! Purpose: the pages as a marketer and a reviewer use them, in a real browser.
//!
//! Cast: one story, on each engine: first run, import, a campaign from the form, launch, result, the reviewer's page.
//!
//! Never: a page judged without its console: a refused script, style or picture fails the story.

use std::path::Path;

use anyhow::{Context, Result};
use letterlab::app::campaigns;
use letterlab::campaign::state::State;

use crate::installation::{Installation, wait_until};
use crate::mailboxes::Mailboxes;
use crate::servers::browser::Browser;
use crate::world::{Engine, FIREFOX};

const PEOPLE: &str = "email,first_name,recording_mode,consent_source,consent_date\n\
    anna@example.com,Anna,pseudonymous,form,2026-01-01\n\
    boris@example.org,Борис,pseudonymous,form,2026-01-01\n\
    lan@example.net,Lan,pseudonymous,form,2026-01-01\n\
    devi@example.com,देवी,pseudonymous,form,2026-01-01\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_run_and_reviewed_in_the_browser_on_sqlite() -> Result<()> {
    run_and_review(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_run_and_reviewed_in_the_browser_on_postgresql() -> Result<()> {
    run_and_review(Engine::Postgres).await
}

async fn run_and_review(engine: Engine) -> Result<()> {
    let mailboxes = Mailboxes::open().await;
    let relay = std::net::SocketAddr::from(([127, 0, 0, 1], mailboxes.port()));
    let installation = Installation::start(engine, relay, None)?;
    let browser = Browser::start(1280, 1000).await?;
    let page = |path: &str| format!("{}{path}", installation.base);

    create_the_administrator(&browser, &page("/")).await?;
    import_people(&browser, &page("/people/import"), installation.folder()).await?;
    write_a_campaign(&browser, &page("/campaigns/new")).await?;
    launch(&browser, &page("/campaigns/1")).await?;
    wait_until("every letter being sent", || {
        Ok((campaigns::find(&installation.lab, "browser-story")?.state == State::Observing).then_some(()))
    })
    .await?;
    assert_eq!(mailboxes.received().len(), 4);

    open_a_letter(&mailboxes).await?;
    wait_until("the open being counted", || {
        let opened = installation.results("browser-story")?.arms.iter().map(|arm| arm.successes).sum::<u64>();
        Ok((opened == 1).then_some(()))
    })
    .await?;
    read_the_result(&browser, &page("/campaigns/1/results")).await?;
    review(&browser).await?;
    log_out(&browser, &page("/campaigns")).await?;
    check_the_console(&browser).await?;
    drop(browser);
    installation.finish()
}

async fn create_the_administrator(browser: &Browser, start: &str) -> Result<()> {
    browser.goto(start).await?;
    assert!(browser.url().await?.ends_with("/setup"), "the first visit creates the administrator: {}", browser.url().await?);
    browser.type_text("#login", "ada@example.org").await?;
    browser.type_text("#password", "a long password").await?;
    browser.type_text("#password_again", "a long password").await?;
    browser.click("main form button").await?;
    browser.wait_until("nav").await?;
    Ok(())
}

async fn import_people(browser: &Browser, address: &str, folder: &Path) -> Result<()> {
    let file = folder.join("people.csv");
    std::fs::write(&file, PEOPLE)?;
    browser.goto(address).await?;
    browser.type_text("input[type=file]", &file.display().to_string()).await?;
    let typed = browser.find("#list").await?;
    browser.execute("document.querySelector('#list').value = ''", serde_json::json!([])).await?;
    typed.type_text("customers").await?;
    browser.type_text("#consent_source", "stated in the file").await?;
    browser.execute("document.querySelector('#consent_date').value = '2026-01-01'", serde_json::json!([])).await?;
    browser.click("main form button").await?;
    wait_for_text(browser, "Every line is accounted for: 4 + 0 + 0 + 0 + 0 = 4").await?;
    Ok(())
}

async fn write_a_campaign(browser: &Browser, address: &str) -> Result<()> {
    browser.goto(address).await?;
    for (field, text) in [
        ("#name", "browser-story"),
        ("#sender_name", "Letterlab"),
        ("#sender_address", "news@example.org"),
        ("#subject", "Hello {{ first_name }}"),
        ("#body", "Dear {{ frist_name }}, [read this](https://example.org/a?b=c)"),
        ("#variant_2_value", "Good morning {{ first_name }}"),
    ] {
        browser.type_text(field, text).await?;
    }
    let choose = "document.querySelector('#list').value = 'customers'; document.querySelector('[name=metric][value=open]').checked = true";
    browser.execute(choose, serde_json::json!([])).await?;
    browser.click("#campaign-form button[type=submit].primary").await?;
    // A mistake is told beside the form, and nothing typed is lost.
    let complaint = wait_for_text(browser, "frist_name").await?;
    assert!(complaint.contains("first_name"), "{complaint}");
    let kept = browser.execute("return document.querySelector('#subject').value", serde_json::json!([])).await?;
    assert_eq!(kept, serde_json::json!("Hello {{ first_name }}"));
    browser
        .execute("const b = document.querySelector('#body'); b.value = b.value.replace('frist', 'first')", serde_json::json!([]))
        .await?;
    browser.click("#campaign-form button[type=submit].primary").await?;
    wait_for_text(browser, "Seal and launch").await?;
    Ok(())
}

async fn launch(browser: &Browser, address: &str) -> Result<()> {
    browser.goto(address).await?;
    browser.click("form[action$='/launch'] input[name=confirmed]").await?;
    browser.click("form[action$='/launch'] button").await?;
    wait_for_text(browser, "Enrolled").await?;
    Ok(())
}

/// What a recipient's mail program does: it loads the pixel found in the received letter.
async fn open_a_letter(mailboxes: &Mailboxes) -> Result<()> {
    let letter = mailboxes.received().into_iter().next().context("a letter")?;
    let pixel = letter.html.split("src=\"").filter_map(|rest| rest.split('"').next()).find(|url| url.contains("/o/")).context("a pixel")?;
    let answer = reqwest::Client::new().get(pixel).header("User-Agent", FIREFOX).send().await?;
    assert_eq!(answer.status().as_u16(), 200);
    Ok(())
}

async fn read_the_result(browser: &Browser, address: &str) -> Result<()> {
    browser.goto(address).await?;
    let text = browser.text("main").await?;
    for words in ["Not yet", "B differs from A in: subject", "Sample ratio", "delivered"] {
        assert!(text.to_lowercase().contains(&words.to_lowercase()), "the result page says {words:?}: {text}");
    }
    Ok(())
}

async fn review(browser: &Browser) -> Result<()> {
    browser.click("form[action$='/share'] button").await?;
    let source = wait_for_text(browser, "/r/").await?;
    let shown = browser.execute("const i = [...document.querySelectorAll('input,code,a,output')].map(e => e.value || e.textContent).find(t => t && t.includes('/r/')); return i", serde_json::json!([])).await?;
    let link = shown.as_str().with_context(|| source.clone())?.trim().to_owned();
    // A reviewer has no session.
    let page = reqwest::get(&link).await?;
    assert_eq!(page.status().as_u16(), 200);
    let text = page.text().await?;
    assert!(text.contains("browser-story") && !text.contains("example.com") && !text.contains("Log out"), "no person, no navigation");
    browser.goto(&link).await?;
    browser.wait_until("main h1").await?;
    Ok(())
}

async fn log_out(browser: &Browser, address: &str) -> Result<()> {
    browser.goto(address).await?;
    browser.execute("document.querySelectorAll('details').forEach(d => d.open = true)", serde_json::json!([])).await?;
    browser.click("form[action='/logout'] button").await?;
    browser.goto(address).await?;
    assert!(browser.url().await?.contains("/login"), "logged out: {}", browser.url().await?);
    Ok(())
}

async fn check_the_console(browser: &Browser) -> Result<()> {
    let severe: Vec<_> = browser.logs().await?.into_iter().filter(|entry| entry.level == "SEVERE").collect();
    // The form with a mistake is answered as such (422), which Chromium's console notes.
    let unexpected: Vec<_> = severe.iter().filter(|entry| !(entry.source == "network" && entry.message.contains("422"))).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    Ok(())
}

/// Waits until the page says something, and answers its text.
async fn wait_for_text(browser: &Browser, words: &str) -> Result<String> {
    let began = std::time::Instant::now();
    loop {
        let shown = browser.execute("return document.body ? document.body.innerText + ' ' + [...document.querySelectorAll('input')].map(i => i.value).join(' ') : ''", serde_json::json!([])).await?;
        let shown = shown.as_str().unwrap_or_default().to_owned();
        if shown.contains(words) {
            return Ok(shown);
        }
        anyhow::ensure!(began.elapsed() < crate::servers::browser::PAGE_DEADLINE, "{words:?} is not on {}: {shown}", browser.url().await?);
    }
}
