-- What the rules for receiving look up, and copies in the own swarm that shall go.

CREATE INDEX message_outgoing ON message (sent_ms) WHERE outgoing = 1;
CREATE INDEX message_timer_change ON message (conversation, author) WHERE kind = 'TIMER_CHANGE';
CREATE INDEX message_accepted ON message (conversation) WHERE kind = 'REQUEST_ACCEPTED';
CREATE INDEX call_by_uuid ON call (uuid);

CREATE TABLE swarm_deletion (
    hash            TEXT PRIMARY KEY,     -- in the own swarm, namespace 0
    created_ms      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX swarm_deletion_due ON swarm_deletion (next_attempt_ms);
