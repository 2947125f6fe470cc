//! Bodies, within limits: forms as pairs, files to disk.
//!
//! Cast: [`Fields`] (what a form says), [`PostForm`] (the same, checked to come from this session), [`UploadForm`] (with a file),
//! [`Upload`] (a file on disk that is removed when dropped).
//!
//! No handler reads a body by itself. Nothing is read beyond its limit, and no file is read into memory.

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use actix_multipart::{Field, Multipart};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt as _;

use super::Web;
use super::error::Fault;
use super::session::User;
use crate::app::clock;
use crate::ids::base32;

/// Most bytes of a form without a file: a letter's source is the largest part of it.
const FORM_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of a recipient's or login form.
pub const SMALL_BYTES: usize = 16 * 1024;
/// Most bytes of an imported file.
pub const FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Most parts of a form: each costs memory even when it is empty.
const PARTS_MOST: usize = 500;
const OTHER_SESSION: &str =
    "The form is not of this session: it may have been open since before you last logged in. Reload the page and send it again.";

/// What a form says, in order.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of this name, or an empty text.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Every name with its value, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same without white space around it.
    pub fn trimmed(&self, name: &str) -> &str {
        self.get(name).trim()
    }

    /// Puts another value in place of the first of this name, or at the end.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, before)) => *before = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Fault> {
        if self.0.len() >= PARTS_MOST {
            return Err(Fault::TooLarge(format!("A form of more than {PARTS_MOST} parts is not taken.")));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Reads `name=value&…`.
    ///
    /// # Errors
    /// [`Fault::Bad`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match web::Query::<Vec<(String, String)>>::from_query(text) {
            Ok(pairs) => Ok(Self(pairs.into_inner())),
            Err(_) => Err(Fault::Bad("The form cannot be read. Reload the page and send it again.".to_owned())),
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// [`Fault::TooLarge`], and a connection that broke.
pub async fn read_body(request: &HttpRequest, payload: &mut Payload, limit: usize) -> Result<web::Bytes, Fault> {
    let payload = web::Payload::from_request(request, payload).await.map_err(|_| broken())?;
    match payload.to_bytes_limited(limit).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(broken()),
        Err(_) => Err(too_large(limit as u64)),
    }
}

fn broken() -> Fault {
    Fault::Bad("The request ended before it was complete. Send it again.".to_owned())
}

fn too_large(limit: u64) -> Fault {
    let words = if limit >= 1024 * 1024 { format!("{} MB", limit / 1024 / 1024) } else { format!("{} kB", limit / 1024) };
    Fault::TooLarge(format!("At most {words} are taken here. Split it and send the parts one after the other."))
}

/// Reads a form in either encoding. A file of text in it is a field like any other; `NAME.file` is what it was called, and
/// `NAME.unreadable` is there when it is not text in UTF-8.
///
/// # Errors
/// [`Fault`] when it is too large or cannot be read.
pub async fn read_form(request: &HttpRequest, payload: &mut Payload, limit: usize) -> Result<Fields, Fault> {
    if !is_multipart(request) {
        let body = read_body(request, payload, limit).await?;
        return Fields::parse(&String::from_utf8_lossy(&body));
    }
    let mut parts = Multipart::new(request.headers(), payload.take());
    let mut fields = Fields::default();
    let mut room = limit;
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|_| broken())?;
        let name = part.name().unwrap_or_default().to_owned();
        let file = part.content_disposition().and_then(|content| content.get_filename()).map(str::to_owned);
        let bytes = read_part(&mut part, room).await?;
        room = room.saturating_sub(bytes.len() + name.len());
        if let Some(file) = file.filter(|file| !file.is_empty()) {
            fields.add(format!("{name}.file"), file)?;
            if std::str::from_utf8(&bytes).is_err() {
                fields.add(format!("{name}.unreadable"), "yes".to_owned())?;
            }
        }
        fields.add(name, String::from_utf8_lossy(&bytes).into_owned())?;
    }
    Ok(fields)
}

fn is_multipart(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

async fn read_part(part: &mut Field, limit: usize) -> Result<web::Bytes, Fault> {
    match part.bytes(limit).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(broken()),
        Err(_) => Err(too_large(limit as u64)),
    }
}

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, Fault>>>>;

/// A form of the session that sends it: the only way for a handler to a POST of a logged-in user.
#[derive(Debug)]
pub struct PostForm {
    /// Who sends it.
    pub user: User,
    /// What it says.
    pub fields: Fields,
}

