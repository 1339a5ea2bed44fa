-- Own changes that are closed without having been applied: dismissed (5), replaced (6).
CREATE INDEX outbox_closed ON outbox (state, op) WHERE state IN (5, 6);
