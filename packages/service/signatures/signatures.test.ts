import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FolderBlobStore } from '../blobs/folder.ts';
import { StartupError } from '../errors.ts';
import { preAuthEncoding, SignatureError } from './dsse.ts';
import { type Key, readSigningKey, readTrustedKeys } from './keys.ts';
import { expectSigned, keepSigned, type Statement, signatureName } from './statements.ts';
import { type KeyFiles, keyFiles } from './testing.ts';

let folder: string;
let blobs: FolderBlobStore;
let files: KeyFiles;
let other: KeyFiles;
let key: Key;
let trusted: readonly Key[];
const statement: Statement = {
  kind: 'reports',
  digest: 'a'.repeat(64),
  predicate: { task: 'mail', student: 'b'.repeat(64), passed: true },
};
const payloadType = 'application/vnd.in-toto+json';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-signatures-'));
  [files, other] = [await keyFiles(folder, 'one'), await keyFiles(folder, 'other')];
  key = readSigningKey(files.signing, 'KEY')!;
  trusted = readTrustedKeys(files.trusted, 'KEYS')!;
});
beforeEach(async () => {
  blobs = await FolderBlobStore.open(await mkdtemp(join(folder, 'blobs-')));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const name = () => signatureName(statement, key.id);
const kept = async () => JSON.parse(new TextDecoder().decode(await blobs.getNamed(name())));
const put = (envelope: unknown) => blobs.putNamed(name(), Buffer.from(JSON.stringify(envelope)));
const refused = async (reason: RegExp, of = statement, keys = trusted) => {
  const asked = expectSigned(blobs, keys, of);
  await expect(asked).rejects.toThrow(SignatureError);
  await expect(asked).rejects.toThrow(reason);
};

describe('a signed statement', () => {
  test('is taken from any of the trusted keys, and written again it is the same', async () => {
    await keepSigned(blobs, key, statement);
    const first = await blobs.getNamed(name());
    await keepSigned(blobs, key, statement);
    expect(await blobs.getNamed(name())).toEqual(first);
    expect(await expectSigned(blobs, trusted, statement)).toBe(key.id);
    const both = join(folder, 'both.pem');
    await writeFile(both, `${await readFile(other.trusted, 'utf8')}\n${await readFile(files.trusted, 'utf8')}`);
    expect(await expectSigned(blobs, readTrustedKeys(both, 'KEYS'), statement)).toBe(key.id);
  });

  test('is an in-toto statement in a DSSE envelope, signed over its pre-authentication encoding', async () => {
    expect(preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world')).toString()).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    );
    await keepSigned(blobs, key, statement);
    const envelope = await kept();
    const payload = Buffer.from(envelope.payload, 'base64');
    expect(JSON.parse(payload.toString())).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: `reports/${statement.digest}`, digest: { sha256: statement.digest } }],
      predicateType: 'urn:understudy:reports:v1',
      predicate: statement.predicate,
    });
    const sig = sign(null, preAuthEncoding(payloadType, payload), key.key).toString('base64');
    expect(envelope).toMatchObject({ payloadType, signatures: [{ keyid: key.id, sig }] });
  });

  test('is asked for only where keys are given, and made only where there is one', async () => {
    await keepSigned(blobs, undefined, statement);
    expect(await blobs.getNamed(name())).toBeUndefined();
    expect(await expectSigned(blobs, undefined, statement)).toBeUndefined();
    await refused(/there is none by a trusted key \([0-9a-f]{12}\): it is unsigned, or signed by another key/);
  });

  test('of a key that is not trusted is none, also under the name of one that is', async () => {
    const stranger = readSigningKey(other.signing, 'KEY')!;
    await keepSigned(blobs, stranger, statement);
    await refused(/signed by another key/);
    await blobs.putNamed(name(), (await blobs.getNamed(signatureName(statement, stranger.id)))!);
    await refused(/altered, or was not signed by the key/);
    await put({ ...(await kept()), signatures: [{ ...(await kept()).signatures[0], keyid: key.id }] });
    await refused(/altered, or was not signed by the key/);
  });

  test.each<[string, Partial<Statement>]>([
    ['of another digest', { digest: 'c'.repeat(64) }],
    ['of another kind', { kind: 'students' }],
    ['of another task', { predicate: { ...statement.predicate, task: 'other' } }],
    ['of another student', { predicate: { ...statement.predicate, student: 'c'.repeat(64) } }],
    ['of one that failed', { predicate: { ...statement.predicate, passed: false } }],
    ['that says more', { predicate: { ...statement.predicate, more: true } }],
  ])('is of nothing else: one %s', async (_, change) => {
    const foreign = { ...statement, ...change };
    await keepSigned(blobs, key, foreign);
    await blobs.putNamed(name(), (await blobs.getNamed(signatureName(foreign, key.id)))!);
    await refused(/it is of \S+ \S+, expected /);
  });

  test('does not hold with any byte changed, nor with its end missing', async () => {
    await keepSigned(blobs, key, statement);
    const bytes = (await blobs.getNamed(name()))!;
    const [altered, cut] = [new Set<string>(), new Set<string>()];
    for (let at = 0; at < bytes.length; at += 1) {
      altered.add(await unsealed(bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))));
      cut.add(await unsealed(bytes.subarray(0, at)));
    }
    expect(altered).toEqual(new Set(['refused', 'the very statement']));
    expect(cut).toEqual(new Set(['refused']));
  });

  /** A changed key id or an unused bit of base64 leaves what is signed as it is; nothing else may be let through. */
  const unsealed = async (bytes: Uint8Array): Promise<string> => {
    try {
      await expectSigned({ getNamed: async () => bytes }, trusted, statement);
    } catch (error) {
      if (error instanceof SignatureError) return 'refused';
      throw error;
    }
    const { payload } = JSON.parse(new TextDecoder().decode(bytes));
    const before = JSON.parse(new TextDecoder().decode((await blobs.getNamed(name()))!)).payload;
    const same = Buffer.from(payload, 'base64').equals(Buffer.from(before, 'base64'));
    return same ? 'the very statement' : 'something else';
  };

  test('is not taken for what an envelope says of its algorithm: a hash keyed with the public key, another type, no signature', async () => {
    await keepSigned(blobs, key, statement);
    const envelope = await kept();
    const payload = Buffer.from(envelope.payload, 'base64');
    const spki = createPublicKey(await readFile(files.trusted)).export({ type: 'spki', format: 'der' });
    const mac = createHmac('sha512', spki).update(preAuthEncoding(payloadType, payload)).digest('base64');
    const plain = sign(null, payload, key.key).toString('base64');
    const signed = (sig: string) => ({ ...envelope, alg: 'HS512', signatures: [{ keyid: key.id, sig, alg: 'none' }] });
    for (const sig of [mac, plain, Buffer.alloc(64).toString('base64'), 'AA==']) {
      await put(signed(sig));
      await refused(/altered, or was not signed/);
    }
    await put({ ...envelope, payloadType: 'text/plain' });
    await refused(/expected an envelope of application\/vnd\.in-toto\+json, came one of "text\/plain"/);
    for (const none of [{ ...envelope, signatures: [] }, { ...envelope, signatures: undefined }, [], null, 'x']) {
      await put(none);
      await refused(/expected a DSSE envelope/);
    }
    await blobs.putNamed(name(), Buffer.alloc(100_000, 'x'));
    await refused(/at most 65536 bytes, came 100000/);
  });
});

