-- +goose Up

-- Records that a lead has opened, for the person who made them: n counts those of the person.
-- at_ms is when the state with that row hash was first opened; another state of the record
-- replaces it, under a new n.
CREATE TABLE seen_by_lead (
  org      {{int}} NOT NULL,
  person   {{bytes}} NOT NULL,
  n        {{int}} NOT NULL,
  record   {{bytes}} NOT NULL,
  at_ms    {{int}} NOT NULL,
  row_hash {{int}} NOT NULL,
  PRIMARY KEY (org, person, n)
) {{packed}};
CREATE UNIQUE INDEX seen_by_lead_record ON seen_by_lead (org, person, record);
