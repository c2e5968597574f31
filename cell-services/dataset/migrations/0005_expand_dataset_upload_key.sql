-- Of a transaction that an upload with an Idempotency-Key opened: the key, and the SHA-256 of its body and of how
-- that was to be read, known before the commit. An aborted upload lets its key go.
alter table dataset_transaction add column upload_key text;
alter table dataset_transaction add column upload_digest bytea;
create unique index dataset_transaction_upload_key on dataset_transaction (dataset_id, upload_key)
    where upload_key is not null and state <> 'ABORTED';
