// A record taken apart: body and stamps as the heads of each path, and spliced again.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Head as WireHead, HeadSchema, type PathDelta, type PathStamps, PathStampsSchema, type Stamps, StampsSchema } from "../gen/tandem/v1/sync_pb.js";
import { type Path, Malformed, comparePaths, parseBody, sameValue } from "./body.js";
import { type Bytes, concat, equal, readU64, sha256, u64 } from "./bytes.js";

export type Head = { stamp: bigint; raw: Bytes | null; author: Bytes; device: Bytes; atMS: bigint; receivedMS: bigint };

// displayed is the index of the displayed head, -1 for none.
export type PathState = { path: Path; heads: Head[]; displayed: number };

export type State = { stamps: Stamps; paths: PathState[] };

const none = new Uint8Array(0);

export const rowHash = (body: Bytes, stamps: Bytes): bigint => readU64(sha256(body, stamps));

// term is what a record adds to the digest of each of its scopes.
export function term(record: Bytes, hash: bigint): bigint {
  const h = sha256(record, u64(hash));
  return (readU64(h) << 64n) | readU64(h.subarray(8));
}

// place reads the heads of a path from their wire form, as the stamps of a record list
// them. shown is the displayed value, where there is one: it stands in the body alone.
function place(path: Path, wire: PathStamps, shown: Bytes | null): PathState {
  const heads = wire.heads.map((h): Head => ({
    stamp: h.stamp, raw: h.cleared ? null : (h.value as Bytes), author: h.author as Bytes, device: h.device as Bytes,
    atMS: h.atMs, receivedMS: h.receivedMs,
  }));
  const displayed = wire.noneDisplayed ? -1 : heads.length === 1 ? 0 : wire.displayed - 1;
  if (heads.length === 0 || displayed >= heads.length || (displayed < 0 && !wire.noneDisplayed)) throw new Malformed("stamps of a path");
  const at = heads[displayed];
  if (at && at.raw !== null) at.raw = shown ?? none;
  if ((at && at.raw !== null) !== (shown !== null)) throw new Malformed("stamps and body do not fit together");
  return { path, heads, displayed };
}

function createdHead(stamps: Stamps, raw: Bytes): Head {
  return { stamp: stamps.created, raw, author: stamps.author as Bytes, device: stamps.device as Bytes, atMS: stamps.atMs, receivedMS: 0n };
}

export function decode(body: Bytes, stamps: Bytes): State {
  const wire = fromBinary(StampsSchema, stamps);
  if (!equal(toBinary(StampsSchema, wire), stamps) || wire.created === 0n) throw new Malformed("stamps are not canonical");
  const fields = parseBody(body);
  const listed = wire.paths.map((p): Path => ({ field: p.field, key: p.key as Bytes }));
  const paths: PathState[] = [];
  for (const f of fields) {
    if (!listed.some((p) => comparePaths(p, f.path) === 0)) {
      paths.push({ path: f.path, heads: [createdHead(wire, f.raw)], displayed: 0 });
    }
  }
  wire.paths.forEach((p, i) => {
    const path = listed[i]!;
    const field = fields.find((f) => comparePaths(f.path, path) === 0);
    paths.push(place(path, p, field?.raw ?? null));
  });
  paths.sort((a, b) => comparePaths(a.path, b.path));
  return { stamps: wire, paths };
}

export function encode(s: State): { body: Bytes; stamps: Bytes } {
  const body = concat(...s.paths.map((p) => p.heads[p.displayed]?.raw ?? none));
  const listed = s.paths.filter((p) => !plain(s, p)).map((p) => create(PathStampsSchema, {
    field: p.path.field, key: p.path.key,
    displayed: p.heads.length > 1 && p.displayed >= 0 ? p.displayed + 1 : 0,
    noneDisplayed: p.displayed < 0,
    heads: p.heads.map((h, i): WireHead => {
      const several = p.heads.length > 1 || p.displayed < 0;
      return create(HeadSchema, {
        stamp: h.stamp, cleared: h.raw === null, value: i !== p.displayed && h.raw ? h.raw : none,
        author: several ? h.author : none, device: several ? h.device : none,
        atMs: several ? h.atMS : 0n, receivedMs: several ? h.receivedMS : 0n,
      });
    }),
  }));
  const stamps = toBinary(StampsSchema, create(StampsSchema, { ...s.stamps, paths: listed }));
  return { body, stamps: stamps as Bytes };
}

// plain: the path stands as the creating change left it, and is not listed.
function plain(s: State, p: PathState): boolean {
  const h = p.heads[0];
  return p.heads.length === 1 && p.displayed === 0 && h?.stamp === s.stamps.created && h.raw !== null;
}

// splice puts the touched paths of a row into a state.
export function splice(s: State, deltas: PathDelta[]): State {
  const paths = s.paths.slice();
  for (const d of deltas) {
    const path: Path = { field: d.field, key: d.key as Bytes };
    const i = paths.findIndex((p) => comparePaths(p.path, path) === 0);
    if (i >= 0) paths.splice(i, 1);
    const shown = d.value.length > 0 ? (d.value as Bytes) : null;
    if (d.stamps) paths.push(place(path, d.stamps, shown));
    else if (shown) paths.push({ path, heads: [createdHead(s.stamps, shown)], displayed: 0 });
  }
  paths.sort((a, b) => comparePaths(a.path, b.path));
  return { stamps: s.stamps, paths };
}

// basesOf are the stamps that a write on this screen names: every head whose value is
// the displayed one, zero for a path never written.
export function basesOf(s: State, path: Path): bigint[] {
  const p = s.paths.find((p) => comparePaths(p.path, path) === 0);
  if (!p) return [0n];
  const shown = p.heads[p.displayed]?.raw ?? null;
  return p.heads.filter((h) => p.displayed < 0 || sameValue(h.raw, shown)).map((h) => h.stamp);
}

// write puts an own write on top: enough for a screen until the server's row comes,
// which alone says what the record is.
export function write(s: State, path: Path, raw: Bytes | null, bases: bigint[], by: Omit<Head, "raw">): State {
  const paths = s.paths.filter((p) => comparePaths(p.path, path) !== 0);
  const before = s.paths.find((p) => comparePaths(p.path, path) === 0);
  const heads = (before?.heads ?? []).filter((h) => !bases.includes(h.stamp));
  paths.push({ path, heads: [...heads, { ...by, raw }], displayed: 0 });
  paths.sort((a, b) => comparePaths(a.path, b.path));
  return { stamps: s.stamps, paths };
}

// conflicts counts the paths where two heads differ.
export function conflicts(s: State): number {
  return s.paths.filter((p) => p.displayed < 0 || p.heads.some((h) => !sameValue(h.raw, p.heads[0]!.raw))).length;
}
