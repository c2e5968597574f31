-- The cells a change concerns: those in which its tenant lives or lived. Null in what was logged before: all.
alter table routing_log add column cells text[];
