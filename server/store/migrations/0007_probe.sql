-- +goose Up

-- Written now and then to find out whether the database can be written: what changes
-- nothing is not written at all.
CREATE TABLE probe (
  org {{int}} NOT NULL,
  n   {{int}} NOT NULL,
  PRIMARY KEY (org)
) {{strict}};
