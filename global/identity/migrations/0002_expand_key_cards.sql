-- Cards of API keys: what routers and cells know them by (docs/adr/0020-api-keys-at-the-door.md).
-- Unkeyed, of 256 random bits. Null until a key that was made before is used for the first time.
alter table api_keys add column digest text;

-- A card is a session of its own: whatever ends a subject's sessions ends its cards.
alter table sessions drop constraint sessions_kind_check;
alter table sessions add constraint sessions_kind_check check (kind in ('password', 'device', 'key', 'card'));

-- The newest card of each key that is bound to a tenant. Not columns of the key: a key is held while a token is minted
-- from it, and whoever changes its subject must not wait for that with the subject locked.
create table key_cards (
    key        uuid primary key references api_keys (id) on delete cascade,
    subject    uuid not null,
    -- When it is to be made anew; null: not before something changes.
    due_at     timestamptz,
    seq        bigint unique,
    card       text,
    expires_at timestamptz
);
create index key_cards_due on key_cards (due_at) where due_at is not null;
create index key_cards_of_subject on key_cards (subject);
-- A row of its own, as that of the revocations.
create table key_card_head (
    one boolean primary key default true check (one),
    seq bigint not null
);
insert into key_card_head (seq) values (0);
