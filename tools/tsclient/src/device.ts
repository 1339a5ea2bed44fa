// One device: it saves without a network, and keeps in step with a server.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { randomBytes } from "node:crypto";
import {
  Act, type Change, ChangeSchema, Class, type OpRange, OpRangeSchema, OutcomeCode, type Page, type PathWrite, type RecordWrite,
  RecordWriteSchema, type Row as WireRow, RunSchema, ScopePositionSchema, type SyncAnswer, type SyncRequest, SyncRequestSchema, type Trailer,
} from "../gen/tandem/v1/sync_pb.js";
import { bodyOf, comparePaths, numberField, parseBody, stringField } from "./body.js";
import { type Bytes, concat, equal, hex, idText, newID, sha256, stampOf, u64, unhex } from "./bytes.js";
import { Link, NoAnswer } from "./link.js";
import { batchText, certificateFor, enrolmentText, envelopeHash, keyOf, publicOf, signWith } from "./proof.js";
import { type State, basesOf, conflicts, decode, encode, rowHash, splice, term, write } from "./state.js";
import { type Kept, type Op, type Row, Store } from "./store.js";

const schema = 1;
const pageBytes = 256 << 10;
const pushBytes = 64 << 10;
const pushChanges = 500;
const zeroHash = "00".repeat(32);

export type Report = {
  requests: number; pushed: number; rows: number; cuts: number; verified: number; differing: number; asked: number; unserved: boolean;
};

const nothing = (): Report => ({ requests: 0, pushed: 0, rows: 0, cuts: 0, verified: 0, differing: 0, asked: 0, unserved: false });

const short = (hash: string): string => hash.slice(0, 16);

const holds = (ranges: OpRange[], op: number): boolean => ranges.some((r) => r.first <= BigInt(op) && BigInt(op) <= r.last);

const applied = (code: number): boolean => code === OutcomeCode.APPLIED || code === OutcomeCode.APPLIED_WITH_CONFLICT;

export class Device {
  private readonly store: Store;
  private link: Link | null = null;
  private readonly boot = randomBytes(8);
  // last is the newest request that carried changes, to be sent again as it was.
  private last: SyncRequest | null = null;

  constructor(file: string) {
    this.store = new Store(file);
  }

  get kept(): Kept {
    return this.store.kept;
  }

  async enrol(server: string, code: string): Promise<void> {
    if (this.kept.seed === "") {
      // Kept first, so that a repeated call is the same call.
      this.store.change((k) => {
        k.seed = hex(randomBytes(32));
        k.replica = hex(randomBytes(16));
      });
    }
    const key = keyOf(unhex(this.kept.seed));
    const replica = unhex(this.kept.replica);
    const got = await new Link(server, null).enrol({ code, publicKey: publicOf(key), proof: signWith(key, enrolmentText(code, replica)), replica });
    certificateFor(got.certificate, got.orgKey, publicOf(key));
    this.store.change((k) => {
      Object.assign(k, {
        server, certificate: got.certificate, orgKey: hex(got.orgKey), org: hex(got.org), person: hex(got.person), device: hex(got.device),
        agency: hex(got.agency), teams: got.teams.map(hex), programs: got.programs.map(hex),
      });
    });
  }

  private way(): Link {
    if (this.kept.certificate === "") throw new Error("not enrolled");
    this.link ??= new Link(this.kept.server, { key: keyOf(unhex(this.kept.seed)), certificate: this.kept.certificate });
    return this.link;
  }

  // --- saves

  // create makes a record of a kind, of the first team of its author.
  create(kind: number, lifecycle: string, fields: Bytes[], urgent = false): string {
    const k = this.kept;
    const record = newID(Date.now());
    const owner = [stringField(1, idText(unhex(k.agency))), stringField(2, idText(unhex(k.programs[0]!))), stringField(3, idText(unhex(k.teams[0]!)))];
    const body = bodyOf([...owner, stringField(4, lifecycle), numberField(7, schema), ...fields]);
    this.capture([create(RecordWriteSchema, { record, kind, act: Act.CREATE, body })], urgent);
    return hex(record);
  }

  // set writes fields of a record; null clears one.
  set(record: string, fields: { field: number; raw: Bytes | null }[], urgent = false): void {
    const shown = this.shown(record);
    if (!shown) throw new Error("the record is not on this device");
    const state = decode(shown.body, shown.stamps);
    const none = new Uint8Array(0);
    const writes = fields.map(({ field, raw }) => ({
      field, key: none, value: raw ?? none, bases: concat(...basesOf(state, { field, key: none }).map(u64)),
    }));
    this.capture([create(RecordWriteSchema, { record: unhex(record), kind: shown.kind, act: Act.SET, writes })], urgent);
  }

