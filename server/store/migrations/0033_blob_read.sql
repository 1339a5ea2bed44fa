-- +goose Up

-- Bytes that a person brought for an attachment, and that were others than its record
-- names: they count for what they may bring within a day.
ALTER TABLE blob ADD COLUMN wasted {{int}} NOT NULL DEFAULT 0;

-- When it was last noted that a replica reads the bytes of an attachment. What is old is
-- removed with the next entry.
CREATE TABLE blob_read (
  org     {{int}} NOT NULL,
  record  {{bytes}} NOT NULL,
  replica {{bytes}} NOT NULL,
  at_ms   {{int}} NOT NULL,
  PRIMARY KEY (org, record, replica)
) {{packed}};
CREATE INDEX blob_read_at ON blob_read (org, at_ms);
