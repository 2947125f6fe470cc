//! What goes on by itself while nothing happens: it costs nothing that grows with what is stored.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use letterlab::app::jobs;

use crate::world::{Engine, FIREFOX, World, campaign, people};

/// Tables that grow with people and with what happens to them.
const LARGE: [&str; 7] = ["event", "filed", "subject", "mailing", "attempt", "subscriber", "membership"];
/// Indexes of few rows only: of what is still to be done.
const OF_FEW: [&str; 5] = ["subject_to_judge", "event_to_settle", "mailing_due", "mailing_planned", "mailing_held"];

thread_local! {
    static HEARD: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
}

/// Hears what this thread asks while somebody listens.
fn listener() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            HEARD.with_borrow_mut(|heard| {
                if let Some(heard) = heard {
                    heard.insert(query.to_string());
                }
            });
        }
    }))
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The steps SQLite takes to answer; none where it knows no such tables.
fn plan(database: &Path, question: &str) -> Option<Vec<String>> {
    let mut sqlite = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    let steps = diesel::sql_query(format!("EXPLAIN QUERY PLAN {question}")).load::<Step>(&mut sqlite).ok()?;
    Some(steps.into_iter().map(|step| step.detail).collect())
}

/// Whether a step goes through all rows of a large table.
fn is_walk(step: &str) -> bool {
    let mut words = step.split(' ');
    let is_scan = words.next() == Some("SCAN") && words.next().is_some_and(|table| LARGE.contains(&table));
    is_scan && !OF_FEW.iter().any(|index| step.ends_with(index))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_round_walks_through_no_large_table() {
    set_default_instrumentation(listener).unwrap();
    let world = World::with_campaign_sent(Engine::Sqlite, &people(4), &campaign("autumn")).await;
    let letter = world.letter_to("p0@example.org");
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.tidy();
    HEARD.set(Some(BTreeSet::new()));
    assert!(jobs::tidy(&world.lab).unwrap().is_idle());
    let heard = HEARD.take().unwrap();
    let mut explained = 0;
    for question in heard.iter().filter(|text| ["SELECT", "UPDATE", "DELETE", "INSERT"].iter().any(|verb| text.starts_with(verb))) {
        let plans = ["vault.db", "ledger.db"].map(|name| plan(&world.folder().join(name), question));
        let steps = plans.into_iter().flatten().next().unwrap_or_else(|| panic!("cannot be explained: {question}"));
        assert!(!steps.iter().any(|step| is_walk(step)), "{question}\n{steps:#?}");
        explained += 1;
    }
    assert!(explained > 5, "{heard:#?}");
}
