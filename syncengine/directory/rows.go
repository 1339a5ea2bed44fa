package directory

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of a source.
const (
	// MaxFile is the longest file that is read, in bytes.
	MaxFile = 256 << 20
	// MaxResources is the largest number of resources in a directory.
	MaxResources = 50_000

	maxNesting = 40
	maxFaults  = 20
	maxNotes   = 200
)

// row is one row of a table.
type row struct {
	place string // in the source
	cells map[string]string
}

func (r *row) get(name string) string {
	if r == nil {
		return ""
	}
	return strings.TrimSpace(r.cells[name])
}

// rows are the tables of a source, by name in the singular.
type rows map[string][]*row

// tables are those that are read, with the plural that files and JSON use.
var tables = map[string]string{
	"organization": "organizations", "service": "services", "location": "locations", "service_at_location": "service_at_locations",
	"phone": "phones", "schedule": "schedules", "language": "languages", "address": "addresses", "cost_option": "cost_options",
	"attribute": "attributes", "taxonomy_term": "taxonomy_terms", "contact": "contacts",
}

// singular returns the table that a name of a file or element stands for, empty where it
// is none of ours.
func singular(name string) string {
	if tables[name] != "" {
		return name
	}
	for one, many := range tables {
		if many == name {
			return one
		}
	}
	return ""
}

// FaultError is an error of what is broken in a source, with its place.
type FaultError []string

// Error names the faults, one a line.
func (f FaultError) Error() string {
	if len(f) > maxFaults {
		return strings.Join(f[:maxFaults], "\n") + fmt.Sprintf("\nand %d more", len(f)-maxFaults)
	}
	return strings.Join(f, "\n")
}

