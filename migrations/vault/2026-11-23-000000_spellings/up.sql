-- An address in other capitals is the same person (those of ASCII only): found by this index, in which only those with capitals are, or by
-- the one of addresses.
CREATE INDEX subscriber_spelt ON subscriber (lower(address COLLATE "C")) WHERE address <> lower(address COLLATE "C"); -- on SQLite: CREATE INDEX subscriber_spelt ON subscriber (lower(address)) WHERE address <> lower(address);

-- Imports of old made a row for each spelling. What forbids letters to one forbids them to all.
WITH capital AS (
    SELECT id, lower(address COLLATE "C") AS folded FROM subscriber WHERE address <> lower(address COLLATE "C") -- on SQLite: SELECT id, lower(address) AS folded FROM subscriber WHERE address <> lower(address)
), spelling AS (
    SELECT id, folded FROM capital
    UNION ALL SELECT id, address FROM subscriber WHERE address IN (SELECT folded FROM capital)
)
INSERT INTO suppression (subscriber_id, reason, at)
SELECT other.id, known.reason, MIN(known.at)
FROM suppression AS known
JOIN spelling AS own ON own.id = known.subscriber_id
JOIN spelling AS other ON other.folded = own.folded AND other.id <> own.id
WHERE NOT EXISTS (SELECT 1 FROM suppression AS there WHERE there.subscriber_id = other.id AND there.reason = known.reason)
GROUP BY other.id, known.reason;
