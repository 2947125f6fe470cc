//! `/u/{token}`: GET shows the recipient's page and changes nothing; POST acts at once, without cookie or login.
//!
//! A POST is the page's own form or RFC 8058's `List-Unsubscribe=One-Click`, urlencoded or multipart, and may come twice.

use actix_web::dev::Payload as Body;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};

use crate::app::campaigns;
use crate::app::clock;
use crate::bridge::withdraw::{self, Standing};
use crate::db::DbError;
use crate::ids::{Pseudonym, RecordingMode};
use crate::token::{Bearer, Kind, Payload};
use crate::web::Web;
use crate::web::edge::PAUSE_SECONDS;
use crate::web::error::Fault;
use crate::web::form::{SMALL_BYTES, read_form};
use crate::web::view::Page;
use crate::web::view::public::{Measurement, UnsubscribeView};

const TOO_OLD: &str = "The link between this letter and your address has been destroyed, so nothing can be changed by it any more. \
                       If you get a newer letter, please use its unsubscribe link.";

/// `GET|HEAD /u/{token}`
pub async fn show(web: web::Data<Web>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let (payload, pseudonym) = recipient(&web, &request)?;
    page(&web, &request, payload, pseudonym).await
}

/// `POST /u/{token}`
pub async fn act(web: web::Data<Web>, request: HttpRequest, form: AnyForm) -> Result<HttpResponse, Fault> {
    let (payload, pseudonym) = recipient(&web, &request)?;
    match form.0 {
        Wish::StopMeasuring => stop_measuring(&web, pseudonym).await?,
        Wish::Unsubscribe => {
            let known = web.run(move |lab| withdraw::unsubscribe(&lab.vault, pseudonym, lab.clock.now(), clock::fresh)).await?;
            if !known {
                return Err(Fault::Gone(TOO_OLD));
            }
            web.lab.nudge.notify_waiters();
        }
    }
    page(&web, &request, payload, pseudonym).await
}

enum Wish {
    Unsubscribe,
    StopMeasuring,
}

/// What a POST asks for. Anything but the wish to stop measuring is the wish to get no more letters: mail programs that press the
/// button send bodies of many shapes.
pub struct AnyForm(Wish);

impl FromRequest for AnyForm {
    type Error = Fault;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Body) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let stop = match read_form(&request, &mut payload, SMALL_BYTES).await {
                Ok(fields) => fields.get("action") == "stop-measurement",
                Err(Fault::Bad(_)) => false,
                Err(other) => return Err(other),
            };
            Ok(Self(if stop { Wish::StopMeasuring } else { Wish::Unsubscribe }))
        })
    }
}

async fn stop_measuring(web: &Web, pseudonym: Pseudonym) -> Result<(), Fault> {
    let stopped = web.run(move |lab| withdraw::stop_measuring(&lab.vault, &lab.ledger, pseudonym, lab.clock.now(), clock::fresh)).await?;
    web.lab.tracker.targets.withdraw(stopped);
    Ok(())
}

fn recipient(web: &Web, request: &HttpRequest) -> Result<(Payload, Pseudonym), Fault> {
    let token = request.match_info().get("token").unwrap_or_default();
    let payload = web
        .lab
        .keys
        .open(Kind::Unsubscribe, token)
        .map_err(|_| if web.edge.miss(web.peer(request)) { Fault::TooOften(PAUSE_SECONDS) } else { Fault::NotFound })?;
    match payload.bearer {
        Bearer::Recipient(pseudonym) => Ok((payload, pseudonym)),
        Bearer::Arm { .. } => Err(Fault::NotFound),
    }
}

async fn page(web: &Web, request: &HttpRequest, payload: Payload, pseudonym: Pseudonym) -> Result<HttpResponse, Fault> {
    let (standing, sender) = web
        .run(move |lab| {
            let standing = withdraw::standing(&lab.vault, pseudonym)?;
            let campaign = campaigns::by_number(lab, payload.campaign).ok();
            Ok::<_, DbError>((standing, campaign.map(|campaign| campaign.definition.newsletter.sender_name)))
        })
        .await?;
    let Standing { unsubscribed, unmeasured } = standing.ok_or(Fault::Gone(TOO_OLD))?;
    let measurement = match payload.mode {
        RecordingMode::Off | RecordingMode::Aggregate => Measurement::Never,
        RecordingMode::Pseudonymous | RecordingMode::Identified if unmeasured => Measurement::Stopped,
        RecordingMode::Pseudonymous | RecordingMode::Identified => Measurement::On,
    };
    // A sender name with merge fields would show its braces.
    let sender = sender.filter(|name| !name.contains("{{")).unwrap_or_else(|| "this sender".to_owned());
    let url = request.path().to_owned();
    super::super::page(&UnsubscribeView { page: Page::anonymous("Unsubscribe"), url, sender, unsubscribed, measurement })
}
