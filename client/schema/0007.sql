-- Drafts stand in the sealed outbox too: each under a number that no other draft of the
-- store has had, and a version. 0: not numbered yet.
ALTER TABLE draft ADD COLUMN n INTEGER NOT NULL DEFAULT 0;
ALTER TABLE draft ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
