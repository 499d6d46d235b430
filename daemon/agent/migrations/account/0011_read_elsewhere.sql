-- What disappears after reading is looked for by the name of its stored copy while it waits to be read, and when it was
-- read here but on another device before. One index for both.
DROP INDEX message_waiting_by_hash;
CREATE INDEX message_after_read_by_hash ON message (hash) WHERE expiry_type = 1 AND outgoing = 0;
