//! What the DNS says about a sender's domain.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::web::Web;
use crate::web::admin::domain::{checked, request};
use crate::web::error::Fault;
use crate::web::form::Fields;
use crate::web::session::Program;

/// `GET /api/v1/domain?name=example.org&ip=192.0.2.1`
pub async fn check(web: web::Data<Web>, _program: Program, http: HttpRequest) -> Result<HttpResponse, Fault> {
    let asked = request(&Fields::parse(http.query_string())?)?;
    let Some(asked) = asked else { return Err(Fault::Bad("Say which domain: ?name=example.org".to_owned())) };
    Ok(HttpResponse::Ok().json(checked(&web, asked).await?))
}
