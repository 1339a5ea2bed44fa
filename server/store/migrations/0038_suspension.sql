-- +goose Up

-- Devices that are suspended, by whom (empty: whoever runs the server) and since when. Lifting
-- that takes the row away: what happened is in the audit log.
CREATE TABLE suspension (
  org      {{int}} NOT NULL,
  device   {{bytes}} NOT NULL,
  by_staff {{bytes}} NOT NULL,
  since_ms {{int}} NOT NULL,
  PRIMARY KEY (org, device)
) {{strict}};
