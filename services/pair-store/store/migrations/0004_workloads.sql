-- Calls that passed through gateways, added up by system prompt and response schema.
create table workloads (
  workload_id bytea primary key,
  -- Unknown until a gateway has told them.
  system text,
  schema_json text,
  -- Of the newest call.
  upstream text not null,
  model text not null,
  obstacle text not null,
  input_price double precision,
  output_price double precision,
  calls bigint not null,
  failed bigint not null,
  obstructed bigint not null,
  unmetered bigint not null,
  unpriced bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  spent_micro_usd bigint not null,
  first_at_us bigint not null,
  last_at_us bigint not null,
  -- Inputs and outputs are kept whose rank, a hash of 48 bits, is below these: a uniform sample of the distinct ones.
  inputs_below bigint not null default 281474976710656,
  kept_inputs int not null default 0,
  kept_bytes bigint not null default 0,
  outputs_below bigint not null default 281474976710656,
  kept_outputs int not null default 0
);

create table workload_pairs (
  workload_id bytea not null,
  rank bigint not null,
  input text not null,
  -- The first answer seen.
  output text not null,
  model text not null,
  times int not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  at_us bigint not null,
  bytes int not null,
  primary key (workload_id, rank)
);

create table workload_outputs (
  workload_id bytea not null,
  rank bigint not null,
  primary key (workload_id, rank)
);

-- Calls that are counted already, for as long as the bus could deliver them again.
create table workload_calls (
  call_id uuid primary key,
  counted_at timestamptz not null default now()
);
create index workload_calls_age on workload_calls (counted_at);
