//! Lists and the people on them. The only pages that show names and addresses.

use actix_web::{HttpRequest, HttpResponse, web};

use super::steer::done;
use crate::db::DbError;
use crate::ids::SubscriberId;
use crate::vault::people::{List, NoSuchList, Suppression};
use crate::vault::store::{self as store, ExportedPerson};
use crate::web::error::Fault;
use crate::web::form::Fields;
use crate::web::listing::list_as_csv;
use crate::web::session::User;
use crate::web::view::format::{DASH, count};
use crate::web::view::people::{ListRow, ListView, PeopleView, PersonRow};
use crate::web::view::{Badge, Pager, Section, Tone};
use crate::web::{Web, page};

/// People on one page.
const PAGE: usize = 50;

/// `GET /people`
pub async fn index(web: web::Data<Web>, user: User, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let (lists, people, suppressed) = web
        .run(|lab| {
            lab.vault.read(|conn| {
                let (people, suppressed) = store::people_count(conn)?;
                Ok::<_, DbError>((store::lists(conn)?, people, suppressed))
            })
        })
        .await?;
    let mut frame = user.page("People", Section::People);
    frame.flashes = done(&request);
    page(&PeopleView { page: frame, people: count(people), suppressed: count(suppressed), lists: lists.iter().map(row).collect() })
}

fn row(list: &List) -> ListRow {
    ListRow {
        url: list_url(&list.name),
        name: list.name.clone(),
        people: count(list.people),
        mailable: count(list.people.saturating_sub(list.suppressed)),
        suppressed: count(list.suppressed),
    }
}

/// The address of a list's page.
pub fn list_url(name: &str) -> String {
    let escaped: String = name
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect();
    format!("/people/lists/{escaped}")
}

/// `GET /people/lists/{name}?after=…&from=…`
pub async fn list(web: web::Data<Web>, user: User, name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let query = Fields::parse(request.query_string())?;
    let after: Option<SubscriberId> = match query.get("after") {
        "" => None,
        text => Some(text.parse().map_err(|_| Fault::Bad("There is no such page of the list. Start at its first.".to_owned()))?),
    };
    let from: u64 = query.get("from").parse().unwrap_or(1).max(1);
    let wanted = name.into_inner();
    let asked = wanted.clone();
    let (lists, mut people) = web
        .run(move |lab| {
            lab.vault.read(|conn| {
                let lists = store::lists(conn)?;
                Ok::<_, DbError>((lists, store::exported_people(conn, &asked, after, PAGE as i64 + 1)?))
            })
        })
        .await?;
    let Some(list) = lists.iter().find(|list| list.name == wanted) else {
        return Err(NoSuchList { wanted, known: lists.into_iter().map(|list| list.name).collect() }.into());
    };
    let more = people.len() > PAGE;
    people.truncate(PAGE);
    let url = list_url(&list.name);
    let last = people.last().map(|person| person.id);
    let next = last.filter(|_| more).map(|last| format!("{url}?after={last}&from={}", from + PAGE as u64));
    let to = from + (people.len() as u64).saturating_sub(1);
    page(&ListView {
        page: user.page(&list.name, Section::People),
        name: list.name.clone(),
        export_url: format!("{url}/export.csv"),
        counts: [list.people, list.people.saturating_sub(list.suppressed), list.suppressed].map(count),
        rows: people.iter().map(person_row).collect(),
        pager: Pager { from: count(from), to: count(to), total: count(list.people), previous: after.is_some().then_some(url), next },
    })
}

/// Whether somebody may be mailed, or why not.
pub(super) fn mailable(suppressed: Option<Suppression>) -> Badge {
    match suppressed {
        None => Badge::new("may be mailed", Tone::Good),
        Some(reason @ (Suppression::Complaint | Suppression::HardBounce)) => Badge::new(reason.as_str(), Tone::Stop),
        Some(Suppression::ByHand) => Badge::new("suppressed by hand", Tone::Quiet),
        Some(reason) => Badge::new(reason.as_str(), Tone::Quiet),
    }
}

fn person_row(person: &ExportedPerson) -> PersonRow {
    let attribute = |names: &[&str]| names.iter().find_map(|name| person.attributes.get(*name)).cloned().unwrap_or_default();
    let parts = [attribute(&["first_name", "firstname", "name"]), attribute(&["last_name", "lastname", "surname"])];
    let state = mailable(person.suppressed);
    let consent = &person.consent;
    PersonRow {
        address: person.address.reveal().to_owned(),
        name: parts.join(" ").trim().to_owned(),
        state,
        mode: consent.mode.as_str().to_owned(),
        consent: if consent.source.is_empty() {
            DASH.to_owned()
        } else {
            format!("{}, {}", consent.source, consent.at.strftime("%Y-%m-%d"))
        },
    }
}

/// `GET /people/lists/{name}/export.csv`
pub async fn export(web: web::Data<Web>, _user: User, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    list_as_csv(&web, name.into_inner()).await
}
