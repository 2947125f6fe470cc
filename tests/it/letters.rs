//! Purpose: what may vary in a letter besides its words: when it leaves, who answers, its parts; and pictures inside the message.
//!
//! Cast: one story per promise on both engines, and two in a real browser: a part is found by clicking it, whole letters are compared.
//!
//! Never: a letter judged before it has arrived.

use std::ops::ControlFlow;

use anyhow::Result;
use letterlab::app::campaigns::{self, CampaignError};
use letterlab::app::{images, people};
use letterlab::delivery::store as deliveries;
use letterlab::vault::import::ImportOptions;
use mail_parser::{MessageParser, MimeHeaders};

use crate::installation::Installation;
use crate::mailboxes::{Mailboxes, Message};
use crate::servers::browser::Browser;
use crate::world::{Engine, World, campaign, on_both_engines};

const PEOPLE: &str = "email,first_name,recording_mode,consent_source,consent_date\n\
    anna@example.com,Anna,pseudonymous,form,2026-01-01\n\
    boris@example.org,Boris,pseudonymous,form,2026-01-01\n\
    cleo@example.net,Cleo,pseudonymous,form,2026-01-01\n\
    devi@example.com,Devi,pseudonymous,form,2026-01-01\n";

on_both_engines!(
    a_variant_with_a_send_time_waits_for_it,
    a_test_of_send_times_is_not_launched_once_one_has_passed,
    the_rest_of_a_test_of_send_times_get_the_letter_when_its_time_comes_round,
    variants_may_differ_in_who_answers,
    a_part_found_by_a_selector_varies_and_nothing_else,
    pictures_travel_inside_the_message_when_asked,
    links_carry_parameters_by_campaign_and_variant,
);

/// A campaign about another element than the subject.
fn about(name: &str, element: &str, value: &str) -> String {
    campaign(name).replace("element = \"subject\"", element).replace("value = \"Two changes, two minutes\"", &format!("value = '{value}'"))
}

fn header<'m>(letter: &'m Message, name: &str) -> Option<&'m str> {
    let text = std::str::from_utf8(&letter.bytes).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap();
    head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

async fn a_variant_with_a_send_time_waits_for_it(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(PEOPLE);
    world.draft(&about("times", "element = \"send_time\"", "2026-11-22T18:00:00+01:00"));
    let past = about("past", "element = \"send_time\"", "2026-11-22T10:00:00Z");
    world.draft(&past);
    let error = format!("{:?}", world.launch("past").unwrap_err());
    assert!(error.contains("has passed"), "{error}");
    let Err(CampaignError::Problems(problems)) = world.try_draft(&about("bad", "element = \"send_time\"", "tomorrow at nine")) else {
        panic!("a word is no moment");
    };
    assert!(problems[0].key == "variants[1].value" && problems[0].message.contains("+01:00"), "{problems:?}");
    world.launch("times").unwrap();
    while world.send_a_batch().await.taken > 0 {}
    assert_eq!((world.received().len(), world.counts("times").queued), (2, 2), "only the control has left");
    let progress = campaigns::progress(&world.lab, &world.campaign("times")).unwrap();
    assert_eq!((progress.next_at, progress.remaining_seconds), (Some("2026-11-22T17:00:00Z".parse().unwrap()), None));
    world.wait(4);
    while world.send_a_batch().await.taken > 0 {}
    assert_eq!(world.received().len(), 2, "it is sixteen o'clock");
    world.wait(1);
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 4);
    let subjects: Vec<String> = world.received().into_iter().map(|letter| letter.subject).collect();
    assert!(subjects.iter().all(|subject| subject == "What changed this autumn"), "{subjects:?}");
}

async fn a_test_of_send_times_is_not_launched_once_one_has_passed(engine: Engine) {
    let world = World::new(engine).await;
    world.import(PEOPLE);
    let draft = world.draft(&about("times", "element = \"send_time\"", "2026-11-22T17:00:00Z"));
    let five = "2026-11-22T17:00:00Z".parse().unwrap();
    let error = campaigns::schedule(&world.lab, &draft, Some(five)).unwrap_err().to_string();
    assert!(error.contains("is to leave at 2026-11-22T17:00:00Z"), "{error}");
    // Scheduled before the draft was one of send times.
    world.lab.vault.write(|conn| deliveries::set_start(conn, draft.number, Some(five))).unwrap();
    assert!(matches!(campaigns::seal(&world.lab, &draft), Err(CampaignError::AfterSendTime { .. })));
    campaigns::schedule(&world.lab, &draft, Some("2026-11-22T16:59:59Z".parse().unwrap())).unwrap();
    campaigns::seal(&world.lab, &draft).unwrap();
    world.wait(6);
    let error = world.launch("times").unwrap_err().to_string();
    assert!(error.contains("a send time of its plan has passed"), "{error}");
    world.tidy();
    assert_eq!((world.state("times"), world.counts("times").enrolled), ("sealed", 0));
    world.close("times");
}

