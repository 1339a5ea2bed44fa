-- +goose Up

-- When a change was made by the server's clock, and how far that may be off, -1 where
-- nothing bounds it; beside at_ms, which is as entered. Null for changes from before.
ALTER TABLE change ADD COLUMN corrected_ms {{int}};
ALTER TABLE change ADD COLUMN uncertainty_ms {{int}};

-- What the janitor of an org knows of the wall clock: when it last ran, and whether it
-- has stopped since the clock moved in a way that only a person can judge.
CREATE TABLE janitor (
  org        {{int}} NOT NULL,
  last_ms    {{int}} NOT NULL,
  stopped_ms {{int}},
  PRIMARY KEY (org)
) {{strict}};

-- Marks of where the history stood at a time of the server's clock. A record whose
-- latest change is not beyond a mark has not changed since then.
CREATE TABLE janitor_mark (
  org   {{int}} NOT NULL,
  at_ms {{int}} NOT NULL,
  seq   {{int}} NOT NULL,
  PRIMARY KEY (org, at_ms)
) {{packed}};
