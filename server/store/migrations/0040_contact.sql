-- +goose Up

-- How a device stood when it was last in contact with any server of the database: when
-- that was, how far it had read, how many changes it had that the server had not and
-- since when it has had some (0: none), how far its clock was before the server's, and whether
-- it keeps what it has unsent sealed to the org as well.
-- Servers write it a minute late; it decides nothing.
CREATE TABLE contact (
  org      {{int}} NOT NULL,
  replica  {{bytes}} NOT NULL,
  at_ms    {{int}} NOT NULL,
  cut      {{int}} NOT NULL,
  unsent   {{int}} NOT NULL,
  since_ms {{int}} NOT NULL,
  ahead_ms {{int}} NOT NULL,
  sealed   {{int}} NOT NULL,
  PRIMARY KEY (org, replica)
) {{packed}};
