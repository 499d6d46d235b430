-- Every one-to-one kind of message, requests and blocking, read positions, deadlines, gaps, privacy settings; an outbox
-- that also carries what belongs to no message.

-- What the user or the other side set. `approved`: we accepted them; `approved_me`: they accepted us.
ALTER TABLE conversation ADD COLUMN nickname TEXT NOT NULL DEFAULT '';
ALTER TABLE conversation ADD COLUMN approved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN approved_me INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;      -- -1 hidden, 0, above 0 pinned
ALTER TABLE conversation ADD COLUMN notify_mode INTEGER NOT NULL DEFAULT 0;   -- 0 default, 1 all, 2 none, 3 mentions
ALTER TABLE conversation ADD COLUMN mute_until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN last_read_ms INTEGER NOT NULL DEFAULT 0;  -- sent timestamp; only moves on
ALTER TABLE conversation ADD COLUMN marked_unread INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN unread_mentions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN expiry_type INTEGER NOT NULL DEFAULT 0;   -- own setting: 1 after read, 2 after send
ALTER TABLE conversation ADD COLUMN expiry_timer_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN peer_expiry_type INTEGER NOT NULL DEFAULT 0; -- the other side's, last seen
ALTER TABLE conversation ADD COLUMN peer_expiry_timer_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN peer_expiry_ms INTEGER NOT NULL DEFAULT 0;   -- sent timestamp it was seen with
ALTER TABLE conversation ADD COLUMN profile_s INTEGER NOT NULL DEFAULT 0;     -- the profile's own time, seconds
ALTER TABLE conversation ADD COLUMN picture_url TEXT;
ALTER TABLE conversation ADD COLUMN picture_key BLOB;
ALTER TABLE conversation ADD COLUMN cleared_before_ms INTEGER NOT NULL DEFAULT 0; -- nothing sent up to then comes back

ALTER TABLE message ADD COLUMN counts INTEGER NOT NULL DEFAULT 0;      -- unread while sent after the read position
ALTER TABLE message ADD COLUMN mentions_me INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;     -- only author and time are left
ALTER TABLE message ADD COLUMN quote_author TEXT;
ALTER TABLE message ADD COLUMN quote_sent_ms INTEGER;
ALTER TABLE message ADD COLUMN preview_url TEXT;
ALTER TABLE message ADD COLUMN preview_title TEXT;
ALTER TABLE message ADD COLUMN invitation_url TEXT;
ALTER TABLE message ADD COLUMN invitation_name TEXT;
ALTER TABLE message ADD COLUMN detail INTEGER NOT NULL DEFAULT 0;      -- control entries: what exactly
ALTER TABLE message ADD COLUMN detail_ms INTEGER NOT NULL DEFAULT 0;   -- control entries: the time they speak of
ALTER TABLE message ADD COLUMN expiry_start_ms INTEGER;                -- NULL: the timer does not run
ALTER TABLE message ADD COLUMN read_by_peer_ms INTEGER NOT NULL DEFAULT 0;

UPDATE message SET counts = NOT outgoing;
UPDATE conversation SET
    approved = EXISTS (SELECT 1 FROM message WHERE conversation = conversation.id AND outgoing),
    approved_me = EXISTS (SELECT 1 FROM message WHERE conversation = conversation.id AND NOT outgoing),
    last_read_ms = coalesce(
        (SELECT max(sent_ms) FROM message WHERE conversation = conversation.id AND outgoing), 0);
UPDATE message SET expiry_start_ms = order_ms, expires_at = order_ms + expiry_timer_s * 1000
    WHERE expiry_type = 2 OR (expiry_type = 1 AND outgoing);
-- Whether a message was read follows from the position.
ALTER TABLE message DROP COLUMN read;
CREATE INDEX message_unread ON message (conversation, sent_ms, mentions_me) WHERE counts = 1;
CREATE INDEX message_unread_timer ON message (conversation, sent_ms)
    WHERE expiry_type = 1 AND expiry_start_ms IS NULL;
UPDATE conversation SET
    unread = (SELECT count(*) FROM message
              WHERE conversation = conversation.id AND counts = 1 AND sent_ms > last_read_ms);