async fn the_rest_of_a_test_of_send_times_get_the_letter_when_its_time_comes_round(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(PEOPLE);
    let text = about("times", "element = \"send_time\"", "2026-11-22T18:00:00+01:00");
    world.draft(&text.replace("observe_hours", "share = 0.5\nobserve_hours"));
    world.launch("times").unwrap();
    world.wait(5);
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.state("times")), (2, "observing"));
    // It is an hour past the winner's time.
    world.wait(1);
    world.decide("times", 'B').unwrap();
    while world.send_a_batch().await.taken > 0 {}
    world.wait(22);
    assert_eq!(world.send_a_batch().await.taken, 0, "four in the afternoon");
    assert_eq!((world.received().len(), world.counts("times").queued), (2, 2));
    world.wait(1);
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 4);
}

async fn variants_may_differ_in_who_answers(engine: Engine) {
    let world = World::with_campaign_sent(engine, PEOPLE, &about("answers", "element = \"reply_to\"", "ada@example.org")).await;
    let answers: Vec<Option<String>> = world.received().iter().map(|letter| header(letter, "Reply-To").map(str::to_owned)).collect();
    let ada = answers.iter().filter(|answer| answer.as_deref() == Some("ada@example.org")).count();
    assert_eq!((ada, answers.iter().filter(|answer| answer.is_none()).count()), (2, 2), "{answers:?}");
    let error = format!("{:?}", world.try_draft(&about("bad", "element = \"reply_to\"", "nobody")).unwrap_err());
    assert!(error.contains("not an e-mail address"), "{error}");
}

async fn a_part_found_by_a_selector_varies_and_nothing_else(engine: Engine) {
    let toml = about("selector", "element = \"text\"\nblock = \"a[href*=all]\"", "Everything");
    let world = World::with_campaign_sent(engine, PEOPLE, &toml).await;
    let letters = world.received();
    let changed = letters.iter().filter(|letter| letter.html.contains(">Everything</a>")).count();
    let control = letters.iter().filter(|letter| letter.html.contains(">See all</a>")).count();
    assert_eq!((changed, control), (2, 2));
    let absent = about("absent", "element = \"presence\"\nblock = \"a[href*=all]\"", "absent");
    world.draft(&absent);
    let twice = world.try_draft(&absent.replace("absent\"", "twice\"").replace("'absent'", "'present'")).unwrap_err();
    assert!(format!("{twice:?}").contains("same letter"), "{twice:?}");
    let several = format!("{:?}", world.try_draft(&about("several", "element = \"text\"\nblock = \"a\"", "x")).unwrap_err());
    assert!(several.contains("it means 2 parts"), "{several}");
}

async fn pictures_travel_inside_the_message_when_asked(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(PEOPLE);
    let picture = b"GIF89a a picture of the autumn".to_vec();
    let url = images::upload(&world.lab, &picture).unwrap().url;
    let toml = campaign("pictures")
        .replace("preheader", "images = \"inline\"\nlanguage = \"de\"\npreheader")
        .replace("matters most.", &format!("matters most. ![Autumn]({url})"));
    let unknown = toml.replace(url.rsplit('/').next().unwrap(), "0123456789abcdefghijklmnop.gif").replace("\"pictures\"", "\"unknown\"");
    let error = format!("{:?}", world.try_draft(&unknown).unwrap_err());
    assert!(error.contains("was never uploaded here"), "{error}");
    world.draft(&toml);
    world.launch("pictures").unwrap();
    world.deliver_everything().await;
    let letter = world.letter_to("anna@example.com");
    let message = MessageParser::default().parse(&letter.bytes).unwrap();
    let part = message.parts.iter().find(|part| part.content_id().is_some()).unwrap();
    assert_eq!(part.contents(), picture);
    assert!(letter.html.contains(&format!("src=\"cid:{}\"", part.content_id().unwrap())), "{}", letter.html);
    assert!(letter.html.contains("<html lang=\"de\">") && letter.html.contains(">Abmelden</a>"), "{}", letter.html);
    assert_eq!(header(&letter, "Content-Language"), Some("de"));
}

