package mapping_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/mapping"
)

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	const ok = head + "fields:\n  notes_ops: {column: a}\n"
	if _, err := mapping.Load(strings.NewReader(ok)); err != nil {
		t.Fatal(err)
	}
	edit := func(from, to string) string {
		if !strings.Contains(ok, from) {
			t.Fatalf("%q is not in the mapping", from)
		}
		return strings.Replace(ok, from, to, 1)
	}
	field := func(f string) string { return head + "fields:\n  " + f + "\n" }
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":                   {"", "empty"},
		"a comment alone":           {"# nothing\n", "empty"},
		"no YAML":                   {"name: [", "line 1"},
		"a tab":                     {"name:\n\t- x", "line 2"},
		"a list":                    {"- name", "line 1: a mapping must be keys with values"},
		"two documents":             {ok + "---\n" + ok, "more than one document"},
		"an alias":                  {"name: &n x\nversion: *n\n", "line 1: anchors and aliases"},
		"an unknown key":            {edit("zone", "timezone"), `line 4: a mapping takes no key "timezone"`},
		"a key twice":               {ok + "name: other\n", `line 8: "name" stands twice`},
		"no name":                   {edit("name: test\n", ""), "name is missing"},
		"a name with a space":       {edit("test", "my file"), "line 1: name must be"},
		"no version":                {edit("version: 1\n", ""), "version is missing"},
		"a version in words":        {edit("version: 1", "version: one"), "line 2: version must be"},
		"no such kind":              {edit("kind: incident", "kind: call"), `line 3: there is no kind "call"`},
		"no such zone":              {edit("America/Chicago", "Chicago time"), "line 4: there is no time zone"},
		"the machine's zone":        {edit("America/Chicago", "Local"), "line 4: there is no time zone"},
		"no key":                    {edit("key: file_row\n", ""), "key is missing"},
		"a key that is no list":     {edit("file_row", "call_no"), "line 5: key must be"},
		"an empty key":              {edit("file_row", "[]"), "line 5: key must be"},
		"an encoding":               {ok + "encoding: latin-1\n", "line 8: encoding must be one of utf-8, windows-1252"},
		"a delimiter":               {ok + "delimiter: '|'\n", "line 8: delimiter must be one of"},
		"a final newline":           {ok + "final_newline: yes\n", "line 8: final_newline must be one of"},
		"no fields":                 {head, "fields is missing"},
		"empty fields":              {head + "fields: {}\n", "line 6: fields is empty"},
		"constants alone":           {field("notes_ops: {constant: x}"), "no field takes a column"},
		"ignored and taken":         {ok + "ignore: [a]\n", `line 8: column "a" is ignored and taken`},
		"ignore as text":            {ok + "ignore: a\n", "line 8: ignore must be a list"},
		"no such field":             {field("notes: {column: a}"), `line 7: incident has no field "notes"`},
		"no such part":              {field("location.street: {column: a}"), `line 7: location has no field "street"`},
		"parts of a text":           {field("number.x: {column: a}"), "line 7: number has no parts"},
		"a message as a whole":      {field("location: {column: a}"), "line 7: location holds several values: name one of them, for example location.address"},
		"the envelope":              {field("team_id: {column: a}"), "line 7: team_id cannot be mapped"},
		"the lifecycle":             {field("lifecycle: {constant: open}"), "line 7: lifecycle cannot be mapped"},
		"an element id":             {field("injuries: {elements: [{element: {column: a}}]}"), "line 7: element cannot be mapped"},
		"a list as a column":        {field("responders: {column: a}"), "line 7: responders is a list"},
		"no source":                 {field("notes_ops: {values: {a: b}}"), "line 7: notes_ops needs one of"},
		"two sources":               {field("notes_ops: {column: a, constant: b}"), "line 7: notes_ops takes its value from column already"},
		"an unknown source":         {field("notes_ops: {colum: a}"), `line 7: notes_ops takes no key "colum"`},
		"values of a constant":      {field("notes_ops: {constant: a, values: {a: b}}"), "line 7: values stands with constant and means nothing there"},
		"no such code":              {field("call_type: {column: a, values: {x: party}}"), `line 7: "party" for call_type is no code of the list call_type`},
		"no such constant":          {field("call_type: {constant: party}"), `line 7: "party" for call_type is no code`},
		"no such code for unknown":  {field("call_type: {column: a, values: {x: other}, unknown: skip}"), `line 7: "skip" for call_type is no code`},
		"a value twice":             {field("call_type: {column: a, values: {x: other, X: overdose}}"), `line 7: "X" stands twice in values`},
		"a constant that is long":   {head + "fields:\n  number: {constant: " + strings.Repeat("x", 41) + "}\n  notes_ops: {column: a}\n", "the constant of number does not fit it"},
		"an empty constant":         {field("notes_ops: {constant: ~}"), "line 7: the constant of notes_ops is empty"},
		"unknown without values":    {field("notes_ops: {column: a, unknown: unset}"), "line 7: unknown means nothing without values"},
		"a boolean without values":  {field("ems_on_scene: {column: a}"), "line 7: ems_on_scene is true or false: write values"},
		"a boolean of other words":  {field("ems_on_scene: {column: a, values: {Y: si}}"), `line 7: "si" for ems_on_scene is neither true nor false`},
		"several of one":            {field("call_type: {column: a, split: ;}"), "line 7: call_type takes one value"},
		"a set of one":              {field("call_type: {set: [{column: a}]}"), "line 7: set is for sets of codes"},
		"a template of a code":      {field(`call_type: {template: "{a}"}`), "line 7: call_type is no text"},
		"an open brace":             {field(`notes_ops: {template: "{a"}`), "line 7: a brace of the template is not closed"},
		"an empty brace":            {field(`notes_ops: {template: "{}"}`), "line 7: a column must have a name"},
		"a time as a column":        {field("received_at: {column: a}"), "line 7: received_at is a time: write date"},
		"a text as a date":          {field("number: {date: {year: a, month: b}}"), "line 7: number is no time"},
		"a year alone":              {field("received_at: {date: {year: a}}"), "line 7: a date needs year and month at least"},
		"an hour without a day":     {field("received_at: {date: {year: a, month: b, hour: c}}"), "line 7: hour without day says nothing"},
		"no column at all":          {field("received_at: {date: {year: {constant: 2014}, month: {constant: 5}}}"), "line 7: a date needs a column"},
		"a month that is none":      {field("received_at: {date: {year: a, month: {constant: 13}}}"), `line 7: "13" is no month`},
		"a date that is a value":    {field("received_at: {date: {year: a, month: b}, empty: 2014}"), "line 7: empty of received_at must be one of unset, error"},
		"text without a layout":     {field("received_at: {date: {text: a}}"), "line 7: layout is missing"},
		"text and parts":            {field("received_at: {date: {text: a, layout: YYYY-MM, day: c}}"), "line 7: day stands with text and layout"},
		"a layout of other letters": {field("received_at: {date: {text: a, layout: yyyy-mm-dd}}"), "line 7: layout must be made of"},
		"a layout with a zone":      {field("received_at: {date: {text: a, layout: YYYY-MM-DDThh:mmZ}}"), "line 7: layout must be made of"},
		"a layout with a gap":       {field("received_at: {date: {text: a, layout: YYYY-MM hh}}"), "line 7: the layout has hour without day"},
		"a part twice":              {field("received_at: {date: {text: a, layout: YYYY-MM-MM}}"), "line 7: MM stands twice"},
		"too large":                 {"# " + strings.Repeat("x", 1<<20), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := mapping.Load(strings.NewReader(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte("name: x\nfoo: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mapping.Open(path); err == nil || !strings.Contains(err.Error(), "m.yaml: mapping: line 2") {
		t.Errorf("got %v, want an error that names file and line", err)
	}
	if _, err := mapping.Open(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want one that says the file is not there", err)
	}
}
