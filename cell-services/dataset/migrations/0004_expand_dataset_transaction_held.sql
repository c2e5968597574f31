-- Renewed by a call that opened the transaction and will end it. Once it has run out, nobody will: the
-- transaction is aborted. Null: its user ends it.
alter table dataset_transaction add column held_until timestamptz;
create index dataset_transaction_held on dataset_transaction (held_until) where state = 'OPEN' and held_until is not null;
