/** Names of where inputs come from, as pairs keep them: stable, readable, and never a secret. */
import type { Source } from './schema.ts';

/** Inputs of clients' requests, in pairs that are kept to train on. */
export const TRAFFIC_ORIGIN = 'traffic';
/** Inputs of single questions to a teacher. */
export const ASK_ORIGIN = 'ask';
export const RESERVED_ORIGINS: ReadonlySet<string> = new Set([TRAFFIC_ORIGIN, ASK_ORIGIN]);

/** A name is a row of a report; of a longer path its end tells more than its beginning. */
const MAX_ORIGIN_CHARACTERS = 200;

/** A source's name; without one its path, else its kind. */
export function originOf(source: Source): string {
  if (source.name !== undefined) return source.name;
  return 'path' in source ? originOfPath(source.path) : source.kind;
}

/** A path as a name: one line, of an S3 URL without the query, which may hold credentials. */
export function originOfPath(path: string): string {
  const place = path.startsWith('s3://') ? (path.split('?')[0] ?? path) : path;
  return place.replace(/\p{Cc}/gu, ' ').slice(-MAX_ORIGIN_CHARACTERS);
}
