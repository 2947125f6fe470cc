//! Who was drawn into which arm, and whether the draw repeats: for reviewers, from seed, plan and pseudonyms.
//!
//! Cast: [`assignment`], [`Assignment`] and its [`Recipient`]s.
//!
//! Both sides are asked, the letters' and the events', and must agree. No person is named; pseudonyms are, so that this is not for everybody.

use crate::app::campaigns::{CampaignError, Done};
use crate::app::lab::Lab;
use crate::bridge::launch::LaunchError;
use crate::campaign::store::Campaign;
use crate::db::DbError;
use crate::delivery::store as deliveries;
use crate::experiment::assign::ALGORITHM;
use crate::experiment::redraw::{Drawn, Place, Stratum, redraw};
use crate::ledger::store as events;
use crate::ledger::subject::Part;
use crate::report::wording::counted;

/// Rows per question.
const STEP: i64 = 10_000;

/// The draw of a campaign, repeated.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Assignment {
    /// The campaign's name.
    pub campaign: String,
    /// SHA-256 over definition and seed, hexadecimal.
    pub plan_hash: String,
    /// The seed of the draw, hexadecimal.
    pub seed: String,
    /// Sizes of the arms relative to each other.
    pub weights: Vec<u32>,
    /// The part of the list in the test.
    pub share: f64,
    /// The part of the list held out.
    pub holdout: f64,
    /// Every stratum with its numbers.
    pub strata: std::collections::BTreeMap<String, Stratum>,
    /// Everybody is recorded and where the draw puts them, on both sides.
    pub holds: bool,
    /// In words.
    pub sentence: String,
    /// Recipients who are not where the draw puts them.
    pub different: u64,
    /// Recipients whom letters and events place differently.
    pub contradictory: u64,
    /// Recipients no longer recorded, as after an erasure: without them the draw of their strata cannot be repeated.
    pub missing: u64,
    /// The algorithm in words.
    pub algorithm: &'static str,
    /// Everybody, in the sending order.
    pub recipients: Vec<Recipient>,
}

/// A recipient.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Recipient {
    /// Place in the sending order; none where only the events' side still knows the recipient.
    pub position: Option<u64>,
    /// Who, within this campaign only.
    pub pseudonym: String,
    /// What the draw was balanced within.
    pub stratum: String,
    /// The arm's letter, `rest` or `held out`, as recorded.
    pub place: String,
    /// The same by repeating the draw.
    pub redrawn: String,
}

/// Repeats a campaign's draw. Holds everybody in memory, about 200 bytes each.
///
/// # Errors
/// That nobody was drawn yet, or a database failure.
pub fn assignment(lab: &Lab, campaign: &Campaign) -> Done<Assignment> {
    let nobody = || LaunchError::State {
        name: campaign.definition.name.clone(),
        state: campaign.state,
        wanted: "arms are drawn when it is launched",
    };
    let sealed = campaign.sealed.as_ref().ok_or_else(nobody)?;
    let (drawn, contradictory) = recorded(lab, campaign)?;
    if drawn.is_empty() {
        return Err(nobody().into());
    }
    let design = &campaign.definition.design;
    let found = redraw(&sealed.seed, design, &drawn);
    let recipients = drawn
        .iter()
        .zip(&found.places)
        .map(|(drawn, place)| Recipient {
            position: drawn.position,
            pseudonym: drawn.pseudonym.to_string(),
            stratum: drawn.stratum.clone(),
            place: drawn.place.word(),
            redrawn: place.word(),
        })
        .collect();
    Ok(Assignment {
        campaign: campaign.definition.name.clone(),
        plan_hash: sealed.hash.clone(),
        seed: data_encoding::HEXLOWER.encode(&sealed.seed),
        weights: design.weights.clone(),
        share: design.share,
        holdout: design.holdout,
        holds: found.holds() && contradictory == 0,
        sentence: sentence(drawn.len() as u64, found.different, found.missing, contradictory),
        different: found.different,
        contradictory,
        missing: found.missing,
        strata: found.strata,
        algorithm: ALGORITHM,
        recipients,
    })
}

/// Everybody as recorded, in the sending order, and how many the two sides place differently.
fn recorded(lab: &Lab, campaign: &Campaign) -> Result<(Vec<Drawn>, u64), CampaignError> {
    let number = campaign.number;
    let mut places = lab.ledger.read(|conn| events::places(conn, number))?;
    let (mut drawn, mut contradictory, mut after) = (Vec::new(), 0, -1);
    loop {
        let some = lab.vault.read(|conn| deliveries::drawn(conn, number, after, STEP))?;
        let Some(last) = some.last() else { break };
        after = i64::try_from(last.position).map_err(|_| DbError::unreadable("a place in the sending order", last.position))?;
        for letter in some {
            let place = match letter.variant {
                Some(variant) => Place::Test(variant),
                None if letter.held_out => Place::HeldOut,
                None => Place::Rest,
            };
            // The events' side learns of the rest only once their variant is chosen.
            let agrees = match places.remove(&letter.pseudonym) {
                Some((part, variant, stratum)) => placed(part, variant) == place && stratum == letter.stratum,
                None => place == Place::Rest || campaign.enrolled_at.is_none(),
            };
            contradictory += u64::from(!agrees);
            drawn.push(Drawn { pseudonym: letter.pseudonym, stratum: letter.stratum, position: Some(letter.position), place });
        }
    }
    // Whose letters are no longer known.
    drawn.extend(places.into_iter().map(|(pseudonym, (part, variant, stratum))| Drawn {
        pseudonym,
        stratum,
        position: None,
        place: placed(part, variant),
    }));
    Ok((drawn, contradictory))
}

const fn placed(part: Part, variant: crate::ids::VariantNumber) -> Place {
    match part {
        Part::Test => Place::Test(variant),
        Part::Rest => Place::Rest,
        Part::Holdout => Place::HeldOut,
    }
}

fn sentence(recipients: u64, different: u64, missing: u64, contradictory: u64) -> String {
    let are = |number: u64| counted(number, "is", "are");
    let all = counted(recipients, "recipient", "recipients");
    if contradictory > 0 {
        let verb = if contradictory == 1 { "is" } else { "are" };
        return format!("{contradictory} of {all} {verb} in one arm by their letter and in another by their events.");
    }
    match (different, missing) {
        (0, 0) if recipients == 1 => "The draw repeats: the only recipient is where seed and plan put them.".to_owned(),
        (0, 0) => format!("The draw repeats: all {all} are where seed and plan put them."),
        (0, _) => format!("The {all} still recorded fall where seed and plan put them; {} no longer recorded.", are(missing)),
        (_, 0) => format!("{different} of {all} fall elsewhere than seed and plan put them."),
        (_, _) => format!(
            "{} no longer recorded, so that the draw of their strata cannot be repeated: {different} of the other {recipients} fall elsewhere without them.",
            counted(missing, "recipient is", "recipients are")
        ),
    }
}

/// As CSV, one line per recipient.
///
/// # Errors
/// Never in practice: memory takes every line.
pub fn csv(assignment: &Assignment) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["position", "pseudonym", "stratum", "place", "redrawn"])?;
    for recipient in &assignment.recipients {
        let position = recipient.position.map(|position| position.to_string()).unwrap_or_default();
        writer.write_record([&position, &recipient.pseudonym, &recipient.stratum, &recipient.place, &recipient.redrawn])?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
