//! Purpose: the whole job against parts nobody here wrote: Postfix, Dovecot, Chromium.
//!
//! Cast: one story. A campaign goes through a private Postfix into Dovecot, a letter is fetched by IMAP, Chromium renders it so that
//! the pixel loads by itself and a link is clicked, and an unknown mailbox makes Postfix return a real notification.
//!
//! Never: a made-up message in place of a real one.

use std::net::TcpListener;
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use letterlab::app::people::import_file;
use letterlab::app::{campaigns, status};
use letterlab::vault::address::EmailAddress;
use letterlab::vault::import::ImportOptions;
use letterlab::vault::people::Suppression;
use letterlab::vault::store;
use mail_parser::MessageParser;

use crate::installation::{BOUNCE_DOMAIN, Installation, wait_until};
use crate::servers::browser::Browser;
use crate::servers::dovecot::{Dovecot, Mailboxes};
use crate::servers::postfix::{Postfix, Routes};
use crate::world::Engine;

const PEOPLE: &str = "email,first_name,recording_mode,consent_source,consent_date\n\
    anna@readers.test,Anna,pseudonymous,form,2026-01-01\n\
    boris@readers.test,Борис,pseudonymous,form,2026-01-01\n\
    gone@readers.test,Gone,pseudonymous,form,2026-01-01\n";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

fn campaign(base: &str) -> String {
    format!(
        r#"name = "real-mail"
list = "readers"
[sender]
name = "News from the tests"
address = "news@news.test"
[letter]
subject = "Hello {{{{ first_name }}}}"
format = "html"
text = """
<html><body><p>Hello {{{{ first_name }}}},</p><p><a id="more" href="{base}/privacy?from=letter&amp;n=1">read more</a></p></body></html>
"""
[test]
element = "subject"
metric = "click"
observe_hours = 1
[[variants]]
[[variants]]
value = "Good morning {{{{ first_name }}}}"
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_goes_through_real_servers_and_its_open_click_and_bounce_are_counted() -> Result<()> {
    let bounces = TcpListener::bind("127.0.0.1:0")?;
    let dovecot = Dovecot::start(&Mailboxes { open: &["anna@readers.test", "boris@readers.test"], full: &[] }).await?;
    let postfix = Postfix::start(&Routes {
        readers_domain: "readers.test",
        readers_lmtp: dovecot.lmtp_address(),
        bounce_domain: BOUNCE_DOMAIN,
        bounce_listener: bounces.local_addr()?,
    })
    .await?;
    let installation = Installation::start(Engine::Sqlite, postfix.address(), Some(bounces))?;
    launch(&installation)?;

    let letter = dovecot.wait_for_message("anna@readers.test").await.with_context(|| postfix.log())?;
    let html = check_letter(&letter, &installation.base)?;
    dovecot.wait_for_message("boris@readers.test").await?;

    read_in_a_browser(&installation, &html).await?;
    let page = wait_until("open, click and bounce on the result page", || {
        let page = installation.results("real-mail")?;
        let seen = |pick: fn(&letterlab::report::page::HitClass) -> &Vec<u64>| page.hits.iter().flat_map(pick).sum::<u64>();
        let bounced: u64 = page.arms.iter().map(|arm| arm.bounced).sum();
        let complete = seen(|class| &class.opens) >= 1 && seen(|class| &class.clicks) >= 1 && bounced == 1;
        Ok(complete.then_some(page))
    })
    .await
    .with_context(|| postfix.log())?;

    let human = page.hits.iter().find(|class| class.class == "human").context("a class human")?;
    assert_eq!((human.opens.iter().sum::<u64>(), human.clicks.iter().sum::<u64>()), (1, 1), "Firefox is a person's browser: {page:#?}");
    assert_eq!(page.arms.iter().map(|arm| arm.successes).sum::<u64>(), 1);
    assert_eq!(page.arms.iter().map(|arm| arm.delivered).sum::<u64>(), 2);
    check_the_unknown_mailbox_is_suppressed(&installation)?;
    let shown =
        reqwest::get(campaigns::share(&installation.lab, &campaigns::find(&installation.lab, "real-mail")?, 1)).await?.text().await?;
    assert!(shown.contains("real-mail") && !shown.contains("readers.test"), "the reviewer's page shows the test and no person");
    let status = status::status(&installation.lab)?;
    assert!(status.laws.iter().all(|law| law.holds), "{:#?}", status.laws);
    installation.finish()
}

fn launch(installation: &Installation) -> Result<()> {
    let lab = &installation.lab;
    let file = installation.folder().join("people.csv");
    std::fs::write(&file, PEOPLE)?;
    let options = ImportOptions { list: "readers".to_owned(), stated: None };
    let report = import_file(lab, &file, &options, &mut |_| ControlFlow::Continue(()), &mut |_| {})?;
    assert_eq!(report.added, 3);
    let number = campaigns::draft(lab, &campaign(&installation.base), &|_| Err("no files here".to_owned()))?;
    Ok(campaigns::launch(lab, &campaigns::by_number(lab, number)?, &mut |_, _| {})?)
}

/// The letter as IMAP hands it out.
fn check_letter(letter: &[u8], base: &str) -> Result<String> {
    let message = MessageParser::default().parse(letter).context("a message")?;
    let html = message.body_html(0).context("an HTML part")?.into_owned();
    let text = message.body_text(0).context("a text part")?;
    let subject = message.subject().context("a subject")?;
    assert!(subject == "Hello Anna" || subject == "Good morning Anna", "{subject}");
    assert!(html.contains(&format!("{base}/c/")) && html.contains(&format!("{base}/o/")) && !html.contains("privacy?from"), "{html}");
    assert!(text.contains("Hello Anna") && text.contains(&format!("{base}/c/")), "{text}");
    let raw = String::from_utf8_lossy(letter);
    for header in ["List-Unsubscribe: <http", "List-Unsubscribe-Post: List-Unsubscribe=One-Click", "Precedence: bulk", "Message-ID: <"] {
        assert!(raw.contains(header), "{header} in {raw}");
    }
    assert!(raw.contains(&format!("@{BOUNCE_DOMAIN}>")), "the return path names the bounce domain: {raw}");
    Ok(html)
}

async fn read_in_a_browser(installation: &Installation, html: &str) -> Result<()> {
    let file = installation.folder().join("letter.html");
    std::fs::write(&file, html)?;
    let browser = Browser::start(800, 900).await?;
    browser.pretend(FIREFOX).await?;
    browser.goto(&format!("file://{}", file.display())).await?;
    let pixel = "const p = document.querySelector('img[src*=\"/o/\"]'); return p.complete && p.naturalWidth === 1";
    let began = std::time::Instant::now();
    while browser.execute(pixel, serde_json::json!([])).await? != serde_json::json!(true) {
        anyhow::ensure!(began.elapsed() < crate::servers::browser::PAGE_DEADLINE, "the pixel did not load");
    }
    browser.click("#more").await?;
    browser.wait_until("main").await?;
    assert_eq!(
        browser.url().await?,
        format!("{}/privacy?from=letter&n=1", installation.base),
        "the link leads where the author pointed it"
    );
    Ok(())
}

fn check_the_unknown_mailbox_is_suppressed(installation: &Installation) -> Result<()> {
    let address = EmailAddress::parse("gone@readers.test")?;
    let person = installation.lab.vault.read(|conn| store::person_by_address(conn, &address))?.context("still known")?;
    assert_eq!(person.suppressed, Some(Suppression::HardBounce));
    Ok(())
}
