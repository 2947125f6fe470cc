//! What became of every letter to one person.

use actix_web::{HttpResponse, web};

use crate::app::people::letters_to;
use crate::report::wording::moment;
use crate::vault::address::EmailAddress;
use crate::web::error::Fault;
use crate::web::form::PostForm;
use crate::web::view::Section;
use crate::web::view::person::{LetterRow, PersonView, TryRow};
use crate::web::{Web, page};

/// `POST /people/letters` with `address`: an address belongs in a body, not in a log of paths.
pub async fn letters(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    let typed = form.fields.trimmed("address").to_owned();
    let address = EmailAddress::parse(&typed).map_err(|why| Fault::Bad(format!("This is no address: {why}.")))?;
    let letters = web.run(move |lab| letters_to(lab, &address)).await?;
    let known = letters.is_some();
    let rows = letters.unwrap_or_default().into_iter().map(|letter| LetterRow {
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
    page(&PersonView { page: form.user.page("Letters to a person", Section::People), address: typed, known, letters: rows.collect() })
}
