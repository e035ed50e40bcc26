-- Name of the key that ids of prompts are made with; what is here already has ids without one.
create table settings (name text primary key, value text not null);
insert into settings select 'id_key', 'unkeyed' where exists (select from prompts);

-- Chance that goes into the digests of a prompt's rows in snapshots. It is erased with the prompt: afterwards nobody can guess what a digest was of.
alter table prompts add column salt bytea not null default uuid_send(gen_random_uuid());

-- What was asked to be erased, by whom and why; never the text.
create table erasures (
  erasure_id text primary key,
  task text not null,
  author text not null,
  reason text not null,
  -- Where a whole source is forgotten.
  source text,
  requested_at timestamptz not null default now(),
  -- JSON: what the receipt says, once every step is done.
  receipt text,
  done_at timestamptz
);

-- Steps of an erasure that are done, with what came of them: a repetition goes on behind them.
create table erasure_steps (
  erasure_id text not null references erasures,
  step text not null,
  result text not null,
  done_at timestamptz not null default now(),
  primary key (erasure_id, step)
);

-- Ids of inputs that are never kept again.
create table forgotten (
  prompt_id bytea primary key,
  task text not null,
  erasure_id text not null references erasures
);
create index forgotten_erasure on forgotten (erasure_id);
create index forgotten_task on forgotten (task);

-- Texts are not sampled into the statistics of the planner, which would outlive their rows; no query selects by them.
alter table prompts alter column input_json set statistics 0, alter column reference_json set statistics 0;
alter table pairs alter column text set statistics 0, alter column answer_json set statistics 0, alter column soft set statistics 0;
alter table workload_pairs alter column input set statistics 0, alter column output set statistics 0;
alter table outcomes alter column decline_detail set statistics 0;
alter table decisions alter column answer_json set statistics 0, alter column reason set statistics 0;
