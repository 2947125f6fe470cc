//! What can go wrong for a request, and the only place that knows status codes.
//!
//! Cast: [`Fault`], and [`answer`], which makes it a page or, under `/api/`, JSON.
//!
//! Users read what is wrong, where, and what to do. Causes inside are logged once, under a reference, and never shown.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use askama::Template;
use serde::Serialize;

use crate::app::campaigns::CampaignError;
use crate::app::clock;
use crate::app::images::ImageError;
use crate::app::people::PersonError;
use crate::app::recount::CheckError;
use crate::bridge::launch::LaunchError;
use crate::campaign::file::Problem;
use crate::db::DbError;
use crate::vault::import::{ExportError, ImportError};
use crate::vault::people::NoSuchList;
use crate::web::session::User;
use crate::web::view::format::sentence;
use crate::web::view::public::{EndedView, ErrorView};
use crate::web::view::{Link, Page};

/// Why a request is not answered as wished.
#[derive(Debug)]
pub enum Fault {
    /// There is nothing here, or nothing for this visitor; deliberately without detail.
    NotFound,
    /// What was here has ended for good: says what to do instead.
    Gone(&'static str),
    /// A reviewer's link that works no more, or never did.
    Ended,
    /// Not this kind of request.
    Method,
    /// Somebody must log in first.
    Login {
        /// Where to go afterwards.
        next: String,
        /// Whether there was a session that ended.
        expired: bool,
    },
    /// The API wants a key.
    Key,
    /// Logged in, but not allowed, or the form is not this session's.
    Forbidden(&'static str),
    /// The request cannot be read: what is wrong and what to do.
    Bad(String),
    /// The request can be read but not be done as things stand.
    Conflict(String),
    /// A campaign, a list or another named thing is not there.
    Missing(String),
    /// A campaign with these faults.
    Problems(Vec<Problem>),
    /// More than is taken: how much is.
    TooLarge(String),
    /// Too often; seconds to wait.
    TooOften(u64),
    /// A database is away.
    Unavailable(anyhow::Error),
    /// Anything else; logged, never shown.
    Internal(anyhow::Error),
}

impl Fault {
    /// Something that should not happen.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(cause.into())
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Gone(_) => StatusCode::GONE,
            Self::Ended => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Login { .. } => StatusCode::SEE_OTHER,
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Problems(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for people, beyond what the status says by itself.
    fn message(&self) -> Option<String> {
        match self {
            Self::Gone(message) | Self::Forbidden(message) => Some((*message).to_owned()),
            Self::Bad(message) | Self::Conflict(message) | Self::Missing(message) | Self::TooLarge(message) => Some(message.clone()),
            Self::Problems(problems) => Some(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            Self::TooOften(seconds) => Some(format!("Wait {seconds} seconds and try again.")),
            Self::Key => Some("Send a key of an account: Authorization: Bearer KEY. `letterlab user api-key` makes one.".to_owned()),
            Self::NotFound | Self::Ended | Self::Method | Self::Login { .. } | Self::Unavailable(_) | Self::Internal(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message().unwrap_or_else(|| self.status().to_string()))
    }
}

impl ResponseError for Fault {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    // The frame writes the body: it knows whether a page or JSON is wanted.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status())
    }
}

impl From<NoSuchList> for Fault {
    fn from(missing: NoSuchList) -> Self {
        Self::Missing(sentence(&missing.to_string()))
    }
}

impl From<PersonError> for Fault {
    fn from(error: PersonError) -> Self {
        match error {
            PersonError::Database(error) => error.into(),
            PersonError::Unknown => Self::Missing(sentence(&error.to_string())),
            PersonError::Theirs(_) => Self::Conflict(sentence(&error.to_string())),
        }
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Refused(why) => Self::Bad(format!("The picture was not taken: {why}.")),
            ImageError::Database(error) => error.into(),
        }
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable { .. } => Self::Unavailable(error.into()),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<CampaignError> for Fault {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Database(error) | CampaignError::Launch(LaunchError::Database(error)) => error.into(),
            CampaignError::Problems(problems) | CampaignError::Launch(LaunchError::Problems(problems)) => Self::Problems(problems),
            CampaignError::NotReady(list) => {
                Self::Problems(list.stops().into_iter().map(|words| Problem::of("preflight", words)).collect())
            }
            CampaignError::Past { .. } | CampaignError::AfterSendTime { .. } => Self::Bad(error.to_string()),
            CampaignError::Unknown(_) | CampaignError::NoPerson => Self::Missing(error.to_string()),
            CampaignError::NameTaken(_) | CampaignError::TestMail(_) | CampaignError::Launch(_) | CampaignError::Early { .. } => {
                Self::Conflict(error.to_string())
            }
            CampaignError::Letters(error) => Self::Internal(error),
        }
    }
}

impl From<CheckError> for Fault {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::UnderWay | CheckError::Stopped => Self::Conflict(error.to_string()),
            CheckError::Ledger(error) => error.into(),
            CheckError::Thread(_) => Self::Internal(error.into()),
        }
    }
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Database(error) => error.into(),
            ImportError::Read(_) => Self::Internal(error.into()),
            told => Self::Bad(told.to_string()),
        }
    }
}

