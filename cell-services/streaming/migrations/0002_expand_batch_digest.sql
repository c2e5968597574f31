-- SHA-256 of what a batch was sent with; null for those answered before it was kept.
alter table batches add column digest bytea;
