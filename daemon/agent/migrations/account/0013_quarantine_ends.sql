-- What was put aside may have a timer that nobody has looked at: it goes when the longest one would have ended, 28 days
-- after it came.
UPDATE quarantine SET expires_ms = received_ms + 2419200000 WHERE expires_ms IS NULL;
