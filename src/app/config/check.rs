//! What a setting may be, beyond its kind: ranges, forms, and what belongs together.
//!
//! Cast: [`check`]. It changes nothing, and says of a fault what to write instead.

use super::{Config, ConfigError};
use crate::app::proxies::TrustedProxies;
use crate::db::Location;
use crate::delivery::relays::Relays;
use crate::delivery::window::{Window, zone};
use crate::vault::address::EmailAddress;

/// The first setting that cannot be, if any.
///
/// # Errors
/// [`ConfigError::Setting`].
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let fault = |key, message: String| Err(ConfigError::Setting { key, message });
    for (key, text) in [("database.vault", &config.database.vault), ("database.ledger", &config.database.ledger)] {
        if let Err(error) = text.parse::<Location>() {
            return fault(key, error.to_string());
        }
    }
    if config.database.vault == config.database.ledger {
        return fault("database.ledger", "people and events must not share a database; give each its own".to_owned());
    }
    let base = &config.web.base_url;
    if !(base.starts_with("http://") || base.starts_with("https://")) || base.ends_with('/') {
        return fault("web.base_url", "write https://news.example.org, without a slash at the end".to_owned());
    }
    if let Err(problem) = TrustedProxies::parse(&config.web.trusted_proxies) {
        return fault("web.trusted_proxies", problem);
    }
    if config.web.tls_certificate.as_os_str().is_empty() != config.web.tls_key.as_os_str().is_empty() {
        return fault("web.tls_certificate", "tls_certificate and tls_key belong together: give both or none".to_owned());
    }
    if (1..16).contains(&config.web.metrics_token.len()) {
        return fault("web.metrics_token", "it is a secret: at least 16 characters, or empty for no metrics".to_owned());
    }
    if !(1..=64).contains(&config.delivery.workers) {
        return fault("delivery.workers", format!("{} is not between 1 and 64", config.delivery.workers));
    }
    if !(1..=500).contains(&config.delivery.batch) {
        return fault("delivery.batch", format!("{} is not between 1 and 500", config.delivery.batch));
    }
    if !(1..=120).contains(&config.delivery.give_up_hours) {
        return fault("delivery.give_up_hours", format!("{} is not between 1 and 120", config.delivery.give_up_hours));
    }
    if !config.notify.mail.is_empty()
        && let Err(why) = EmailAddress::parse(&config.notify.mail)
    {
        return fault("notify.mail", why.to_string());
    }
    let id = &config.delivery.sender_id;
    if !(5..=15).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return fault("delivery.sender_id", format!("{id:?} is not 5 to 15 letters or digits"));
    }
    if !config.domain.resolver.is_empty() && config.domain.resolver().is_none() {
        return fault("domain.resolver", format!("{:?} is not an address with port such as 127.0.0.1:53", config.domain.resolver));
    }
    let names: Vec<_> = config.domain.dkim.iter().map(|key| (key.domain.to_lowercase(), key.selector.to_lowercase())).collect();
    if let Some((domain, selector)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name) {
        return fault("domain.dkim", format!("selector {selector} of {domain} is there twice; every key needs a selector of its own"));
    }
    if let Some(problem) = config.relay.problem() {
        return fault("relay", problem.to_owned());
    }
    check_steering(config)
}

/// Relays, limits and hours.
fn check_steering(config: &Config) -> Result<(), ConfigError> {
    let fault = |key, message: String| Err(ConfigError::Setting { key, message });
    if let Some(problem) = Relays::problem(&config.relays) {
        return fault("relays", problem);
    }
    if let Some(problem) = config.limits.problem() {
        return fault("limits", problem.to_owned());
    }
    let throttle = &config.throttle;
    let names: Vec<&str> = crate::vault::address::providers().collect();
    if let Some(name) = throttle.providers.keys().find(|name| !names.contains(&name.as_str())) {
        return fault("throttle.providers", format!("{name:?} is no mailbox provider known here; there are {}", names.join(", ")));
    }
    let rate = |rate: f64| rate > 0.0 && rate.is_finite();
    if !(throttle.campaign_per_second == 0.0 || rate(throttle.campaign_per_second)) || !throttle.providers.values().copied().all(rate) {
        return fault("throttle", "a rate is letters per second: more than 0 (campaign_per_second: 0 for no limit)".to_owned());
    }
    let delivery = &config.delivery;
    for (key, text) in [("delivery.window", &delivery.window), ("delivery.quiet_hours", &delivery.quiet_hours)] {
        if !text.is_empty()
            && let Err(problem) = Window::parse(text)
        {
            return fault(key, problem);
        }
    }
    if zone(&delivery.time_zone).is_none() {
        return fault("delivery.time_zone", format!("{:?} is no time zone; write Europe/Berlin, +02:00 or UTC", delivery.time_zone));
    }
    if !(0.01..=1.0).contains(&delivery.pause_share) || delivery.pause_least == 0 || !(1..=1440).contains(&delivery.pause_minutes) {
        return fault("delivery.pause_share", "pause_share is 0.01 to 1, pause_minutes 1 to 1440, pause_least 1 or more".to_owned());
    }
    Ok(())
}
