-- What the tenants of a tier may use of each router; 0 = no limit.
create table tiers (
    id                  text primary key,
    requests_per_second integer not null check (requests_per_second >= 0),
    request_burst       integer not null check (request_burst >= 0),
    concurrent_requests integer not null check (concurrent_requests >= 0),
    bytes_per_second    bigint not null check (bytes_per_second >= 0),
    byte_burst          bigint not null check (byte_burst >= 0),
    check (requests_per_second = 0 or request_burst > 0),
    check (bytes_per_second = 0 or byte_burst > 0)
);

-- Null is the standard tier, which every site has, with limits in `tiers` or with the routers' own.
alter table tenants add column tier text references tiers (id);
create index tenants_by_tier on tenants (tier);
