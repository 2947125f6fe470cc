//! One person: whether they may be mailed, what became of every letter to them, and no more letters or being forgotten.
//!
//! Addresses come in bodies and go nowhere: pages after a change name nobody.

use actix_web::{HttpResponse, web};

use super::people::mailable;
use super::steer::confirmed;
use crate::app::people;
use crate::report::wording::moment;
use crate::vault::address::EmailAddress;
use crate::vault::people::Suppression;
use crate::web::error::Fault;
use crate::web::form::PostForm;
use crate::web::view::Section;
use crate::web::view::person::{LetterRow, PersonView, TryRow};
use crate::web::{Web, page, see_other};

/// `POST /people/letters` with `address`: an address belongs in a body, not in a log of paths.
pub async fn letters(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let typed = form.fields.trimmed("address").to_owned();
    let address = address_of(&form)?;
    let standing = web.run(move |lab| people::letters_to(lab, &address)).await?;
    let state = standing.as_ref().map(|standing| mailable(standing.suppressed));
    let is_by_hand = standing.as_ref().is_some_and(|standing| standing.suppressed == Some(Suppression::ByHand));
    let rows = standing.map(|standing| standing.letters).unwrap_or_default().into_iter().map(|letter| LetterRow {
        url: format!("/campaigns/{}", letter.fate.campaign),
        campaign: letter.campaign_name,
        state: letter.fate.state,
        reason: letter.fate.reason.unwrap_or_default(),
        tries: letter
            .fate
            .attempts
            .into_iter()
            .map(|(at, verdict, tried)| TryRow {
                at: moment(at),
                verdict,
                relay: tried.relay,
                stage: tried.stage,
                words: [tried.code.map(|code| code.to_string()).unwrap_or_default(), tried.enhanced.unwrap_or_default(), tried.text]
                    .into_iter()
                    .filter(|word| !word.is_empty())
                    .collect::<Vec<_>>()
                    .join(" "),
            })
            .collect(),
    });
    let frame = form.user.page("One person", Section::People);
    page(&PersonView { page: frame, address: typed, state, is_by_hand, letters: rows.collect() })
}

/// `POST /people/suppress` with `address`
pub async fn suppress(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let address = address_of(&form)?;
    web.run(move |lab| people::suppress(lab, &address)).await?;
    Ok(see_other("/people?done=suppressed"))
}

/// `POST /people/unsuppress` with `address`
pub async fn unsuppress(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let address = address_of(&form)?;
    web.run(move |lab| people::unsuppress(lab, &address)).await?;
    Ok(see_other("/people?done=unsuppressed"))
}

/// `POST /people/erase` with `address` and the tick.
pub async fn erase(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    let address = address_of(&form)?;
    web.run(move |lab| people::erase(lab, &address)).await?;
    Ok(see_other("/people?done=erased"))
}

fn address_of(form: &PostForm) -> Result<EmailAddress, Fault> {
    EmailAddress::parse(form.fields.trimmed("address")).map_err(|why| Fault::Bad(format!("This is no address: {why}.")))
}
