-- An input may be meant by several erasures, by its id and by its source: each goes on with all of its own, whatever the others did.
alter table forgotten drop constraint forgotten_pkey, add primary key (prompt_id, erasure_id);
create index erasures_open on erasures (requested_at) where done_at is null;
