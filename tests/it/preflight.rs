//! Purpose: what is looked at before a campaign leaves: the list, previews, test mail.
//!
//! Cast: one story per promise on both engines, one with SpamAssassin, and one in a real browser with a hostile letter.
//!
//! Never: a count that a test letter changed, or a console that was not read.

use std::collections::BTreeMap;

use anyhow::Result;
use letterlab::app::campaigns::{self, CampaignError};
use letterlab::app::preflight::{Preflight, Wishes, check};
use letterlab::app::preview::{self, Reader};
use letterlab::app::test_mail;
use letterlab::campaign::state::State;
use letterlab::content::preflight::{Item, Level, Topic};
use letterlab::ids::VariantNumber;

use crate::installation::Installation;
use crate::mailboxes::Mailboxes;
use crate::servers::browser::Browser;
use crate::world::{Engine, Room, World, campaign, on_both_engines, people};

on_both_engines!(
    the_list_holds_every_point_the_worst_first,
    a_point_that_says_stop_keeps_a_launch_from_sealing,
    people_who_lack_a_value_are_counted_and_seen_by_their_ids_only,
    links_are_asked_only_when_wished_and_never_on_private_addresses,
    a_preview_is_what_the_person_would_get,
    test_mail_of_each_variant_arrives_and_changes_no_count,
);

fn point(list: &Preflight, topic: Topic) -> &Item {
    list.items.iter().find(|item| item.topic == topic).unwrap_or_else(|| panic!("{topic} in {list:#?}"))
}

async fn listed(world: &World, name: &str, wishes: Wishes) -> Preflight {
    let (lab, campaign) = (world.lab.clone(), world.campaign(name));
    // Asking the network waits: as in the server, not on a thread that answers.
    tokio::task::spawn_blocking(move || check(&lab, &campaign, wishes).unwrap()).await.unwrap()
}

async fn the_list_holds_every_point_the_worst_first(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(3));
    world.draft(&campaign("good"));
    let list = listed(&world, "good", Wishes::default()).await;
    for topic in [
        Topic::Campaign,
        Topic::OneDifference,
        Topic::Subject,
        Topic::Preheader,
        Topic::Size,
        Topic::TextPart,
        Topic::AltTexts,
        Topic::Unsubscribe,
        Topic::Links,
        Topic::MissingFields,
        Topic::ActiveContent,
        Topic::ClientSupport,
    ] {
        assert_ne!(point(&list, topic).level, Level::Stop, "{list:#?}");
    }
    assert!(point(&list, Topic::OneDifference).details.iter().any(|detail| detail.contains("subject")), "{list:#?}");
    assert_eq!(list.not_asked.len(), 3, "links, spam and domain were not wished for: {:?}", list.not_asked);
    assert!(list.items.is_sorted_by(|one, other| one.level >= other.level));

    let long = campaign("long").replace("Two changes, two minutes", &"long ".repeat(20));
    world.draft(&long);
    let list = listed(&world, "long", Wishes::default()).await;
    let subjects: Vec<(Level, &str)> =
        list.items.iter().filter(|item| item.topic == Topic::Subject).map(|item| (item.level, item.variants.as_str())).collect();
    assert_eq!(subjects, [(Level::Warn, "B"), (Level::Ok, "A")]);
}

async fn a_point_that_says_stop_keeps_a_launch_from_sealing(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(3));
    world.draft(&campaign("large").replace("Hello ", &format!("{} ", "A sentence that is repeated too often. ".repeat(3_000))));
    let Err(CampaignError::NotReady(list)) = world.launch("large") else { panic!("a letter Gmail cuts is not launched") };
    assert_eq!(point(&list, Topic::Size).level, Level::Stop);
    assert_eq!(world.campaign("large").state, State::Draft, "nothing is sealed");
    let seen = listed(&world, "large", Wishes::default()).await;
    assert_eq!(seen.level, Level::Stop);
    assert!(seen.stops()[0].contains("102 kB"), "{:?}", seen.stops());
    world.draft(&campaign("script").replace("Hello ", "<img src=\"https://a.example/x.png\" alt=\"\" onerror=\"x()\"> "));
    assert!(
        matches!(world.launch("script"), Err(CampaignError::NotReady(list)) if point(&list, Topic::ActiveContent).level == Level::Stop)
    );
}

