-- Why a timer runs and who set what; names of messages that are gone; copies in the own swarm that shall live shorter.

ALTER TABLE message ADD COLUMN expiry_cause INTEGER NOT NULL DEFAULT 0;       -- TimerStart of the API
UPDATE message SET expiry_cause = CASE WHEN expiry_type = 2 OR outgoing THEN 1 ELSE 2 END
    WHERE expiry_start_ms IS NOT NULL;
-- What disappears after reading and waits for it: the oldest first, found without the rows themselves.
CREATE INDEX message_waits_for_reading ON message (order_ms, receive_seq)
    WHERE expiry_type = 1 AND expiry_start_ms IS NULL AND outgoing = 0;

ALTER TABLE conversation ADD COLUMN expiry_set_ms INTEGER NOT NULL DEFAULT 0; -- sent timestamp of the own setting
ALTER TABLE event ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;               -- RemovalReason of the API
ALTER TABLE quarantine ADD COLUMN expires_ms INTEGER;                         -- NULL: kept until a version can read it
CREATE INDEX quarantine_by_expiry ON quarantine (expires_ms) WHERE expires_ms IS NOT NULL;

ALTER TABLE meta ADD COLUMN scrub INTEGER NOT NULL DEFAULT 0; -- 1: something was removed since the file was written anew

-- An item that is about a message without being that message, such as a reaction, goes with it.
ALTER TABLE outbox ADD COLUMN about INTEGER REFERENCES message (receive_seq) ON DELETE CASCADE;
CREATE INDEX outbox_by_about ON outbox (about);

-- What was here and is gone, by what names it: the same message stored anew, under another hash, does not come back.
CREATE TABLE gone (
    conversation INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    author       TEXT NOT NULL,           -- account ID
    sent_ms      INTEGER NOT NULL,
    until_ms     INTEGER NOT NULL,        -- no swarm can still hold it then
    PRIMARY KEY (conversation, author, sent_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX gone_by_age ON gone (until_ms);

CREATE TABLE swarm_expiry (
    hash            TEXT PRIMARY KEY,     -- in the own swarm, namespace 0
    expires_ms      INTEGER NOT NULL,     -- it shall not live for longer
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX swarm_expiry_due ON swarm_expiry (next_attempt_ms);
