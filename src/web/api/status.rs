//! How the installation stands.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::campaigns;
use crate::app::outpost::{Live, live};
use crate::app::status::{Status, status};
use crate::web::Web;
use crate::web::error::Fault;
use crate::web::session::Program;

/// Sums, background work, and what this process's tracker does now.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    status: Status,
    live: Live,
}

/// `GET /api/v1/status`
pub async fn show(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    let answer = web.run(|lab| Ok::<_, anyhow::Error>(Answer { status: status(lab)?, live: live(&lab.outpost()) })).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `GET /api/v1/rebuild`
pub async fn rebuild(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(web.recount.stage()))
}

/// `POST /api/v1/rebuild`: answers at once; look how far it is by GET.
pub async fn start_rebuild(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    web.recount.start(&web.lab).map_err(Fault::internal)?;
    Ok(HttpResponse::Accepted().json(web.recount.stage()))
}

/// `POST /api/v1/rebuild/stop`
pub async fn stop_rebuild(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    web.recount.stop();
    Ok(HttpResponse::Ok().json(web.recount.stage()))
}

/// `GET /api/v1/verify`
pub async fn checked(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(web.lab.checking.stage()))
}

/// `POST /api/v1/verify`: answers at once; look what it found by GET.
pub async fn start_check(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    web.run(|lab| lab.checking.start(lab)).await?;
    Ok(HttpResponse::Accepted().json(web.lab.checking.stage()))
}

/// `POST /api/v1/verify/stop`
pub async fn stop_check(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    web.lab.checking.stop();
    Ok(HttpResponse::Ok().json(web.lab.checking.stage()))
}

/// `GET /api/v1/campaigns/{campaign}/verify`
pub async fn verify(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let name = name.into_inner();
    let verified = web
        .run(move |lab| {
            let campaign = campaigns::find(lab, &name).map_err(Fault::from)?;
            lab.checking.one(lab, campaign.number).map_err(Fault::from)
        })
        .await?;
    Ok(HttpResponse::Ok().json(verified))
}