  // capture puts a save into the outbox: it is saved when this returns.
  private capture(records: RecordWrite[], urgent: boolean): void {
    this.store.change((k) => {
      const id = newID(Date.now());
      const change = create(ChangeSchema, {
        id, records, class: urgent ? Class.URGENT : Class.NORMAL, author: unhex(k.person), device: unhex(k.device), schema, appVersion: "tsclient",
        grant: k.scopes.length > 0 ? this.scopeSet(k).subarray(0, 8) : new Uint8Array(0),
        time: {
          wallMs: BigInt(Date.now()), monoMs: process.hrtime.bigint() / 1_000_000n, boot: this.boot,
          offsetMs: BigInt(k.offset ?? 0), offsetKnown: k.offset !== null,
        },
      });
      const raw = toBinary(ChangeSchema, change) as Bytes;
      const n = k.ops.length + 1;
      const prev = k.ops.at(-1)?.envelope ?? zeroHash;
      k.ops.push({
        n, id: hex(id), raw: hex(raw), prev, envelope: hex(envelopeHash(unhex(k.replica), n, unhex(prev), sha256(raw))),
        records: [...new Set(records.map((r) => hex(r.record)))], urgency: change.class, state: "queued", code: 0, refusal: 0, fields: [], reason: "",
      });
    });
  }

  // --- what a screen shows

  // shown is a record at the last cut with the own unsettled changes on top; null for
  // none.
  shown(record: string): { kind: number; body: Bytes; stamps: Bytes } | null {
    const row = this.kept.records[record];
    const visible = row && row.scopes.some((s) => this.kept.scopes.some((h) => h.id === s && h.ready));
    return over(visible ? row : null, record, this.kept.ops.filter((o) => o.state === "queued" || o.state === "applied"));
  }

  list(kind: number): { record: string; body: Bytes; conflicts: number; hash: bigint }[] {
    const own = this.kept.ops.flatMap((o) => o.records);
    return [...new Set([...Object.keys(this.kept.records), ...own])].sort().flatMap((record) => {
      const r = this.shown(record);
      if (!r || r.kind !== kind) return [];
      return [{ record, body: r.body, conflicts: conflicts(decode(r.body, r.stamps)), hash: rowHash(r.body, r.stamps) }];
    });
  }

  // --- syncing

  private scopeSet(k: Kept): Bytes {
    return sha256(...k.scopes.map((s) => unhex(s.id)).sort(Buffer.compare)).slice(0, 16) as Bytes;
  }

  private stand(k: Kept): { position: string; scope: string }[] {
    const backfill = [...k.scopes].sort((a, b) => Number(b.open) - Number(a.open)).filter((s) => !s.ready);
    return [{ scope: "", position: k.position }, ...backfill.map((s) => ({ scope: s.id, position: s.position }))];
  }

  private plan(): { req: SyncRequest; ops: Op[] } {
    const k = this.kept;
    const known = k.ops[k.known - 1];
    const req = create(SyncRequestSchema, {
      knownOp: BigInt(k.known), knownHash: known ? unhex(short(known.envelope)) : new Uint8Array(0), newestOp: BigInt(k.ops.length),
      positions: this.stand(k).map((p) => create(ScopePositionSchema, { scope: unhex(p.scope), position: unhex(p.position) })),
      scopeSet: this.scopeSet(k), budget: pageBytes, want: k.want.slice(0, 256).map(unhex), schema, wallMs: BigInt(Date.now()),
      epoch: unhex(k.epoch), oldestKept: 1n, ask: randomBytes(8),
    });
    const queued = k.ops.filter((o) => o.state === "queued");
    if (k.asking || k.forked) {
      req.unsettled = rangesOf(queued.map((o) => o.n));
      return { req, ops: [] };
    }
    const ops: Op[] = [];
    let size = 0;
    for (const o of queued) {
      size += o.raw.length / 2;
      if (ops.length > 0 && (size > pushBytes || ops.length === pushChanges)) break;
      ops.push(o);
    }
    const ends: Bytes[] = [];
    ops.forEach((o, i) => {
      if (ops[i - 1]?.n !== o.n - 1) {
        req.runs.push(create(RunSchema, { firstOp: BigInt(o.n), prevHash: unhex(o.prev) }));
        ends.push(unhex(o.envelope));
      }
      req.runs.at(-1)!.changes.push(unhex(o.raw));
      ends[ends.length - 1] = unhex(o.envelope);
    });
    if (ops.length > 0) req.signature = signWith(keyOf(unhex(k.seed)), batchText(ends));
    return { req, ops };
  }

