-- Tenants a cell takes at most; 0 = no limit. Those it has when this becomes less stay.
alter table cells add column capacity bigint not null default 0 check (capacity >= 0);
-- Where a cell is, and where a tenant must be; null is anywhere.
alter table cells add column region text check (length(region) between 1 and 63);
alter table tenants add column region text check (length(region) between 1 and 63);
