//! Whether the process lives, and whether it can do its work.

use actix_web::{HttpResponse, web};

use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::vault::store as people;
use crate::web::Web;
use crate::web::error::Fault;

/// `GET /healthz`: answered as long as the process lives.
pub async fn lives() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

/// `GET /readyz`: answered 200 when both databases answer.
pub async fn ready(web: web::Data<Web>) -> Result<HttpResponse, Fault> {
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
