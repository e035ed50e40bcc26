/** Which headers go on from one connection to the next. */

/** Those of one connection (RFC 9110 §7.6.1), and what each connection has of its own: its host and how its body is framed. */
const ofOneConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Where a client that keeps `authorization` for the upstream puts its key for this gateway. */
export const keyHeader = 'x-understudy-key';
/** Set by teacher connectors: an answer of a student must never become a teacher's. */
export const teacherHeader = 'x-understudy-teacher';

/** Not for the upstream: what is set anew, answered here, or meant for this gateway. */
const notForUpstream = new Set([...ofOneConnection, 'host', 'content-length', 'expect', keyHeader, teacherHeader]);

/** Names and values in turn, as they came, without those of `dropped` and those that `connection` names. */
const forwarded = (raw: readonly string[], connection: string | undefined, dropped: ReadonlySet<string>): string[] => {
  const named = connection === undefined || /^(keep-alive|close)$/i.test(connection) ? undefined : namesIn(connection);
  const kept: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index]!.toLowerCase();
    if (!dropped.has(name) && !named?.has(name)) kept.push(raw[index]!, raw[index + 1]!);
  }
  return kept;
};

const namesIn = (connection: string): ReadonlySet<string> =>
  new Set(connection.split(',').map((name) => name.trim().toLowerCase()));

const withoutAuthorization: ReadonlySet<string> = new Set([...notForUpstream, 'authorization']);

/** @param keepAuthorization false where it is a key of this gateway's own */
export const headersForUpstream = (
  raw: readonly string[],
  connection: string | undefined,
  keepAuthorization: boolean,
): string[] => forwarded(raw, connection, keepAuthorization ? notForUpstream : withoutAuthorization);

export const headersForClient = (raw: readonly string[], connection: string | undefined): string[] =>
  forwarded(raw, connection, ofOneConnection);
