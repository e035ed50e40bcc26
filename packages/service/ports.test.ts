import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { blockOf, Ports } from './ports.ts';

test('ports of one owner come from blocks that no other owner has, also while nobody listens on them', async () => {
  const one = new Ports();
  const ports = await Promise.all(Array.from({ length: 100 }, () => one.free()));
  expect(new Set(ports).size).toBe(100);

  const wanted = [...new Set(ports.map(blockOf))];
  expect(wanted.length).toBeLessThan(10);
  let tried = 0;
  const other = new Ports(() => wanted[tried++] ?? (blockOf(ports[0]!) + tried) % 200);
  const given = await other.free();
  expect(tried).toBeGreaterThan(wanted.length);
  expect(wanted).not.toContain(blockOf(given));
});

test('a preferred port is given where it is free, and what is taken is named by its setting', async () => {
  const port = await new Ports().free();
  expect(await new Ports().free(port)).toBe(port);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  expect(await new Ports().free(port)).not.toBe(port);
  await expect(new Ports().fixed(port, 'PORT')).rejects.toThrow(`PORT: port ${port} is taken`);
  server.close();
});
