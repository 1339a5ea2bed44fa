-- +goose Up

-- How far the bytes of an attachment have come: of the record that names them, for the
-- bytes of two records are two, be they the same. held counts those that are there, from
-- the beginning; complete = 1: all are, and they have the hash that the record names.
-- person brings them, since begun_ms.
CREATE TABLE blob (
  org      {{int}} NOT NULL,
  record   {{bytes}} NOT NULL,
  size     {{int}} NOT NULL,
  held     {{int}} NOT NULL,
  complete {{int}} NOT NULL,
  person   {{bytes}} NOT NULL,
  begun_ms {{int}} NOT NULL,
  PRIMARY KEY (org, record)
) {{packed}};
CREATE INDEX blob_person ON blob (org, person, begun_ms);

-- The bytes, in the pieces in which they came; at is where a piece begins.
CREATE TABLE blob_chunk (
  org    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  at     {{int}} NOT NULL,
  data   {{bytes}} NOT NULL,
  PRIMARY KEY (org, record, at)
) {{strict}};