async fn people_who_lack_a_value_are_counted_and_seen_by_their_ids_only(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(3));
    world.import("email,recording_mode,consent_source,consent_date\nnobody@example.org,pseudonymous,form,2026-01-01\n");
    world.draft(&campaign("names").replace("{{ first_name | default(\"there\") }}", "{{ first_name }}"));
    let list = listed(&world, "names", Wishes::default()).await;
    let lacking = point(&list, Topic::MissingFields);
    assert_eq!(lacking.level, Level::Warn);
    assert!(lacking.found.starts_with("1 of 4 people") && lacking.details == ["first_name: 1"], "{lacking:?}");
    assert!(!format!("{list:?}").contains("nobody@example.org"));
    let id = world.person("nobody@example.org").id;
    let named = letterlab::app::letters::lacking(&world.lab, &world.campaign("names").definition).unwrap().named;
    assert_eq!(named, [(id, "first_name".to_owned())]);
    let seen = preview::letters(&world.lab, &world.campaign("names"), &Reader::Person(id)).unwrap();
    assert!(seen.iter().all(|seen| seen.letter.as_ref().is_err_and(|why| why.contains("first_name"))));
}

async fn links_are_asked_only_when_wished_and_never_on_private_addresses(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut request = [0; 1024];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
            let status = if String::from_utf8_lossy(&request[..read]).contains("/gone") { "410 Gone" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
        }
    });
    let text = campaign("links")
        .replace("https://shop.example/first?a=1&b=2", &format!("{base}/there"))
        .replace("https://shop.example/all", &format!("{base}/gone"));
    world.draft(&text);
    let asks = |private_addresses| Wishes { links: true, private_addresses, ..Wishes::default() };
    let list = listed(&world, "links", asks(false)).await;
    assert_eq!(point(&list, Topic::LinkAnswers).level, Level::Warn, "{list:#?}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody was connected to");
    let list = listed(&world, "links", asks(true)).await;
    let answers = point(&list, Topic::LinkAnswers);
    assert_eq!((answers.level, answers.found.as_str()), (Level::Stop, "1 of 2 answer"), "{answers:?}");
    assert!(answers.details[0].contains("/gone") && answers.details[0].contains("410"), "{answers:?}");
}

async fn a_preview_is_what_the_person_would_get(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    world.draft(&campaign("autumn"));
    let autumn = world.campaign("autumn");
    let html = |reader: &Reader| {
        let seen = preview::letters(&world.lab, &autumn, reader).unwrap();
        assert_eq!(seen.iter().map(|seen| seen.variant).collect::<Vec<_>>(), [VariantNumber(0), VariantNumber(1)]);
        seen[1].letter.clone().unwrap().html
    };
    assert!(html(&Reader::MadeUp(BTreeMap::new())).contains("Hello there"));
    assert!(html(&Reader::MadeUp([("first_name".to_owned(), "Lan & <Co>".to_owned())].into())).contains("Hello Lan &amp; &lt;Co&gt;"));
    let person = preview::person(&world.lab, " p1@example.org").unwrap();
    let shown = html(&Reader::Person(person));
    assert!(shown.contains("Hello Pat1") && !shown.contains("/c/") && !shown.contains("/o/"), "the person's own values, nothing tracked");
    assert!(matches!(preview::person(&world.lab, "who@example.org"), Err(CampaignError::NoPerson)));
    let next = |after| preview::next_person(&world.lab, &autumn, after).unwrap().unwrap();
    let (one, two) = (next(None), next(Some(next(None))));
    assert!(one != two && next(Some(two)) == one, "everybody in turn, and round again");
}

