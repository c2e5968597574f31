-- What every service database has. Idempotent: it runs before each service's own migrations.

-- The newest generation a tenant's writes were admitted with. A write at an older one is refused
-- in the transaction that would have made it.
create table if not exists tenant_fence (
    tenant_id  text primary key,
    generation bigint not null
);

-- Events that left with a transaction and are not yet acknowledged by their bus.
create table if not exists outbox (
    id         bigint generated always as identity primary key,
    event_id   uuid not null unique,
    event_name text not null,
    tenant_id  text not null,
    key        text not null,
    envelope   text not null,
    headers    jsonb not null default '{}',
    created_at timestamptz not null default now()
);

-- Events a consumer of this service has handled.
create table if not exists inbox (
    consumer   text not null,
    event_id   uuid not null,
    handled_at timestamptz not null default now(),
    primary key (consumer, event_id)
);

-- By age, so that what is old is found without reading the rest. Only once: it locks the table.
do $$
begin
    if to_regclass('inbox_by_age') is null then
        create index inbox_by_age on inbox (handled_at);
    end if;
end
$$;

-- Forces row-level security on a tenant table: without a scope no row is seen or written;
-- '*' is a job that works over all tenants.
create or replace function cyto_tenant_table(name regclass) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', name);
    execute format('alter table %s force row level security', name);
    execute format('drop policy if exists tenant_scope on %s', name);
    execute format(
        'create policy tenant_scope on %s using ('
        'tenant_id = current_setting(''cyto.tenant'', true) or current_setting(''cyto.tenant'', true) = ''*'')', name);
end
$$;

-- The tables above obey it as well. Only once: it locks the table.
do $$
declare name regclass;
begin
    foreach name in array array['tenant_fence'::regclass, 'outbox'::regclass] loop
        if not (select relforcerowsecurity from pg_class where oid = name) then
            perform cyto_tenant_table(name);
        end if;
    end loop;
end
$$;
