//! Whether the process lives, and whether it can do its work.

use actix_web::{HttpResponse, web};

use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::vault::store as people;
use crate::web::Web;
use crate::web::edge::Edge;
use crate::web::error::Fault;

/// `GET /healthz`: answered as long as the process lives.
pub async fn lives() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

/// `GET /readyz`: answered 200 when both databases answer; of a tracking node, when hits can be made durable.
pub async fn ready(edge: web::Data<Edge>, web: Option<web::Data<Web>>) -> Result<HttpResponse, Fault> {
    let Some(web) = web else {
        if edge.outpost.tracker.intake.is_stalled() {
            return Err(Fault::Unavailable(anyhow::anyhow!("the spool of hits cannot be written")));
        }
        return Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"));
    };
    let asked = web.run(|lab| {
        lab.ledger.read(campaigns::ping)?;
        lab.vault.read(people::account_count)?;
        Ok::<_, DbError>(())
    });
    match asked.await {
        Ok(()) => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n")),
        Err(Fault::Internal(cause)) => Err(Fault::Unavailable(cause)),
        Err(other) => Err(other),
    }
}