// ReadTables reads the tables of HSDS as CSV files at the root of fsys. A datapackage.json
// says which file is which; without one they are named after their tables. The day is
// today's, YYYY-MM-DD: schedules that ended before are left out.
func ReadTables(fsys fs.FS, day string) (*Result, error) {
	files, err := tableFiles(fsys)
	if err != nil {
		return nil, err
	}
	all := rows{}
	var faults FaultError
	for _, table := range slices.Sorted(maps.Keys(files)) {
		list, err := readTable(fsys, files[table])
		if err != nil {
			faults = append(faults, err.Error())
		}
		all[table] = list
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if all["service"] == nil {
		return nil, FaultError{"there is no table of services: HSDS names it service.csv or services.csv"}
	}
	return build(all, day)
}

// tableFiles returns the file of each table.
func tableFiles(fsys fs.FS) (map[string]string, error) {
	files := map[string]string{}
	raw, err := fs.ReadFile(fsys, "datapackage.json")
	if err == nil {
		var pack struct {
			Resources []struct{ Name, Path string }
		}
		if err := json.Unmarshal(raw, &pack); err != nil {
			return nil, FaultError{"datapackage.json: this is no JSON of a data package: " + err.Error()}
		}
		for _, r := range pack.Resources {
			table := singular(r.Name)
			if table == "" || r.Path == "" {
				continue
			}
			if !fs.ValidPath(r.Path) {
				return nil, FaultError{"datapackage.json: the path of " + r.Name + " leads out of the package"}
			}
			if _, err := fs.Stat(fsys, r.Path); err == nil {
				files[table] = r.Path
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, FaultError{"datapackage.json: " + err.Error()}
	}
	for one, many := range tables {
		for _, name := range []string{one + ".csv", many + ".csv"} {
			if _, err := fs.Stat(fsys, name); err == nil && files[one] == "" {
				files[one] = name
			}
		}
	}
	return files, nil
}

func readTable(fsys fs.FS, name string) ([]*row, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close() //nolint:errcheck // It was only read.
	raw, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, MaxFile)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return []*row{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	list := []*row{}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		one := &row{place: path.Base(name) + ":" + strconv.Itoa(line), cells: make(map[string]string, len(head))}
		for i, cell := range cells {
			one.cells[strings.TrimSpace(head[i])] = cell
		}
		list = append(list, one)
	}
}

// ReadJSON reads the JSON of HSDS: a service, an organization or a service at a location,
// an array of them, or a page of them as an API gives it. The day is as for ReadTables.
func ReadJSON(raw []byte, day string) (*Result, error) {
	if len(raw) > MaxFile {
		return nil, FaultError{fmt.Sprintf("the file is longer than %d bytes", MaxFile)}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var top any
	if err := dec.Decode(&top); err != nil {
		line := 1 + bytes.Count(raw[:min(int(dec.InputOffset()), len(raw))], []byte("\n"))
		return nil, FaultError{fmt.Sprintf("line %d: this is no JSON: %v", line, err)}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, FaultError{"something follows the end of the JSON"}
	}
	f := &flattener{rows: rows{"service": {}}, seen: map[string]bool{}, main: map[string]*row{}}
	at := ""
	if page, ok := top.(map[string]any); ok && page["contents"] != nil {
		top, at = page["contents"], "contents"
	}
	list, ok := top.([]any)
	if !ok {
		list = []any{top}
	}
	for i, one := range list {
		place := fmt.Sprintf("%s[%d]", at, i)
		obj, ok := one.(map[string]any)
		if !ok {
			return nil, FaultError{place + ": want an object"}
		}
		table := "service"
		switch {
		case obj["location"] != nil || obj["service"] != nil:
			table = "service_at_location"
		case obj["services"] != nil || obj["legal_status"] != nil || obj["website"] != nil && obj["organization"] == nil && obj["status"] == nil:
			table = "organization"
		}
		f.flatten(table, place, obj, nil, 0)
	}
	if len(f.faults) > 0 {
		return nil, f.faults
	}
	return build(f.rows, day)
}

// flattener makes rows of nested objects.
type flattener struct {
	rows   rows
	seen   map[string]bool
	main   map[string]*row // rows of mains, by table and id
	faults FaultError
}

// flatten adds the row of an object, and of what is in it; it returns the object's id.
func (f *flattener) flatten(table, place string, obj map[string]any, above map[string]string, depth int) string {
	if depth > maxNesting {
		f.faults = append(f.faults, place+": nested too deep")
		return ""
	}
	r := &row{place: place, cells: map[string]string{}}
	maps.Copy(r.cells, above)
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		switch v := obj[key].(type) {
		case string:
			r.cells[key] = v
		case json.Number:
			r.cells[key] = v.String()
		case bool:
			r.cells[key] = strconv.FormatBool(v)
		}
	}
	id := r.get("id")
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		in := singular(key)
		if in == "" {
			continue
		}
		if one, ok := obj[key].(map[string]any); ok {
			// What it belongs to.
			r.cells[in+"_id"] = f.flatten(in, place+"."+key, one, nil, depth+1)
			continue
		}
		list, ok := obj[key].([]any)
		if !ok {
			continue
		}
		for i, v := range list {
			at := fmt.Sprintf("%s.%s[%d]", place, key, i)
			one, ok := v.(map[string]any)
			if !ok {
				f.faults = append(f.faults, at+": want an object")
				continue
			}
			links := map[string]string{table + "_id": id}
			if in == "attribute" {
				links = map[string]string{"link_id": id, "link_entity": table}
			}
			f.flatten(in, at, one, links, depth+1)
		}
	}
	// The same row stands wherever it is needed.
	var key strings.Builder
	key.WriteString(table + "\x00")
	for _, name := range slices.Sorted(maps.Keys(r.cells)) {
		key.WriteString(name + "\x00" + r.cells[name] + "\x00")
	}
	if !f.seen[key.String()] {
		f.seen[key.String()] = true
		f.add(table, r)
	}
	return id
}

// mains are the tables in which an id stands once; what is said of it in several places
// of a JSON file is put together.
var mains = []string{"organization", "service", "location", "service_at_location", "taxonomy_term"}

func (f *flattener) add(table string, r *row) {
	if slices.Contains(mains, table) && r.get("id") != "" {
		key := table + " " + r.get("id")
		if o := f.main[key]; o != nil {
			for _, name := range slices.Sorted(maps.Keys(r.cells)) {
				switch v := r.cells[name]; {
				case o.cells[name] == "":
					o.cells[name] = v
				case v != "" && o.cells[name] != v:
					f.faults = append(f.faults, fmt.Sprintf("%s: the id %s stands at %s too, with another %s", r.place, r.get("id"), o.place, name))
				}
			}
			return
		}
		f.main[key] = r
	}
	f.rows[table] = append(f.rows[table], r)
}
