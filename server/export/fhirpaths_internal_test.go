package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// inMemory is a state that is held, in the order of ids.
type inMemory []*syncengine.StoredRecord

func (inMemory) Head() (syncengine.HistoryHead, error) { return syncengine.HistoryHead{}, nil }
func (inMemory) Kinds() ([]store.KindCount, error)     { return nil, nil }

func (m inMemory) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	if at := slices.IndexFunc(m, func(rec *syncengine.StoredRecord) bool { return rec.ID == id }); at >= 0 {
		return m[at], nil
	}
	return nil, nil //nolint:nilnil // There is none.
}

func (m inMemory) EachOf(kinds []uint32, f func(*syncengine.StoredRecord) error) error {
	for _, rec := range m {
		if len(kinds) > 0 && !slices.Contains(kinds, rec.Kind) {
			continue
		}
		if err := f(rec); err != nil {
			return err
		}
	}
	return nil
}

// fhirLeaves are the values of the resources of some kinds in a state, by resource and path.
func fhirLeaves(t *testing.T, j *job, all inMemory, kinds []uint32) map[string]string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	j.dir, err = newDirectory(filepath.Join(t.TempDir(), "out"))
	check(err)
	check(j.allow(all, &store.Org{}))
	j.form = j.newForm(all)
	check(j.read(all, syncengine.ID{}, func(of []*table, r *row) error { return j.form.write(of, r, nil) }, kinds...))
	leaves := map[string]string{}
	for _, f := range j.dir.files {
		// What is in memory yet; the disk need not have it.
		check(f.b.Flush())
		text, err := os.ReadFile(filepath.Join(j.dir.at, f.name))
		check(err)
		for line := range bytes.Lines(text) {
			var res map[string]any
			check(json.Unmarshal(line, &res))
			typ := fmt.Sprint(res["resourceType"])
			leavesOf(leaves, typ, typ+"/"+fmt.Sprint(res["id"]), res)
		}
	}
	check(j.dir.abandon(false))
	return leaves
}

// leavesOf collects values: the path that the codebook would name, and where it is. A concept, a
// reference and an extension are one value.
func leavesOf(into map[string]string, path, at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		root := !strings.Contains(path, ".")
		if _, ok := v["coding"]; ok || !root && (v["reference"] != nil || v["display"] != nil || v["url"] != nil || v["identifier"] != nil) || v["system"] != nil && v["code"] != nil {
			into[path+"\n"+at] = fmt.Sprint(v)
			return
		}
		for name, member := range v {
			if !root || name != "id" && name != "meta" && name != "resourceType" {
				leavesOf(into, path+"."+name, at+"."+name, member)
			}
		}
	case []any:
		for i, member := range v {
			leavesOf(into, path, at+"."+strconv.Itoa(i), member)
		}
	default:
		into[path+"\n"+at] = fmt.Sprint(v)
	}
}

// FHIRPaths changes each column of each table in turn, and returns where that is seen.
func FHIRPaths(t *testing.T, all []*syncengine.StoredRecord) map[string]string {
	t.Helper()
	j := newJob(Options{Format: FHIR, Notes: true, Drafts: true, Void: true, Types: slices.Clone(Resources)})
	if err := j.choose(); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for _, tab := range j.tables {
		kinds := []uint32{tab.kind.Number}
		if tab.kind.Name == "incident" {
			// A call is seen in its encounters.
			kinds = append(kinds, j.domain.KindByName("encounter").Number)
		}
		plain := fhirLeaves(t, j, all, kinds)
		for _, c := range tab.columns {
			if c.field == nil || c.field.Name() == "element" || tab.field == nil && c.set == nil {
				continue
			}
			before := plain
			from := all
			if !changeAll(t, j, tab, c, &from, false) {
				// Nobody has it: somebody gets it, and then another one.
				if !changeAll(t, j, tab, c, &from, true) {
					continue
				}
				before = fhirLeaves(t, j, from, kinds)
				if !changeAll(t, j, tab, c, &from, false) {
					continue
				}
			}
			seen := map[string]bool{}
			for key, v := range fhirLeaves(t, j, from, kinds) {
				if was, ok := before[key]; ok && was != v {
					path, _, _ := strings.Cut(key, "\n")
					seen[path] = true
				}
			}
			if len(seen) > 0 {
				paths[tab.name+"."+c.name] = strings.Join(slices.Sorted(keysOf(seen)), " ")
			}
		}
	}
	return paths
}

