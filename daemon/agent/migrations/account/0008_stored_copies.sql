-- Bytes that were stored in a swarm and may have to be stored there again, members that did not store, and how a member
-- shows that it lost its place.

CREATE TABLE stored_copy (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    message      INTEGER REFERENCES message (receive_seq) ON DELETE CASCADE,
    conversation INTEGER REFERENCES conversation (id) ON DELETE CASCADE,
    purpose      INTEGER NOT NULL,     -- as in outbox
    kind         TEXT NOT NULL,        -- what it carries, UPPER_SNAKE
    owner        TEXT NOT NULL,        -- account ID whose swarm has it
    watched      INTEGER NOT NULL,     -- 1: in the own swarm, looked after as long as it lives
    sealed       BLOB NOT NULL,
    size         INTEGER NOT NULL,     -- of sealed, bytes
    hash         TEXT NOT NULL,
    expiry_ms    INTEGER NOT NULL,     -- when the swarm drops it
    signed       BLOB NOT NULL,        -- keys of members that once signed for it, 32 bytes each
    missed       BLOB NOT NULL,        -- keys of members that lacked it when last heard of
    turns        INTEGER NOT NULL,     -- decides the next pause
    next_ms      INTEGER NOT NULL
) STRICT;
CREATE INDEX stored_copy_due ON stored_copy (watched, next_ms);
CREATE INDEX stored_copy_by_message ON stored_copy (message);
CREATE INDEX stored_copy_by_conversation ON stored_copy (conversation) WHERE message IS NULL;
CREATE INDEX stored_copy_size ON stored_copy (id, size);

-- What is deleted, unsent or expired is not stored again, whoever removes it. Of what belongs to no message nobody can
-- tell which message it speaks of (a reaction does): it goes with the first one of its conversation. A deletion speaks
-- of nothing.
CREATE TRIGGER stored_copy_emptied AFTER UPDATE OF deleted ON message WHEN new.deleted = 1 BEGIN
    DELETE FROM stored_copy WHERE message = new.receive_seq;
    DELETE FROM stored_copy WHERE message IS NULL AND conversation = new.conversation AND kind <> 'UNSEND';
END;
CREATE TRIGGER stored_copy_removed AFTER DELETE ON message BEGIN
    DELETE FROM stored_copy WHERE message IS NULL AND conversation = old.conversation AND kind <> 'UNSEND';
END;

ALTER TABLE delivery ADD COLUMN missed BLOB NOT NULL DEFAULT x'';  -- keys of members that did not sign, 32 bytes each

-- A message that the node gave before the one in `hash`: given again, the node has started over.
ALTER TABLE swarm_cursor ADD COLUMN anchor TEXT NOT NULL DEFAULT '';
ALTER TABLE swarm_cursor ADD COLUMN anchor_expires_ms INTEGER NOT NULL DEFAULT 0;
