import { create } from '@bufbuild/protobuf';
import { Split } from '@understudy/contract';
import {
  type SplitPair,
  SplitPairSchema,
  type StreamPairsRequest,
  type StreamPairsResponse,
} from '@understudy/contract/pair-store';
import type { PairStoreContext } from '../context.ts';
import { ROW_GROUP_PAIRS, STREAM_MESSAGE_BYTES } from '../limits.ts';
import { rowReader, type SnapshotRow } from '../snapshot/columns.ts';
import { pairOf } from '../store/stored-pair.ts';
import { manifestFor } from './get-snapshot.ts';

const SPLITS = { train: Split.TRAIN, dev: Split.DEV, test: Split.TEST };

/** Answered from the snapshot's file, never from the tables: what was sealed is what is trained and judged on. */
export async function* streamPairs(
  { blobs }: PairStoreContext,
  { snapshotDigest, split }: StreamPairsRequest,
): AsyncGenerator<Pick<StreamPairsResponse, 'pairs'>> {
  const manifest = await manifestFor(blobs, snapshotDigest);
  const read = await rowReader(await blobs.get('snapshots', manifest.pairs.digest));
  let pairs: SplitPair[] = [];
  let bytes = 0;
  for (let from = 0; from < manifest.pairs.rows; from += ROW_GROUP_PAIRS) {
    for (const row of await read(from, Math.min(from + ROW_GROUP_PAIRS, manifest.pairs.rows))) {
      if (split !== Split.UNSPECIFIED && SPLITS[row.split] !== split) continue;
      pairs.push(splitPairOf(row));
      bytes += row.text.length + row.input_json.length;
      if (bytes < STREAM_MESSAGE_BYTES) continue;
      yield { pairs };
      pairs = [];
      bytes = 0;
    }
  }
  if (pairs.length > 0) yield { pairs };
}

const splitPairOf = (row: SnapshotRow): SplitPair =>
  create(SplitPairSchema, {
    pair: pairOf(row),
    split: SPLITS[row.split],
    groupId: row.group_id,
    weight: row.weight,
  });
