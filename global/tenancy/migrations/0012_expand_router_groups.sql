-- Groups of routers, each with the addresses at which its tenants' hosts are to lead to it.
create table router_groups (
    id         text primary key,
    addresses  text[] not null,
    created_at timestamptz not null default now()
);
