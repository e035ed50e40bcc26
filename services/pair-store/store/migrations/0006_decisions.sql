-- What people decided about inputs. Nothing is changed or taken back: of an input the decision of the largest number holds.
create table decisions (
  -- SHA-256 of all but number and time: the same decision told twice is one row.
  decision_id bytea primary key,
  task text not null,
  -- Drawn under the task's lock, so that a snapshot holds 'all up to number n'.
  seq bigint not null generated always as identity,
  prompt_id bytea not null,
  -- The pair that was looked at.
  pair_id bytea not null,
  -- The answer that is right; null: the input belongs to no snapshot.
  answer_json text,
  author text not null,
  reason text not null,
  replaces bytea,
  decided_at timestamptz not null default now()
);
create index decisions_newest on decisions (task, prompt_id, seq desc);
