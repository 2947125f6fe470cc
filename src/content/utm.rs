//! Parameters by which web analytics tell where a visit came from: `utm_source` and its like.
//!
//! Cast: [`Utm`] (what a campaign says), [`Utm::parameters`] (for one variant), [`with_parameters`].
//!
//! A parameter that an address has already is left as it is; every other byte of the address stays.

use serde::{Deserialize, Serialize};

/// What tracked links tell the site they lead to. The variant's letter goes into `utm_content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Utm {
    /// `utm_source`.
    pub source: String,
    /// `utm_medium`.
    pub medium: String,
    /// `utm_campaign`.
    pub campaign: String,
}

impl Utm {
    /// The parameters of one variant's links, in order. Empty ones are left out.
    pub fn parameters(&self, variant: &str) -> Vec<(String, String)> {
        let all = [
            ("utm_source", self.source.as_str()),
            ("utm_medium", &self.medium),
            ("utm_campaign", &self.campaign),
            ("utm_content", variant),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    }
}

/// The address with these parameters at the end of its query, before its fragment.
pub fn with_parameters(url: &str, parameters: &[(String, String)]) -> String {
    let (before, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
    let query = before.split_once('?').map(|(_, query)| query);
    let has = |name: &str| {
        query.is_some_and(|query| {
            query.split(['&', ';']).any(|pair| pair.split('=').next().is_some_and(|key| key.eq_ignore_ascii_case(name)))
        })
    };
    let mut tagged = before.to_owned();
    let mut joint = match query {
        None => "?",
        Some("") => "",
        Some(query) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    for (name, value) in parameters.iter().filter(|(name, _)| !has(name)) {
        tagged.push_str(&format!("{joint}{name}={}", super::template::urlencode(value)));
        joint = "&";
    }
    tagged.push_str(fragment);
    tagged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_join_the_query_and_override_nothing() {
        let utm = Utm { source: "shop".to_owned(), medium: " ".to_owned(), campaign: "spring sale".to_owned() };
        let parameters = utm.parameters("B");
        for (url, expected) in [
            ("https://a.example", "https://a.example?utm_source=shop&utm_campaign=spring%20sale&utm_content=B"),
            ("https://a.example/x?", "https://a.example/x?utm_source=shop&utm_campaign=spring%20sale&utm_content=B"),
            (
                "https://a.example/?a=b%20c&d#f?g",
                "https://a.example/?a=b%20c&d&utm_source=shop&utm_campaign=spring%20sale&utm_content=B#f?g",
            ),
            ("https://a.example/?a=1&#f", "https://a.example/?a=1&utm_source=shop&utm_campaign=spring%20sale&utm_content=B#f"),
            ("https://a.example/?utm_source=x&UTM_content=", "https://a.example/?utm_source=x&UTM_content=&utm_campaign=spring%20sale"),
            (
                "https://a.example/?xutm_source=x#utm_source=y",
                "https://a.example/?xutm_source=x&utm_source=shop&utm_campaign=spring%20sale&utm_content=B#utm_source=y",
            ),
        ] {
            assert_eq!(with_parameters(url, &parameters), expected);
        }
        assert_eq!(with_parameters("https://a.example/?", &[]), "https://a.example/?");
    }
}
