-- Positions at which the server told verdicts and that no cut covers yet, one after
-- another, each after its length in two bytes.
ALTER TABLE replica ADD COLUMN told_at BLOB;
