-- Longest body of a request, 0 = no limit of the tier's own; and what a tenant gets of a full router beside others.
alter table tiers add column body_bytes bigint not null default 0 check (body_bytes >= 0);
alter table tiers add column weight integer not null default 1 check (weight between 1 and 1000);
