-- The ledger: campaigns, and what happened, under pseudonyms. No column here may hold a name, an address of a person or of a machine.
-- Moments are milliseconds since 1970 (UTC). Identifiers are 26 characters of base32.

CREATE TABLE campaign (
    number BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('draft', 'sealed', 'sending', 'observing', 'decided', 'closed')),
    -- JSON: letter, element, variants and plan; frozen once sealed.
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- SHA-256 over the canonical definition, in hexadecimal.
    seal TEXT,
    -- Decides the assignment; recorded so that it can be recomputed.
    seed TEXT,
    sealed_at BIGINT,
    enrolled_at BIGINT,
    sending_at BIGINT,
    observing_at BIGINT,
    decided_at BIGINT,
    -- When the sealed time's facts were written down in look: from then on the result rests on them.
    looked_at BIGINT,
    closed_at BIGINT,
    paused BOOLEAN NOT NULL DEFAULT FALSE,
    pause_reason TEXT,
    -- The variant sent to the rest, and who or what chose it.
    chosen_variant INTEGER,
    chosen_by TEXT,
    chosen_at BIGINT,
    -- What the choice went against, in words, as it stood when it was made; empty when it followed the plan.
    chosen_against TEXT,
    -- What was last judged without a verdict, so that the same facts are not judged again.
    judged TEXT,
    -- JSON: what shows that the letters differ in one element, over a sample of finished messages; kept when sealed.
    proof TEXT
);

-- When and why nothing was sent for a while; until is empty while it lasts.
CREATE TABLE pause (
    campaign BIGINT NOT NULL REFERENCES campaign (number),
    at BIGINT NOT NULL,
    until BIGINT,
    reason TEXT NOT NULL,
    PRIMARY KEY (campaign, at)
);

-- Where each link leads, frozen when the campaign is sealed.
CREATE TABLE link (
    campaign BIGINT NOT NULL REFERENCES campaign (number),
    variant INTEGER NOT NULL,
    number INTEGER NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (campaign, variant, number)
);

-- Pictures uploaded for letters, served under an address nobody can guess. The digest keeps the same file from being stored twice.
CREATE TABLE image (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('png', 'jpg', 'gif', 'webp')),
    bytes BYTEA NOT NULL,
    uploaded_at BIGINT NOT NULL
);

-- One recipient under the pseudonym: the arm, and the state projected from events.
CREATE TABLE subject (
    pseudonym TEXT NOT NULL PRIMARY KEY,
    campaign BIGINT NOT NULL REFERENCES campaign (number),
    variant INTEGER NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('test', 'rest', 'holdout')),
    stratum TEXT NOT NULL,
    recording TEXT NOT NULL CHECK (recording IN ('off', 'aggregate', 'pseudonymous', 'identified')),
    -- Bit sets, projected; what the bits mean is written in ledger/subject.rs.
    delivery_flags INTEGER NOT NULL DEFAULT 0,
    open_flags INTEGER NOT NULL DEFAULT 0,
    click_flags INTEGER NOT NULL DEFAULT 0,
    first_open_at BIGINT,
    first_click_at BIGINT,
    -- Measured and delivered when the observation of an anytime-valid test began; never changed afterwards.
    at_risk BOOLEAN NOT NULL DEFAULT FALSE,
    -- When this recipient's hits are to be judged together; empty once all of them are final.
    judge_at BIGINT
);
CREATE INDEX subject_by_campaign ON subject (campaign, variant);
-- All that the replay of a test reads, in its order: a page looks at those who succeeded and not at everybody.
CREATE INDEX subject_first_open ON subject (campaign, first_open_at, pseudonym, variant, part, recording, delivery_flags, at_risk) WHERE first_open_at IS NOT NULL;
CREATE INDEX subject_first_click ON subject (campaign, first_click_at, pseudonym, variant, part, recording, delivery_flags, at_risk) WHERE first_click_at IS NOT NULL;
CREATE INDEX subject_to_judge ON subject (judge_at) WHERE judge_at IS NOT NULL;