impl From<ExportError> for Fault {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Database(error) => error.into(),
            ExportError::Write(_) => Self::Internal(error.into()),
        }
    }
}

impl From<askama::Error> for Fault {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// What the API answers when it does not do what was asked.
#[derive(Serialize)]
struct Refusal<'a> {
    error: String,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "String::is_empty")]
    reference: String,
}

/// Writes the answer for a fault, and logs what only the operator should know. `status` counts where the fault is not ours.
pub fn answer(request: &HttpRequest, fault: Option<&Fault>, status: StatusCode) -> HttpResponse {
    if let Some(Fault::Login { next, expired }) = fault {
        return to_login(next, *expired);
    }
    let reference = fault.map(log).unwrap_or_default();
    let mut builder = HttpResponse::build(status);
    match fault {
        Some(Fault::TooOften(seconds)) => {
            builder.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        Some(Fault::Unavailable(_)) => {
            builder.insert_header((header::RETRY_AFTER, "5"));
        }
        Some(Fault::Key) => {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        _ => {}
    }
    if request.path().starts_with("/api/") {
        return builder.json(refusal(fault, status, reference));
    }
    if let Some(Fault::Ended) = fault
        && let Ok(html) = (EndedView { page: Page::anonymous("This link has ended") }).render()
    {
        return builder.content_type("text/html; charset=utf-8").body(html);
    }
    let mut view = ErrorView::plain(error_page(request, status), status.as_u16());
    if let Some(message) = fault.and_then(Fault::message) {
        view.explanation = message;
    }
    view.reference = reference;
    view.next = view.page.account.is_some().then(|| Link { url: "/campaigns".to_owned(), text: "To the campaigns".to_owned() });
    match view.render() {
        Ok(html) => builder.content_type("text/html; charset=utf-8").body(html),
        Err(_) => builder.content_type("text/plain; charset=utf-8").body(view.heading),
    }
}

fn to_login(next: &str, expired: bool) -> HttpResponse {
    let ended = if expired { "&ended=yes" } else { "" };
    let escaped: String = next.bytes().map(escape).collect();
    HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/login?next={escaped}{ended}"))).finish()
}

fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn refusal(fault: Option<&Fault>, status: StatusCode, reference: String) -> Refusal<'_> {
    let plain = || ErrorView::plain(Page::default(), status.as_u16()).heading;
    match fault {
        Some(Fault::Problems(problems)) => {
            let error = format!("the campaign has {} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" });
            Refusal { error, problems, reference }
        }
        Some(Fault::NotFound) => Refusal { error: format!("{}; GET /api shows every route", plain()), problems: &[], reference },
        Some(fault) => Refusal { error: fault.message().unwrap_or_else(plain), problems: &[], reference },
        None => Refusal { error: plain(), problems: &[], reference },
    }
}

fn error_page(request: &HttpRequest, status: StatusCode) -> Page {
    let title = status.canonical_reason().unwrap_or("Something went wrong");
    User::of(request).map_or_else(|| Page::anonymous(title), |user| user.page(title, super::view::Section::Elsewhere))
}

/// Logs a cause and answers the reference under which it stands in the log.
fn log(fault: &Fault) -> String {
    let (Fault::Internal(cause) | Fault::Unavailable(cause)) = fault else { return String::new() };
    let reference: String = crate::ids::base32().encode(&clock::fresh()).chars().take(8).collect();
    tracing::error!(reference, "a request could not be answered: {cause:#}");
    reference
}
