package mapping_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/mapping"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// wide is a mapping with every kind of source.
const wide = head + `empty_values: ["-"]
fields:
  number: {template: "{#file}-{#row}"}
  notes_ops: {column: note}
  call_type: {column: type, values: {Overdose: overdose}, unknown: other}
  received_at: {date: {year: y, month: m, day: d, hour: h}}
  cleared_at: {date: {text: [until], layout: MM/DD/YYYY hh:mm AM}}
  location.lat: {column: lat}
  location.address: {template: "{street} {note}"}
  ems_on_scene: {column: ems, values: {Y: true, N: false}}
  le_actions: {column: police, split: ;}
  force_types: {set: [{column: taser, values: {Y: cew, N: ~}}]}
  responders: {elements: [{name: {column: unit}, on_scene_role: {constant: officer}}]}
`

const wideHeader = "note,type,y,m,d,h,until,lat,street,ems,police,taser,unit\n"

// Whatever the file: no panic; a row is a canonical record with an id of its own,
// or an error of a line beyond the last; twice gives the same.
func FuzzRows(f *testing.F) {
	f.Add([]byte(wideHeader + "a,Overdose,2014,July,4,5,7/4/2014 12:05 am,43.65,Main St,Y,standby;transport,Y,7\n"))
	f.Add([]byte(wideHeader + "=1+1,\"x\ny\",2014,2,30,,,,,,none;transport,N,\n,,,,,,,,,,,,\n-,x\n"))
	f.Add([]byte("\uFEFF" + strings.ReplaceAll(wideHeader, "\n", "\r\n") + "\"a"))
	f.Add([]byte(utf16Text(wideHeader, binary.BigEndian, true)))
	f.Add([]byte(gzipped(f, wideHeader+"a,b,2014,5\n")))
	m := load(f, wide)
	f.Fuzz(func(t *testing.T, text []byte) {
		defer need.Brief(t)()
		file, err := m.File(t.Context(), bytes.NewReader(text))
		if err != nil {
			mustSay(t, err)
			return
		}
		var first []*mapping.Row
		ids := map[syncengine.ID]bool{}
		line := 1
		for row, err := range file.Rows(t.Context(), into) {
			if bad, ok := errors.AsType[*mapping.RowError](err); ok {
				mustSay(t, err)
				if bad.Line <= line && bad.Line != row.Line || len(bad.Problems) == 0 || row.Write != nil {
					t.Fatalf("after line %d came %+v", line, bad)
				}
				line = bad.Line
				first = append(first, nil)
				continue
			}
			if err != nil {
				mustSay(t, err)
				break
			}
			if row.Line <= line || row.End > file.Size() || ids[row.Record] {
				t.Fatalf("after line %d came %+v of %d bytes", line, row, file.Size())
			}
			line, ids[row.Record] = row.Line, true
			if _, err := syncengine.ParseBody(row.Write.GetBody()); err != nil {
				t.Fatalf("line %d: %v", row.Line, err)
			}
			first = append(first, &row)
		}
		at := 0
		for row, err := range file.Rows(t.Context(), into) {
			if at == len(first) {
				break
			}
			if (err == nil) != (first[at] != nil) || err == nil && !proto.Equal(row.Write, first[at].Write) {
				t.Fatalf("row %d differs from one reading to the next", at)
			}
			at++
		}
	})
}

func mustSay(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); s == "" || strings.ContainsAny(s, "\x00\r\n") {
		t.Fatalf("got message %q, want one line", s)
	}
}

// Whatever the mapping: no panic, and an error that says something.
func FuzzLoad(f *testing.F) {
	toronto, err := os.ReadFile(torontoMapping)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(toronto), []byte("event_year,event_month\n2014,May\n"))
	f.Add(wide, []byte(wideHeader+"a,Overdose\n"))
	f.Add(badMapping, []byte("note,type,x\na,Overdose,1\n"))
	f.Add("name: [&a x, *a]\n", []byte("a\nb\n"))
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		defer need.Brief(t)()
		m, err := mapping.Load(strings.NewReader(text))
		if err != nil {
			mustSay(t, err)
			return
		}
		file, err := m.File(t.Context(), bytes.NewReader(data))
		if err != nil {
			mustSay(t, err)
			return
		}
		for row, err := range file.Rows(t.Context(), into) {
			if err == nil && row.Write == nil {
				t.Fatalf("line %d: neither a write nor an error", row.Line)
			}
		}
	})
}
