-- +goose Up

-- Purges of what is past its retention: somebody asks for one, of the records (ids one after
-- another) that may be purged then; a second person decides (decided_ms = 0: not yet), and
-- it is done (done_ms = 0: not yet) of those that may still be purged then, which erased
-- counts, and tally by kind, in JSON; kept counts those that had to stay.
CREATE TABLE purge (
  org        {{int}} NOT NULL,
  id         {{bytes}} NOT NULL,
  agency     {{bytes}} NOT NULL,
  asked_by   {{bytes}} NOT NULL,
  asked_ms   {{int}} NOT NULL,
  reason     {{text}} NOT NULL,
  records    {{bytes}} NOT NULL,
  people     {{int}} NOT NULL,
  calls      {{int}} NOT NULL,
  decided_by {{bytes}} NOT NULL,
  decided_ms {{int}} NOT NULL,
  approved   {{int}} NOT NULL,
  done_ms    {{int}} NOT NULL,
  erased     {{int}} NOT NULL,
  kept       {{int}} NOT NULL,
  tally      {{text}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
