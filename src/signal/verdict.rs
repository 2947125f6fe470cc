//! From a hit's closed values to its class: the immediate rules as ordered data, first match wins.
//!
//! Cast: [`classify`], [`Verdict`], what it is told beside the client ([`HitKind`], [`DeliveryAge`]), and the two ways of counting,
//! [`counts_standard`] and [`counts_strict`].
//!
//! Rules R0 (token refused: nothing is recorded) and R2 (trap link, [`trapped`]) need to know the token and the link, so their callers
//! apply them. Never looks at other hits of the same letter: that is the second pass, [`super::context`].

use serde::{Deserialize, Serialize};

use super::class::{Class, Confidence, Reasons};
use super::client::{AgentKind, Client, MethodKind};
use super::network::{Meaning, NetworkKind};

/// The version of all rules of this room together. Raise it with every change that can alter a verdict.
pub const RULESET: u16 = 4;

/// Which address was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HitKind {
    /// The pixel.
    Open,
    /// A link.
    Click,
}

/// Time between the recipient's server accepting the letter and the hit. Only hand-off known: `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryAge {
    /// The moment of delivery is not known.
    Unknown,
    /// The hit came first.
    Before,
    /// 0 to 2 seconds.
    UpTo2s,
    /// Over 2 to 10 seconds.
    UpTo10s,
    /// Over 10 to 60 seconds.
    UpTo60s,
    /// Over 60 to 300 seconds.
    UpTo300s,
    /// Over 300 seconds.
    Later,
}

impl DeliveryAge {
    /// Every age.
    pub const ALL: [Self; 7] = [Self::Unknown, Self::Before, Self::UpTo2s, Self::UpTo10s, Self::UpTo60s, Self::UpTo300s, Self::Later];

    /// The bucket for `hit − delivered` in milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        match millis {
            i64::MIN..=-1 => Self::Before,
            0..=2_000 => Self::UpTo2s,
            2_001..=10_000 => Self::UpTo10s,
            10_001..=60_000 => Self::UpTo60s,
            60_001..=300_000 => Self::UpTo300s,
            _ => Self::Later,
        }
    }

    /// Sooner than people usually react: at most 10 seconds.
    pub const fn is_instant(self) -> bool {
        matches!(self, Self::Before | Self::UpTo2s | Self::UpTo10s)
    }
}

/// The outcome for one hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// What the hit is taken for.
    pub class: Class,
    /// How surely.
    pub confidence: Confidence,
    /// Why.
    pub reasons: Reasons,
    /// By which version of the rules.
    pub ruleset: u16,
}

/// One immediate rule.
struct Rule {
    /// As in the design: R1 to R15, with a letter where one number needs several rows.
    name: &'static str,
    /// The only kind of hit it is about; both where there is none.
    on: Option<HitKind>,
    when: fn(&Client, DeliveryAge) -> bool,
    class: Class,
    confidence: Confidence,
    reasons: Reasons,
}

const OPEN: Option<HitKind> = Some(HitKind::Open);
const CLICK: Option<HitKind> = Some(HitKind::Click);

