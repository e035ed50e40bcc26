import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:http';
import { expect, test, vi } from 'vitest';
import { AddressRules } from './outbound.ts';

const strict = new AddressRules([]);

test.each([
  ['127.0.0.1', 'loopback'],
  ['127.8.9.1', 'loopback, not only its first'],
  ['::1', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback as IPv4 in IPv6'],
  ['::ffff:7f00:1', 'the same in hexadecimal digits'],
  ['::127.0.0.1', 'the deprecated form of it'],
  ['64:ff9b::7f00:1', 'loopback behind NAT64'],
  ['64:ff9b::169.254.169.254', 'metadata behind NAT64'],
  ['10.0.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.1.1', 'private'],
  ['100.100.100.200', 'metadata of a cloud in carrier space'],
  ['fd00:ec2::254', 'metadata of a cloud in private space'],
  ['169.254.169.254', 'metadata'],
  ['fe80::1%lo', 'link-local with a zone'],
  ['0.0.0.0', 'this host'],
  ['::', 'this host'],
  ['224.0.0.1', 'multicast'],
  ['255.255.255.255', 'broadcast'],
])('%s is not asked: %s', (address) => {
  expect(strict.allows(address)).toBe(false);
});

test.each(['8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808'])(
  '%s is public',
  (address) => {
    expect(strict.allows(address)).toBe(true);
  },
);

test('words and ranges allow what they name, and nothing beside it', () => {
  const loopback = new AddressRules(['loopback']);
  expect(['127.0.0.1', '::1', '::ffff:127.0.0.1'].map((address) => loopback.allows(address))).toEqual([
    true,
    true,
    true,
  ]);
  expect(['10.0.0.1', '169.254.169.254', '0.0.0.0'].map((address) => loopback.allows(address))).toEqual([
    false,
    false,
    false,
  ]);
  const some = new AddressRules(['private', '169.254.169.254', '2001:db8:1::/48']);
  expect(['10.1.1.1', 'fd12::1', '169.254.169.254', '2001:db8:1::9'].every((address) => some.allows(address))).toBe(
    true,
  );
  expect(['127.0.0.1', '169.254.169.253', '2001:db8:2::9'].some((address) => some.allows(address))).toBe(false);
  expect(() => new AddressRules(['intranet'])).toThrow(/intranet/);
  expect(() => new AddressRules(['10.0.0.0/33'])).toThrow(/10\.0\.0\.0\/33/);
});

test('numbers that are addresses in disguise are addresses by the time they are checked', () => {
  for (const url of ['http://2130706433/', 'http://0x7f.1/', 'http://[::ffff:127.0.0.1]/', 'http://017700000001/']) {
    expect(() => strict.checkHost(new URL(url).hostname)).toThrow(/no public address/);
  }
});

const looked = (rules: AddressRules, host: string) =>
  new Promise<string>((resolve) =>
    rules.lookup(host, { all: true }, (error, addresses) =>
      resolve(error?.message ?? (addresses as LookupAddress[]).map(({ address }) => address).join()),
    ),
  );

test('a name is refused for where it leads', async () => {
  expect(await looked(strict, 'localhost')).toMatch(/localhost is (127\.0\.0\.1|::1), which is no public address/);
  expect(await looked(new AddressRules(['loopback']), 'localhost')).toMatch(/127\.0\.0\.1|::1/);
});

test('a name is resolved once for a connection: a second, other answer is never asked for', async () => {
  const rules = new AddressRules(['loopback']);
  const lookup = vi.fn(rules.lookup);
  await using server = createServer((_, response) => response.end('here'));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { get } = await import('node:http');
  const { port } = server.address() as { port: number };
  await new Promise((resolve, reject) =>
    get({ host: 'localhost', port, lookup }, (response) => response.resume().on('end', resolve)).on('error', reject),
  );
  expect(lookup).toHaveBeenCalledTimes(1);
});
