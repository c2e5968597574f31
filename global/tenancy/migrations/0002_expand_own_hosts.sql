-- The host a tenant was born with comes first wherever its hosts are listed, and cannot be removed.
alter table hosts add column own boolean not null default false;
update hosts h set own = true
where h.host = (select min(o.host) from hosts o where o.tenant = h.tenant and position(h.tenant || '.' in o.host) = 1);
create unique index one_own_host on hosts (tenant) where own;
