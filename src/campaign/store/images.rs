//! The only SQL of uploaded pictures.

use diesel::prelude::*;
use jiff::Timestamp;

use crate::campaign::schema::image;
use crate::content::ImageKind;
use crate::db::{DbError, DbResult, LedgerConn};

/// An uploaded picture without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// What its address is made of; random.
    pub id: String,
    /// What it is.
    pub kind: ImageKind,
    /// Its size.
    pub bytes: u64,
    /// When it came.
    pub uploaded_at: Timestamp,
}

/// An uploaded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is.
    pub kind: ImageKind,
    /// The file.
    pub bytes: Vec<u8>,
}

fn kind_of(word: &str) -> DbResult<ImageKind> {
    ImageKind::from_word(word).ok_or_else(|| DbError::unreadable("a kind of picture", word))
}

/// Stores a picture under a fresh id and answers that, or the id it has already. Call inside a transaction.
pub fn save_image(conn: &mut LedgerConn, id: &str, digest: &str, kind: ImageKind, bytes: &[u8], now: Timestamp) -> DbResult<String> {
    let known: Option<String> = image::table.filter(image::digest.eq(digest)).select(image::id).first(conn.sql()).optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    diesel::insert_into(image::table)
        .values((
            image::id.eq(id),
            image::digest.eq(digest),
            image::kind.eq(kind.as_str()),
            image::bytes.eq(bytes),
            image::uploaded_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    Ok(id.to_owned())
}

/// A picture by its id.
pub fn image(conn: &mut LedgerConn, id: &str) -> DbResult<Option<Image>> {
    let row: Option<(String, Vec<u8>)> = image::table.find(id).select((image::kind, image::bytes)).first(conn.sql()).optional()?;
    row.map(|(kind, bytes)| Ok(Image { kind: kind_of(&kind)?, bytes })).transpose()
}

/// Every picture, the newest first.
pub fn images(conn: &mut LedgerConn) -> DbResult<Vec<ImageInfo>> {
    let size = diesel::dsl::sql::<diesel::sql_types::BigInt>("CAST(length(bytes) AS BIGINT)");
    let rows: Vec<(String, String, i64, i64)> = image::table
        .order((image::uploaded_at.desc(), image::id))
        .select((image::id, image::kind, size, image::uploaded_at))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(id, kind, bytes, at)| {
            let uploaded_at = Timestamp::from_millisecond(at).map_err(|_| DbError::unreadable("a moment", at))?;
            Ok(ImageInfo { id, kind: kind_of(&kind)?, bytes: bytes.unsigned_abs(), uploaded_at })
        })
        .collect()
}
