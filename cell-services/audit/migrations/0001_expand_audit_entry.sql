-- One chain per tenant. `seq` has no gap; `hash` covers the entry and the hash before it.
create table audit_entry (
    tenant_id   text not null,
    seq         bigint not null,
    event_id    uuid not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    -- Kafka record the entry came in, for an investigation.
    origin      text not null,
    request_id  text not null,
    actor       text not null,
    action      text not null,
    resource    text not null,
    outcome     text not null,
    status      integer not null,
    -- JSON as it was hashed: jsonb would rewrite its numbers.
    detail      text,
    prev_hash   bytea not null check (length(prev_hash) = 32),
    hash        bytea not null check (length(hash) = 32),
    primary key (tenant_id, seq),
    unique (tenant_id, event_id)
);
select cyto_tenant_table('audit_entry');
create index audit_entry_by_time on audit_entry (tenant_id, occurred_at);
create index audit_entry_by_actor on audit_entry (tenant_id, actor, seq);
create index audit_entry_by_request on audit_entry (tenant_id, request_id);

-- Append-only: whatever the service's role is asked to do, no entry is changed or removed. The
-- trigger also stops the table's owner, and taking it away is a change of schema that shows.
create function audit_entry_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'audit entries are never changed or removed' using errcode = 'insufficient_privilege';
end
$$;
create trigger audit_entry_append_only before update or delete on audit_entry
    for each row execute function audit_entry_is_append_only();
create trigger audit_entry_no_truncate before truncate on audit_entry
    for each statement execute function audit_entry_is_append_only();
do $$
begin
    execute format('revoke update, delete, truncate on audit_entry from %I', current_user);
end
$$;

-- Head of each tenant's chain; its row is the lock that keeps the chain in one line.
create table audit_chain (
    tenant_id text primary key,
    seq       bigint not null,
    hash      bytea not null check (length(hash) = 32)
);
select cyto_tenant_table('audit_chain');
