-- +goose Up

-- Work (see 0016) says whose it is: the staff member that a record is with or, where it is
-- with nobody in particular, who made it; no bytes where it is nobody's. And what was done
-- of late stands there too, with when it was. All of it is worked out again.
DROP TABLE work;
CREATE TABLE work (
  org    {{int}} NOT NULL,
  desk   {{int}} NOT NULL,
  reason {{int}} NOT NULL,
  due_ms {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  person {{bytes}} NOT NULL,
  PRIMARY KEY (org, desk, reason, due_ms, record)
) {{packed}};
CREATE INDEX work_record ON work (org, desk, record);
CREATE INDEX work_person ON work (org, desk, reason, person, due_ms);
DELETE FROM worked;
