-- Ids (SHA-256) are kept as 32 bytes; enums by their number in the contract.

-- One row per distinct input of a task, with the near-duplicate group and the split that were fixed when it was first seen.
create table prompts (
  prompt_id bytea primary key,
  task text not null,
  -- Order of arrival within the task. It is drawn under the task's lock, so that 'all after n' is exact.
  seq bigint not null generated always as identity,
  group_id bytea not null,
  split smallint not null,
  -- How often the population holds this input: the largest number that was ever reported, whatever the order of reports.
  weight int not null,
  input_json text not null,
  reference_json text,
  -- The pair whose text decided the group.
  first_pair bytea not null
);
create unique index prompts_arrival on prompts (task, seq);

create table pairs (
  pair_id bytea primary key,
  task text not null,
  seq bigint not null generated always as identity,
  prompt_id bytea not null,
  fingerprint bytea not null,
  sample_number int not null,
  text text not null,
  answer_json text not null,
  label text not null,
  probabilities real[] not null,
  purpose smallint not null,
  source smallint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  spent_micro_usd bigint not null,
  duration_us bigint not null,
  calls int not null,
  answered_at_us bigint not null
);
-- A snapshot reads a task's pairs of one fingerprint in the order of their ids.
create index pairs_snapshot on pairs (task, fingerprint, pair_id);

-- What became of a run's prompts, counted as it becomes known: whoever follows a run asks several times a second.
create table runs (
  run_id text primary key,
  task text not null,
  cancelled boolean not null default false,
  answered int not null default 0,
  declined int not null default 0,
  cached int not null default 0,
  spent_micro_usd bigint not null default 0,
  calls int not null default 0,
  -- Groups whose first member is among the run's answered prompts.
  groups int not null default 0,
  train_pairs int not null default 0,
  dev_pairs int not null default 0,
  test_pairs int not null default 0,
  quarantined_pairs int not null default 0
);
create index runs_task on runs (task);

-- What became of each prompt of a run: an answer or a decline, never both, never two.
create table outcomes (
  run_id text not null,
  prompt_id bytea not null,
  pair_id bytea,
  -- Of an answered prompt: its split, and whether its group began with it.
  split smallint,
  founds_group boolean,
  decline_reason smallint,
  decline_detail text,
  cached boolean not null,
  -- What this outcome cost: nothing where an answer was found that had been paid for earlier.
  spent_micro_usd bigint not null,
  calls int not null,
  duration_us bigint not null,
  primary key (run_id, prompt_id),
  check ((pair_id is null) <> (decline_reason is null))
);
create index outcomes_declined on outcomes (run_id, decline_reason) where decline_reason is not null;

create table batches (
  run_id text not null,
  batch int not null,
  task text not null,
  task_digest text not null,
  -- Digest of the sorted ids, one a line.
  manifest_digest text not null,
  seal boolean not null,
  traceparent text,
  closed_at timestamptz not null default now(),
  sealed_at timestamptz,
  snapshot_digest text,
  primary key (run_id, batch)
);
create index batches_unsealed on batches (closed_at) where seal and sealed_at is null;

-- Prompts of closed batches that have no outcome yet. A batch is complete when it has none left.
create table awaited (
  run_id text not null,
  batch int not null,
  prompt_id bytea not null,
  primary key (run_id, prompt_id, batch)
);
create index awaited_batch on awaited (run_id, batch);

-- Events that were decided together with rows, until the bus has them.
create table outbox (
  id bigint primary key generated always as identity,
  event_id text not null unique,
  type text not null,
  task text not null,
  time text not null,
  traceparent text,
  data bytea not null,
  sent_at timestamptz
);
create index outbox_unsent on outbox (id) where sent_at is null;
