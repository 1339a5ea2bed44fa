-- +goose Up

-- Public reports that somebody was shown before publishing them: what is published is what
-- stood on the screen, whichever server the word comes to. frozen = 1: it is what was frozen.
-- They are forgotten an hour after.
CREATE TABLE report_preview (
  org        {{int}} NOT NULL,
  person     {{bytes}} NOT NULL,
  hash       {{bytes}} NOT NULL,
  program    {{bytes}} NOT NULL,
  first_day  {{text}} NOT NULL,
  end_day    {{text}} NOT NULL,
  zone       {{text}} NOT NULL,
  seq        {{int}} NOT NULL,
  frozen     {{int}} NOT NULL,
  shown_ms   {{int}} NOT NULL,
  body       {{bytes}} NOT NULL,
  PRIMARY KEY (org, person, hash)
) {{strict}};

-- Frozen metrics say whether they leave out records of a substance use program: earlier ones
-- do not, unless there never was a scope of such records (compartment 4).
ALTER TABLE metric_snapshot ADD COLUMN without_sud {{int}} NOT NULL DEFAULT 0;
UPDATE metric_snapshot SET without_sud = 1 WHERE NOT EXISTS (SELECT 1 FROM scope WHERE scope.org = metric_snapshot.org AND scope.compartment = 4);

-- How many people live where an agency works, as its admin has loaded it: body is CSV.
CREATE TABLE population (
  org       {{int}} NOT NULL,
  agency    {{bytes}} NOT NULL,
  by_staff  {{bytes}} NOT NULL,
  loaded_ms {{int}} NOT NULL,
  body      {{bytes}} NOT NULL,
  PRIMARY KEY (org, agency)
) {{strict}};
