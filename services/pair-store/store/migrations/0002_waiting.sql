-- The prompts that a closed batch waits for are one value of its row instead of a row each: writing and deleting
-- those rows cost more than everything else that a run's end needs.
alter table batches
  -- Their ids one after the other, 32 bytes each, as of the last look; empty when each has an outcome.
  add column waiting_for bytea not null default '',
  -- The batch cannot be complete before its run has so many outcomes: then is the time to look again.
  add column complete_from int not null default 0;
-- Digests do not compress.
alter table batches alter column waiting_for set storage external;
update batches b set waiting_for = coalesce(
  (select string_agg(a.prompt_id, ''::bytea) from awaited a where a.run_id = b.run_id and a.batch = b.batch), '');
drop table awaited;
