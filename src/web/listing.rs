//! A list of people as a file, for whoever keeps it: page and API answer the same.
//!
//! Cast: [`list_as_csv`].
//!
//! It is written while it is read, so that a long list needs no memory.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::Web;
use super::error::Fault;
use crate::vault::import::{ExportError, export as write_list};
use crate::vault::people::NoSuchList;
use crate::vault::store;

/// Everybody on a list, with what they agreed to, as CSV that an import takes again.
///
/// # Errors
/// [`Fault::Missing`] when there is no such list.
pub async fn list_as_csv(web: &Web, name: String) -> Result<HttpResponse, Fault> {
    let known = web.run(|lab| lab.vault.read(store::list_names)).await?;
    if !known.contains(&name) {
        return Err(NoSuchList { wanted: name, known }.into());
    }
    let (chunks, receiver) = mpsc::channel::<Result<web::Bytes, std::io::Error>>(8);
    let lab = web.lab.clone();
    tokio::task::spawn_blocking(move || {
        let out = std::io::BufWriter::with_capacity(64 * 1024, Chunks(chunks.clone()));
        if let Err(error) = lab.vault.read(|conn| write_list(conn, &name, out)) {
            // Nobody is there any more when the browser went away; anything else must break the download off, not end it early.
            if let ExportError::Database(error) = &error {
                tracing::error!(error = error as &dyn std::error::Error, "a list could not be exported");
            }
            let _ = chunks.blocking_send(Err(std::io::Error::other("the export broke off")));
        }
    });
    let body = futures_util::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) });
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"people.csv\""))
        .streaming(body.boxed()))
}

/// Hands written bytes to the answer as it goes out.
struct Chunks(mpsc::Sender<Result<web::Bytes, std::io::Error>>);

impl std::io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Ok(web::Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
