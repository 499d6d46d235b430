-- When the own profile was last changed, seconds; 0: never since it is written down. Others keep the newer one.
ALTER TABLE meta ADD COLUMN profile_s INTEGER NOT NULL DEFAULT 0;
