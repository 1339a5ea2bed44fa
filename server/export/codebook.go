package export

import (
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// codebookColumns are the columns of codebook.csv.
var codebookColumns = []any{
	"table", "column", "position", "type", "required", "cardinality", "code_list", "codes", "label_en", "label_es",
	"definition", "phi", "compartment", "safe_harbor", "fhir_path", "since_schema", "deprecated",
}

// lines takes one line of cells after the other.
type lines func(cells ...any) error

// codebook writes a line for each column of each table.
func codebook(line lines, j *job) error {
	if err := line(codebookColumns...); err != nil {
		return err
	}
	for _, t := range j.tables {
		for i, c := range t.columns {
			cardinality := "0..1"
			if c.required {
				cardinality = "1..1"
			}
			var codes []string
			list := c.rules.GetCodes()
			for _, code := range j.domain.Codes(list) {
				codes = append(codes, code.Code)
			}
			var phi, harbor string
			if c.rules != nil {
				phi, harbor = identifierName(c.rules.GetIdentifier()), harborName(c.harbor)
			} else {
				phi, harbor = ofStamps(c)
			}
			if err := line(t.name, c.name, int64(i+1), c.typ, c.required, cardinality, list, strings.Join(codes, " "), c.en, c.es,
				c.about, phi, compartmentName(t.kind.Compartment), harbor, orNil(fhirPaths[t.name+"."+c.name]), firstSchema, c.deprecated); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofStamps says how far a column identifies that is no field of the record.
func ofStamps(c column) (phi, harbor string) {
	switch {
	case c.name == "id" || c.typ == typeID && strings.HasSuffix(c.name, "_id"):
		return "indirect", "relabel"
	case c.name == "created_at" || c.name == "created_at_year":
		return "indirect", "year"
	case c.name == "seq" || c.name == "import_row":
		return "none", "drop"
	case c.typ == typeInteger || c.name == "compartment":
		return "none", "keep"
	}
	return "indirect", "drop"
}

// codeLists writes a line for each code of each list.
func codeLists(line lines, j *job) error {
	if err := line("code_list", "code", "label_en", "label_es", "retired", "exclusive", "maps_to"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range j.tables {
		for _, c := range t.columns {
			list := c.rules.GetCodes()
			if list == "" || seen[list] {
				continue
			}
			seen[list] = true
			for _, code := range slices.Concat(j.domain.Codes(list), j.own.Of(list, "")) {
				if err := line(list, code.Code, code.EN, code.ES, code.Retired, code.Exclusive, code.MapsTo); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func identifierName(i tandemv1.Identifier) string {
	switch i {
	case tandemv1.Identifier_IDENTIFIER_NONE:
		return "none"
	case tandemv1.Identifier_IDENTIFIER_INDIRECT:
		return "indirect"
	default:
		// What is not stated is held to identify. An element's own key is stated by
		// nothing and identifies nobody outside this database.
		return "direct"
	}
}

func harborName(h tandemv1.SafeHarbor) string {
	switch h {
	case tandemv1.SafeHarbor_SAFE_HARBOR_KEEP:
		return "keep"
	case tandemv1.SafeHarbor_SAFE_HARBOR_YEAR:
		return "year"
	case tandemv1.SafeHarbor_SAFE_HARBOR_ZIP3:
		return "zip3"
	case tandemv1.SafeHarbor_SAFE_HARBOR_BAND:
		return "band"
	case tandemv1.SafeHarbor_SAFE_HARBOR_RELABEL:
		return "relabel"
	default:
		return "drop"
	}
}

// readmeOf is what a person reads first.
func readmeOf(format string) string {
	english, spanish := readmeTables[format][0], readmeTables[format][1]
	return strings.NewReplacer("{{en}}", english, "{{es}}", spanish).Replace(readme)
}

// readmeTables say what the files of a form are.
var readmeTables = map[string][2]string{
	CSV: {`Each CSV file holds one kind of record, or one field that has several values: those
files begin with the id of the record and the place of the value. codebook.csv says what
each column means, codes.csv what each code means, manifest.json what was asked for, what
was left out, and the SHA-256 of each file. All files are UTF-8, with commas, and CRLF at
the end of a line. An empty cell was not recorded. Instants are in UTC; the column beside
them, _local, has the time and offset where the record was made. A _precision of hour, day
or month says that the source was no more exact than that.`,
		`Cada archivo CSV contiene un tipo de registro, o un campo que tiene varios valores: esos
archivos empiezan con el identificador del registro y la posición del valor. codebook.csv
dice qué significa cada columna, codes.csv qué significa cada código, manifest.json qué se
pidió, qué se dejó fuera y el SHA-256 de cada archivo. Todos los archivos están en UTF-8,
con comas y CRLF al final de la línea. Una celda vacía no se registró. Los instantes están
en UTC; la columna de al lado, _local, tiene la hora y la diferencia del lugar donde se
hizo el registro. Un _precision de hour, day o month dice que la fuente no era más exacta.`},
	XLSX: {`Each sheet holds one kind of record, or one field that has several values: those begin
with the id of the record and the place of the value. The sheet Codebook says what each
column means, Codes what each code means, and manifest.json what was asked for, what was
left out, and the SHA-256 of each file. An empty cell was not recorded. Instants are in
UTC; the column beside them, _local, has the time and offset where the record was made.`,
		`Cada hoja contiene un tipo de registro, o un campo que tiene varios valores: esas hojas
empiezan con el identificador del registro y la posición del valor. La hoja Codebook dice
qué significa cada columna, Codes qué significa cada código, y manifest.json qué se pidió,
qué se dejó fuera y el SHA-256 de cada archivo. Una celda vacía no se registró. Los
instantes están en UTC; la columna de al lado, _local, tiene la hora y la diferencia del
lugar donde se hizo el registro.`},
	Parquet: {`Each Parquet file holds one kind of record; a field that has several values is a list.
codebook.csv says what each column means (a list is a table of its own there), codes.csv
what each code means, manifest.json what was asked for, what was left out, and the SHA-256
of each file. A null was not recorded.`,
		`Cada archivo Parquet contiene un tipo de registro; un campo que tiene varios valores es
una lista. codebook.csv dice qué significa cada columna (una lista es allí una tabla),
codes.csv qué significa cada código, y manifest.json qué se pidió, qué se dejó fuera y el
SHA-256 de cada archivo. Un nulo no se registró.`},
	FHIR: {`Each NDJSON file holds FHIR R4 resources of one type, one on a line. Codes without a
system of others are described by the CodeSystem resources. A reference to what is not in
the set is an identifier. manifest.json says what was asked for, what was left out, and the
SHA-256 of each file.`,
		`Cada archivo NDJSON contiene recursos FHIR R4 de un tipo, uno por línea. Los recursos
CodeSystem describen los códigos propios. Una referencia a lo que no está en el conjunto es
un identificador. manifest.json dice qué se pidió, qué se dejó fuera y el SHA-256 de cada
archivo.`},
}

const readme = `Export of records / Exportación de registros

English
-------
{{en}}

The files may name people and hold health information. Keep them as the law asks, pass
them on to nobody but the recipient in manifest.json, and destroy them when their purpose is
served.

Español
-------
{{es}}

Los archivos pueden nombrar a personas y contener información de salud. Guárdelos como
exige la ley, no los entregue a nadie más que al destinatario de manifest.json y
destrúyalos cuando hayan cumplido su propósito.
`

// firstSchema is the version in which every column came to be: there has been one so far. With a
// second one the fields that it adds are to be told from these (TestCodebook).
const firstSchema = int64(1)

// schemaVersion is the version of the records that the tables are of.
const schemaVersion = syncengine.Schema
