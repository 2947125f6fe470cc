//! The tables of a `campaign.toml`, as they are written.
//!
//! Cast: [`File`] (the whole), and its tables. They know which keys there are and nothing of what is right; whatever a fault may lie in
//! keeps its place in the text. A key that must be there has an empty stand-in: whether it is there has been asked before.

use serde::Deserialize;
use toml::Spanned;

fn nothing<T: Default>() -> Spanned<T> {
    Spanned::new(0..0, T::default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) list: String,
    #[serde(default)]
    pub(super) recording: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) trap_link: bool,
    #[serde(default)]
    pub(super) sender: SenderTable,
    #[serde(default = "nothing")]
    pub(super) letter: Spanned<LetterTable>,
    #[serde(default)]
    pub(super) links: LinksTable,
    #[serde(default = "nothing")]
    pub(super) test: Spanned<TestTable>,
    #[serde(default)]
    pub(super) variants: Vec<Spanned<VariantTable>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SenderTable {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) reply_to: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LetterTable {
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) preheader: String,
    #[serde(default)]
    pub(super) format: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) file: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) language: Option<String>,
    #[serde(default)]
    pub(super) images: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LinksTable {
    #[serde(default)]
    pub(super) utm_source: Option<String>,
    #[serde(default)]
    pub(super) utm_medium: Option<String>,
    #[serde(default)]
    pub(super) utm_campaign: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TestTable {
    #[serde(default)]
    pub(super) element: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) block: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) metric: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) share: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) significance: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) observe_hours: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) rule: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) method: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) planned_lift: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) secondary: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) guards: Option<GuardTables>,
    #[serde(default)]
    pub(super) holdout: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) same_letters: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardTables {
    #[serde(default)]
    pub(super) bounce: Option<GuardTable>,
    #[serde(default)]
    pub(super) unsubscribe: Option<GuardTable>,
    #[serde(default)]
    pub(super) complaint: Option<GuardTable>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardTable {
    #[serde(default)]
    pub(super) margin: Option<f64>,
    #[serde(default)]
    pub(super) level: Option<f64>,
    #[serde(default)]
    pub(super) off: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VariantTable {
    #[serde(default)]
    pub(super) value: Option<String>,
    // Instead of a value: what is different in this variant's whole letter. The rest is as in [letter].
    #[serde(default)]
    pub(super) subject: Option<String>,
    #[serde(default)]
    pub(super) preheader: Option<String>,
    #[serde(default)]
    pub(super) sender_name: Option<String>,
    #[serde(default)]
    pub(super) format: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) file: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) weight: Option<u32>,
}
