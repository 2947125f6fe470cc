//! How the installation stands.

use actix_web::{HttpResponse, web};
use serde::Serialize;

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
