-- An answer need not be one label: the label is in answer_json, and probabilities are by the part of the answer that they
-- are of. JSON: an object with an array for each head, empty where the teacher gives none.
alter table pairs add column soft text not null default '{}';
update pairs set soft = json_build_object((select key from json_object_keys(answer_json::json) as key limit 1), probabilities)::text
where cardinality(probabilities) > 0;
alter table pairs alter column soft drop default, drop column label, drop column probabilities;