async fn test_mail_of_each_variant_arrives_and_changes_no_count(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    world.draft(&campaign("autumn"));
    let before = (world.contents(Room::Ledger), world.contents(Room::Vault));
    let (lab, autumn) = (world.lab.clone(), world.campaign("autumn"));
    let reader = Reader::MadeUp([("first_name".to_owned(), "Ada".to_owned())].into());
    let sent = tokio::task::spawn_blocking(move || test_mail::send(&lab, &autumn, "ada@example.org", &[], &reader).unwrap()).await.unwrap();
    assert!(sent.len() == 2 && sent.iter().all(|one| one.accepted), "{sent:?}");
    let letters = world.received();
    let subjects: Vec<&str> = letters.iter().map(|letter| letter.subject.as_str()).collect();
    assert_eq!(subjects, ["What changed this autumn", "Two changes, two minutes"], "exactly as it will be");
    for (letter, variant) in letters.iter().zip(["A", "B"]) {
        assert_eq!(letter.recipient, "ada@example.org");
        assert!(letter.header("To").contains(&format!("Test of variant {variant}")), "{}", letter.header("To"));
        assert!(letter.html.contains("Hello Ada") && letter.html.contains("https://shop.example/first?a=1&amp;b=2"), "{}", letter.html);
        assert!(letter.pixel().is_none() && letter.links().is_empty(), "nothing is tracked");
        assert!(!letter.return_path.contains("b+"), "its way back is nobody's: {}", letter.return_path);
    }
    assert_ne!(letters[0].header("Message-ID"), letters[1].header("Message-ID"));
    assert_eq!((world.contents(Room::Ledger), world.contents(Room::Vault)), before, "not a byte has changed");
    let (lab, autumn) = (world.lab.clone(), world.campaign("autumn"));
    let refused = tokio::task::spawn_blocking(move || test_mail::send(&lab, &autumn, "ada", &[], &Reader::MadeUp(BTreeMap::new()))).await;
    assert!(matches!(refused.unwrap(), Err(CampaignError::TestMail(why)) if why.contains('@')));
}

#[tokio::test(flavor = "multi_thread")]
async fn spamassassin_scores_each_variant() {
    let world = World::new(Engine::Sqlite).await;
    world.import(&people(2));
    world.draft(&campaign("autumn"));
    let list = listed(&world, "autumn", Wishes { spam: true, ..Wishes::default() }).await;
    let scores: Vec<&Item> = list.items.iter().filter(|item| item.topic == Topic::SpamScore).collect();
    assert_eq!(scores.iter().map(|item| item.variants.as_str()).collect::<Vec<_>>(), ["A", "B"], "{list:#?}");
    assert!(scores.iter().all(|item| item.found.contains("spam is from 5.0") && item.level == Level::Ok), "{scores:?}");
}

