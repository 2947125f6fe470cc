-- The vault: who people are, what they agreed to, and which letters are on their way to them.
-- Moments are milliseconds since 1970 (UTC). Identifiers are 26 characters of base32.

CREATE TABLE list (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE subscriber (
    id TEXT NOT NULL PRIMARY KEY,
    -- Local part as given, domain in lower-case A-labels.
    address TEXT NOT NULL UNIQUE,
    -- A large mailbox provider's name, or 'other': never a small domain.
    provider TEXT NOT NULL,
    needs_smtputf8 BOOLEAN NOT NULL,
    -- A JSON object of texts: the merge fields.
    attributes TEXT NOT NULL,
    recording TEXT NOT NULL CHECK (recording IN ('off', 'aggregate', 'pseudonymous', 'identified')),
    consent_source TEXT NOT NULL,
    consent_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Domains of people that belong to no large provider by their name: whose mailboxes they are by their MX.
CREATE TABLE mail_domain (
    domain TEXT NOT NULL PRIMARY KEY,
    -- A large mailbox provider's name, or 'other', which it is too while nobody has asked.
    provider TEXT NOT NULL,
    -- When the DNS is asked (again).
    ask_at BIGINT NOT NULL
);
CREATE INDEX mail_domain_due ON mail_domain (ask_at);

CREATE TABLE membership (
    list_id TEXT NOT NULL REFERENCES list (id) ON DELETE CASCADE,
    subscriber_id TEXT NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (list_id, subscriber_id)
);
CREATE INDEX membership_by_subscriber ON membership (subscriber_id);

-- Which attributes people of a list have, so that an unknown merge field is found without reading everyone.
CREATE TABLE list_field (
    list_id TEXT NOT NULL REFERENCES list (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (list_id, name)
);

-- What a person agreed to before, moved here (recorded_at) when something newer took its place; subscriber holds what counts.
CREATE TABLE consent (
    id TEXT NOT NULL PRIMARY KEY,
    subscriber_id TEXT NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    recording TEXT NOT NULL CHECK (recording IN ('off', 'aggregate', 'pseudonymous', 'identified')),
    source TEXT NOT NULL,
    agreed_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX consent_by_subscriber ON consent (subscriber_id);

CREATE TABLE suppression (
    subscriber_id TEXT NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    reason TEXT NOT NULL CHECK (reason IN ('unsubscribed', 'hard bounce', 'complaint', 'by hand')),
    at BIGINT NOT NULL,
    PRIMARY KEY (subscriber_id, reason)
);

-- One letter to one person: the only link between a pseudonym and a person.
CREATE TABLE mailing (
    id TEXT NOT NULL PRIMARY KEY,
    campaign BIGINT NOT NULL,
    subscriber_id TEXT NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    pseudonym TEXT NOT NULL UNIQUE,
    -- 'test', 'rest' for those who get what the test chose, 'holdout' for those who get nothing.
    part TEXT NOT NULL CHECK (part IN ('test', 'rest', 'holdout')),
    -- Empty for the rest until the test is decided.
    variant INTEGER,
    stratum TEXT NOT NULL,
    -- The large mailbox provider or 'other', as it was when planned: what a throttle counts by.
    provider TEXT NOT NULL,
    recording TEXT NOT NULL CHECK (recording IN ('off', 'aggregate', 'pseudonymous', 'identified')),
    state TEXT NOT NULL CHECK (state IN ('planned', 'queued', 'leased', 'accepted', 'refused', 'failed', 'skipped', 'unknown')),
    -- Sending order within the campaign; arms interleave.
    position BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- Not before this moment, where the moment of sending is what varies.
    not_before BIGINT,
    -- Whose lease it is under while it is leased.
    lease_owner TEXT,
    -- How many tries are written here; an attempt with a higher number is the end of a letter that is not yet.
    attempts INTEGER NOT NULL DEFAULT 0,
    first_attempt_at BIGINT,
    -- Why it was refused, skipped or failed: closed words and codes, never an address.
    reason TEXT,
    finished_at BIGINT,
    UNIQUE (subscriber_id, campaign)
);
CREATE INDEX mailing_due ON mailing (campaign, due_at, position) WHERE state = 'queued';
-- While a provider's throttle is empty, the others' letters are found without looking through its own.
CREATE INDEX mailing_due_by_provider ON mailing (campaign, provider, due_at, position) WHERE state = 'queued';
CREATE INDEX mailing_held ON mailing (lease_owner) WHERE state = 'leased';
-- SQLite takes this instead of mailing_by_position only with as many columns, and only where the question repeats its condition.
CREATE INDEX mailing_planned ON mailing (campaign, part, position) WHERE state = 'planned';
CREATE INDEX mailing_by_position ON mailing (campaign, part, position);

-- A batch of letters in one worker's hands. What changes with every letter, what ends it and what forbids it stand in one row, so that
-- whichever is written first wins.
CREATE TABLE lease (
    -- node/process/batch
    owner TEXT NOT NULL PRIMARY KEY,
    campaign BIGINT NOT NULL,
    -- Whoever finds it ended takes the letters back.
    ends_at BIGINT NOT NULL,
    -- The campaign was paused or ended: no further last dot.
    revoked BOOLEAN NOT NULL DEFAULT FALSE,
    -- The mailing whose last dot may have been sent. Without an attempt that is not yet counted in it, nobody knows what became of it.
    at_dot TEXT
);

-- One try to hand a letter over, and what the relay said: for the person's page, for finding faults, and the first place where the end
-- of a letter is written; the mailing, its outcome and the counts follow in bulk, while nobody waits.
CREATE TABLE attempt (
    mailing_id TEXT NOT NULL REFERENCES mailing (id) ON DELETE CASCADE,
    -- From 1 on.
    number INTEGER NOT NULL,
    -- The id of the outcome that comes of it.
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    relay TEXT NOT NULL,
    -- Where in the conversation: connect, hello, auth, mail, rcpt, data, dot; empty for a letter that was not tried after all.
    stage TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'deferred', 'refused', 'failed', 'skipped', 'unknown')),
    code INTEGER,
    enhanced TEXT,
    -- The relay's words with addresses masked; of an accepted letter its queue id, if it gave one.
    text TEXT NOT NULL,
    -- What the mailing's reason becomes.
    reason TEXT,
    -- When to try again, if so.
    due_at BIGINT,
    -- For a letter handed over: the recording mode it was made with, which may be less than planned.
    recording TEXT,
    PRIMARY KEY (mailing_id, number)
);

-- How many mailings of a campaign are in which state for which reason, kept in the transaction that changes them, so that nobody
-- counts a million rows to draw a page. 'enrolled' counts all; what is queued or in hand is the difference.
CREATE TABLE mailing_tally (
    campaign BIGINT NOT NULL,
    part TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enrolled', 'planned', 'accepted', 'refused', 'failed', 'skipped', 'unknown')),
    reason TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (campaign, part, state, reason)
);

-- Who plans a campaign's mailings, and whether all are planned. Planning takes many transactions; a dead planner's is begun again.
CREATE TABLE enrolment (
    campaign BIGINT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    owned_until BIGINT NOT NULL,
    planned_at BIGINT
);

-- When a campaign's first letter may leave.
CREATE TABLE schedule (
    campaign BIGINT NOT NULL PRIMARY KEY,
    start_at BIGINT NOT NULL
);

-- Letters accepted per minute: what the remaining time is told from. Kept for a week.
CREATE TABLE pace (
    relay TEXT NOT NULL,
    campaign BIGINT NOT NULL,
    -- Minutes since 1970 (UTC).
    minute BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    PRIMARY KEY (relay, campaign, minute)
);

-- What the relay said to a campaign's letters, of all nodes together: what a campaign is paused by. Forgotten when it goes on after a pause.
CREATE TABLE judged (
    campaign BIGINT NOT NULL,
    -- Minutes since 1970 (UTC).
    minute BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    -- Refused for their sender or content since the last one accepted.
    in_a_row BIGINT NOT NULL,
    PRIMARY KEY (campaign, minute)
);

-- Letters of a day (UTC) that a relay was or is being given, of all nodes together: set aside before they are taken from the queue, so
-- that a day's limit is never passed.
CREATE TABLE relay_day (
    relay TEXT NOT NULL,
    -- Days since 1970.
    day BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    PRIMARY KEY (relay, day)
);

-- Processes that send, seen of late: they share the limits.
CREATE TABLE sender (
    process TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

-- What became of a mailing, waiting to be copied to the ledger under the pseudonym, at most once by its id; gone when it is.
CREATE TABLE outcome (
    id TEXT NOT NULL,
    campaign BIGINT NOT NULL,
    pseudonym TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sent', 'refused', 'failed', 'skipped', 'uncertain', 'bounced', 'complained', 'unsubscribed')),
    reason TEXT NOT NULL,
    recording TEXT,
    at BIGINT NOT NULL,
    -- The oldest first.
    PRIMARY KEY (at, id)
);

-- What came back of a letter, once per kind.
CREATE TABLE came_back (
    mailing_id TEXT NOT NULL REFERENCES mailing (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('bounced', 'complained', 'unsubscribed')),
    PRIMARY KEY (mailing_id, kind)
);

CREATE TABLE account (
    id TEXT NOT NULL PRIMARY KEY,
    login TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('administrator', 'marketer')),
    created_at BIGINT NOT NULL
);

CREATE TABLE session (
    -- BLAKE3 of the cookie: a copy of this table opens no session.
    key_hash TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    csrf TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE api_key (
    key_hash TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