impl FromRequest for PostForm {
    type Error = Fault;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let user = User::extract(&request).await?;
            let fields = read_form(&request, &mut payload, FORM_BYTES).await?;
            if user.sent(fields.get("csrf")) { Ok(Self { user, fields }) } else { Err(Fault::Forbidden(OTHER_SESSION)) }
        })
    }
}

/// A form with a file, which is on disk when the handler sees it.
#[derive(Debug)]
pub struct UploadForm {
    /// Who sends it.
    pub user: User,
    /// What it says beside the file.
    pub fields: Fields,
    /// The file's name as the browser told it, and the file, if there was one.
    pub file: Option<(String, Upload)>,
}

impl FromRequest for UploadForm {
    type Error = Fault;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let user = User::extract(&request).await?;
            let web = web::Data::<Web>::extract(&request).await.map_err(|_| broken())?;
            let mut form = Self { user, fields: Fields::default(), file: None };
            if !is_multipart(&request) {
                form.fields = read_form(&request, &mut payload, FORM_BYTES).await?;
                return form.checked();
            }
            let mut parts = Multipart::new(request.headers(), payload);
            let mut room = FORM_BYTES;
            while let Some(part) = parts.next().await {
                let mut part = part.map_err(|_| broken())?;
                let name = part.name().unwrap_or_default().to_owned();
                let file_name = part.content_disposition().and_then(|content| content.get_filename()).map(str::to_owned);
                match file_name {
                    None => {
                        let value = read_part(&mut part, room).await?;
                        room = room.saturating_sub(value.len() + name.len());
                        form.fields.add(name, String::from_utf8_lossy(&value).into_owned())?;
                    }
                    Some(file_name) => {
                        // The secret comes first in every form: no byte of another site's file is kept.
                        form = form.checked()?;
                        let mut upload = Upload::create(&upload_folder(&web))?;
                        while let Some(chunk) = part.next().await {
                            upload = upload.add(chunk.map_err(|_| broken())?).await?;
                        }
                        form.file = Some((file_name, upload)).filter(|(name, upload)| !name.is_empty() || upload.bytes > 0);
                    }
                }
            }
            form.checked()
        })
    }
}

impl UploadForm {
    fn checked(self) -> Result<Self, Fault> {
        if self.user.sent(self.fields.get("csrf")) { Ok(self) } else { Err(Fault::Forbidden(OTHER_SESSION)) }
    }
}

/// Where uploads wait for the end of their request: beside the keys, in the data folder.
pub fn upload_folder(web: &Web) -> PathBuf {
    web.lab.config.files.keys.parent().map(Path::to_path_buf).unwrap_or_default().join("uploads")
}

/// Removes what a killed process left behind.
pub fn clear_uploads(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // What cannot be removed now is tried again at the next start.
        let _ = std::fs::remove_file(entry.path());
    }
}

/// A file on disk, readable by its owner only, removed when dropped.
#[derive(Debug)]
pub struct Upload {
    path: PathBuf,
    file: Option<File>,
    /// Its size.
    pub bytes: u64,
}

impl Upload {
    /// An empty file in a folder, which is made when missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(folder: &Path) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::internal(anyhow::Error::new(error).context("an upload cannot be stored"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(format!("upload-{}", base32().encode(&clock::fresh())));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        Ok(Self { path, file: Some(file), bytes: 0 })
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] beyond [`FILE_BYTES`]; when the disk refuses.
    pub async fn add(mut self, chunk: web::Bytes) -> Result<Self, Fault> {
        self.bytes += chunk.len() as u64;
        if self.bytes > FILE_BYTES {
            return Err(too_large(FILE_BYTES));
        }
        let written = tokio::task::spawn_blocking(move || {
            let file = self.file.as_mut().ok_or_else(|| std::io::Error::other("the upload is closed"))?;
            file.write_all(&chunk)?;
            Ok::<Self, std::io::Error>(self)
        });
        match written.await {
            Ok(Ok(upload)) => Ok(upload),
            Ok(Err(error)) => Err(Fault::internal(anyhow::Error::new(error).context("an upload cannot be stored"))),
            Err(error) => Err(Fault::internal(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text, when it is small enough for a form.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], [`Fault::Bad`] when it is not UTF-8.
    pub fn text(&self) -> Result<String, Fault> {
        if self.bytes > FORM_BYTES as u64 {
            return Err(too_large(FORM_BYTES as u64));
        }
        std::fs::read_to_string(&self.path)
            .map_err(|_| Fault::Bad("The file is not text in UTF-8. Save it so and send it again.".to_owned()))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // If it cannot be removed now, it is at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}
