package form

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// wordingColumns head the file of a wording.
var wordingColumns = []string{"link_id", "option", "en", "es"}

// Wording returns the wording of a form as CSV: a line for each item and each option, with
// the words that it has. Without words it is the file to fill in from a licensed copy.
func Wording(def *tandemv1.FormDefinition) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(wordingColumns) // A buffer takes everything.
	for _, it := range def.GetItems() {
		_ = w.Write([]string{it.GetLinkId(), "", it.GetText().GetEn(), it.GetText().GetEs()})
		for _, o := range it.GetOptions() {
			_ = w.Write([]string{it.GetLinkId(), o.GetCode(), o.GetText().GetEn(), o.GetText().GetEs()})
		}
	}
	w.Flush()
	return b.Bytes()
}

// SetWording returns the definition with the words of a file that Wording describes. Every
// line names an item, or an option of one; what has no words afterwards is a fault, and so
// is a cell that would take words away. Then nothing is returned.
func SetWording(def *tandemv1.FormDefinition, file []byte) (*tandemv1.FormDefinition, error) {
	out := proto.CloneOf(def)
	x := newIndex(out)
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord = len(wordingColumns)
	var faults Faults
	seen := map[string]bool{}
	for row := 0; ; row++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, Faults{{What: "this is no CSV of the columns " + strings.Join(wordingColumns, ",") + ": " + err.Error()}}
		}
		line, _ := r.FieldPos(0)
		place := "line " + strconv.Itoa(line)
		fault := func(format string, args ...any) {
			faults = append(faults, Fault{Path: place, What: fmt.Sprintf(format, args...)})
		}
		if row == 0 {
			for i, name := range wordingColumns {
				if cells[i] != name {
					fault("the first line is %s", strings.Join(wordingColumns, ","))
					return nil, faults
				}
			}
			continue
		}
		key := cells[0] + "\x00" + cells[1]
		it := x.item(cells[0])
		var o *tandemv1.FormOption
		if it != nil && cells[1] != "" {
			o = optionOf(it, cells[1])
		}
		switch {
		case it == nil:
			fault("the form has no item %s", quote(cells[0]))
			continue
		case cells[1] != "" && o == nil:
			fault("item %s has no option %s", it.GetLinkId(), quote(cells[1]))
			continue
		case seen[key]:
			fault("item %s stands twice", it.GetLinkId())
			continue
		}
		seen[key] = true
		words := &tandemv1.FormText{En: text(strings.TrimSpace(cells[2])), Es: text(strings.TrimSpace(cells[3]))}
		for _, s := range cells[2:] {
			if !plain(s) || utf8.RuneCountInString(s) > maxText {
				fault("the words hold control characters, or are longer than %d characters", maxText)
			}
		}
		had := it.GetText()
		if o != nil {
			had = o.GetText()
		}
		switch {
		case words.En == nil && words.Es == nil && had == nil:
			continue // Named below, or an option that its code is the words of.
		case words.En == nil && had.GetEn() != "" || words.Es == nil && had.GetEs() != "":
			fault("words that stand there would be taken away")
			continue
		}
		if o != nil {
			if o.Kind != nil && o.GetKind() != "coding" && words.GetEn() != o.GetCode() {
				fault("the option %s is its own words in English", quote(o.GetCode()))
			}
			o.Text = words
		} else {
			it.Text = words
		}
	}
	for _, it := range out.GetItems() {
		if it.GetText() == nil {
			faults = append(faults, Fault{Item: it.GetLinkId(), What: "it has no words in the file"})
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}