  // sync sends what waits and reads to the end of what is there.
  async sync(): Promise<Report> {
    const report = nothing();
    for (let round = 0; round < 100; round++) {
      const { req, ops } = this.plan();
      if (ops.length > 0) this.last = req;
      const asking = this.kept.asking;
      if (asking) report.asked++;
      report.requests++;
      report.pushed += ops.length;
      let answer: SyncAnswer;
      try {
        answer = await this.way().exchange(req);
      } catch (err) {
        if (err instanceof NoAnswer && ops.length > 0) this.store.change((k) => (k.asking = true));
        throw err;
      }
      let more = false;
      this.store.change((k) => {
        if (asking) k.asking = false;
        more = this.receive(k, req, answer, report);
      });
      if (this.kept.forked) throw new Error("another history has this replica's id: it needs a new one");
      // While the server sends no pages there is no cut to wait for.
      report.unserved = answer.trailer!.recovering || answer.trailer!.unconfirmed;
      const left = (state: Op["state"]) => this.kept.ops.some((o) => o.state === state);
      if (!more && !left("queued") && (report.unserved || !left("applied"))) return report;
    }
    throw new Error("the sync comes to no end");
  }

  // replay sends the newest push once more, as it was, and takes in what comes back.
  async replay(): Promise<{ codes: number[]; changed: boolean }> {
    if (!this.last) throw new Error("nothing was pushed yet");
    const before = JSON.stringify(this.kept);
    const answer = await this.way().exchange(this.last);
    this.store.change((k) => void this.receive(k, this.last!, answer, nothing()));
    return { codes: answer.outcomes.map((o) => o.code), changed: JSON.stringify(this.kept) !== before };
  }

  // receive takes in a whole answer, and reports whether there is more to do.
  private receive(k: Kept, req: SyncRequest, answer: SyncAnswer, report: Report): boolean {
    const t = answer.trailer!;
    k.offset = Number(t.serverMs) - Date.now();
    if (!this.era(k, req, t)) return true;
    if (this.forks(k, answer)) {
      k.forked = true;
      return false;
    }
    for (const o of answer.outcomes) {
      const op = k.ops[Number(o.op) - 1];
      if (!op || op.state === "settled" || op.state === "closed" || (op.state === "applied" && applied(o.code))) continue;
      if (op.state === "applied") continue; // Late: it went from quarantine to an end, never back.
      op.code = o.code;
      op.refusal = o.refusal;
      op.fields = o.fields;
      op.reason = o.reason;
      op.state = applied(o.code) ? "applied" : o.code === OutcomeCode.QUARANTINED ? "apart" : "closed";
      k.known = Math.max(k.known, op.n);
    }
    if (t.recovering || t.unconfirmed) return false;
    return this.page(k, req, answer.page, t, report);
  }

  // era sees in which epoch of the server's history the answer was given; false: it does
  // not count.
  private era(k: Kept, req: SyncRequest, t: Trailer): boolean {
    const epoch = hex(t.epoch);
    const known = Number(req.knownOp);
    if (epoch === "" || k.epoch === "") {
      k.epoch ||= epoch;
      return true;
    }
    if (epoch === k.epoch) {
      const told = t.processed.length > 0 || t.highestOp === 0n;
      if (told && known > 0 && !holds(t.processed, known)) {
        this.offerAgain(k, t);
        k.known = Number(t.highestOp);
      }
      return true;
    }
    if (hex(req.epoch) !== k.epoch || k.past.includes(epoch)) return false;
    k.past.push(k.epoch);
    k.epoch = epoch;
    k.known = 0;
    this.offerAgain(k, t);
    this.beginAnew(k);
    return true;
  }

  // offerAgain queues what the server has lost, and asks anew for verdicts that no cut has
  // confirmed.
  private offerAgain(k: Kept, t: Trailer): void {
    for (const o of k.ops) {
      if (!holds(t.processed, o.n) || o.state !== "settled") o.state = "queued";
    }
    k.asking = true;
  }

  // beginAnew drops what was read, and reads it again from the start: what a client does
  // that does not compare by digest (Reconcile).
  private beginAnew(k: Kept): void {
    k.position = "";
    k.records = {};
    k.staged = {};
    k.want = [];
    for (const s of k.scopes) Object.assign(s, { ready: false, position: "", verified: false });
  }

