-- +goose Up

-- Who has opened a person's record in an emergency, and why. id is the device's, at_ms by
-- its clock, received_ms and until_ms the server's. opened counts what the device held,
-- found what was sent. reviewed_ms = 0: no lead has looked at it yet.
CREATE TABLE emergency (
  org         {{int}} NOT NULL,
  id          {{bytes}} NOT NULL,
  num         {{int}} NOT NULL,
  person      {{bytes}} NOT NULL,
  replica     {{bytes}} NOT NULL,
  subject     {{bytes}} NOT NULL,
  at_ms       {{int}} NOT NULL,
  received_ms {{int}} NOT NULL,
  until_ms    {{int}} NOT NULL,
  opened      {{int}} NOT NULL,
  found       {{int}} NOT NULL,
  reason      {{text}} NOT NULL,
  reviewed_ms {{int}} NOT NULL,
  reviewer    {{bytes}} NOT NULL,
  justified   {{int}} NOT NULL,
  note        {{text}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
CREATE INDEX emergency_num ON emergency (org, num);
CREATE INDEX emergency_person ON emergency (org, person, received_ms);
CREATE INDEX emergency_open ON emergency (org, reviewed_ms, num);
