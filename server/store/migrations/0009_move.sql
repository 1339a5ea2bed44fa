-- +goose Up

-- moved: 0; 1 for an org that is on its way into this database, and not whole yet; 2 for
-- one that has gone to another database. Neither is served.
ALTER TABLE org ADD COLUMN moved {{int}} NOT NULL DEFAULT 0;

-- The security journal, where several servers share a database. Each server keeps a copy
-- in a file of its own, from which this is made whole again after a restore. hash is of
-- the event; at_ms orders them.
CREATE TABLE journal (
  org   {{int}} NOT NULL,
  hash  {{bytes}} NOT NULL,
  at_ms {{int}} NOT NULL,
  event {{text}} NOT NULL,
  PRIMARY KEY (org, hash)
) {{strict}};
CREATE INDEX journal_at ON journal (org, at_ms);
