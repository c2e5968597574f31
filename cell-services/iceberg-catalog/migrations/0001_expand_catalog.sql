-- Namespaces, tables and the answers to repeated requests. Table metadata itself lies in the
-- bucket; a row only points at the current file, and moving that pointer is the commit.

create table namespaces (
    id         uuid primary key,
    tenant_id  text not null,
    -- Levels joined with '.', which no level contains.
    name       text not null,
    parent_id  uuid references namespaces (id),
    properties jsonb not null default '{}',
    created_at timestamptz not null default now(),
    unique (tenant_id, name)
);
create index namespaces_parent on namespaces (parent_id);
select cyto_tenant_table('namespaces');

create table tables (
    id                uuid primary key,
    tenant_id         text not null,
    namespace_id      uuid not null references namespaces (id),
    name              text not null,
    location          text not null,
    metadata_location text not null,
    -- Number of the metadata file; grows by one with every commit.
    metadata_version  bigint not null,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    unique (tenant_id, namespace_id, name)
);
create index tables_namespace on tables (namespace_id);
create index tables_location on tables (tenant_id, location text_pattern_ops);
select cyto_tenant_table('tables');

-- One row per Idempotency-Key, written in the transaction it answers for.
create table idempotency (
    tenant_id         text not null,
    key               text not null,
    -- Hash of the request; the same key with another request is refused.
    fingerprint       bytea not null,
    -- The metadata file the first answer showed; null when it had no body.
    metadata_location text,
    created_at        timestamptz not null default now(),
    primary key (tenant_id, key)
);
create index idempotency_age on idempotency (created_at);
select cyto_tenant_table('idempotency');
