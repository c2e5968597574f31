-- Who there is: users and service accounts. `organisation` is null for the platform's own people.
create table subjects (
    id            uuid primary key,
    kind          text not null check (kind in ('user', 'service_account')),
    organisation  text,
    name          text not null check (length(name) between 1 and 200),
    role          text not null check (role in ('member', 'organisation_admin', 'platform_admin')),
    state         text not null default 'active' check (state in ('active', 'suspended')),
    email         text unique check (email = lower(email)),
    password_hash text,
    created_at    timestamptz not null default now(),
    check (kind = 'service_account' or (email is not null and password_hash is not null)),
    check (role <> 'organisation_admin' or organisation is not null)
);
create index subjects_by_organisation on subjects (organisation, id);

-- The tenants a subject may act in, and how far. `organisation` owns the tenant.
create table memberships (
    tenant       text not null,
    subject      uuid not null references subjects (id) on delete cascade,
    organisation text not null,
    scopes       text[] not null check (cardinality(scopes) > 0),
    created_at   timestamptz not null default now(),
    primary key (tenant, subject)
);
create index memberships_by_subject on memberships (subject);

-- API keys. Only a keyed hash is stored; a service account's secret is its first key.
create table api_keys (
    id           uuid primary key,
    subject      uuid not null references subjects (id) on delete cascade,
    name         text not null check (length(name) between 1 and 200),
    prefix       text not null,
    hash         bytea not null,
    tenant       text,
    scopes       text[],
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
create index api_keys_by_subject on api_keys (subject, id);

-- A session is what tokens are minted from; revoking it ends them all.
create table sessions (
    sid        uuid primary key,
    subject    uuid not null references subjects (id) on delete cascade,
    kind       text not null check (kind in ('password', 'device', 'key')),
    api_key    uuid references api_keys (id) on delete cascade,
    tenant     text,
    scopes     text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index sessions_by_subject on sessions (subject, sid);
create index sessions_by_api_key on sessions (api_key) where api_key is not null;
create index sessions_by_expiry on sessions (expires_at);

-- Refresh tokens stay after use, so that a second use is recognised as theft.
create table refresh_tokens (
    id         uuid primary key,
    sid        uuid not null references sessions (sid) on delete cascade,
    hash       bytea not null,
    created_at timestamptz not null default now(),
    used_at    timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (sid);

create table device_grants (
    id          uuid primary key,
    device_hash bytea not null,
    user_hash   bytea not null unique,
    client      text not null,
    tenant      text,
    scopes      text,
    state       text not null default 'pending' check (state in ('pending', 'approved', 'denied', 'used')),
    subject     uuid references subjects (id) on delete cascade,
    interval_s  integer not null,
    polled_at   timestamptz,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null
);
create index device_grants_by_expiry on device_grants (expires_at);

-- Private halves are sealed with the site's seal key before they get here.
create table signing_keys (
    kid        text primary key,
    state      text not null check (state in ('next', 'current', 'retired')),
    public     bytea not null,
    sealed     text not null,
    created_at timestamptz not null,
    retired_at timestamptz
);
create unique index one_signing_key_per_role on signing_keys (state) where state <> 'retired';

-- The revocation feed. The head is a row of its own: numbers stay in commit order and survive purges.
create table revocations (
    seq   bigint primary key,
    sid   uuid not null,
    until timestamptz not null
);
create table revocation_head (
    one boolean primary key default true check (one),
    seq bigint not null
);
insert into revocation_head (seq) values (0);

-- Failed sign-ins per keyed hash of account or address: no names, no addresses.
create table sign_in_failures (
    key            bytea primary key,
    failures       integer not null,
    window_started timestamptz not null
);