/// The immediate rules. The order is the meaning: the first that matches decides.
const RULES: [Rule; 20] = [
    Rule {
        name: "R1",
        on: None,
        when: |client, _| client.method != MethodKind::Get,
        class: Class::Scanner,
        confidence: Confidence::Certain,
        reasons: Reasons::METHOD,
    },
    Rule {
        name: "R3",
        on: None,
        when: |client, _| client.prefetch_purpose,
        class: Class::Prefetch,
        confidence: Confidence::Certain,
        reasons: Reasons::PURPOSE,
    },
    Rule {
        name: "R4a",
        on: OPEN,
        when: |client, _| client.agent == AgentKind::BareMozilla && client.network == NetworkKind::AppleRelay,
        class: Class::Prefetch,
        confidence: Confidence::Certain,
        reasons: Reasons::BARE_AGENT.with(Reasons::NETWORK),
    },
    Rule {
        name: "R4b",
        on: OPEN,
        when: |client, _| client.agent == AgentKind::BareMozilla,
        class: Class::Prefetch,
        confidence: Confidence::Strong,
        reasons: Reasons::BARE_AGENT,
    },
    Rule {
        name: "R5",
        on: CLICK,
        when: |client, _| client.agent == AgentKind::BareMozilla,
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BARE_AGENT,
    },
    Rule {
        name: "R6a",
        on: None,
        when: |client, _| client.agent == AgentKind::GmailPrefetch && client.network.is_google(),
        class: Class::Prefetch,
        confidence: Confidence::Certain,
        reasons: Reasons::GMAIL_PREFETCH.with(Reasons::NETWORK),
    },
    Rule {
        name: "R6b",
        on: None,
        when: |client, _| client.agent == AgentKind::GmailPrefetch && client.gmail_referer,
        class: Class::Prefetch,
        confidence: Confidence::Certain,
        reasons: Reasons::GMAIL_PREFETCH,
    },
    Rule {
        name: "R6c",
        on: None,
        when: |client, _| client.agent == AgentKind::GmailPrefetch,
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::GMAIL_PREFETCH,
    },
    Rule {
        name: "R7",
        on: OPEN,
        when: |client, _| client.agent == AgentKind::MailProxy,
        class: Class::Proxied,
        confidence: Confidence::Certain,
        reasons: Reasons::MAIL_PROXY,
    },
    Rule {
        name: "R8",
        on: CLICK,
        when: |client, _| client.agent == AgentKind::MailProxy,
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::MAIL_PROXY,
    },
    Rule {
        name: "R9a",
        on: OPEN,
        when: |client, _| client.agent == AgentKind::MailClient,
        class: Class::Human,
        confidence: Confidence::Strong,
        reasons: Reasons::MAIL_CLIENT,
    },
    Rule {
        name: "R9b",
        on: CLICK,
        when: |client, _| client.agent == AgentKind::MailClient,
        class: Class::Human,
        confidence: Confidence::Weak,
        reasons: Reasons::MAIL_CLIENT,
    },
    Rule {
        name: "R10a",
        on: None,
        when: |client, _| client.agent == AgentKind::NamedScanner,
        class: Class::Scanner,
        confidence: Confidence::Certain,
        reasons: Reasons::NAMED_SCANNER,
    },
    Rule {
        name: "R10b",
        on: None,
        when: |client, _| client.agent == AgentKind::NamedPreview,
        class: Class::Scanner,
        confidence: Confidence::Certain,
        reasons: Reasons::NAMED_PREVIEW,
    },
    Rule {
        name: "R11",
        on: None,
        when: |client, _| client.agent == AgentKind::OtherAgent,
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::ROBOT_AGENT,
    },
    Rule {
        name: "R12a",
        on: CLICK,
        when: |client, _| client.network.meaning(HitKind::Click) == Meaning::Machine,
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::NETWORK,
    },
    Rule {
        name: "R12b",
        on: OPEN,
        when: |client, _| client.network.meaning(HitKind::Open) == Meaning::Mixed,
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::NETWORK,
    },
    Rule {
        name: "R13",
        on: None,
        when: |client, _| matches!(client.agent, AgentKind::Empty | AgentKind::Unclear),
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::NO_AGENT,
    },
    Rule {
        name: "R14",
        on: CLICK,
        when: |_, age| age.is_instant(),
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::INSTANT,
    },
    Rule {
        name: "R15",
        on: None,
        when: |client, _| client.agent == AgentKind::Browser,
        class: Class::Human,
        confidence: Confidence::Weak,
        reasons: Reasons::BROWSER,
    },
];

fn first_rule(kind: HitKind, client: &Client, age: DeliveryAge) -> Option<&'static Rule> {
    static ORDERED: &[Rule] = &RULES;
    ORDERED.iter().find(|rule| rule.on.is_none_or(|only| only == kind) && (rule.when)(client, age))
}

/// The class of one hit, from this hit alone.
pub fn classify(kind: HitKind, client: &Client, age: DeliveryAge) -> Verdict {
    // The rules cover every client (tested); the fallback keeps the promise that no hit is dropped.
    let (class, confidence, reasons) = match first_rule(kind, client, age) {
        Some(rule) => (rule.class, rule.confidence, rule.reasons),
        None => (Class::Unknown, Confidence::Weak, Reasons::NONE),
    };
    Verdict { class, confidence, reasons, ruleset: RULESET }
}

/// R2: whoever follows the link that no person sees is a machine.
pub const fn trapped() -> Verdict {
    Verdict { class: Class::Scanner, confidence: Confidence::Certain, reasons: Reasons::TRAP, ruleset: RULESET }
}

/// What the rules of today say of a hit that was judged by those of its own time: the row with the same reasons decides. Where several
/// rows share their reasons, the one that said the same then; where none does any more, the hit keeps its verdict.
pub fn revise(kind: HitKind, first: Verdict) -> Verdict {
    let with_reasons = || RULES.iter().filter(|rule| rule.on.is_none_or(|only| only == kind) && rule.reasons == first.reasons);
    let same = with_reasons().find(|rule| rule.class == first.class);
    match same.or_else(|| with_reasons().next()) {
        Some(rule) => Verdict { class: rule.class, confidence: rule.confidence, reasons: rule.reasons, ruleset: RULESET },
        None => Verdict { ruleset: RULESET, ..first },
    }
}

/// The name of the rule that decides, R1 to R15 with a letter where a number has several rows; for explanations.
pub fn deciding_rule(kind: HitKind, client: &Client, age: DeliveryAge) -> Option<&'static str> {
    first_rule(kind, client, age).map(|rule| rule.name)
}

