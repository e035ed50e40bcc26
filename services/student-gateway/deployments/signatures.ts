import type { Deployment } from '@understudy/contract/deployer';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { SignatureError } from '@understudy/service/signatures/dsse';
import type { Key } from '@understudy/service/signatures/keys';
import { expectSigned, type Statement } from '@understudy/service/signatures/statements';
import { reportStatement, studentStatement, type Trusted } from '@understudy/student';
import type { DiskCache } from './disk-cache.ts';

/**
 * Makes sure that the student was signed for this task, and the report on it and its policy as one that passed: whoever can write deployments
 * and blobs can still make none of it serve.
 * @returns the signatures by name, to be kept for a start without the blob store
 * @throws SignatureError when one does not hold; BlobError while it cannot be read
 */
export async function checkSigned(
  { blobs, cache, trusted }: { blobs: BlobStore; cache: DiskCache; trusted: Trusted },
  deployment: Deployment,
): Promise<Map<string, Uint8Array>> {
  const seen = new Map<string, Uint8Array>();
  const noting = (read: (name: string) => Promise<Uint8Array | undefined>) => ({
    getNamed: async (name: string) => {
      const envelope = await read(name);
      if (envelope) seen.set(name, envelope);
      return envelope;
    },
  });
  const check = async (keys: readonly Key[] | undefined, statement: Statement) => {
    try {
      await expectSigned(
        noting(async (name) => (await cache.signature(name)) ?? blobs.getNamed(name)),
        keys,
        statement,
      );
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
      // What is kept on disk may be damaged; the store has the last word.
      await expectSigned(
        noting((name) => blobs.getNamed(name)),
        keys,
        statement,
      );
    }
  };
  await check(trusted.students, studentStatement(deployment));
  await check(trusted.reports, reportStatement(deployment, true));
  return seen;
}