  private forks(k: Kept, answer: SyncAnswer): boolean {
    const t = answer.trailer!;
    const another = answer.outcomes.some((o) => {
      const op = k.ops[Number(o.op) - 1];
      return o.code === OutcomeCode.FORK || (o.envelope.length > 0 && op && hex(o.envelope) !== short(op.envelope));
    });
    const highest = Number(t.highestOp);
    const own = k.ops[highest - 1];
    return another || highest > k.ops.length || (own !== undefined && hex(t.highestHash) !== short(own.envelope));
  }

  private page(k: Kept, req: SyncRequest, p: Page | undefined, t: Trailer, report: Report): boolean {
    if (!p) {
      if (req.budget > 0) this.settle(k, t);
      return t.more;
    }
    const stands = this.stand(k);
    const same = req.positions.length === stands.length &&
      req.positions.every((r, i) => hex(r.scope) === stands[i]!.scope && hex(r.position) === stands[i]!.position);
    if (!same || !equal(req.scopeSet, this.scopeSet(k))) return true;
    if (p.scopeSet) {
      const listed = p.scopeSet.scopes.map((s) => hex(s.id));
      k.scopes = k.scopes.filter((s) => listed.includes(s.id));
      for (const rows of [k.records, k.staged]) {
        for (const [id, row] of Object.entries(rows)) {
          const left = row.scopes.filter((s) => listed.includes(s));
          if (left.length === 0 && rows === k.records) delete rows[id];
          else row.scopes = left;
        }
      }
      for (const s of p.scopeSet.scopes) {
        if (!k.scopes.some((h) => h.id === hex(s.id))) {
          k.scopes.push({ id: hex(s.id), open: s.open, ready: false, position: "", verified: false });
        }
      }
      return true;
    }
    if (p.reconcile) {
      this.beginAnew(k);
      return true;
    }
    const starts = p.from.length > 0 && p.from.length === p.to.length && p.from.every((f, i) =>
      stands.some((s) => s.scope === hex(f.scope) && s.position === hex(f.position)) && equal(f.scope, p.to[i]!.scope) && (i === 0) === (f.scope.length === 0));
    if (!starts || p.scopes.some((id) => !k.scopes.some((s) => s.id === hex(id)))) return true;
    // All rows, or none: a cut is whole.
    const rows = p.rows.map((row) => ({ row, state: this.resolve(k, row, p, t) }));
    const lacking = rows.filter((r) => !r.state).map((r) => hex(r.row.record));
    if (lacking.length > 0) {
      k.want = [...new Set([...k.want, ...lacking])].slice(0, 256);
      return true;
    }
    for (const { row, state } of rows) k.staged[hex(row.record)] = state!;
    const told = p.rows.map((r) => hex(r.record));
    const asked = req.want.map(hex);
    k.want = k.want.filter((w) => !told.includes(w) && !(p.closing && !t.more && asked.includes(w)));
    report.rows += p.rows.length;
    p.to.forEach((to) => {
      if (to.scope.length === 0) k.position = hex(to.position);
      else k.scopes.find((s) => s.id === hex(to.scope))!.position = hex(to.position);
    });
    if (!p.closing) return true;
    this.flip(k, p, t, report);
    return t.more || k.scopes.some((s) => !s.ready);
  }

  // resolve is the whole state that a row stands for; null where this device cannot tell.
  private resolve(k: Kept, row: WireRow, p: Page, t: Trailer): Row | null {
    const id = hex(row.record);
    const scopes = p.scopes.map(hex).filter((_, i) => (row.scopes >> BigInt(i)) & 1n);
    if (scopes.length === 0) return { kind: row.kind, scopes, body: "", stamps: "" };
    const whole = (body: Uint8Array, stamps: Uint8Array): Row => ({ kind: row.kind, scopes, body: hex(body), stamps: hex(stamps) });
    if (!row.echo && row.deltas.length === 0) {
      decode(row.body as Bytes, row.stamps as Bytes);
      return whole(row.body, row.stamps);
    }
    const held = k.staged[id] ?? k.records[id];
    const base = held && held.scopes.length > 0 ? held : null;
    if (base && rowHash(unhex(base.body), unhex(base.stamps)) === row.hash) return { ...base, scopes };
    let next: { body: Bytes; stamps: Bytes } | null = null;
    if (row.echo) next = over(base, id, k.ops.filter((o) => o.state === "applied" && holds(t.processed, o.n) && !holds(t.apart, o.n)));
    else if (base) next = encode(splice(decode(unhex(base.body), unhex(base.stamps)), row.deltas));
    return next && rowHash(next.body, next.stamps) === row.hash ? whole(next.body, next.stamps) : null;
  }

