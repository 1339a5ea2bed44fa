-- +goose Up

-- What asks for a lead's attention, by the scopes of a team and compartment in their open
-- tier (desk). All of it follows from the records: rows that are gone are worked out again.
CREATE TABLE work (
  org    {{int}} NOT NULL,
  desk   {{int}} NOT NULL,
  reason {{int}} NOT NULL,
  due_ms {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  PRIMARY KEY (org, desk, reason, due_ms, record)
) {{packed}};
CREATE INDEX work_record ON work (org, desk, record);

-- How far a scope is worked out: everything up to a row of the scope index.
CREATE TABLE worked (
  org    {{int}} NOT NULL,
  scope  {{int}} NOT NULL,
  seq    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  PRIMARY KEY (org, scope)
) {{packed}};

-- Who has opened a record, and when first and last: what the audit log says up to a number,
-- found without going through it.
CREATE TABLE reader (
  org      {{int}} NOT NULL,
  record   {{bytes}} NOT NULL,
  person   {{bytes}} NOT NULL,
  first_ms {{int}} NOT NULL,
  last_ms  {{int}} NOT NULL,
  times    {{int}} NOT NULL,
  PRIMARY KEY (org, record, person)
) {{packed}};
CREATE TABLE reading (
  org {{int}} NOT NULL,
  n   {{int}} NOT NULL,
  PRIMARY KEY (org)
) {{strict}};
