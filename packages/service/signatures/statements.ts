/** Signed statements about blobs, beside them: in-toto statements in DSSE envelopes, one for each key that signed. */
import type { BlobStore } from '../blobs/blob-store.ts';
import { SignatureError, seal, unseal } from './dsse.ts';
import type { Key } from './keys.ts';

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';

/** What is said of a blob. All of it is signed, so that a signature of one thing is none of another. */
export interface Statement {
  readonly kind: string;
  readonly digest: string;
  /** What whoever verifies knows as well, and must find the same. */
  readonly predicate: Readonly<Record<string, string | boolean>>;
}

/** Where signatures are found: a blob store, or what was kept of one. */
export interface Signatures {
  getNamed(name: string): Promise<Uint8Array | undefined>;
}

/** Of the object that holds the signature of a blob by a key. */
export const signatureName = ({ kind, digest }: Pick<Statement, 'kind' | 'digest'>, keyId: string): string =>
  `signatures/${kind}/${digest}/${keyId}.dsse.json`;

/** Signs the statement and keeps the signature beside its blob; again changes nothing. Where there is no key it does nothing. */
export async function keepSigned(blobs: BlobStore, key: Key | undefined, statement: Statement): Promise<void> {
  if (!key) return;
  const payload = Buffer.from(JSON.stringify(inTotoOf(statement)));
  await blobs.putNamed(signatureName(statement, key.id), seal(key, PAYLOAD_TYPE, payload));
}

/**
 * Makes sure that one of the trusted keys signed this very statement.
 * @returns that key's id; undefined where no keys are given, because then none is asked for
 * @throws SignatureError saying what is wrong; whatever the store throws
 */
export async function expectSigned(
  signatures: Signatures,
  trusted: readonly Key[] | undefined,
  statement: Statement,
): Promise<string | undefined> {
  if (!trusted) return undefined;
  const what = `${statement.kind}/${statement.digest}`;
  const problems: string[] = [];
  for (const key of trusted) {
    const envelope = await signatures.getNamed(signatureName(statement, key.id));
    if (!envelope) continue;
    try {
      expectSaid(statement, unseal(key, PAYLOAD_TYPE, envelope));
      return key.id;
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
      problems.push(error.message);
    }
  }
  const ids = trusted.map(({ id }) => id.slice(0, 12)).join(', ');
  const none = `there is none by a trusted key (${ids}): it is unsigned, or signed by another key`;
  throw new SignatureError(`${what}: the signature does not hold: ${problems.join('; ') || none}`);
}

function expectSaid(statement: Statement, payload: Buffer): void {
  const [said, expected] = [leavesOf(statementIn(payload)), leavesOf(inTotoOf(statement))];
  for (const field of new Set([...expected.keys(), ...said.keys()])) {
    const [wanted, came] = [expected.get(field), said.get(field)];
    if (came !== wanted)
      throw new SignatureError(`it is of ${field} ${came ?? 'nothing'}, expected ${wanted ?? 'none'}`);
  }
}

/** A JSON value as its leaves: path to JSON of the value. Two values are equal where these are. */
function leavesOf(value: unknown, path = '', found = new Map<string, string>()): Map<string, string> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  if (entries.length === 0) return found.set(path, JSON.stringify(value));
  for (const [key, part] of entries) leavesOf(part, path === '' ? key : `${path}.${key}`, found);
  return found;
}

function statementIn(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch (cause) {
    throw new SignatureError('what it signs is not JSON', { cause });
  }
}

const inTotoOf = ({ kind, digest, predicate }: Statement) => ({
  _type: STATEMENT_TYPE,
  subject: [{ name: `${kind}/${digest}`, digest: { sha256: digest } }],
  predicateType: `urn:understudy:${kind}:v1`,
  predicate,
});
