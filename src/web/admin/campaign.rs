//! One campaign's page: variants with previews, plan, links, progress, and what can be done now.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template as _;

use super::campaigns::stage;
use super::draft_plan::outlook;
use super::steer::{actions, done};
use crate::app::campaigns::{self, CampaignError, Progress};
use crate::app::lab::Lab;
use crate::app::preflight::{self, Preflight};
use crate::app::proof::{self, ShownProof};
use crate::bridge::launch::LaunchError;
use crate::campaign::definition::{Arm, Definition};
use crate::campaign::state::State;
use crate::campaign::store::{self as store, Campaign};
use crate::content::{Body, BodyFormat, Element};
use crate::db::DbError;
use crate::experiment::design::{Method, Metric, Rule};
use crate::ids::{CampaignNumber, VariantNumber};
use crate::report::results::due;
use crate::report::wording::{duration, metric_words, moment};
use crate::vault::store as people;
use crate::web::error::Fault;
use crate::web::form::Fields;
use crate::web::session::User;
use crate::web::view::campaign::{CampaignView, LinkRow, ProofView, VariantCard, VariantFact, Warning, steps};
use crate::web::view::format::{count, counted, level};
use crate::web::view::progress::{ArmCounts, ProgressCounts, ProgressView};
use crate::web::view::{Fact, Section, Tone};
use crate::web::{Web, page};

/// The campaign with the number in the path.
pub async fn find(web: &Web, number: &str) -> Result<Campaign, Fault> {
    let number: CampaignNumber = number.parse().map_err(|_| Fault::NotFound)?;
    web.run(move |lab| campaigns::by_number(lab, number)).await
}

/// What a campaign's page needs from the databases.
struct Known {
    progress: Progress,
    links: Vec<store::Link>,
    people: Option<(u64, u64)>,
    problems: Vec<crate::campaign::file::Problem>,
    arms: Vec<Arm>,
    outlook: Vec<String>,
    list: Option<Preflight>,
    proof: Option<ShownProof>,
}

/// `GET /campaigns/{number}`
pub async fn show(web: web::Data<Web>, user: User, number: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let asked = campaign.clone();
    let known = web.run(move |lab| read(lab, &asked)).await?;
    let now = web.lab.clock.now();
    let definition = &campaign.definition;
    let url = format!("/campaigns/{}", campaign.number);
    let is_draft = campaign.state == State::Draft;
    let mut frame = user.page(&definition.name, Section::Campaigns);
    frame.flashes = done(&request);
    let times = [
        Some(campaign.created_at),
        campaign.sealed.as_ref().map(|sealed| sealed.at),
        campaign.sending_at,
        campaign.observing_at,
        campaign.decided_at,
        campaign.closed_at,
    ];
    let times: Vec<String> = times.iter().map(|at| at.map(moment).unwrap_or_default()).collect();
    page(&CampaignView {
        page: frame,
        name: definition.name.clone(),
        state: stage(campaign.state).badge(campaign.paused.is_some()),
        audience: audience(definition, known.people),
        steps: steps(stage(campaign.state), &times),
        results_url: campaign.sealed.is_some().then(|| format!("{url}/results")),
        edit_url: is_draft.then(|| format!("{url}/edit")),
        file_url: format!("{url}/campaign.toml"),
        check_url: is_draft.then(|| format!("{url}/check")),
        preview_url: format!("{url}/preview"),
        element: definition.element.to_string(),
        plan: plan(&campaign),
        outlook: known.outlook.clone(),
        seal: campaign.sealed.as_ref().map(|sealed| sealed.hash.clone()),
        proof: known.proof.as_ref().map(|shown| ProofView { sentences: shown.sentences.clone(), hash: shown.proof.hash.clone() }),
        variants: variants(&url, definition, &known.arms),
        links: links(&known),
        warnings: warnings(&campaign, &known),
        actions: actions(&url, &campaign, &known.progress, known.people, known.problems.is_empty(), now),
        progress: campaign.sealed.is_some().then(|| progress_view(&url, &campaign, &known.progress, now, None)),
    })
}

fn read(lab: &Lab, campaign: &Campaign) -> Result<Known, CampaignError> {
    let list = campaign.definition.list.clone();
    let people = lab.vault.read(|conn| {
        let list = people::lists(conn)?.into_iter().find(|known| known.name == list);
        Ok::<_, DbError>(list.map(|list| (list.people, list.people.saturating_sub(list.suppressed))))
    })?;
    let is_draft = campaign.state == State::Draft;
    let mut problems = if is_draft { campaigns::check_definition(lab, &campaign.definition)? } else { Vec::new() };
    // What keeps a letter from being made at all comes first.
    let proof = if problems.is_empty() { proof::shown(lab, campaign) } else { Ok(None) };
    let proof = match proof {
        Err(CampaignError::Problems(found) | CampaignError::Launch(LaunchError::Problems(found))) => {
            problems.extend(found);
            None
        }
        other => other?,
    };
    let list = if is_draft { at_hand(lab, &campaign.definition)? } else { None };
    Ok(Known {
        progress: campaigns::progress(lab, campaign)?,
        links: lab.ledger.read(|conn| store::links(conn, campaign.number))?,
        people,
        problems,
        proof,
        // What does not compile is among the problems.
        arms: campaign.definition.arms().unwrap_or_default(),
        list,
        outlook: if campaign.state == State::Draft { outlook(lab, &campaign.definition)? } else { Vec::new() },
    })
}

