-- +goose Up

-- Which records are about another (a visit about its person and its call), for lookups.
-- Rows are added and never removed; whoever reads them asks the record.
CREATE TABLE about (
  org    {{int}} NOT NULL,
  target {{bytes}} NOT NULL,
  record {{bytes}} NOT NULL,
  PRIMARY KEY (org, target, record)
) {{packed}};

-- linked = 1: every record of the org stands there that should.
ALTER TABLE org ADD COLUMN linked {{int}} NOT NULL DEFAULT 0;

-- Who has looked up what, and why: reads outside what their device holds. about = 1: with
-- all that is about it. found counts the records that were sent.
CREATE TABLE lookup (
  org     {{int}} NOT NULL,
  num     {{int}} NOT NULL,
  at_ms   {{int}} NOT NULL,
  person  {{bytes}} NOT NULL,
  replica {{bytes}} NOT NULL,
  record  {{bytes}} NOT NULL,
  about   {{int}} NOT NULL,
  found   {{int}} NOT NULL,
  reason  {{text}} NOT NULL,
  PRIMARY KEY (org, num)
) {{strict}};
CREATE INDEX lookup_person ON lookup (org, person, at_ms);
