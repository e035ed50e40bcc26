import { setTimeout as delay } from 'node:timers/promises';
import { fromJsonString } from '@bufbuild/protobuf';
import type { KV, KvWatchEntry } from '@nats-io/kv';
import { type Deployment, DeploymentSchema } from '@understudy/contract/deployer';
import type { BusConnection } from '@understudy/service/bus/connection';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';

const reopenDelayMs = 1_000;

export interface DeploymentWatcher {
  /** The newest deployment of a task; undefined where it was deleted. Resolves when it was tried once. */
  onDeployment(task: string, deployment: Deployment | undefined): Promise<void>;
  /** Called each time when all that the bucket held has been handed over and tried. */
  onCaughtUp(): void;
}

/**
 * Follows the bucket of deployments: all that it holds, then every change; opened anew after each lost connection.
 * @returns stops it
 */
export const watchDeployments = (
  bus: BusConnection,
  log: Logger,
  watcher: DeploymentWatcher,
): (() => Promise<void>) => {
  const stopped = new AbortController();
  let close: () => void = () => {};
  const followReconnects = async () => {
    for await (const status of bus.nc.status()) if (status.type === 'reconnect') close();
  };
  const loop = async () => {
    while (!stopped.signal.aborted) {
      try {
        const bucket = await bus.bucket('deployments');
        const entries = await bucket.watch();
        close = () => entries.stop();
        if (stopped.signal.aborted) break;
        if (await isEmpty(bucket)) watcher.onCaughtUp();
        await follow(entries, log, watcher);
      } catch (error) {
        if (!stopped.signal.aborted)
          log.warn({ error: messageOf(error) }, 'deployments cannot be watched, trying again');
      }
      await delay(reopenDelayMs, undefined, { signal: stopped.signal }).catch(() => {}); // stopping ends the pause
    }
    close();
  };
  void followReconnects();
  const looping = loop();
  return async () => {
    stopped.abort();
    close();
    await looping;
  };
};

const isEmpty = async (bucket: KV): Promise<boolean> => (await bucket.status()).values === 0;

const follow = async (entries: AsyncIterable<KvWatchEntry>, log: Logger, watcher: DeploymentWatcher): Promise<void> => {
  const held: Promise<void>[] = [];
  let caughtUp = false;
  for await (const entry of entries) {
    const wanted = read(entry, log);
    const tried = wanted === 'unreadable' ? Promise.resolve() : watcher.onDeployment(entry.key, wanted);
    if (!caughtUp) held.push(tried);
    if (caughtUp || !entry.isUpdate) continue;
    caughtUp = true;
    void Promise.all(held).then(() => watcher.onCaughtUp());
  }
};

/** A value that cannot be read raises an alarm, and what is served stays. */
const read = (entry: KvWatchEntry, log: Logger): Deployment | undefined | 'unreadable' => {
  if (entry.operation !== 'PUT') return undefined;
  try {
    const deployment = fromJsonString(DeploymentSchema, entry.string(), { ignoreUnknownFields: true });
    if (deployment.task === entry.key) return deployment;
    log.error(
      { key: entry.key, task: deployment.task },
      'a deployment stands under the key of another task; passed over',
    );
  } catch (error) {
    log.error({ key: entry.key, error: messageOf(error) }, 'a deployment cannot be read; what served goes on');
  }
  return 'unreadable';
};