/// Whether a hit counts by the standard: people, directly or through their provider's fetcher.
pub const fn counts_standard(class: Class) -> bool {
    matches!(class, Class::Human | Class::Proxied)
}

/// Whether a hit counts by the strict measure: people, certainly or strongly.
pub const fn counts_strict(class: Class, confidence: Confidence) -> bool {
    matches!(class, Class::Human) && matches!(confidence, Confidence::Certain | Confidence::Strong)
}

#[cfg(test)]
mod tests {
    use super::super::client::{ClientFamily, DeviceClass};
    use super::super::network::NetworkKind;
    use super::*;

    const KINDS: [HitKind; 2] = [HitKind::Open, HitKind::Click];

    fn client(agent: AgentKind, network: NetworkKind) -> Client {
        Client {
            method: MethodKind::Get,
            agent,
            network,
            prefetch_purpose: false,
            gmail_referer: false,
            accept_language: false,
            fetch_user: false,
            family: ClientFamily::Unknown,
            device: DeviceClass::Unknown,
        }
    }

    /// Every client the rules can tell apart.
    fn every_client() -> Vec<Client> {
        let mut clients = Vec::new();
        for method in [MethodKind::Get, MethodKind::Head, MethodKind::Other] {
            for agent in AgentKind::ALL {
                for network in NetworkKind::ALL {
                    for prefetch_purpose in [false, true] {
                        for gmail_referer in [false, true] {
                            clients.push(Client { method, prefetch_purpose, gmail_referer, ..client(agent, network) });
                        }
                    }
                }
            }
        }
        clients
    }

    #[test]
    fn the_rules_stand_in_the_order_of_the_design() {
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        let designed = [
            "R1", "R3", "R4a", "R4b", "R5", "R6a", "R6b", "R6c", "R7", "R8", "R9a", "R9b", "R10a", "R10b", "R11", "R12a", "R12b", "R13",
            "R14", "R15",
        ];
        assert_eq!(names, designed);
    }

    #[test]
    fn the_first_matching_rule_wins() {
        let scanner_on_microsoft = client(AgentKind::NamedScanner, NetworkKind::Microsoft);
        let browser_on_microsoft = client(AgentKind::Browser, NetworkKind::Microsoft);
        for (expected, kind, client, age) in [
            // Everything speaks for something else, the method decides.
            (
                "R1",
                HitKind::Click,
                Client { method: MethodKind::Head, prefetch_purpose: true, ..scanner_on_microsoft },
                DeliveryAge::UpTo2s,
            ),
            ("R3", HitKind::Click, Client { prefetch_purpose: true, ..scanner_on_microsoft }, DeliveryAge::UpTo2s),
            ("R4a", HitKind::Open, client(AgentKind::BareMozilla, NetworkKind::AppleRelay), DeliveryAge::Later),
            ("R4b", HitKind::Open, client(AgentKind::BareMozilla, NetworkKind::Microsoft), DeliveryAge::Later),
            ("R5", HitKind::Click, client(AgentKind::BareMozilla, NetworkKind::AppleRelay), DeliveryAge::UpTo2s),
            (
                "R6a",
                HitKind::Open,
                Client { gmail_referer: true, ..client(AgentKind::GmailPrefetch, NetworkKind::GoogleOther) },
                DeliveryAge::Later,
            ),
            (
                "R6b",
                HitKind::Open,
                Client { gmail_referer: true, ..client(AgentKind::GmailPrefetch, NetworkKind::None) },
                DeliveryAge::Later,
            ),
            ("R6c", HitKind::Click, client(AgentKind::GmailPrefetch, NetworkKind::Microsoft), DeliveryAge::UpTo2s),
            ("R7", HitKind::Open, client(AgentKind::MailProxy, NetworkKind::Microsoft), DeliveryAge::Before),
            ("R8", HitKind::Click, client(AgentKind::MailProxy, NetworkKind::Microsoft), DeliveryAge::Before),
            ("R9a", HitKind::Open, client(AgentKind::MailClient, NetworkKind::ListedScanner), DeliveryAge::Before),
            ("R9b", HitKind::Click, client(AgentKind::MailClient, NetworkKind::Microsoft), DeliveryAge::Before),
            ("R10a", HitKind::Click, scanner_on_microsoft, DeliveryAge::UpTo2s),
            ("R10b", HitKind::Click, client(AgentKind::NamedPreview, NetworkKind::Microsoft), DeliveryAge::UpTo2s),
            ("R11", HitKind::Click, client(AgentKind::OtherAgent, NetworkKind::Microsoft), DeliveryAge::UpTo2s),
            ("R12a", HitKind::Click, browser_on_microsoft, DeliveryAge::UpTo2s),
            ("R12a", HitKind::Click, client(AgentKind::Empty, NetworkKind::GoogleCrawler), DeliveryAge::UpTo2s),
            ("R12b", HitKind::Open, browser_on_microsoft, DeliveryAge::UpTo2s),
            ("R13", HitKind::Click, client(AgentKind::Unclear, NetworkKind::None), DeliveryAge::UpTo2s),
            ("R14", HitKind::Click, client(AgentKind::Browser, NetworkKind::AppleRelay), DeliveryAge::UpTo10s),
            ("R15", HitKind::Click, client(AgentKind::Browser, NetworkKind::AppleRelay), DeliveryAge::UpTo60s),
            ("R15", HitKind::Open, client(AgentKind::Browser, NetworkKind::None), DeliveryAge::UpTo2s),
        ] {
            assert_eq!(deciding_rule(kind, &client, age), Some(expected), "{kind:?} {client:?} {age:?}");
        }
    }