describe('keys', () => {
  const refuses = (read: () => unknown, reason: RegExp) => {
    expect(read).toThrow(StartupError);
    expect(read).toThrow(reason);
  };

  test('both halves of a pair have one id', () => {
    expect(trusted.map(({ id }) => id)).toEqual([key.id]);
    expect(readSigningKey(undefined, 'KEY')).toBeUndefined();
    expect(readTrustedKeys(undefined, 'KEYS')).toBeUndefined();
  });

  test.each([
    ['rsa', () => generateKeyPairSync('rsa', { modulusLength: 1024 })],
    ['ec', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ed448', () => generateKeyPairSync('ed448')],
    ['x25519', () => generateKeyPairSync('x25519')],
  ])('of another algorithm are refused: %s', async (kind, make) => {
    const { privateKey, publicKey } = make();
    const [secret, open] = [join(folder, `${kind}.pem`), join(folder, `${kind}.pub.pem`)];
    await writeFile(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(open, publicKey.export({ type: 'spki', format: 'pem' }));
    refuses(
      () => readSigningKey(secret, 'KEY'),
      new RegExp(`KEY: .*expected one private Ed25519.*came one of kind ${kind}`),
    );
    refuses(() => readTrustedKeys(open, 'KEYS'), new RegExp(`KEYS: .*came one of kind ${kind}`));
  });

  test('that cannot be read are refused, and no error holds a part of one', async () => {
    const file = join(folder, 'wrong.pem');
    const pem = await readFile(files.signing, 'utf8');
    const wrong = ['', 'no key', pem.replace(files.secret, files.secret.slice(4)), `${pem}${pem}`.slice(0, 80)];
    for (const text of wrong) {
      await writeFile(file, text);
      const failure = await (async () => readSigningKey(file, 'KEY'))().catch((error: Error) => error);
      expect(failure).toBeInstanceOf(StartupError);
      expect(`${failure} ${(failure as Error).cause}`).not.toContain(files.secret.slice(8, 24));
    }
    refuses(() => readSigningKey(join(folder, 'absent'), 'KEY'), /KEY: cannot read/);
    refuses(() => readSigningKey(files.trusted, 'KEY'), /KEY: .*expected one private/);
    refuses(() => readTrustedKeys(file, 'KEYS'), /came 0 of them/);
    // A private key among the trusted ones would be taken for its public half.
    refuses(() => readTrustedKeys(files.signing, 'KEYS'), /came 0 of them/);
    await writeFile(file, `${await readFile(files.trusted, 'utf8')}${pem}`);
    refuses(() => readTrustedKeys(file, 'KEYS'), /and nothing else/);
  });
});
