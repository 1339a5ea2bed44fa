-- +goose Up

-- What is to be done, once, by whichever server comes first. name tells two jobs of a kind
-- apart for ever: a second one of the same name is none. A job that has ended stays, so
-- that it is not done again. ended_ms = 0: not yet. Who holds a job holds it until
-- locked_until_ms; attempt is raised each time that it is taken up, so that whoever has
-- lost it cannot end it.
CREATE TABLE job (
  org             {{int}} NOT NULL,
  id              {{bytes}} NOT NULL,
  num             {{int}} NOT NULL,
  kind            {{text}} NOT NULL,
  name            {{text}} NOT NULL,
  person          {{bytes}} NOT NULL,
  payload         {{bytes}} NOT NULL,
  result          {{bytes}} NOT NULL,
  created_ms      {{int}} NOT NULL,
  run_at_ms       {{int}} NOT NULL,
  ended_ms        {{int}} NOT NULL,
  attempt         {{int}} NOT NULL,
  locked_by       {{bytes}} NOT NULL,
  locked_until_ms {{int}} NOT NULL,
  cancelled       {{int}} NOT NULL,
  progress        {{int}} NOT NULL,
  total           {{int}} NOT NULL,
  failed          {{int}} NOT NULL,
  error           {{text}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
CREATE UNIQUE INDEX job_num ON job (org, num);
CREATE UNIQUE INDEX job_name ON job (org, kind, name);
CREATE INDEX job_due ON job (org, ended_ms, run_at_ms);
