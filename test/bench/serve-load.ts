/**
 * The load on a server of chat completions, as a process of its own that is sent plans and sends results: `closed` asks again as soon as it was answered and finds the
 * most that is served; `open` asks at random times at a fixed mean rate, whether or not it was answered, and measures
 * from the time a request was due. (autocannon's own rate limit sends each second's requests in one burst.)
 */
import { Agent, request } from 'node:http';
import autocannon from 'autocannon';

export interface LoadPlan {
  kind: 'closed' | 'open';
  url: string;
  /** Bodies of the requests, each distinct; closed: each connection goes round in a share of its own. */
  bodies: string[];
  seconds: number;
  /** closed: connections; open: the most there may be. */
  connections: number;
  /** open: mean arrivals a second. */
  perSecond: number;
  seed: number;
  /** What is in the body of every good answer. */
  expected: string;
}

export interface LoadResult {
  answered: number;
  /** What came of each request that was not answered with 200 and what is expected. */
  failures: string[];
  perSecond: number;
  /** open: from the time it was due; closed: from the time it was sent. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  /** open: the latency that each of a hundred equal parts of the requests stays under. */
  percentilesMs: number[];
  /** open: 99th percentile of how late requests were sent: the generator's own share of the latency. */
  p99SentLateMs: number;
}

const path = '/v1/chat/completions';
const headers = { 'content-type': 'application/json' };
const timeoutSeconds = 10;

const closedLoop = async ({ url, bodies, seconds, connections, expected }: LoadPlan): Promise<LoadResult> => {
  let next = 0;
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    timeout: timeoutSeconds,
    setupClient: (client) => {
      const own = bodies.filter((_, index) => index % connections === next);
      next += 1;
      client.setRequests(own.map((body) => ({ method: 'POST', path, headers, body })));
    },
    verifyBody: (body) => String(body).includes(expected),
  });
  return {
    answered: result['2xx'],
    failures: [
      ...Array(result.errors).fill('no answer, or none in time'),
      ...Array(result.non2xx).fill('a status other than 200'),
      ...Array(result.mismatches).fill('not the expected answer'),
    ],
    perSecond: result['2xx'] / result.duration,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    maxMs: result.latency.max,
    percentilesMs: [],
    p99SentLateMs: 0,
  };
};

/** mulberry32, by Tommy Ettinger: a small generator of evenly distributed numbers in [0, 1). */
const randomOf = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

/** Times of a Poisson process, in ms from the start: what the requests of many independent clients look like. */
const arrivals = (perSecond: number, seconds: number, seed: number): Float64Array => {
  const random = randomOf(seed);
  const times: number[] = [];
  for (let atMs = 0; ; times.push(atMs)) {
    atMs += (-Math.log(1 - random()) * 1_000) / perSecond;
    if (atMs >= seconds * 1_000) return Float64Array.from(times);
  }
};

/** @returns what went wrong */
const ask = (agent: Agent, url: URL, body: string, expected: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const options = {
      agent,
      host: url.hostname,
      port: url.port,
      path,
      method: 'POST',
      timeout: timeoutSeconds * 1_000,
    };
    const length = { 'content-length': Buffer.byteLength(body) };
    const sent = request({ ...options, headers: { ...headers, ...length } }, (response) => {
      let text = '';
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const good = response.statusCode === 200 && text.includes(expected);
        resolve(good ? undefined : `${response.statusCode} ${text}`);
      });
      response.on('error', (error) => resolve(error.message));
    });
    sent.on('timeout', () => sent.destroy());
    sent.on('error', (error) => resolve(error.message));
    sent.end(body);
  });

const openLoop = async (plan: LoadPlan): Promise<LoadResult> => {
  const { url, bodies, seconds, connections, perSecond, seed, expected } = plan;
  const due = arrivals(perSecond, seconds, seed);
  const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'fifo' });
  const target = new URL(url);
  const latencies = new Float64Array(due.length);
  const lateness = new Float64Array(due.length);
  const pending: Promise<void>[] = [];
  const failures: string[] = [];
  const startMs = performance.now();
  const now = () => performance.now() - startMs;
  for (let next = 0; next < due.length; ) {
    for (; next < due.length && due[next]! <= now(); next += 1) {
      const [index, dueMs] = [next, due[next]!];
      lateness[index] = now() - dueMs;
      pending.push(
        ask(agent, target, bodies[index % bodies.length]!, expected).then((failure) => {
          latencies[index] = now() - dueMs;
          if (failure !== undefined) failures.push(failure);
        }),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(pending);
  const elapsedMs = now();
  agent.destroy();
  latencies.sort();
  lateness.sort();
  const at = (values: Float64Array, share: number) =>
    values[Math.min(values.length - 1, Math.floor(values.length * share))]!;
  return {
    answered: due.length - failures.length,
    failures,
    perSecond: ((due.length - failures.length) * 1_000) / elapsedMs,
    p50Ms: at(latencies, 0.5),
    p99Ms: at(latencies, 0.99),
    maxMs: latencies.at(-1)!,
    percentilesMs: Array.from({ length: 100 }, (_, index) => at(latencies, (index + 1) / 100)),
    p99SentLateMs: at(lateness, 0.99),
  };
};

process.on('message', async (plan: LoadPlan) => {
  process.send!(await (plan.kind === 'closed' ? closedLoop(plan) : openLoop(plan)));
});