  // flip shows the new cut.
  private flip(k: Kept, p: Page, t: Trailer, report: Report): void {
    for (const i of p.ready) {
      const s = k.scopes.find((s) => s.id === hex(p.scopes[i]!))!;
      s.ready = true;
      s.position = "";
    }
    for (const [id, row] of Object.entries(k.staged)) {
      if (row.scopes.length > 0) k.records[id] = row;
      else delete k.records[id];
    }
    k.staged = {};
    this.settle(k, t);
    report.cuts++;
    report.verified = report.differing = 0;
    for (const d of t.digests) {
      const s = k.scopes.find((s) => s.id === hex(d.scope));
      if (!s?.ready) continue;
      s.verified = digest(k, s.id) === BigInt("0x" + hex(d.sum));
      if (s.verified) report.verified++;
      else report.differing++;
    }
    if (report.differing > 0) this.beginAnew(k);
  }

  private settle(k: Kept, t: Trailer): void {
    for (const o of k.ops) {
      if (o.state === "applied" && holds(t.processed, o.n) && !holds(t.apart, o.n)) o.state = "settled";
    }
  }

  // verify computes every row hash and digest anew.
  verify(): { scopes: { id: string; sum: string; ready: boolean; verified: boolean; records: number }[] } {
    const k = this.kept;
    return {
      scopes: k.scopes.map((s) => ({
        id: s.id, sum: digest(k, s.id).toString(16).padStart(32, "0"), ready: s.ready, verified: s.verified,
        records: Object.values(k.records).filter((r) => r.scopes.includes(s.id)).length,
      })),
    };
  }
}

// digest is the sum over the records of a scope.
function digest(k: Kept, scope: string): bigint {
  let sum = 0n;
  for (const [id, row] of Object.entries(k.records)) {
    if (row.scopes.includes(scope)) sum += term(unhex(id), rowHash(unhex(row.body), unhex(row.stamps)));
  }
  return sum & ((1n << 128n) - 1n);
}

function rangesOf(ops: number[]): OpRange[] {
  const out: OpRange[] = [];
  for (const n of ops) {
    const last = out.at(-1);
    if (last && last.last === BigInt(n - 1)) last.last = BigInt(n);
    else out.push(create(OpRangeSchema, { first: BigInt(n), last: BigInt(n) }));
  }
  return out;
}

// over puts own changes on top of a state; null where nothing is left.
function over(base: Row | null, record: string, ops: Op[]): { kind: number; body: Bytes; stamps: Bytes } | null {
  let out = base ? { kind: base.kind, body: unhex(base.body), stamps: unhex(base.stamps) } : null;
  for (const op of ops) {
    if (!op.records.includes(record)) continue;
    const change = fromBinary(ChangeSchema, unhex(op.raw));
    for (const w of change.records.filter((w) => hex(w.record) === record)) out = put(out, change, w);
  }
  return out;
}

function put(on: { kind: number; body: Bytes; stamps: Bytes } | null, change: Change, w: RecordWrite): typeof on {
  const by = {
    stamp: stampOf(change.id), author: change.author as Bytes, device: change.device as Bytes, atMS: change.time?.wallMs ?? 0n, receivedMS: 0n,
  };
  if (w.act === Act.CREATE) {
    if (on) return on;
    const created: State = {
      stamps: { $typeName: "tandem.v1.Stamps", created: by.stamp, author: by.author, device: by.device, atMs: by.atMS, paths: [], compartment: w.compartment, rev: 0 },
      paths: parseBody(w.body as Bytes).map((f) => ({ path: f.path, heads: [{ ...by, raw: f.raw }], displayed: 0 })),
    };
    return { kind: w.kind, ...encode(created) };
  }
  if (!on) return null;
  let state = decode(on.body, on.stamps);
  for (const pw of sorted(w.writes)) {
    const bases: bigint[] = [];
    for (let i = 0; i + 8 <= pw.bases.length; i += 8) bases.push(new DataView(pw.bases.buffer, pw.bases.byteOffset).getBigUint64(i));
    state = write(state, { field: pw.field, key: pw.key as Bytes }, pw.value.length > 0 ? (pw.value as Bytes) : null, bases, by);
  }
  return { kind: on.kind, ...encode(state) };
}

const sorted = (writes: PathWrite[]): PathWrite[] =>
  [...writes].sort((a, b) => comparePaths({ field: a.field, key: a.key as Bytes }, { field: b.field, key: b.key as Bytes }));
