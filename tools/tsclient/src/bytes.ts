// Bytes, hashes and ids.

import { createHash, randomBytes } from "node:crypto";

export type Bytes = Uint8Array<ArrayBuffer>;

export const hex = (b: Uint8Array): string => Buffer.from(b).toString("hex");

export const unhex = (s: string): Bytes => Uint8Array.from(Buffer.from(s, "hex"));

export const text = (s: string): Bytes => Uint8Array.from(Buffer.from(s, "utf8"));

export const base64url = (b: Uint8Array | string): string => Buffer.from(b as Uint8Array).toString("base64url");

export function concat(...parts: Uint8Array[]): Bytes {
  return Uint8Array.from(Buffer.concat(parts));
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function sha256(...parts: Uint8Array[]): Bytes {
  const h = createHash("sha256");
  for (const p of parts) h.update(p);
  return Uint8Array.from(h.digest());
}

// u64 is a number as 8 bytes, big endian.
export function u64(n: bigint): Bytes {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setBigUint64(0, n);
  return b;
}

export function readU64(b: Uint8Array): bigint {
  return new DataView(b.buffer, b.byteOffset, b.byteLength).getBigUint64(0);
}

// newID makes a ULID: 6 bytes of milliseconds and 10 of chance.
export function newID(nowMS: number): Bytes {
  const id = new Uint8Array(16);
  const view = new DataView(id.buffer);
  view.setUint16(0, Math.floor(nowMS / 2 ** 32) & 0xffff);
  view.setUint32(2, nowMS >>> 0);
  id.set(randomBytes(10), 6);
  return id;
}

// stampOf is the stamp that a change's writes carry.
export const stampOf = (change: Uint8Array): bigint => readU64(change.subarray(8));

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

// idText is the text form of an id, as it stands inside bodies: 26 characters.
export function idText(id: Uint8Array): string {
  let n = BigInt("0x" + hex(id));
  let out = "";
  for (let i = 0; i < 26; i++, n >>= 5n) out = crockford[Number(n & 31n)] + out;
  return out;
}
