-- +goose Up

-- Reports that were published, as they were: body is the report in JSON, hash its SHA-256.
-- program is empty for all programs; first_day and end_day bound the period, by the zone's
-- clocks. One is never changed.
CREATE TABLE published_report (
  org        {{int}} NOT NULL,
  id         {{bytes}} NOT NULL,
  program    {{bytes}} NOT NULL,
  first_day  {{text}} NOT NULL,
  end_day    {{text}} NOT NULL,
  zone       {{text}} NOT NULL,
  seq        {{int}} NOT NULL,
  hash       {{bytes}} NOT NULL,
  created_ms {{int}} NOT NULL,
  body       {{bytes}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};

-- Links under which anybody answers a survey without a name: one that is open a program.
-- token is what the address ends in. answers counts, and says of nobody when.
CREATE TABLE survey_link (
  org        {{int}} NOT NULL,
  token      {{text}} NOT NULL,
  program    {{bytes}} NOT NULL,
  form       {{bytes}} NOT NULL,
  created_ms {{int}} NOT NULL,
  closed_ms  {{int}} NOT NULL,
  answers    {{int}} NOT NULL,
  PRIMARY KEY (org, token)
) {{strict}};
CREATE INDEX survey_link_program ON survey_link (org, program, closed_ms);
