import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { getManifest, type Manifest } from '../snapshot/manifest.ts';
import type { Sql } from '../store/database.ts';

/** The snapshot of a task that was sealed last; undefined before the first. */
export async function newestSnapshot(sql: Sql, blobs: BlobStore, task: string): Promise<Manifest | undefined> {
  const [newest] = await sql.query<{ digest: string }>(
    `select snapshot_digest as digest from batches where task = $1 and snapshot_digest is not null
     order by sealed_at desc limit 1`,
    [task],
  );
  return newest && (await getManifest(blobs, newest.digest));
}
