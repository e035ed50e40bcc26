/** What the local supervisor and the command line tell each other: a file while it runs, and messages to its parent. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const process = z.object({
  name: z.string(),
  pid: z.int(),
  /** When the process started, so that a reused pid is not taken for it. */
  started: z.string(),
});

const runFile = z.object({
  supervisor: process,
  processes: z.array(process),
  natsUrl: z.string(),
  /** `host:port` of each service's gRPC, by service. */
  grpc: z.record(z.string(), z.string()),
  /** `http://host:port` of each process's metrics, by process. */
  metrics: z.record(z.string(), z.string()),
  /** Where clients send their requests. */
  httpUrl: z.string(),
  rpcTokenFile: z.string(),
  /** Absent where the platform was started by a version from before ids had keys. */
  idKeyFile: z.string().optional(),
  operatorSeedFile: z.string(),
});

/** How to reach the platform that runs on a data folder. Holds no secret itself, only where they are. */
export type RunFile = z.infer<typeof runFile>;

export const runFilePath = (dataDir: string): string => join(dataDir, 'run.json');

/** Replaces the file in one step. */
export const writeRunFile = (dataDir: string, content: RunFile): void => {
  const fresh = `${runFilePath(dataDir)}.new`;
  writeFileSync(fresh, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  renameSync(fresh, runFilePath(dataDir));
};

/** The file as the last supervisor of this folder left it; undefined when there was none, or it is of another version. */
export const readRunFile = (dataDir: string): RunFile | undefined => {
  let text: string;
  try {
    text = readFileSync(runFilePath(dataDir), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return runFile.safeParse(JSON.parse(text)).data;
};

/** What the supervisor reports while it works. */
export type SupervisorEvent =
  | { event: 'starting'; name: string }
  | { event: 'ready'; name: string; tookMs: number }
  | { event: 'serving'; httpUrl: string }
  | { event: 'restarting'; name: string; reason: string; afterMs: number }
  | { event: 'failed'; reason: string }
  | { event: 'stopping' }
  | { event: 'stopped' };

/** An event as a plain line. */
export const lineOf = (event: SupervisorEvent): string => {
  switch (event.event) {
    case 'starting':
      return `${event.name}: starting`;
    case 'ready':
      return `${event.name}: ready after ${event.tookMs} ms`;
    case 'serving':
      return `all services are ready; clients: ${event.httpUrl}`;
    case 'restarting':
      return `${event.name}: ${event.reason}; it is started again in ${event.afterMs} ms`;
    case 'failed':
      return event.reason;
    case 'stopping':
      return 'stopping: services finish what they began';
    case 'stopped':
      return 'stopped';
  }
};
