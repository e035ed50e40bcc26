/** How every part of this platform speaks to a server of the S3 kind. */
import http from 'node:http';
import https from 'node:https';
import { Client, S3Error } from 'minio';
import { BlobError, type BlobErrorCode, MAX_BLOB_BYTES } from './blob-store.ts';

/** A server that sends nothing for this long is taken for dead; the slowest honest one answers a PUT of 512 MiB sooner. */
const SILENCE_MS = 60_000;
/** Further tries of a request that was answered with a passing fault (429, 5xx); the handler above retries the rest. */
const RETRIES = 3;
export const DEFAULT_REGION = 'us-east-1';

const CODES: Readonly<Record<string, BlobErrorCode>> = {
  NoSuchKey: 'not-found',
  NotFound: 'not-found',
  AccessDenied: 'denied',
  InvalidAccessKeyId: 'denied',
  SignatureDoesNotMatch: 'denied',
  ExpiredToken: 'denied',
  NoSuchBucket: 'denied',
  EntityTooLarge: 'too-large',
  QuotaExceeded: 'no-space',
  XMinioStorageFull: 'no-space',
};

export interface S3Location {
  readonly endpoint: URL;
  readonly region: string;
  readonly bucket: string;
  /** Of a store: what all its keys begin with. Of an object: its key. Without slashes at its ends; may be empty. */
  readonly prefix: string;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** A client of the server at a location, anonymous without credentials, and what closes its connections. */
export function s3Client(
  { endpoint, region }: S3Location,
  credentials: S3Credentials | undefined,
): { client: Client; close(): void } {
  const secure = endpoint.protocol === 'https:';
  const agent = new (secure ? https : http).Agent({ keepAlive: true });
  const client = new Client({
    endPoint: endpoint.hostname,
    port: endpoint.port === '' ? (secure ? 443 : 80) : Number(endpoint.port),
    useSSL: secure,
    region,
    ...(credentials ? { accessKey: credentials.accessKeyId, secretKey: credentials.secretAccessKey } : {}),
    ...(credentials?.sessionToken ? { sessionToken: credentials.sessionToken } : {}),
    // A multipart upload is not conditional, so every blob is one PUT.
    partSize: MAX_BLOB_BYTES,
    transport: impatient(secure ? https : http),
    transportAgent: agent,
    retryOptions: { maximumRetryCount: RETRIES },
  });
  return { client, close: () => agent.destroy() };
}

/** `s3://bucket/key?endpoint=URL&region=NAME`. @throws TypeError with what was expected and what came */
export function parseS3Url(text: string): S3Location {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 's3:' || url.host === '' || url.username || url.password) {
    throw new TypeError(
      `expected s3://bucket/key without credentials, got ${JSON.stringify(withoutPassword(url, text))}`,
    );
  }
  const unknown = [...url.searchParams.keys()].filter((key) => key !== 'endpoint' && key !== 'region');
  if (unknown.length > 0) {
    throw new TypeError(`expected 'endpoint' and 'region' as only options, got ${unknown.join(', ')} in ${url.href}`);
  }
  const region = url.searchParams.get('region') ?? DEFAULT_REGION;
  const endpoint = url.searchParams.get('endpoint') ?? `https://s3.${region}.amazonaws.com`;
  if (!/^https?:\/\/[^/@]+\/?$/.test(endpoint) || !URL.canParse(endpoint)) {
    throw new TypeError(`expected endpoint=http(s)://host:port, got ${JSON.stringify(endpoint)}`);
  }
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
  return { endpoint: new URL(endpoint), region, bucket: url.host, prefix };
}

const withoutPassword = (url: URL | undefined, text: string): string =>
  url?.username || url?.password ? `${url.protocol}//…@${url.host}${url.pathname}` : text;

/** What a failed request means. `doing` completes "cannot …". */
export function s3Failure(cause: unknown, doing: string): BlobError {
  if (cause instanceof BlobError) return cause;
  const name = cause instanceof S3Error ? (cause.code ?? '') : '';
  const code = CODES[name] ?? 'unavailable';
  const reason = cause instanceof Error ? cause.message || name : String(cause);
  const advice = code === 'denied' ? '; check the bucket, the credentials and their permissions' : '';
  return new BlobError(code, `cannot ${doing}: ${name} ${reason}${advice}`, cause);
}

/** Requests that are given up when the server falls silent; the SDK itself waits for ever. */
function impatient(transport: typeof http | typeof https): Pick<typeof http, 'request'> {
  const request = (options: http.RequestOptions, onResponse: (response: http.IncomingMessage) => void) => {
    const sent = transport.request({ ...options, timeout: SILENCE_MS }, onResponse);
    sent.on('timeout', () => sent.destroy(new Error(`no answer for ${SILENCE_MS} ms`)));
    return sent;
  };
  return { request: request as typeof http.request };
}
