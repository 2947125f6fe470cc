//! The page about the API.
//!
//! Cast: [`ApiView`], [`ApiRow`].

use super::Page;

/// One route.
#[derive(Debug, Clone)]
pub struct ApiRow {
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// What it does.
    pub purpose: String,
}

/// The page about the API.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "public/api.html")]
pub struct ApiView {
    /// The frame.
    pub page: Page,
    /// Where this installation is reached.
    pub site: String,
    /// Every route.
    pub rows: Vec<ApiRow>,
}
