// Reads the tables of a directory with programs that are not ours and prints them as JSON:
// {table: [{column: value}]}. The first argument says which: duckdb or hyparquet for
// Parquet files, exceljs for a workbook. Every value is text as the CSV files have it.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const [reader, dir] = process.argv.slice(2);
const tables = {};

function text(v) {
  if (v === null || v === undefined) return '';
  if (Array.isArray(v)) return v.map(text);
  if (typeof v === 'bigint') return v.toString();
  if (v instanceof Date) return v.toISOString();
  if (typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, text(x)]));
  return String(v);
}

const files = readdirSync(dir).filter((n) => n.endsWith('.parquet')).sort();
if (reader === 'duckdb') {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  await db.run("SET TimeZone='UTC'");
  for (const name of files) {
    const result = await db.runAndReadAll(`SELECT * FROM read_parquet('${join(dir, name).replaceAll("'", "''")}')`);
    const rows = result.getRowObjectsJson();
    tables[basename(name, '.parquet')] = rows.map(text);
  }
} else if (reader === 'hyparquet') {
  const { parquetReadObjects, parquetMetadata } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  for (const name of files) {
    const b = readFileSync(join(dir, name));
    const file = b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
    tables[basename(name, '.parquet')] = (await parquetReadObjects({ file, compressors, utf8: true })).map(text);
    tables['meta ' + basename(name, '.parquet')] = parquetMetadata(file).key_value_metadata;
  }
} else {
  const { default: excel } = await import('exceljs');
  const book = new excel.Workbook();
  await book.xlsx.readFile(join(dir, 'records.xlsx'));
  for (const sheet of book.worksheets) {
    const names = [];
    const rows = [];
    sheet.eachRow((row, n) => {
      if (n === 1) {
        row.eachCell((c, i) => { names[i] = c.value; });
        return;
      }
      const out = Object.fromEntries(names.slice(1).map((k) => [k, '']));
      row.eachCell((c, i) => {
        const v = text(c.value);
        // It leaves escapes (ECMA-376, ST_Xstring) in inline strings as they stand.
        out[names[i]] = c.value instanceof Date && !/h/.test(c.numFmt) ? v.slice(0, 10)
          : v.replace(/_x([0-9A-Fa-f]{4})_/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
      });
      rows.push(out);
    });
    tables[sheet.name] = rows;
    tables['head ' + sheet.name] = { frozen: sheet.views[0]?.ySplit === 1, filter: Boolean(sheet.autoFilter), bold: Boolean(sheet.getCell('A1').font?.bold) };
  }
}
console.log(JSON.stringify(tables));
