//! Rules S1 to S10 of the second pass, as ordered data.
//!
//! Cast: [`Rule`], [`RULES`].
//!
//! A rule asks the [`View`]; it never looks at hits itself.

use super::super::class::{Class, Confidence, Reasons};
use super::super::verdict::Verdict;
use super::view::View;

/// One rule of the second pass. It sees the letter and what all rules before it said, never what a rule says at the same time.
pub(super) struct Rule {
    /// As in the design; S10 is our own.
    pub(super) name: &'static str,
    /// Whether it compares hits with each other one by one: left out for letters with more than [`MOST_COMPARED`].
    pub(super) compares: bool,
    pub(super) when: fn(&View<'_>, &[Verdict], usize) -> bool,
    pub(super) class: Class,
    pub(super) confidence: Confidence,
    pub(super) reasons: Reasons,
}

/// The rules. The order is the meaning: the first that matches a hit decides it.
///
/// S6 (a click without an open is no evidence) and S8 (a click implies an open) change no class. S9 (retries) is [`collapse`].
pub(super) const RULES: [Rule; 10] = [
    Rule {
        name: "S1",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_near_trap(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::TRAP.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S2",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_near_heads(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::METHOD.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S7",
        compares: false,
        when: |view, _, hit| view.is_rescued(hit),
        class: Class::Human,
        confidence: Confidence::Certain,
        reasons: Reasons::CONTEXT,
    },
    Rule {
        name: "S3",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.burst(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST,
    },
    Rule {
        // Our own: patience alone makes no person.
        name: "S3 sweep",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.sweep.get(hit).copied().unwrap_or_default(),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST.with(Reasons::CONTEXT),
    },
    Rule {
        // The machine that followed the links loaded the picture too. Only what has a browser's shape is doubted.
        name: "S3 open",
        compares: true,
        when: |view, so_far, hit| view.is_weak_open(hit) && view.is_amid_machine(so_far, hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S2 probe",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_probed(hit),
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::METHOD.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S4",
        compares: true,
        when: |view, so_far, hit| view.is_checked_for_another(so_far, hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::CONTEXT,
    },
    Rule {
        name: "S5",
        compares: true,
        when: |view, so_far, hit| {
            view.is_open_to_doubt_click(hit)
                && view.first(hit).reasons.contains(Reasons::INSTANT)
                && view.some_click(so_far, |_, verdict| verdict.class == Class::Scanner)
        },
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::INSTANT.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S10",
        compares: true,
        when: |view, so_far, hit| view.is_confirmed_person(so_far, hit),
        class: Class::Human,
        confidence: Confidence::Strong,
        reasons: Reasons::CONTEXT,
    },
];
