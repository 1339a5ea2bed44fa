-- +goose Up

-- Exports that wait for a second person's word, and the word. payload is what was asked for
-- and what it came to when it was counted, in a form of its own. decided_ms = 0: not yet;
-- after expires_ms nobody decides any more.
CREATE TABLE approval (
  org         {{int}} NOT NULL,
  id          {{bytes}} NOT NULL,
  person      {{bytes}} NOT NULL,
  payload     {{bytes}} NOT NULL,
  created_ms  {{int}} NOT NULL,
  expires_ms  {{int}} NOT NULL,
  decided_ms  {{int}} NOT NULL,
  decided_by  {{bytes}} NOT NULL,
  approved    {{int}} NOT NULL,
  reason      {{text}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
CREATE INDEX approval_expires ON approval (org, expires_ms);