/// The part of the list before launch that takes no time; none of letters that do not compile, which is among the problems.
fn at_hand(lab: &Lab, definition: &Definition) -> Result<Option<Preflight>, CampaignError> {
    match preflight::at_hand(lab, definition) {
        Err(CampaignError::Problems(_)) => Ok(None),
        found => found.map(Some),
    }
}

fn audience(definition: &Definition, people: Option<(u64, u64)>) -> String {
    match people {
        Some((people, mailable)) if people == mailable => format!("To {}, {}.", definition.list, counted(people, "person", "people")),
        Some((people, mailable)) => {
            format!("To {}, {}, {} of whom may be mailed.", definition.list, counted(people, "person", "people"), count(mailable))
        }
        None => format!("To {}, a list that is not there.", definition.list),
    }
}

fn plan(campaign: &Campaign) -> Vec<Fact> {
    let definition = &campaign.definition;
    let design = &definition.design;
    let rule = match design.rule {
        Rule::Hand => "somebody looks and chooses",
        Rule::Automatic => "the winner, or without one the control, goes to the rest by itself",
    };
    let method = match design.method {
        Method::Fixed => "looked at once, at the end",
        Method::Anytime => "may be looked at always, ends as soon as it is clear",
    };
    let mut facts = vec![
        Fact::new("Compared by", metric_words(design.metric)),
        Fact::new("Part of the list in the test", &level(design.share)),
        Fact::new("Significance level", &level(design.significance)),
        Fact::new(
            "Observation",
            &format!("{} after the last letter of the test", counted(u64::from(design.observe_hours), "hour", "hours")),
        ),
        Fact::new("Method", method),
        Fact::new("Then", rule),
        Fact::new("Recorded at most", definition.recording.as_str()),
        Fact::new("From", &definition.sender.address),
    ];
    if design.holdout > 0.0 {
        facts.push(Fact::new("Held out", &format!("{} of the list receive nothing", level(design.holdout))));
    }
    if let Some(reply_to) = &definition.sender.reply_to {
        facts.push(Fact::new("Answers to", reply_to));
    }
    if let Some(utm) = &definition.options.utm {
        facts.push(Fact::new(
            "Links carry",
            &format!("utm_source={}, utm_medium={}, utm_campaign={}, utm_content=the variant", utm.source, utm.medium, utm.campaign),
        ));
    }
    if let Some(due) = due(campaign) {
        facts.push(Fact::new("Verdict", &moment(due)));
    }
    if let Some((variant, by)) = &campaign.chosen {
        facts.push(Fact::new("Chosen for the rest", &format!("{variant}, by {by}")));
    }
    if design.metric == Metric::Open {
        facts.push(Fact::new("Mind", "many opens are made by machines; clicks are sturdier"));
    }
    facts
}

fn variants(url: &str, definition: &Definition, arms: &[Arm]) -> Vec<VariantCard> {
    let total: u32 = definition.design.weights.iter().sum();
    let values = definition.shown_values();
    arms.iter()
        .enumerate()
        .map(|(index, arm)| {
            let letter = &arm.newsletter;
            let fact = |label: &str, value: &str, element: &Element| VariantFact {
                label: label.to_owned(),
                value: value.to_owned(),
                differs: definition.element == *element,
            };
            let mut facts = vec![
                fact("From", &letter.sender_name, &Element::SenderName),
                fact("Subject", &letter.subject, &Element::Subject),
                fact("Preheader", &letter.preheader, &Element::Preheader),
            ];
            if let Element::Block { .. } | Element::ReplyTo | Element::SendTime | Element::Found(_) = definition.element {
                let value = values.get(index).cloned().unwrap_or_default();
                facts.push(VariantFact { label: sentence_case(&definition.element.to_string()), value, differs: true });
            }
            let weight = definition.design.weights.get(index).copied().unwrap_or_default();
            VariantCard {
                letter: arm.variant.to_string(),
                colour: index,
                share: format!("{:.0} %", f64::from(weight) * 100.0 / f64::from(total.max(1))),
                facts,
                preview_url: format!("{url}/preview/{}", arm.variant.to_string().to_lowercase()),
            }
        })
        .collect()
}