-- Append-only. seq is given in commit order, so that a reader with a cursor misses nothing.
CREATE TABLE event (
    seq BIGINT NOT NULL PRIMARY KEY, -- on SQLite: seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    campaign BIGINT NOT NULL,
    -- Only for hits of the shared pixel and links of an arm.
    variant INTEGER,
    part TEXT,
    -- Empty for hits of the shared pixel and links of an arm.
    pseudonym TEXT,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    link INTEGER,
    class TEXT,
    confidence TEXT,
    reasons INTEGER,
    ruleset INTEGER,
    family TEXT,
    device TEXT,
    multiplicity INTEGER NOT NULL DEFAULT 1,
    -- For deliveries: a closed word such as 'hard' or 'block'.
    reason TEXT,
    -- What the immediate rules said, where class, confidence and reasons say something else by now. Never changed once written.
    class0 TEXT,
    confidence0 TEXT,
    reasons0 INTEGER,
    -- For hits: whether the class is final and the time cut to the hour.
    settled BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX event_by_pseudonym ON event (pseudonym);
CREATE INDEX event_to_settle ON event (at) WHERE pseudonym IS NULL AND class IS NOT NULL AND NOT settled;

-- Counts per arm, projected together with the cursor.
CREATE TABLE tally (
    campaign BIGINT NOT NULL,
    part TEXT NOT NULL,
    variant INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (campaign, part, variant, name)
);

-- What was known of a campaign's test at its sealed time, written once: later facts do not move a verdict.
CREATE TABLE look (
    campaign BIGINT NOT NULL PRIMARY KEY REFERENCES campaign (number),
    -- Facts up to this moment, by their own time.
    until BIGINT NOT NULL,
    -- JSON: tallies per arm.
    counts TEXT NOT NULL,
    -- JSON: arms of first successes in the order of time, to the minute.
    firsts TEXT NOT NULL,
    -- JSON: tracking nodes whose hits up to then may be missing, because nothing was heard of them.
    silent TEXT NOT NULL,
    -- JSON: what the anytime-valid test says of the first successes, so that no page replays them.
    replay TEXT
);

-- How far the anytime-valid test of a campaign has been replayed, at several moments: a page goes on from the newest. Whatever changes a
-- first success up to such a moment removes the row in the same transaction. No recipient can be told from it.
CREATE TABLE replay (
    campaign BIGINT NOT NULL REFERENCES campaign (number),
    -- Of first opens or first clicks.
    kind TEXT NOT NULL,
    -- First successes up to and with this moment are in it.
    until BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    -- How many.
    successes BIGINT NOT NULL,
    -- JSON: recipients per arm it started from, and the processes after the last success. Empty while it is being made.
    base TEXT NOT NULL,
    state TEXT,
    PRIMARY KEY (campaign, kind, until)
);

-- An anytime-valid test: who was at risk when its observation began, and the first crossing of its bound. Each is written once.
CREATE TABLE watch (
    campaign BIGINT NOT NULL PRIMARY KEY REFERENCES campaign (number),
    -- When the recipients at risk were counted, and the last event known then: they can be derived again from the events up to it.
    since BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    -- JSON: recipients at risk per arm.
    at_risk TEXT NOT NULL,
    -- JSON: variant, time to the minute, evidence and counts; and when it was found.
    crossing TEXT,
    found_at BIGINT,
    -- When every check let the crossing pass: from then on the verdict stays.
    settled_at BIGINT
);

-- Running numbers: the last seq given, the projection's cursor, hits refused.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('event seq', 0), ('projected seq', 0), ('refused hits', 0), ('unrecorded hits', 0), ('stored hits', 0), ('deleted hits', 0), ('recounts', 0);

-- How far states and counts are being made anew from the events; a row only while that is under way. Scope 0 stands for every campaign.
CREATE TABLE rebuild (
    scope BIGINT NOT NULL PRIMARY KEY,
    began_at BIGINT NOT NULL,
    -- Recipients up to and with this one are done, in the order of pseudonyms.
    after TEXT NOT NULL,
    recipients BIGINT NOT NULL,
    mended BIGINT NOT NULL
);

-- How far each process's spool of hits is loaded: moved in the transaction that stores the hits, so that each is stored exactly once.
CREATE TABLE spool (
    -- Random, made with the spool.
    id TEXT NOT NULL PRIMARY KEY,
    segment BIGINT NOT NULL,
    place BIGINT NOT NULL,
    damaged BOOLEAN NOT NULL DEFAULT FALSE,
    -- When its process last said so; and the moment before which every hit it took is in the ledger. By that process's clock.
    alive_at BIGINT,
    loaded_before BIGINT
);

-- Pseudonyms whose measurement was withdrawn after the letter was sent: their hits are answered, never recorded.
CREATE TABLE withdrawal (
    pseudonym TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX withdrawal_by_moment ON withdrawal (at);