async fn links_carry_parameters_by_campaign_and_variant(engine: Engine) {
    let toml = campaign("tagged").replace("[test]", "[links]\nutm_source = \"letter\"\n\n[test]");
    let world = World::with_campaign_sent(engine, PEOPLE, &toml).await;
    let mut seen: Vec<String> = Vec::new();
    for letter in world.received() {
        let variant = if letter.subject.starts_with("Two") { "B" } else { "A" };
        let token = letter.html.split("/c/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let url = world.destination(token).unwrap();
        assert_eq!(
            url,
            format!("https://shop.example/first?a=1&b=2&utm_source=letter&utm_medium=email&utm_campaign=tagged&utm_content={variant}")
        );
        seen.push(variant.to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["A", "A", "B", "B"]);
}

/// The letter tries to run a script of its own; only ours may, and a click tells the form which part it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_found_by_clicking_it_in_the_browser() -> Result<()> {
    const LETTER: &str = "<style>.button{color:red}</style><h1>Autumn</h1><p onclick=\"document.title='ran'\">Read <b>this</b></p>\
        <script>document.body.innerHTML='the script ran'</script><p><a class=\"button\" href=\"https://shop.example/\">Buy now</a></p>";
    let mailboxes = Mailboxes::open().await;
    let relay = std::net::SocketAddr::from(([127, 0, 0, 1], mailboxes.port()));
    let installation = Installation::start(Engine::Sqlite, relay, None)?;
    let browser = Browser::start(1280, 1000).await?;
    browser.goto(&format!("{}/", installation.base)).await?;
    browser.type_text("#login", "ada@example.org").await?;
    browser.type_text("#password", "a long password").await?;
    browser.type_text("#password_again", "a long password").await?;
    browser.click("main form button").await?;
    browser.wait_until("nav").await?;
    browser.goto(&format!("{}/campaigns/new", installation.base)).await?;
    let run = async |script: &str| browser.execute(script, serde_json::json!([LETTER])).await;
    run("document.querySelector('#body').value = arguments[0]; document.querySelector('[name=format][value=html]').checked = true; \
         document.querySelector('[name=element][value=block-link]').checked = true;")
    .await?;
    browser.click("#letter-show").await?;
    browser.wait_until("#letter-part option[value='0']").await?;
    let shown = run("return [document.querySelector('#letter-note').textContent, [...document.querySelectorAll('#letter-part option')].map(o => o.textContent).join('|')]").await?;
    let shown = shown.to_string();
    assert!(shown.contains("can vary") && shown.contains("Buy now") && shown.contains("rule .button"), "{shown}");
    // The frame has no origin, so the page cannot reach into it: a real click does.
    let frame = browser.find("#letter-frame").await?;
    browser.enter(Some(&frame)).await?;
    let text = browser.text("body").await?;
    assert!(text.contains("Read this") && !text.contains("the script ran"), "{text}");
    browser.click("a.button").await?;
    browser.enter(None).await?;
    let address = wait_for_address(&browser, "a:nth-of-type(1)").await?;
    assert!(address.contains("p:nth-of-type(2) > a"), "{address}");
    let chosen =
        run("return document.querySelector('[name=element]:checked').value + ' ' + document.querySelector('#letter-note').textContent")
            .await?;
    assert!(chosen.to_string().contains("block-link") && chosen.to_string().contains("https://shop.example/"), "{chosen}");
    let severe: Vec<_> = browser.logs().await?.into_iter().filter(|entry| entry.level == "SEVERE").collect();
    // The console may tell that the letter's own script was refused, and nothing else.
    assert!(severe.iter().all(|entry| entry.message.contains("Content Security Policy")), "{severe:#?}");
    drop(browser);
    installation.finish()
}

/// Two finished letters are pasted: two differences are refused with both named and nothing lost, one is launched.
#[tokio::test(flavor = "multi_thread")]
async fn whole_letters_are_pasted_refused_mended_and_launched_in_the_browser() -> Result<()> {
    const LETTER: &str =
        "<h1>Autumn</h1><p>Three things changed.</p><p><a style=\"padding:8px\" href=\"https://shop.example/\">Buy now</a></p>";
    let mailboxes = Mailboxes::open().await;
    let relay = std::net::SocketAddr::from(([127, 0, 0, 1], mailboxes.port()));
    let installation = Installation::start(Engine::Sqlite, relay, None)?;
    let file = installation.folder().join("people.csv");
    std::fs::write(&file, PEOPLE)?;
    let options = ImportOptions { list: "customers".to_owned(), stated: None };
    people::import_file(&installation.lab, &file, &options, &mut |_| ControlFlow::Continue(()), &mut |_| {})?;
    let browser = Browser::start(1280, 1000).await?;
    browser.goto(&format!("{}/", installation.base)).await?;
    for (field, text) in [("#login", "ada@example.org"), ("#password", "a long password"), ("#password_again", "a long password")] {
        browser.type_text(field, text).await?;
    }
    browser.click("main form button").await?;
    browser.wait_until("nav").await?;
    browser.goto(&format!("{}/campaigns/new?by=letters", installation.base)).await?;
    let run = async |script: &str, arguments: serde_json::Value| browser.execute(script, arguments).await;
    for (field, text) in
        [("#name", "pasted"), ("#sender_name", "Letterlab"), ("#sender_address", "news@example.org"), ("#subject", "Hello")]
    {
        browser.type_text(field, text).await?;
    }
    let two = LETTER.replace("Buy now", "Get yours").replace("Three", "Some");
    run(
        "document.querySelector('#list').value = 'customers'; document.querySelector('[name=format][value=html]').checked = true; \
         document.querySelector('#body').value = arguments[0]; document.querySelector('#variant_2_body').value = arguments[1];",
        serde_json::json!([LETTER, two]),
    )
    .await?;
    for button in ["#compare-letters", "#campaign-form button[type=submit].primary"] {
        browser.click(button).await?;
        browser.wait_until("#comparison").await?;
        let told = browser.text("#comparison").await?;
        assert!(told.contains("B from A in 2 elements"), "{told}");
        assert!(told.contains("paragraph 'Three things changed.'") && told.contains("button 'Buy now'"), "{told}");
        let marks = run(
            "return [...document.querySelectorAll('#comparison del, #comparison ins')].map(e => e.textContent).join('|')",
            serde_json::json!([]),
        )
        .await?;
        assert_eq!(marks, serde_json::json!("Three|Some|Buy now|Get yours"));
        let kept =
            run("return [document.querySelector('#name').value, document.querySelector('#variant_2_body').value]", serde_json::json!([]))
                .await?;
        assert_eq!(kept, serde_json::json!(["pasted", two]), "nothing typed is lost");
        run("document.querySelector('#comparison').id = 'seen'", serde_json::json!([])).await?;
    }
    run("const b = document.querySelector('#variant_2_body'); b.value = b.value.replace('Some', 'Three')", serde_json::json!([])).await?;
    browser.click("#campaign-form button[type=submit].primary").await?;
    browser.wait_until("form[action$='/launch']").await?;
    let proof = browser.text("#proof").await?;
    assert!(proof.contains("B differs from A in: button 'Buy now'") && proof.contains("4 people and a made-up one"), "{proof}");
    browser.click("form[action$='/launch'] input[name=confirmed]").await?;
    browser.click("form[action$='/launch'] button").await?;
    let sent = || Ok(Some(mailboxes.received()).filter(|letters| letters.len() == 4));
    let letters = crate::installation::wait_until("every letter being sent", sent).await?;
    let with = |words: &str| letters.iter().filter(|letter| letter.html.contains(words)).count();
    assert_eq!((with(">Buy now</a>"), with(">Get yours</a>"), with("Three things")), (2, 2, 4));
    let severe: Vec<_> = browser.logs().await?.into_iter().filter(|entry| entry.level == "SEVERE").collect();
    // The form with a mistake is answered as such (422), which Chromium's console notes.
    assert!(severe.iter().all(|entry| entry.source == "network" && entry.message.contains("422")), "{severe:#?}");
    drop(browser);
    installation.finish()
}

/// Waits until the form's address of a part ends so.
async fn wait_for_address(browser: &Browser, ending: &str) -> Result<String> {
    let began = std::time::Instant::now();
    loop {
        let value = browser.execute("return document.querySelector('#block').value", serde_json::json!([])).await?;
        let value = value.as_str().unwrap_or_default().to_owned();
        if value.ends_with(ending) {
            return Ok(value);
        }
        anyhow::ensure!(began.elapsed() < crate::servers::browser::PAGE_DEADLINE, "{value:?} does not end with {ending:?}");
    }
}
