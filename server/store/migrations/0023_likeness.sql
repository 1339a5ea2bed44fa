-- +goose Up

-- By what two people could be one: keys that they share, at each desk (see 0016). All of it
-- follows from the records.
CREATE TABLE likeness (
  org    {{int}} NOT NULL,
  desk   {{int}} NOT NULL,
  key    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  PRIMARY KEY (org, desk, key, record)
) {{packed}};
CREATE INDEX likeness_record ON likeness (org, desk, record);

-- Two people of whom a lead has said that they are two: low is the smaller id.
CREATE TABLE apart (
  org    {{int}} NOT NULL,
  low    {{bytes}} NOT NULL,
  high   {{bytes}} NOT NULL,
  person {{bytes}} NOT NULL,
  at_ms  {{int}} NOT NULL,
  PRIMARY KEY (org, low, high)
) {{packed}};
CREATE INDEX apart_high ON apart (org, high);

-- Everything is worked out again, with the keys.
DELETE FROM worked;