fn sentence_case(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// The frozen links, or a draft's links as they would be frozen. One row per number and target, with the variants that have it.
fn links(known: &Known) -> Vec<LinkRow> {
    let frozen = known.links.iter().map(|link| (link.number, link.url.clone(), link.variant));
    let drafted = known.arms.iter().flat_map(|arm| arm.letter.links().iter().map(|link| (link.number, link.url.clone(), arm.variant)));
    let all: Vec<_> = if known.links.is_empty() { drafted.collect() } else { frozen.collect() };
    let mut rows: std::collections::BTreeMap<_, Vec<String>> = std::collections::BTreeMap::new();
    for (number, url, variant) in all {
        rows.entry((number, url)).or_default().push(variant.to_string());
    }
    rows.into_iter()
        .map(|((number, target), variants)| LinkRow { number: number.to_string(), target, variants: variants.join(" ") })
        .collect()
}

fn warnings(campaign: &Campaign, known: &Known) -> Vec<Warning> {
    let warning = |tone, text: String| Warning { tone, text };
    let mut warnings: Vec<Warning> = known.problems.iter().map(|problem| warning(Tone::Stop, problem.to_string())).collect();
    if let Some(reason) = &campaign.paused {
        warnings.push(warning(Tone::Warn, format!("Nothing is sent for the moment: {reason}")));
    }
    if let Some(at) = campaign.cancelled_at {
        let text = format!("Sending was cancelled {}: no letter leaves any more. What was sent is measured.", moment(at));
        warnings.push(warning(Tone::Warn, text));
    }
    if campaign.state == State::Draft
        && campaign.definition.newsletter.body == (Body { format: BodyFormat::Markdown, source: String::new() })
    {
        warnings.push(warning(Tone::Warn, "The letter is empty.".to_owned()));
    }
    if let Some(list) = &known.list {
        warnings.extend(list.stops().into_iter().map(|words| warning(Tone::Stop, format!("To be mended before launch: {words}."))));
        let warns = list.warns();
        if !warns.is_empty() {
            warnings.push(warning(Tone::Warn, format!("Worth a look before launch: {}. “Check” tells more.", warns.join("; "))));
        }
    }
    warnings
}

fn progress_view(url: &str, campaign: &Campaign, progress: &Progress, now: jiff::Timestamp, seen: Option<&str>) -> ProgressView {
    let mailings = &progress.mailings;
    let sum = |of: fn(&campaigns::ArmProgress) -> u64| progress.arms.iter().map(of).sum();
    let counts = ProgressCounts {
        enrolled: mailings.enrolled,
        sent: mailings.accepted,
        skipped: mailings.skipped,
        failed: mailings.refused + mailings.failed + mailings.unknown,
        waiting: mailings.waiting(),
        bounced: sum(|arm| arm.bounced),
        delivered: sum(|arm| arm.delivered),
        opened: sum(|arm| arm.opened),
        clicked: sum(|arm| arm.clicked),
        reasons: progress.reasons.iter().map(|reason| (reason.state.clone(), reason.reason.clone(), reason.count)).collect(),
        outlook: match (progress.starts_at, progress.next_at, progress.remaining_seconds) {
            (Some(start), _, _) => format!("The first letter leaves at {}.", moment(start)),
            (None, Some(next), _) => format!("The next letter may leave at {}.", moment(next)),
            (None, None, Some(seconds)) => format!("About {} to go.", duration(seconds)),
            (None, None, None) => String::new(),
        },
        arms: (0u8..)
            .zip(&progress.arms)
            .map(|(number, arm)| ArmCounts {
                letter: VariantNumber(number).to_string(),
                enrolled: arm.enrolled,
                sent: arm.sent,
                bounced: arm.bounced,
                opened: arm.opened,
                clicked: arm.clicked,
            })
            .collect(),
    };
    let sending = campaign.state.sends() && campaign.paused.is_none();
    // The page is fetched anew when the campaign has moved on: what can be done has changed.
    let state = state_word(campaign);
    let running = campaign.state != State::Closed && seen.is_none_or(|seen| seen == state);
    ProgressView::new(format!("{url}/progress?seen={state}"), &counts, sending, running, moment(now))
}

fn state_word(campaign: &Campaign) -> String {
    format!("{}{}", campaign.state, if campaign.paused.is_some() { "-paused" } else { "" })
}

/// `GET /campaigns/{number}/progress`: the fragment that the page's script fetches.
pub async fn progress(web: web::Data<Web>, _user: User, number: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let asked = campaign.clone();
    let counted = web.run(move |lab| campaigns::progress(lab, &asked)).await?;
    let query = Fields::parse(request.query_string())?;
    let seen = Some(query.get("seen")).filter(|seen| !seen.is_empty());
    let view = progress_view(&format!("/campaigns/{}", campaign.number), &campaign, &counted, web.lab.clock.now(), seen);
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(view.render()?))
}

/// A variant by its letter, in either case.
pub fn variant_of(letter: &str) -> Option<VariantNumber> {
    match letter.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(VariantNumber(byte.to_ascii_uppercase() - b'A')),
        _ => None,
    }
}
