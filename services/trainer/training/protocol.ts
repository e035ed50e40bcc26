/** What the service and its training process say to each other: JSON over the process's IPC channel. */
import type { Device } from '@understudy/graph';
import type { BlobConfig } from '@understudy/service/blobs/open-blob-store';
import type { Family, TrainingReport } from '@understudy/student';
import type { Order } from '../order.ts';

/** The one message to the process. It carries credentials, so it is never in arguments or files. */
export type Job = {
  readonly order: Order;
  readonly threads: number;
  readonly device: Device;
  readonly blobs: BlobConfig;
  readonly pairStoreAddress: string;
  readonly rpcToken: string | undefined;
  readonly traceparent: string | undefined;
};

/** A student that was put into the blob store. */
export type Trained = {
  readonly family: Family;
  readonly studentDigest: string;
  readonly sizeBytes: number;
  /** On dev, of the finished model, 0..1. */
  readonly devAgreement: number;
  /** Of the process that finished; what an earlier one did before it died is not in it. */
  readonly trainingMs: number;
};

/** Messages from the process. It ends after `trained` or `failed`; ending without either is a crash. */
export type FromTraining =
  | { readonly kind: 'progressed'; readonly report: TrainingReport }
  | { readonly kind: 'checkpoint-refused'; readonly reason: string }
  | { readonly kind: 'trained'; readonly trained: Trained }
  | { readonly kind: 'failed'; readonly terminal: boolean; readonly message: string };
