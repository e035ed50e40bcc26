/** Chooses and opens the blob store that the configuration names. */
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { readSecretFile } from '../config.ts';
import { messageOf, StartupError } from '../errors.ts';
import type { BlobStore } from './blob-store.ts';
import { FolderBlobStore } from './folder.ts';
import { S3BlobStore } from './s3.ts';
import { parseS3Url, type S3Credentials, type S3Location } from './s3-client.ts';

/** The settings that decide where blobs live; `commonConfig` holds them. */
export interface BlobConfig {
  readonly DATA_DIR: string;
  /** `file:///folder`, or `s3://bucket/prefix?endpoint=URL&region=NAME`. Default: `blobs` in the data folder. */
  readonly BLOB_URL?: string | undefined;
  readonly AWS_ACCESS_KEY_ID?: string | undefined;
  readonly AWS_SECRET_ACCESS_KEY?: string | undefined;
  readonly AWS_SESSION_TOKEN?: string | undefined;
  /** Files that hold what the variables of the same names would; they win over them. */
  readonly AWS_ACCESS_KEY_ID_FILE?: string | undefined;
  readonly AWS_SECRET_ACCESS_KEY_FILE?: string | undefined;
}

const EXAMPLE =
  'file:///var/lib/understudy/blobs or s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1';

/**
 * Opens the blob store and proves that it can be used.
 * @throws StartupError when the URL is malformed, credentials are missing, the place cannot be written to, or the S3
 *   server lets an object be created twice
 */
export async function openBlobStore(config: BlobConfig): Promise<BlobStore> {
  return opened(config, {
    folder: (root) => FolderBlobStore.open(root),
    bucket: (where, credentials) => S3BlobStore.open(where, credentials),
  });
}

/**
 * Opens the blob store for someone who only reads: it may be a copy on a disk that cannot be written to.
 * @throws StartupError when the URL is malformed, credentials are missing, or there is no such folder
 */
export async function openBlobStoreToRead(config: BlobConfig): Promise<BlobStore> {
  return opened(config, {
    folder: (root) => FolderBlobStore.openToRead(root),
    bucket: async (where, credentials) => S3BlobStore.openToRead(where, credentials),
  });
}

interface Openers {
  folder(root: string): Promise<BlobStore>;
  bucket(where: S3Location, credentials: S3Credentials): Promise<BlobStore>;
}

async function opened(config: BlobConfig, openers: Openers): Promise<BlobStore> {
  const url = parseUrl(config.BLOB_URL ?? pathToFileURL(path.join(config.DATA_DIR, 'blobs')).href);
  try {
    if (url.protocol === 'file:') return await openers.folder(folderOf(url));
    return await openers.bucket(parseS3Url(url.href), neededCredentials(config));
  } catch (cause) {
    if (cause instanceof StartupError) throw cause;
    throw new StartupError(`BLOB_URL: ${messageOf(cause)}`, { cause });
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'file:' && url?.protocol !== 's3:') {
    throw new StartupError(`BLOB_URL: expected ${EXAMPLE}, got ${JSON.stringify(text)}`);
  }
  if (url.username || url.password) {
    throw new StartupError('BLOB_URL holds credentials; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  }
  return url;
}

function folderOf(url: URL): string {
  if (url.host !== '' || url.search !== '') {
    throw new StartupError(`BLOB_URL: expected file:///absolute/folder, got ${JSON.stringify(url.href)}`);
  }
  return fileURLToPath(url);
}

function neededCredentials(config: BlobConfig): S3Credentials {
  const credentials = s3CredentialsOf(config);
  if (credentials) return credentials;
  throw new StartupError(
    'BLOB_URL names an S3 bucket, but there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the same names with _FILE and the paths of files that hold them',
  );
}

/** Undefined where the settings hold none. @throws StartupError when a file of them cannot be read */
export function s3CredentialsOf(config: Omit<BlobConfig, 'DATA_DIR'>): S3Credentials | undefined {
  const accessKeyId = config.AWS_ACCESS_KEY_ID_FILE
    ? readSecretFile(config.AWS_ACCESS_KEY_ID_FILE, 'AWS_ACCESS_KEY_ID_FILE')
    : config.AWS_ACCESS_KEY_ID;
  const secretAccessKey = config.AWS_SECRET_ACCESS_KEY_FILE
    ? readSecretFile(config.AWS_SECRET_ACCESS_KEY_FILE, 'AWS_SECRET_ACCESS_KEY_FILE')
    : config.AWS_SECRET_ACCESS_KEY;
  if (!accessKeyId || !secretAccessKey) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken: config.AWS_SESSION_TOKEN };
}
