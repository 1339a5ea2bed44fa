// What the device keeps, in one file of JSON that is replaced whole: bytes in hex.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

// An own change. It is queued until a verdict comes; applied until a cut includes it;
// settled then. Apart: in quarantine. Closed: dismissed or replaced.
export type Op = {
  n: number; id: string; raw: string; prev: string; envelope: string; records: string[]; urgency: number;
  state: "queued" | "applied" | "settled" | "apart" | "closed";
  code: number; refusal: number; fields: string[]; reason: string;
};

export type Scope = { id: string; open: boolean; ready: boolean; position: string; verified: boolean };

// A record as the server last stated it, and the scopes of the device that it is in.
export type Row = { kind: number; scopes: string[]; body: string; stamps: string };

export type Kept = {
  server: string; seed: string; replica: string; certificate: string; orgKey: string;
  org: string; person: string; device: string; agency: string; teams: string[]; programs: string[];
  epoch: string; past: string[]; position: string; ops: Op[]; known: number; scopes: Scope[];
  records: Record<string, Row>; staged: Record<string, Row>; want: string[];
  // asking: a push has no answer, so the next request asks and carries no changes.
  asking: boolean; forked: boolean; offset: number | null;
};

export class Store {
  kept: Kept;

  constructor(private readonly file: string) {
    this.kept = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Kept) : {
      server: "", seed: "", replica: "", certificate: "", orgKey: "", org: "", person: "", device: "", agency: "", teams: [], programs: [],
      epoch: "", past: [], position: "", ops: [], known: 0, scopes: [], records: {}, staged: {}, want: [],
      asking: false, forked: false, offset: null,
    };
  }

  // change does one step: all of it is on the disk when change returns, or none.
  change(step: (kept: Kept) => void): void {
    const next = structuredClone(this.kept);
    step(next);
    const fd = openSync(this.file + ".new", "w", 0o600);
    writeSync(fd, JSON.stringify(next));
    fsyncSync(fd);
    closeSync(fd);
    renameSync(this.file + ".new", this.file);
    const dir = openSync(dirname(this.file), "r");
    fsyncSync(dir);
    closeSync(dir);
    this.kept = next;
  }
}
