// Commands on standard input, one JSON object a line; an answer for each on standard
// output.

import { createInterface } from "node:readline";
import { numberField, stringField, textOf } from "./body.js";
import { idText, unhex } from "./bytes.js";
import { Device } from "./device.js";
import { NoAnswer, Refused } from "./link.js";
import { checkVectors } from "./vectors.js";

type Command = {
  do: string; store?: string; server?: string; code?: string; kind?: number; lifecycle?: string; record?: string; urgent?: boolean;
  texts?: Record<string, string>; numbers?: Record<string, number>; clear?: number[]; field?: number; dir?: string;
};

let device: Device | null = null;

function opened(): Device {
  if (!device) throw new Error("open a store first");
  return device;
}

const fieldsOf = (c: Command) => [
  ...Object.entries(c.texts ?? {}).map(([n, v]) => ({ field: Number(n), raw: stringField(Number(n), v) })),
  ...Object.entries(c.numbers ?? {}).map(([n, v]) => ({ field: Number(n), raw: numberField(Number(n), v) })),
  ...(c.clear ?? []).map((n) => ({ field: n, raw: null })),
];

async function run(c: Command): Promise<object> {
  switch (c.do) {
    case "open":
      device = new Device(c.store!);
      return { saved: device.kept.ops.length, enrolled: device.kept.certificate !== "" };
    case "enrol":
      await opened().enrol(c.server!, c.code!);
      return { device: idText(unhex(opened().kept.device)) };
    case "create":
      return { record: opened().create(c.kind!, c.lifecycle!, fieldsOf(c).flatMap((f) => f.raw ?? []), c.urgent) };
    case "set":
      opened().set(c.record!, fieldsOf(c), c.urgent);
      return {};
    case "sync":
      return await opened().sync();
    case "replay":
      return await opened().replay();
    case "list":
      return {
        records: opened().list(c.kind!).map((r) => ({ record: r.record, text: textOf(r.body, c.field!), conflicts: r.conflicts, hash: r.hash.toString(16).padStart(16, "0") })),
      };
    case "ops":
      return { ops: opened().kept.ops.map((o) => ({ n: o.n, state: o.state, code: o.code, refusal: o.refusal, fields: o.fields })) };
    case "verify":
      return opened().verify();
    case "vectors":
      return { checked: checkVectors(c.dir!) };
  }
  throw new Error("no such command");
}

for await (const line of createInterface({ input: process.stdin })) {
  let said: object;
  try {
    said = { ok: true, ...(await run(JSON.parse(line) as Command)) };
  } catch (err) {
    const kind = err instanceof NoAnswer ? "no_answer" : err instanceof Refused ? "refused" : "failed";
    said = { ok: false, kind, code: err instanceof Refused ? err.code : "", words: err instanceof Error ? err.message : String(err) };
  }
  process.stdout.write(JSON.stringify(said) + "\n");
}