CREATE TABLE attachment (
    id           INTEGER PRIMARY KEY,
    public_id    TEXT NOT NULL UNIQUE,
    message      INTEGER NOT NULL REFERENCES message (receive_seq) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    file_name    TEXT NOT NULL,
    content_type TEXT NOT NULL,
    caption      TEXT NOT NULL,
    size         INTEGER NOT NULL,        -- as declared, without padding
    width        INTEGER NOT NULL,
    height       INTEGER NOT NULL,
    voice        INTEGER NOT NULL,
    url          TEXT NOT NULL,
    key          BLOB NOT NULL,           -- 32 bytes deterministic, 64 bytes legacy encryption
    digest       BLOB,
    UNIQUE (message, position)
) STRICT;

-- The newest word of each person on each emoji; a removal stays, so that an older reaction cannot come back.
CREATE TABLE reaction (
    message    INTEGER NOT NULL REFERENCES message (receive_seq) ON DELETE CASCADE,
    author     TEXT NOT NULL,             -- account ID
    emoji      TEXT NOT NULL,
    reacted_ms INTEGER NOT NULL,          -- sent timestamp
    removed    INTEGER NOT NULL,
    PRIMARY KEY (message, author, emoji)
) STRICT, WITHOUT ROWID;

-- One record a call.
CREATE TABLE call (
    message      INTEGER PRIMARY KEY REFERENCES message (receive_seq) ON DELETE CASCADE,
    conversation INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    uuid         TEXT NOT NULL,
    state        INTEGER NOT NULL,        -- CallState of the API
    UNIQUE (conversation, uuid)
) STRICT;

-- Spans in which the swarm may have dropped messages before this agent saw them.
CREATE TABLE gap (
    id       INTEGER PRIMARY KEY,
    from_ms  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;

-- What the user chose; what is not here has its default.
CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

ALTER TABLE meta ADD COLUMN covered_ms INTEGER NOT NULL DEFAULT 0;  -- everything stored before was read
ALTER TABLE quarantine ADD COLUMN version TEXT NOT NULL DEFAULT ''; -- of the agent that could not read it

-- Items may belong to no message (receipts, unsends, answers to requests, calls) and wait for another item.
CREATE TABLE outbox_2 (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message         INTEGER REFERENCES message (receive_seq) ON DELETE CASCADE,
    conversation    INTEGER REFERENCES conversation (id) ON DELETE CASCADE,
    purpose         INTEGER NOT NULL,     -- 1 recipient, 2 copy for the own devices
    kind            TEXT NOT NULL,        -- what it carries, UPPER_SNAKE
    owner           TEXT NOT NULL,        -- account ID whose swarm gets it
    namespace       INTEGER NOT NULL,
    content         BLOB,                 -- serialised Content until it is sealed
    sealed          BLOB,
    hash            TEXT,
    sent_ms         INTEGER NOT NULL,
    ttl_ms          INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    follows         INTEGER,              -- item that must be stored first; NULL: none, or it is
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO outbox_2 (id, message, conversation, purpose, kind, owner, namespace, content, sealed, hash, sent_ms,
                      ttl_ms, created_ms, follows, attempts, next_attempt_ms)
    SELECT o.id, o.message, m.conversation, o.purpose, 'TEXT', o.owner, o.namespace, o.content, o.sealed, o.hash,
           o.sent_ms, o.ttl_ms, o.created_ms,
           CASE WHEN o.waiting THEN (SELECT min(f.id) FROM outbox f WHERE f.message = o.message AND f.purpose = 1) END,
           o.attempts, o.next_attempt_ms
    FROM outbox o JOIN message m ON m.receive_seq = o.message;
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
CREATE INDEX outbox_by_message ON outbox (message);
CREATE INDEX outbox_by_leader ON outbox (follows);
CREATE INDEX outbox_due ON outbox (next_attempt_ms) WHERE follows IS NULL;
CREATE INDEX outbox_lane ON outbox (conversation, owner, id);
CREATE INDEX outbox_unsealed ON outbox (id) WHERE sealed IS NULL;
