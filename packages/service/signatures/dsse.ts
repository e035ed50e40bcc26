/** DSSE envelopes, version 1: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md */
import { sign, verify } from 'node:crypto';
import { z } from 'zod';
import { messageOf } from '../errors.ts';
import type { Key } from './keys.ts';

/** A signature that does not hold. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError';
}

/** A statement about digests has some hundred bytes. */
const MAX_ENVELOPE_BYTES = 64 * 1024;

const base64 = z.base64().min(1);
const Envelope = z.object({
  payloadType: z.string(),
  payload: base64,
  signatures: z.array(z.object({ keyid: z.string(), sig: base64 })).min(1),
});

/** What is signed: the type as well as the payload, each with its length, so that neither can be taken for a part of the other. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** The envelope around a payload, as JSON; the same key and payload give the same bytes. */
export function seal({ id, key }: Key, payloadType: string, payload: Uint8Array): Uint8Array {
  const sig = sign(null, preAuthEncoding(payloadType, payload), key).toString('base64');
  const envelope = { payloadType, payload: Buffer.from(payload).toString('base64'), signatures: [{ keyid: id, sig }] };
  return Buffer.from(JSON.stringify(envelope));
}

/**
 * The payload of an envelope that this key signed: the very bytes that the signature covers. Which algorithm that is says the key, and the key
 * ids in the envelope are no more than a hint.
 * @throws SignatureError when it is no such envelope, of another type, or not signed by this key
 */
export function unseal({ id, key }: Key, payloadType: string, bytes: Uint8Array): Buffer {
  const envelope = parse(bytes);
  if (envelope.payloadType !== payloadType) {
    const came = JSON.stringify(envelope.payloadType.slice(0, 100));
    throw new SignatureError(`expected an envelope of ${payloadType}, came one of ${came}`);
  }
  const payload = Buffer.from(envelope.payload, 'base64');
  const signed = preAuthEncoding(payloadType, payload);
  const holds = envelope.signatures.some(({ sig }) => verify(null, signed, key, Buffer.from(sig, 'base64')));
  if (!holds) throw new SignatureError(`the envelope is altered, or was not signed by the key ${id.slice(0, 12)}`);
  return payload;
}

function parse(bytes: Uint8Array): z.infer<typeof Envelope> {
  if (bytes.length > MAX_ENVELOPE_BYTES) {
    throw new SignatureError(`expected an envelope of at most ${MAX_ENVELOPE_BYTES} bytes, came ${bytes.length}`);
  }
  try {
    return Envelope.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new SignatureError(`expected a DSSE envelope: ${messageOf(cause)}`, { cause });
  }
}
