-- When somebody ended the sending for good: from then on no letter leaves, also none that was in a worker's hands and comes back.
ALTER TABLE campaign ADD COLUMN cancelled_at BIGINT;
