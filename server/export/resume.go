package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tandem-response/tandem/server/store"
)

// Kept is what an export that was broken off has finished: whole files, of a state of the
// database and of what was asked for. It goes on from there where both are what they were.
type Kept struct {
	// State of the database, and what was Asked, as digests.
	State string `json:"state"`
	Asked string `json:"asked"`
	// Parts that are done, the Records in them, and what they left out.
	Parts   int     `json:"parts"`
	Records int64   `json:"records"`
	LeftOut LeftOut `json:"left_out"`
	Files   []File  `json:"files"`
	// Form is what a form of files has to know of the parts before, in its own words.
	Form json.RawMessage `json:"form,omitempty"`
}

// A full set is made part by part: all records of some kinds, whose files are whole and on
// the disk before the next ones begin. Each part is a reading of its own, so there are few.
const (
	leastPart = 5000
	mostParts = 6
)

// whole reports whether an export has one part: one workbook is one file, and a set whose ids
// are its own is only known once all of it is.
func (j *job) whole() bool { return j.veil != nil || j.o.Format == XLSX }

// divide sets the parts, in the order of kinds, and what tells the state from all others: the
// newest commit, and how many records of each kind there are, with a sum over their hashes.
func (j *job) divide(snap *store.Snapshot) error {
	counts, err := snap.Kinds()
	if err != nil {
		return err
	}
	state := sha256.New()
	fmt.Fprintf(state, "%s %d %x %v", j.cut.Epoch, j.cut.Seq, j.cut.Hash, counts)
	j.state = hex.EncodeToString(state.Sum(nil))
	records := map[uint32]int64{}
	all := int64(0)
	for _, c := range counts {
		if records[c.Kind] = c.Records; j.byKind[c.Kind] != nil {
			all += c.Records
		}
	}
	least, held := max(leastPart, all/mostParts), int64(0)
	for _, t := range j.tables {
		if t.field != nil {
			continue
		}
		if len(j.parts) == 0 || held >= least && !j.whole() {
			j.parts, held = append(j.parts, nil), 0
		}
		last := len(j.parts) - 1
		j.parts[last] = append(j.parts[last], t.kind.Number)
		held += records[t.kind.Number]
	}
	return nil
}

// asked is a digest of what was asked for, and of the program that makes it.
func (j *job) asked() (string, error) {
	text, err := json.Marshal(j.o)
	sum := sha256.Sum256(fmt.Appendf(text, " %d %v", schemaVersion, j.parts))
	return hex.EncodeToString(sum[:]), err
}

// resume goes on from what was kept, where that is of this state and of what is asked for, and
// its files are what they were. Otherwise the export begins anew.
func (j *job) resume(to string) (err error) {
	asked, err := j.asked()
	if err != nil {
		return err
	}
	k := j.o.Kept
	if k == nil || j.whole() || k.State != j.state || k.Asked != asked || k.Parts > len(j.parts) {
		k = &Kept{}
	}
	if j.dir, err = newDirectory(to, k.Files, j.o.Whole); err != nil {
		return err
	}
	if len(j.dir.kept) < len(k.Files) {
		k = &Kept{}
	}
	j.kept = &Kept{State: j.state, Asked: asked, Parts: k.Parts, Records: k.Records, LeftOut: k.LeftOut, Files: slices.Clone(k.Files), Form: k.Form}
	j.n, j.left = k.Records, k.LeftOut
	return nil
}

// keep ends a part and, where there are several, notes that it is done.
func (j *job) keep() (err error) {
	if err := j.form.part(); err != nil || j.whole() {
		return err
	}
	for _, f := range j.dir.files {
		done, err := f.finish()
		if err != nil {
			return err
		}
		j.kept.Files = append(j.kept.Files, done)
	}
	j.dir.files = nil
	j.kept.Parts++
	j.kept.Records, j.kept.LeftOut = j.n, j.left
	if f, ok := j.form.(*fhirForm); ok {
		if j.kept.Form, err = f.save(); err != nil {
			return err
		}
	}
	if j.o.Keep == nil {
		return nil
	}
	if err := syncDir(j.dir.at); err != nil {
		return err
	}
	return j.o.Keep(j.kept)
}

// tablesOf are the tables of a part.
func (j *job) tablesOf(part []uint32) (of []*table) {
	for _, t := range j.tables {
		if slices.Contains(part, t.kind.Number) {
			of = append(of, t)
		}
	}
	return of
}