    #[test]
    fn every_client_meets_a_rule_and_gets_a_reason() {
        for kind in KINDS {
            for client in every_client() {
                for age in DeliveryAge::ALL {
                    let verdict = classify(kind, &client, age);
                    assert!(deciding_rule(kind, &client, age).is_some(), "{kind:?} {client:?} {age:?}");
                    assert_ne!(verdict.reasons, Reasons::NONE);
                    assert_eq!(verdict.ruleset, RULESET);
                }
            }
        }
    }

    #[test]
    fn every_rule_decides_somewhere() {
        let mut decided = std::collections::HashSet::new();
        for kind in KINDS {
            for client in every_client() {
                decided.extend(DeliveryAge::ALL.iter().filter_map(|age| deciding_rule(kind, &client, *age)));
            }
        }
        assert_eq!(decided.len(), RULES.len());
    }

    #[test]
    fn no_timing_and_no_network_makes_a_mail_program_or_its_proxy_a_scanner() {
        for kind in KINDS {
            for network in NetworkKind::ALL {
                for age in DeliveryAge::ALL {
                    for agent in [AgentKind::MailClient, AgentKind::MailProxy] {
                        assert_ne!(classify(kind, &client(agent, network), age).class, Class::Scanner);
                    }
                }
            }
        }
    }

    #[test]
    fn a_quick_click_is_undecided_and_a_quick_open_is_not() {
        let browser = client(AgentKind::Browser, NetworkKind::None);
        let click = classify(HitKind::Click, &browser, DeliveryAge::Before);
        assert_eq!((click.class, click.reasons), (Class::Unknown, Reasons::INSTANT));
        assert_eq!(classify(HitKind::Open, &browser, DeliveryAge::Before).class, Class::Human);
    }

    #[test]
    fn a_stored_hit_is_revised_by_its_reasons() {
        for kind in KINDS {
            for client in every_client() {
                for age in DeliveryAge::ALL {
                    let verdict = classify(kind, &client, age);
                    // The rules of today say again what they said, whatever a hit was taken for before.
                    assert_eq!(revise(kind, Verdict { ruleset: 1, ..verdict }), verdict, "{client:?}");
                }
            }
        }
        let older = Verdict { class: Class::Unknown, confidence: Confidence::Weak, reasons: Reasons::NAMED_SCANNER, ruleset: 1 };
        assert_eq!((revise(HitKind::Click, older).class, revise(HitKind::Click, older).ruleset), (Class::Scanner, RULESET));
        assert_eq!(revise(HitKind::Click, trapped()), trapped());
        let gone = Verdict { reasons: Reasons::NAMED_SCANNER.with(Reasons::NETWORK), ..older };
        assert_eq!(revise(HitKind::Click, gone), Verdict { ruleset: RULESET, ..gone });
    }

    #[test]
    fn ages_fall_into_their_buckets() {
        for (millis, expected) in [
            (-1, DeliveryAge::Before),
            (0, DeliveryAge::UpTo2s),
            (2_000, DeliveryAge::UpTo2s),
            (2_001, DeliveryAge::UpTo10s),
            (10_001, DeliveryAge::UpTo60s),
            (60_001, DeliveryAge::UpTo300s),
            (300_001, DeliveryAge::Later),
            (i64::MAX, DeliveryAge::Later),
        ] {
            assert_eq!(DeliveryAge::from_millis(millis), expected, "{millis}");
        }
    }

    #[test]
    fn the_standard_counts_people_and_their_proxies_and_the_strict_only_sure_people() {
        let standard: Vec<Class> = Class::ALL.into_iter().filter(|class| counts_standard(*class)).collect();
        assert_eq!(standard, [Class::Human, Class::Proxied]);
        for class in Class::ALL {
            for confidence in Confidence::ALL {
                let expected = class == Class::Human && confidence != Confidence::Weak;
                assert_eq!(counts_strict(class, confidence), expected, "{class} {confidence}");
            }
        }
    }
}
