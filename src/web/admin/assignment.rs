//! Who was drawn into which arm, and whether the draw repeats, for those logged in.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::campaign::find;
use crate::app::assignment::{self, Assignment};
use crate::web::error::Fault;
use crate::web::session::User;
use crate::web::view::Section;
use crate::web::view::assignment::AssignmentView;
use crate::web::{Web, page};

async fn read(web: &Web, number: &str) -> Result<Assignment, Fault> {
    let campaign = find(web, number).await?;
    web.run(move |lab| assignment::assignment(lab, &campaign)).await
}

/// `GET /campaigns/{number}/assignment`
pub async fn show(web: web::Data<Web>, user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let drawn = read(&web, &number).await?;
    let frame = user.page(&format!("Draw of {}", drawn.campaign), Section::Campaigns);
    page(&AssignmentView::new(frame, &drawn, &format!("/campaigns/{}", number.as_str())))
}

/// `GET /campaigns/{number}/assignment.csv`
pub async fn csv(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let drawn = read(&web, &number).await?;
    let text = assignment::csv(&drawn).map_err(Fault::internal)?;
    let name = format!("attachment; filename=\"{}-assignment.csv\"", drawn.campaign);
    let kind = "text/csv; charset=utf-8";
    Ok(HttpResponse::Ok().content_type(kind).insert_header((header::CONTENT_DISPOSITION, name)).body(text))
}
