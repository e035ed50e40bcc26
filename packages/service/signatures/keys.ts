/** Ed25519 keys in PEM: the private one that signs (PKCS#8), and the public ones that are trusted. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { messageOf, StartupError } from '../errors.ts';

/** Each costs one look at the store where a signature is asked for; a rotation needs two. */
const MAX_TRUSTED_KEYS = 16;
const PUBLIC_KEY = /-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----/g;

export interface Key {
  /** SHA-256 of the public key's DER (SPKI), 64 hex digits: the same for both halves of a pair. */
  readonly id: string;
  /** Private where it signs, public where it is trusted. */
  readonly key: KeyObject;
}

/**
 * The private key in the file: `openssl genpkey -algorithm ed25519`.
 * @param variable the setting that names the file, for errors; they never hold a part of the key
 * @returns undefined where no file is named
 * @throws StartupError when it cannot be read or holds anything else
 */
export function readSigningKey(path: string | undefined, variable: string): Key | undefined {
  if (!path) return undefined;
  const text = textOf(path, variable);
  const key = parsed(() => createPrivateKey(text), `${variable}: ${path}`, 'one private Ed25519 key in PEM (PKCS#8)');
  return { id: idOf(createPublicKey(key)), key };
}

/**
 * The public keys in the file, one PEM block after another: `openssl pkey -pubout`. Any of them may have signed, so that one can take over from another.
 * @returns undefined where no file is named: then no signature is asked for
 * @throws StartupError when it cannot be read, is empty, or holds anything else
 */
export function readTrustedKeys(path: string | undefined, variable: string): readonly Key[] | undefined {
  if (!path) return undefined;
  const text = textOf(path, variable);
  const where = `${variable}: ${path}`;
  const expected = `1 to ${MAX_TRUSTED_KEYS} public Ed25519 keys in PEM`;
  const blocks = text.match(PUBLIC_KEY) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_TRUSTED_KEYS || text.replaceAll(PUBLIC_KEY, '').trim() !== '') {
    throw new StartupError(`${where}: expected ${expected} and nothing else, came ${blocks.length} of them`);
  }
  return blocks.map((block) => {
    const key = parsed(() => createPublicKey(block), where, expected);
    return { id: idOf(key), key };
  });
}

function textOf(path: string, variable: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new StartupError(`${variable}: cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** The kind of key decides the algorithm, never what an envelope says. */
function parsed(parse: () => KeyObject, where: string, expected: string): KeyObject {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    throw new StartupError(`${where}: expected ${expected}: ${messageOf(cause)}`, { cause });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new StartupError(`${where}: expected ${expected}, came one of kind ${key.asymmetricKeyType}`);
}

const idOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
