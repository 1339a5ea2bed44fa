-- +goose Up

-- How a device stood when it was last in contact with any server of the database: when
-- that was, how far it had read, how many changes it had that the server had not and
-- since when it has had some (0: none), and how far its clock was before the server's.
-- Servers write it a minute late; it decides nothing.
CREATE TABLE contact (
  org      {{int}} NOT NULL,
  replica  {{bytes}} NOT NULL,
  at_ms    {{int}} NOT NULL,
  cut      {{int}} NOT NULL,
  unsent   {{int}} NOT NULL,
  since_ms {{int}} NOT NULL,
  ahead_ms {{int}} NOT NULL,
  PRIMARY KEY (org, replica)
) {{packed}};
