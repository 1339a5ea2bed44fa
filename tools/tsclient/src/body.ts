// Bodies of records: raw protobuf fields in order, read without knowing the kind.

import { type Bytes, concat, equal, text } from "./bytes.js";

// A path is a field, or an element of one: the key is empty for singular fields.
export type Path = { field: number; key: Bytes };

// A field of a body with its tag, length and value as they stand there.
export type Field = { path: Path; raw: Bytes };

export class Malformed extends Error {}

export const pathName = (p: Path): string => `${p.field}:${Buffer.from(p.key).toString("hex")}`;

export function comparePaths(a: Path, b: Path): number {
  return a.field - b.field || Buffer.compare(a.key, b.key);
}

// varint reads a varint that is no longer than it need be.
function varint(b: Uint8Array, at: number): [value: bigint, next: number] {
  let value = 0n;
  for (let i = 0; i < 10; i++) {
    const byte = b[at + i];
    if (byte === undefined) throw new Malformed("it ends inside a field");
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) {
      if ((byte === 0 && i > 0) || value >= 1n << 64n) throw new Malformed("a varint is not minimal");
      return [value, at + i + 1];
    }
  }
  throw new Malformed("a varint is too long");
}

function putVarint(n: bigint): Bytes {
  const out: number[] = [];
  for (; n >= 0x80n; n >>= 7n) out.push(Number(n & 0x7fn) | 0x80);
  out.push(Number(n));
  return Uint8Array.from(out);
}

// shapeOf is what the number of a field says of it.
export function shapeOf(field: number): "singular" | "codes" | "elements" | "none" {
  if (field >= 1 && field <= 199) return "singular";
  if (field >= 200 && field <= 299) return "codes";
  if (field >= 300 && field <= 499) return "elements"; // From 400 on they are only ever added.
  return "none";
}

const elementKey = 8;

function readField(b: Bytes, at: number): Field {
  const [tag, begin] = varint(b, at);
  const field = Number(tag >> 3n);
  const shape = shapeOf(field);
  if (shape === "none") throw new Malformed("a field number is outside 1 to 499");
  let payload = new Uint8Array(0);
  let end: number;
  switch (Number(tag & 7n)) {
    case 0:
      end = varint(b, begin)[1];
      break;
    case 1:
      end = begin + 8;
      break;
    case 5:
      end = begin + 4;
      break;
    case 2: {
      const [size, from] = varint(b, begin);
      if (size > BigInt(b.length)) throw new Malformed("it ends inside a field");
      end = from + Number(size);
      payload = b.slice(from, end);
      break;
    }
    default:
      throw new Malformed("a wire type that bodies do not use");
  }
  if (end > b.length) throw new Malformed("it ends inside a field");
  let key = new Uint8Array(0);
  if (shape !== "singular") {
    if (Number(tag & 7n) !== 2) throw new Malformed("an element that is not length-delimited");
    key = payload;
  }
  if (shape === "elements") {
    if (payload.length < 2 + elementKey || payload[0] !== 0x0a || payload[1] !== elementKey) {
      throw new Malformed("an element does not begin with its key");
    }
    key = payload.slice(2, 2 + elementKey);
  }
  return { path: { field, key }, raw: b.slice(at, end) };
}

// parseBody splits a body into its paths; what is not canonical is refused.
export function parseBody(body: Bytes): Field[] {
  const out: Field[] = [];
  for (let at = 0; at < body.length; ) {
    const f = readField(body, at);
    const last = out.at(-1);
    if (last && comparePaths(last.path, f.path) >= 0) throw new Malformed("fields are not in order");
    out.push(f);
    at += f.raw.length;
  }
  return out;
}

export function stringField(field: number, value: string): Bytes {
  const v = text(value);
  return concat(putVarint(BigInt(field << 3) | 2n), putVarint(BigInt(v.length)), v);
}

export function numberField(field: number, value: number): Bytes {
  return concat(putVarint(BigInt(field << 3)), putVarint(BigInt(value)));
}

// bodyOf puts fields into a body, in their order.
export function bodyOf(raws: Bytes[]): Bytes {
  const fields = raws.map((raw) => readField(raw, 0)).sort((a, b) => comparePaths(a.path, b.path));
  return concat(...fields.map((f) => f.raw));
}

// textOf is the text of a string field in a body; empty where there is none.
export function textOf(body: Bytes, field: number): string {
  const f = parseBody(body).find((f) => f.path.field === field && f.path.key.length === 0);
  if (!f) return "";
  const [, begin] = varint(f.raw, 0);
  const [, from] = varint(f.raw, begin);
  return Buffer.from(f.raw.subarray(from)).toString("utf8");
}

export const sameValue = (a: Bytes | null, b: Bytes | null): boolean => (a === null || b === null ? a === b : equal(a, b));