// changeAll changes a column in all records of a kind, and reports whether one was changed.
func changeAll(t *testing.T, j *job, tab *table, c column, all *[]*syncengine.StoredRecord, absent bool) (some bool) {
	t.Helper()
	*all = slices.Clone(*all)
	for i, rec := range *all {
		if rec.Kind != tab.kind.Number {
			continue
		}
		msg, err := j.domain.Message(&rec.Record)
		if err != nil {
			t.Fatal(err)
		}
		if changeColumn(j, tab, c, msg.ProtoReflect(), absent) == 0 {
			continue
		}
		some = true
		next := *rec
		if next.Body, err = j.domain.Body(msg); err != nil {
			t.Fatal(err)
		}
		(*all)[i] = &next
	}
	return some
}

// changeColumn gives a column other values where it has any, or where it has none, and says how
// many.
func changeColumn(j *job, tab *table, c column, m protoreflect.Message, absent bool) (n int) {
	r := &row{rec: &syncengine.StoredRecord{}, stamps: &tandemv1.Stamps{}, msg: m}
	if tab.field != nil && tab.field.Kind() != protoreflect.MessageKind {
		list := m.Mutable(tab.field).List()
		if absent {
			list.Append(protoreflect.ValueOfString(another(j, c, "")))
			return 1
		}
		for i := range list.Len() {
			list.Set(i, protoreflect.ValueOfString(another(j, c, list.Get(i).String())))
			n++
		}
		return n
	}
	if c.set == nil {
		return 0
	}
	if err := tab.each(r, func(r *row) error {
		v := c.value(r)
		if (v == nil) != absent {
			return nil
		}
		// Of some columns no value is made up here.
		if c.set(r, changedCell(j, c, v)) == nil {
			n++
		}
		return nil
	}); err != nil {
		panic(fmt.Sprintf("%s.%s: %v", tab.name, c.name, err))
	}
	return n
}

// changedCell is a cell with another value than a column has.
func changedCell(j *job, c column, v any) string {
	switch v := v.(type) {
	case string:
		return another(j, c, v)
	case bool:
		return strconv.FormatBool(!v)
	case int64:
		return strconv.FormatInt(v+1, 10)
	case float64:
		return strconv.FormatFloat(v+1, 'f', -1, 64)
	}
	switch c.typ {
	case typeBoolean:
		return "true"
	case typeInteger, typeNumber:
		return "1"
	case typeInstant:
		return map[bool]string{true: "2023-05-06T07:08:09.010Z", false: "2023-06-07T07:08:09.010Z"}[v == nil]
	}
	return another(j, c, "")
}

// another is a value of a column that is not the one it has.
func another(j *job, c column, v string) string {
	switch c.typ {
	case typeCode:
		for _, code := range j.domain.Codes(c.rules.GetCodes()) {
			if code.Code != v {
				return code.Code
			}
		}
	case typeID:
		return syncengine.ID{0xee, byte(len(strings.TrimRight(v, "0")))}.String()
	case typeDate:
		return map[bool]string{true: "2022-02-02", false: "2021-01-01"}[v == ""]
	case typeJSON:
		return `{"items":[{"link_id":"z","type":"string"}]}`
	case typeHex:
		return map[bool]string{true: "ff", false: "ee"}[v == ""] + v[min(2, len(v)):]
	}
	if c.name == "lifecycle" {
		return "void"
	}
	if c.name == "value_decimal" {
		return "1" + v
	}
	return v + "x"
}
