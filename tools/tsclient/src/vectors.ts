// The test vectors of docs/protocol.md, made again here: see testdata/protocol.

import { fromBinary } from "@bufbuild/protobuf";
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { RowSchema, SyncRequestSchema, SyncResponseSchema } from "../gen/tandem/v1/sync_pb.js";
import { parseBody } from "./body.js";
import { type Bytes, base64url, concat, equal, hex, idText, sha256, stampOf, text, unhex } from "./bytes.js";
import { unframe } from "./link.js";
import { batchText, certificateFor, enrolmentText, envelopeHash, foldCode, keyOf, proofOf, publicOf, signWith, signed } from "./proof.js";
import { conflicts, decode, encode, rowHash, splice, term } from "./state.js";

type Vectors = {
  "enrolment.json": Record<
    "seed" | "public_key" | "org_key" | "replica" | "replica_text" | "code" | "code_folded" | "proof" | "certificate" | "method" | "url" | "nonce" | "ath" | "dpop",
    string
  >;
  "bodies.json": { name: string; body: string; paths?: { field: number; key: string; raw: string }[]; error?: string }[];
  "changes.json": {
    replica: string; seed: string;
    ops: { op: number; id: string; stamp: string; raw: string; prev: string; body_hash: string; envelope: string }[];
    pushes: { runs: number[][]; hash: string; signature: string; request: string }[];
  };
  "records.json": {
    record: string;
    states: { body: string; stamps: string; row_hash: string; term: string; conflicts?: object[]; delta?: string }[];
  };
  "digests.json": {
    members: { record: string; row_hash: string; term: string; sum: string; bucket: number }[];
    scope_sets: { scopes: string[]; hash: string }[];
  };
  "frames.json": { name: string; response: string; whole: boolean }[];
};

const digits = (n: bigint, size: number): string => n.toString(16).padStart(size, "0");

// checkVectors throws where a vector does not come out, and returns how many did.
export function checkVectors(dir: string): number {
  const read = <N extends keyof Vectors>(name: N) => JSON.parse(readFileSync(join(dir, name), "utf8")) as Vectors[N];
  let checked = 0;
  const check = (what: string, test: () => void) => {
    try {
      test();
    } catch (err) {
      throw new Error(`${what}: ${err instanceof Error ? err.message : String(err)}`);
    }
    checked++;
  };

  const e = read("enrolment.json");
  const key = keyOf(unhex(e.seed));
  check("public key", () => strictEqual(hex(publicOf(key)), e.public_key));
  check("text of an id", () => strictEqual(idText(unhex(e.replica)), e.replica_text));
  check("folded code", () => strictEqual(foldCode(e.code), e.code_folded));
  check("proof of possession", () => strictEqual(hex(signWith(key, enrolmentText(e.code, unhex(e.replica)))), e.proof));
  check("certificate", () => certificateFor(e.certificate, unhex(e.org_key), publicOf(key)));
  check("certificate of another org", () => ok(throws(() => certificateFor(e.certificate, unhex(e.public_key), publicOf(key)))));
  check("hash of the certificate", () => strictEqual(base64url(sha256(text(e.certificate))), e.ath));
  const claims = (proof: string) => JSON.parse(Buffer.from(proof.split(".")[1]!, "base64url").toString()) as Record<string, unknown>;
  const said = (proof: string) => text(proof.slice(0, proof.lastIndexOf(".")));
  check("proof of a request", () => {
    ok(signed(publicOf(key), said(e.dpop), Buffer.from(e.dpop.split(".")[2]!, "base64url")));
    const own = claims(proofOf(key, e.certificate, e.method, e.url, e.nonce));
    const theirs = claims(e.dpop);
    for (const name of ["htm", "htu", "ath", "nonce"]) strictEqual(own[name], theirs[name]);
    deepStrictEqual(Object.keys(own).sort(), Object.keys(theirs).sort());
  });

  for (const b of read("bodies.json")) {
    check(`body: ${b.name}`, () => {
      if (b.error) {
        ok(throws(() => parseBody(unhex(b.body))), "it is taken");
        return;
      }
      deepStrictEqual(parseBody(unhex(b.body)).map((f) => ({ field: f.path.field, key: hex(f.path.key), raw: hex(f.raw) })), b.paths ?? []);
    });
  }

  const c = read("changes.json");
  for (const op of c.ops) {
    check(`op ${op.op}`, () => {
      strictEqual(hex(sha256(unhex(op.raw))), op.body_hash);
      strictEqual(digits(stampOf(unhex(op.id)), 16), op.stamp);
      strictEqual(hex(envelopeHash(unhex(c.replica), op.op, unhex(op.prev), unhex(op.body_hash))), op.envelope);
      strictEqual(op.prev, c.ops[op.op - 2]?.envelope ?? "00".repeat(32));
    });
  }
  for (const p of c.pushes) {
    check(`push of ${JSON.stringify(p.runs)}`, () => {
      const batch = batchText(p.runs.map((r) => unhex(c.ops[r.at(-1)! - 1]!.envelope)));
      strictEqual(hex(batch.slice("tandem-batch-v1".length)), p.hash);
      strictEqual(hex(signWith(keyOf(unhex(c.seed)), batch)), p.signature);
      const req = fromBinary(SyncRequestSchema, unhex(p.request));
      deepStrictEqual(req.runs.map((r) => r.changes.map(hex)), p.runs.map((r) => r.map((n) => c.ops[n - 1]!.raw)));
    });
  }

  const r = read("records.json");
  let before: { body: Bytes; stamps: Bytes } | null = null;
  for (const [i, s] of r.states.entries()) {
    check(`state ${i + 1}`, () => {
      const body = unhex(s.body);
      const stamps = unhex(s.stamps);
      const state = decode(body, stamps);
      const again = encode(state);
      ok(equal(again.body, body) && equal(again.stamps, stamps), "it is spliced otherwise");
      strictEqual(digits(rowHash(body, stamps), 16), s.row_hash);
      strictEqual(digits(term(unhex(r.record), rowHash(body, stamps)), 32), s.term);
      strictEqual(conflicts(state), s.conflicts?.length ?? 0);
      if (before && s.delta) {
        const row = fromBinary(RowSchema, unhex(s.delta));
        const next = encode(splice(decode(before.body, before.stamps), row.deltas));
        strictEqual(hex(concat(next.body, next.stamps)), s.body + s.stamps);
        strictEqual(digits(row.hash, 16), s.row_hash);
      }
      before = { body, stamps };
    });
  }

  const d = read("digests.json");
  let sum = 0n;
  for (const m of d.members) {
    check(`member ${m.record}`, () => {
      const t = term(unhex(m.record), BigInt("0x" + m.row_hash));
      sum = (sum + t) & ((1n << 128n) - 1n);
      strictEqual(digits(t, 32), m.term);
      strictEqual(digits(sum, 32), m.sum);
      strictEqual(unhex(m.record).at(-1), m.bucket);
    });
  }
  for (const s of d.scope_sets) {
    check("set of scopes", () => strictEqual(hex(sha256(...s.scopes.map(unhex).sort(Buffer.compare)).slice(0, 16)), s.hash));
  }

  for (const f of read("frames.json")) {
    check(`frame: ${f.name}`, () => {
      const resp = fromBinary(SyncResponseSchema, unhex(f.response));
      strictEqual(!throws(() => unframe(resp)), f.whole);
    });
  }
  return checked;
}

function throws(f: () => unknown): boolean {
  try {
    f();
  } catch {
    return true;
  }
  return false;
}
