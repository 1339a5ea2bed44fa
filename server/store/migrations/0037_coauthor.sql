-- +goose Up

-- Who might write on a record beside its author when it was sealed, the ids of their staff
-- records one after another; null for nobody. It goes with the record.
ALTER TABLE record ADD COLUMN co_authors {{bytes}};
