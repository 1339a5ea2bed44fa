-- +goose Up

-- Metrics of a month or a quarter that is over, as they may be published, frozen when the
-- last devices had time to send: body is the report in JSON, hash its SHA-256. program is
-- empty for all programs; first_day and end_day bound the period, by the zone's clocks. One
-- is never changed.
CREATE TABLE metric_snapshot (
  org        {{int}} NOT NULL,
  program    {{bytes}} NOT NULL,
  first_day  {{text}} NOT NULL,
  end_day    {{text}} NOT NULL,
  zone       {{text}} NOT NULL,
  seq        {{int}} NOT NULL,
  hash       {{bytes}} NOT NULL,
  created_ms {{int}} NOT NULL,
  body       {{bytes}} NOT NULL,
  PRIMARY KEY (org, program, first_day, end_day, zone)
) {{strict}};

-- Each report of a verified copy: up to where the copy's history goes, its size and SHA-256
-- as far as they are known (0 and empty otherwise), whether it is encrypted, and by what it
-- was made. A drill is a copy that was restored to be looked at: drill = 1.
CREATE TABLE backup_report (
  org       {{int}} NOT NULL,
  n         {{int}} NOT NULL,
  at_ms     {{int}} NOT NULL,
  seq       {{int}} NOT NULL,
  bytes     {{int}} NOT NULL,
  digest    {{bytes}} NOT NULL,
  encrypted {{int}} NOT NULL,
  drill     {{int}} NOT NULL,
  PRIMARY KEY (org, n)
) {{strict}};

-- What is kept whatever its age says, since somebody has ordered so: a person or a call with
-- all that is about them, an agency with all that is its own, or (empty target) everything.
-- lifted_ms = 0: it stands.
CREATE TABLE legal_hold (
  org       {{int}} NOT NULL,
  id        {{bytes}} NOT NULL,
  target    {{bytes}} NOT NULL,
  reason    {{text}} NOT NULL,
  placed_by {{bytes}} NOT NULL,
  placed_ms {{int}} NOT NULL,
  lifted_by {{bytes}} NOT NULL,
  lifted_ms {{int}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
