-- Name of the source that an input came from, e.g. a path as the task's file has it; empty for pairs from before it was kept.
alter table pairs add column origin text not null default '';
