-- When a key began to sign. The end of the one before says the same only until that is forgotten.
alter table signing_keys add column signs_since timestamptz;
