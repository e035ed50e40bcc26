/** Which addresses a request may go to whose URL somebody else wrote: the defence against server-side request forgery. */
import { lookup } from 'node:dns';
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net';

/** Ranges that the words of an allow-list stand for. Metadata services have no word: whoever wants one names its address. */
const WORDS = {
  loopback: ['127.0.0.0/8', '::1/128'],
  // RFC 1918, RFC 6598 (carriers and clusters), RFC 4193.
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
} as const;

/** Never a public service: the IANA special-purpose registries (RFC 6890), multicast, and where clouds keep a machine's credentials. */
const NOT_PUBLIC = [
  ...WORDS.loopback,
  ...WORDS.private,
  // Link-local, where most clouds have their metadata service; the others' lie in the private ranges above.
  '169.254.0.0/16',
  'fe80::/10',
  // "This host", protocol assignments, documentation, benchmarks, multicast, reserved, local NAT64.
  ...['0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4', '::/96', '64:ff9b:1::/48', '100::/64', '2001:db8::/32', 'fec0::/10'],
  // Multicast, and tunnels that hide an IPv4 address (6to4, Teredo).
  ...['ff00::/8', '2002::/16', '2001::/32'],
];

/** IPv6 addresses that are routed to the IPv4 address in their last 32 bits (RFC 6052). IPv4-mapped ones node compares itself. */
const NAT64 = '64:ff9b::/96';

/** The address of a URL must not be asked. */
export class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress';
}

const rangePattern = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/;

const add = (list: BlockList, range: string): void => {
  const [, address = '', prefix] = rangePattern.exec(range) ?? [];
  const family = isIP(address);
  const bits = family === 6 ? 128 : 32;
  if (family === 0 || Number(prefix ?? bits) > bits) {
    throw new RangeError(
      `expected an address, a range like 10.0.0.0/8, or one of ${Object.keys(WORDS).join(', ')}, got ${range}`,
    );
  }
  list.addSubnet(address, Number(prefix ?? bits), family === 6 ? 'ipv6' : 'ipv4');
};

const listOf = (ranges: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const range of ranges) add(list, range);
  return list;
};

const isIn = (list: BlockList, address: string): boolean => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

const notPublic = listOf(NOT_PUBLIC);
const nat64 = listOf([NAT64]);

/** The IPv4 address that a NAT64 address leads to. */
const behindNat64 = (address: string): string => {
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1);
  const [high = '0', low = '0'] = new URL(`http://[${address}]`).hostname.slice(1, -1).split(':').slice(-2);
  const [first, second] = [Number.parseInt(high || '0', 16), Number.parseInt(low || '0', 16)];
  return [first >> 8, first & 255, second >> 8, second & 255].join('.');
};

/** Public addresses, and those that an operator allows beside them. */
export class AddressRules {
  readonly #allowed: BlockList;

  /**
   * @param allowed addresses, ranges (`10.1.0.0/16`) and the words `loopback` and `private`
   * @throws RangeError naming what is none of these
   */
  constructor(allowed: readonly string[]) {
    this.#allowed = listOf(allowed.flatMap((entry) => WORDS[entry as keyof typeof WORDS] ?? [entry]));
  }

  /** @param address an IPv4 or IPv6 address, without brackets */
  allows(address: string): boolean {
    // A zone (`fe80::1%eth0`) names an interface, not another address.
    const bare = address.split('%', 1)[0]!;
    if (isIn(this.#allowed, bare)) return true;
    if (isIPv6(bare) && isIn(nat64, bare)) return this.allows(behindNat64(bare));
    return !isIn(notPublic, bare);
  }

  /** @param host of a URL; a name is checked by `lookup`, when it is connected to. @throws ForbiddenAddress */
  checkHost(host: string): void {
    const address = host.replace(/^\[|\]$/g, '');
    if (isIP(address) && !this.allows(address)) throw forbidden(host, address);
  }

  /**
   * For `lookup` of a socket or request: resolves a name once, refuses it if any of its addresses is forbidden, and has
   * exactly those connected to that were checked. So no later answer of a name server counts (DNS rebinding).
   */
  readonly lookup: LookupFunction = (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      const bad = addresses?.find(({ address }) => !this.allows(address));
      const failure = error ?? (bad ? forbidden(host, bad.address) : null);
      if (failure || options.all) done(failure, addresses);
      else done(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}

const forbidden = (host: string, address: string) =>
  new ForbiddenAddress(
    host === address || host === `[${address}]`
      ? `${host} is no public address, and not among the allowed ones`
      : `${host} is ${address}, which is no public address, and not among the allowed ones`,
  );
