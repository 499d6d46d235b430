-- By the name of their stored copy only messages that wait to be read are looked for. Names are random: an index of all
-- of them was a third of what a backlog wrote.
DROP INDEX message_by_hash;
CREATE INDEX message_waiting_by_hash ON message (hash) WHERE expiry_type = 1 AND expiry_start_ms IS NULL;
