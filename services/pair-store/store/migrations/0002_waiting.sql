-- The prompts that a closed batch waits for are one value of its row instead of a row each: writing and deleting
-- those rows cost more than everything else that a run's end needs.
alter table batches
  -- As of the last look: the ids that had no outcome, and how many.
  add column waiting_for bytea[] not null default '{}',
  add column waiting int not null default 0,
  -- The batch cannot be complete before its run has so many outcomes: then is the time to look again.
  add column complete_from int not null default 0;
-- Digests do not compress.
alter table batches alter column waiting_for set storage external;
update batches b set waiting_for = w.ids, waiting = cardinality(w.ids)
from (select run_id, batch, array_agg(prompt_id) as ids from awaited group by run_id, batch) as w
where w.run_id = b.run_id and w.batch = b.batch;
drop table awaited;
