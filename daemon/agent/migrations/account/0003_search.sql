-- Full-text index of what messages say. It keeps no text of its own: rows of the index point at message.receive_seq.
-- The conversation is indexed as the word "c<number>", so that a search within one is a merge of two lists.

CREATE VIEW message_words AS
    SELECT receive_seq, body, 'c' || conversation AS conversation FROM message WHERE body IS NOT NULL;

CREATE VIRTUAL TABLE message_text USING fts5 (
    body, conversation,
    content = 'message_words', content_rowid = 'receive_seq', columnsize = 0, tokenize = 'session'
);
-- Deleted words are overwritten, not marked (design.md promise 3).
INSERT INTO message_text (message_text, rank) VALUES ('secure-delete', 1);

CREATE TRIGGER message_text_added AFTER INSERT ON message WHEN new.body IS NOT NULL BEGIN
    INSERT INTO message_text (rowid, body, conversation)
    VALUES (new.receive_seq, new.body, 'c' || new.conversation);
END;

CREATE TRIGGER message_text_removed AFTER DELETE ON message WHEN old.body IS NOT NULL BEGIN
    INSERT INTO message_text (message_text, rowid, body, conversation)
    VALUES ('delete', old.receive_seq, old.body, 'c' || old.conversation);
END;

CREATE TRIGGER message_text_changed AFTER UPDATE OF body, conversation ON message
WHEN old.body IS NOT new.body OR old.conversation <> new.conversation BEGIN
    INSERT INTO message_text (message_text, rowid, body, conversation)
    SELECT 'delete', old.receive_seq, old.body, 'c' || old.conversation WHERE old.body IS NOT NULL;
    INSERT INTO message_text (rowid, body, conversation)
    SELECT new.receive_seq, new.body, 'c' || new.conversation WHERE new.body IS NOT NULL;
END;

-- What an earlier version stored.
INSERT INTO message_text (message_text) VALUES ('rebuild');

-- When the own swarm stored it, by the swarm's clock.
ALTER TABLE message ADD COLUMN stored_ms INTEGER;

-- What happened on the way of an outgoing message. Equal steps are one row with a count: their number is bounded by
-- that of the reasons. Goes with the message.
CREATE TABLE delivery (
    message   INTEGER NOT NULL REFERENCES message (receive_seq) ON DELETE CASCADE,
    purpose   INTEGER NOT NULL,           -- as in outbox
    step      INTEGER NOT NULL,           -- MessageStepKind of the API
    reason    TEXT NOT NULL,              -- UPPER_SNAKE, or empty
    first_ms  INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    hash      TEXT NOT NULL,              -- in the swarm that got it, or empty
    node      BLOB,                       -- that took it
    path      TEXT NOT NULL,              -- opaque id, or empty
    confirmed BLOB NOT NULL,              -- keys of those who signed, 32 bytes each
    asked     INTEGER NOT NULL,
    expiry_ms INTEGER,                    -- of the stored copy
    PRIMARY KEY (message, purpose, step, reason)
) STRICT, WITHOUT ROWID;

-- Over which way units came from the own swarm: one row a unit, for a span of receive_seq.
CREATE TABLE arrival (
    first_seq INTEGER PRIMARY KEY,
    last_seq  INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    node      BLOB NOT NULL,
    path      TEXT NOT NULL               -- opaque id
) STRICT;

-- The total of unread messages, from the index alone.
CREATE INDEX conversation_unread ON conversation (unread) WHERE unread > 0;
