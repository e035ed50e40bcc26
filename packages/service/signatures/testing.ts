/** Keys for tests, in files as services read them. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface KeyFiles {
  /** Of the private key in PEM (PKCS#8). */
  readonly signing: string;
  /** Of the public key in PEM (SPKI). */
  readonly trusted: string;
  /** The private key as it stands in the file, without its frame. */
  readonly secret: string;
}

/** A new Ed25519 pair in the folder. */
export async function keyFiles(folder: string, name: string): Promise<KeyFiles> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const [signing, trusted] = [join(folder, `${name}.pem`), join(folder, `${name}.pub.pem`)];
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeFile(signing, pem, { mode: 0o600 });
  await writeFile(trusted, publicKey.export({ type: 'spki', format: 'pem' }));
  return { signing, trusted, secret: pem.split('\n')[1]! };
}