/// Everything that would run if it could; `ran` tells.
const HOSTILE: &str = r##"<html><head><script>window.ran = 1; top.document.title = "ran"</script>
<style>@import url(https://evil.example/x.css); p { color: #123456 }</style><meta http-equiv="refresh" content="0;url=/healthz"></head>
<body onload="window.ran = 2"><p id="words">Words that are read by people, ten of them at least here.</p>
<img src="data:image/png;base64,AAAA" alt="broken" onerror="window.ran = 3">
<a id="link" href="#words" onclick="window.ran = 4">click</a> <a href="https://example.org/">on</a>
<svg onload="window.ran = 5" width="1" height="1"><a xlink:href="javascript:void(window.ran = 6)"><text>x</text></a></svg>
<iframe srcdoc="<script>top.ran = 7</script>"></iframe><form action="/logout"><button id="button" formaction="/logout">go</button></form>
<details open ontoggle="window.ran = 8"><summary>x</summary></details></body></html>"##;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_letter_runs_nothing_in_the_preview() -> Result<()> {
    let mailboxes = Mailboxes::open().await;
    let relay = std::net::SocketAddr::from(([127, 0, 0, 1], mailboxes.port()));
    let installation = Installation::start(Engine::Sqlite, relay, None)?;
    let browser = Browser::start(1280, 1000).await?;
    let page = |path: &str| format!("{}{path}", installation.base);
    browser.goto(&page("/")).await?;
    for (field, text) in [("#login", "ada@example.org"), ("#password", "a long password"), ("#password_again", "a long password")] {
        browser.type_text(field, text).await?;
    }
    browser.click("main form button").await?;
    browser.wait_until("nav").await?;
    import(&installation)?;
    let letter = format!("format = \"html\"\ntext = '''\n{HOSTILE}\n'''\n");
    let text = campaign("hostile");
    let (before, after) = text.split_once("text = \"\"\"").unwrap();
    let (_, after) = after.split_once("\"\"\"\n").unwrap();
    campaigns::draft(&installation.lab, &format!("{before}{letter}{after}"), &|_| Err(String::new()))?;

    browser.goto(&page("/campaigns/1/preview")).await?;
    let frame = browser.wait_until("iframe.preview").await?;
    assert_eq!(browser.title().await?, "Preview of hostile · Letterlab");
    browser.enter(Some(&frame)).await?;
    assert!(browser.text("#words").await?.starts_with("Words that are read"));
    look_for_anything_that_ran(&browser).await?;
    browser.enter(None).await?;
    // On its own, too: the policy of the answer stands without the frame round it.
    for look in ["", "?images=off", "?shade=dark", "?shade=inverted&width=phone"] {
        browser.goto(&page(&format!("/campaigns/1/preview/b{look}"))).await?;
        browser.wait_until("#words").await?;
        look_for_anything_that_ran(&browser).await?;
        let url = browser.url().await?;
        assert!(url.contains("/preview/b"), "nothing leads away: {url}");
    }
    for part in ["text", "html", "message"] {
        browser.goto(&page(&format!("/campaigns/1/preview?part={part}&width=phone"))).await?;
        assert!(browser.text(".sight pre").await?.contains("Words that are read"), "{part}");
    }
    browser.goto(&page("/campaigns/1")).await?;
    browser.click("form[action$='/launch'] input[name=confirmed]").await?;
    browser.click("form[action$='/launch'] button").await?;
    browser.wait_until(".points").await?;
    let shown = browser.text("main").await?;
    assert!(shown.contains("Not launched") && shown.contains("The letter holds something that would run"), "{shown}");
    assert_eq!(campaigns::find(&installation.lab, "hostile")?.state, State::Draft);
    browser.goto(&page("/campaigns/1/preview")).await?;
    browser.click("#test-form button").await?;
    browser.wait_until(".flash.good").await?;
    assert_eq!(mailboxes.received().len(), 2, "one of each variant, to the address one logs in with");
    let severe: Vec<_> = browser.logs().await?.into_iter().filter(|entry| entry.level == "SEVERE").collect();
    // The refused launch is answered as such (422), which Chromium's console notes; so is its own
    // wish for an icon beside a letter opened on its own.
    let unexpected: Vec<_> = severe
        .iter()
        .filter(|entry| !(entry.source == "network" && (entry.message.contains("422") || entry.message.contains("/favicon.ico"))))
        // The button was pressed above, and the sandbox says that it did nothing.
        .filter(|entry| !entry.message.contains("Blocked form submission"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    drop(browser);
    installation.finish()
}

fn import(installation: &Installation) -> Result<()> {
    let file = installation.folder().join("people.csv");
    std::fs::write(&file, people(2))?;
    let options = letterlab::vault::import::ImportOptions { list: "customers".to_owned(), stated: None };
    letterlab::app::people::import_file(&installation.lab, &file, &options, &mut |_| std::ops::ControlFlow::Continue(()), &mut |_| {
        panic!("a line was refused")
    })?;
    Ok(())
}

async fn look_for_anything_that_ran(browser: &Browser) -> Result<()> {
    let script = "for (const id of ['link', 'button']) document.getElementById(id).click();\
                  return [String(window.ran), document.querySelectorAll('script,iframe,[onload],[onerror],[ontoggle],[formaction],meta[http-equiv]').length,\
                  getComputedStyle(document.getElementById('words')).color]";
    let found = browser.execute(script, serde_json::json!([])).await?;
    assert_eq!(found, serde_json::json!(["undefined", 0, "rgb(18, 52, 86)"]), "nothing ran, and the letter's own look is there");
    Ok(())
}
