//! Pictures uploaded for letters.
//!
//! Cast: [`ImagesView`], [`ImageRow`]. It decides nothing.

use super::Page;

/// One picture.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// Its address on this site, for showing it here.
    pub path: String,
    /// Its whole address, for a letter.
    pub url: String,
    /// Its size, in words.
    pub size: String,
    /// When it came.
    pub uploaded_at: String,
}

/// All pictures, and the form for one more. Posts multipart `image` to `/images`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/images.html")]
pub struct ImagesView {
    /// The frame.
    pub page: Page,
    /// The newest first.
    pub rows: Vec<ImageRow>,
    /// Largest file taken, in words.
    pub largest: String,
    /// Complaint about the file.
    pub error: Option<String>,
    /// Address of the picture just uploaded.
    pub uploaded: Option<String>,
}
