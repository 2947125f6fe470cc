//! What a user can do with pictures for letters: the verbs that web pages, command line and HTTP API all call.
//!
//! Cast: [`upload`], [`all`], [`UploadedImage`], [`ImageError`]; [`inside`] fetches those that travel inside a campaign's messages.

use sha2::{Digest, Sha256};

use crate::app::clock;
use crate::app::lab::Lab;
use crate::campaign::store::{self, ImageInfo};
use crate::content::{CompiledLetter, IMAGE_PATH, ImageKind, content_id};
use crate::db::{DbError, LedgerDb};
use crate::delivery::message::InlineImage;
use crate::ids::base32;

/// Why a picture is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is no picture for letters.
    #[error("{0}")]
    Refused(String),
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A picture as programs and people see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UploadedImage {
    /// To be written into a letter.
    pub url: String,
    /// `png`, `jpg`, `gif` or `webp`.
    pub kind: ImageKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it came.
    pub uploaded_at: jiff::Timestamp,
}

fn url(lab: &Lab, id: &str, kind: ImageKind) -> String {
    format!("{}{IMAGE_PATH}{id}.{}", lab.config.web.base_url, kind.as_str())
}

/// Takes a picture in. The same file again has the same address.
///
/// # Errors
/// [`ImageError::Refused`] for what is no picture, or too large.
pub fn upload(lab: &Lab, bytes: &[u8]) -> Result<UploadedImage, ImageError> {
    let kind = ImageKind::of(bytes).map_err(ImageError::Refused)?;
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    let (fresh, now) = (base32().encode(&clock::fresh()), lab.clock.now());
    let id = lab.ledger.write(|conn| store::save_image(conn, &fresh, &digest, kind, bytes, now))?;
    Ok(UploadedImage { url: url(lab, &id, kind), kind, bytes: bytes.len() as u64, uploaded_at: now })
}

/// Every picture, the newest first.
///
/// # Errors
/// A database failure.
pub fn all(lab: &Lab) -> Result<Vec<UploadedImage>, DbError> {
    let shown = |info: ImageInfo| UploadedImage {
        url: url(lab, &info.id, info.kind),
        kind: info.kind,
        bytes: info.bytes,
        uploaded_at: info.uploaded_at,
    };
    Ok(lab.ledger.read(store::images)?.into_iter().map(shown).collect())
}

/// Per letter, the pictures that travel inside its messages.
///
/// # Errors
/// A database failure, or that a letter names a picture which is not here.
pub fn inside(ledger: &LedgerDb, letters: &[CompiledLetter]) -> anyhow::Result<Vec<Vec<InlineImage>>> {
    let fetch = |id: &String| {
        let found = ledger.read(|conn| store::image(conn, id))?;
        let image = found.ok_or_else(|| anyhow::anyhow!("the letter names a picture {IMAGE_PATH}{id} that was never uploaded here"))?;
        Ok(InlineImage::new(content_id(id), image.kind.media_type(), &image.bytes))
    };
    letters.iter().map(|letter| letter.inline_images().iter().map(fetch).collect()).collect()
}

/// The ids among these that were never uploaded here.
///
/// # Errors
/// A database failure.
pub fn missing(ledger: &LedgerDb, ids: &[String]) -> Result<Vec<String>, DbError> {
    ledger.read(|conn| {
        let mut missing = Vec::new();
        for id in ids {
            if store::image(conn, id)?.is_none() {
                missing.push(id.clone());
            }
        }
        Ok(missing)
    })
}
