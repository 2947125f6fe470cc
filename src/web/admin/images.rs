//! Pictures for letters: upload one, copy its address.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template as _;

use crate::app::images::{self, ImageError};
use crate::content::MOST_IMAGE_BYTES;
use crate::report::wording::moment;
use crate::web::error::Fault;
use crate::web::form::UploadForm;
use crate::web::session::User;
use crate::web::view::Section;
use crate::web::view::images::{ImageRow, ImagesView};
use crate::web::{Web, page};

async fn view(web: &Web, user: &User) -> Result<ImagesView, Fault> {
    let all = web.run(images::all).await?;
    let rows = all
        .into_iter()
        .map(|image| ImageRow {
            path: image.url.strip_prefix(&web.lab.config.web.base_url).unwrap_or(&image.url).to_owned(),
            size: format!("{} kB", image.bytes.div_ceil(1024)),
            uploaded_at: moment(image.uploaded_at),
            url: image.url,
        })
        .collect();
    let largest = format!("{} MB", MOST_IMAGE_BYTES / 1024 / 1024);
    Ok(ImagesView { page: user.page("Pictures", Section::Campaigns), rows, largest, error: None, uploaded: None })
}

/// `GET /images`
pub async fn show(web: web::Data<Web>, user: User) -> Result<HttpResponse, Fault> {
    page(&view(&web, &user).await?)
}

/// `POST /images`, with `image`.
pub async fn take(web: web::Data<Web>, form: UploadForm) -> Result<HttpResponse, Fault> {
    let UploadForm { user, file, .. } = form;
    let stored = match file {
        None => Err(ImageError::Refused("choose a file first".to_owned())),
        Some((_, upload)) => {
            web.run(move |lab| {
                // One byte more than is taken: enough to know that it is too large.
                let mut bytes = Vec::new();
                let read = std::fs::File::open(upload.path())
                    .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_IMAGE_BYTES as u64 + 1), &mut bytes));
                read.map_err(|error| Fault::internal(anyhow::Error::new(error).context("an upload cannot be read")))?;
                Ok::<_, Fault>(images::upload(lab, &bytes))
            })
            .await?
        }
    };
    let mut view = view(&web, &user).await?;
    match stored {
        Ok(image) => {
            view.uploaded = Some(image.url);
            page(&view)
        }
        Err(ImageError::Refused(why)) => {
            view.error = Some(why);
            Ok(HttpResponse::build(StatusCode::UNPROCESSABLE_ENTITY).content_type("text/html; charset=utf-8").body(view.render()?))
        }
        Err(ImageError::Database(error)) => Err(error.into()),
    }
}
