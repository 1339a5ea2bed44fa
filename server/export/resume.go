package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Kept is what an export that was broken off leaves to an attempt that is asked for the same: the
// state that it is of, and whole files. It goes on from there, whatever has changed meanwhile.
type Kept struct {
	// Asked is a digest of what was asked for, and Key opens the state that was spooled.
	Asked string `json:"asked"`
	Key   []byte `json:"key"`
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

// divide sets the parts, in the order of kinds.
func (j *job) divide(from source) error {
	counts, err := from.Kinds()
	if err != nil {
		return err
	}
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
	sum := sha256.Sum256(fmt.Appendf(text, " %d %d %d", schemaVersion, leastPart, mostParts))
	return hex.EncodeToString(sum[:]), err
}

// spooled is the state that the export is of, as an earlier attempt has spooled it, or as it is
// now.
func (j *job) spooled(ctx context.Context, st *store.Store, org *store.Org) (*spool, error) {
	asked, err := j.asked()
	if err != nil {
		return nil, err
	}
	if k := j.o.Kept; k != nil && k.Asked == asked {
		s, err := j.again(ctx, st, org, k.Key)
		if err == nil || !errors.Is(err, errSpool) {
			return s, err
		}
	}
	k := &Kept{Asked: asked}
	if err := st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) (err error) {
		k.Key, err = j.spoolOf(snap, org)
		return err
	}); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(j.dir.to)); err != nil {
		return nil, err
	}
	if err := j.o.Keep(k); err != nil {
		return nil, err
	}
	j.kept = k
	return j.open(ctx, k.Key)
}

// again is what an earlier attempt has spooled. The error is errSpool where that is not to be gone
// on from: it is not whole, or not here; the database is another one, or an older state of it;
// something was erased by law; or the rights of those who export are others.
func (j *job) again(ctx context.Context, st *store.Store, org *store.Org, key []byte) (*spool, error) {
	s, err := j.open(ctx, key)
	if err != nil {
		return nil, err
	}
	err = st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error {
		now, err := j.stateOf(snap, org)
		if err == nil && (now.Head.Epoch != s.spooled.Head.Epoch || now.Head.Seq < s.spooled.Head.Seq || now.Erased != s.Erased || now.Rights != s.Rights) {
			err = errSpool
		}
		return err
	})
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	j.kept = j.o.Kept
	return s, nil
}

// open opens the spool, and takes from it what the set's ids and ages come from.
func (j *job) open(ctx context.Context, key []byte) (*spool, error) {
	s, err := openSpool(ctx, j.dir.spool(), key)
	if err == nil && j.veil != nil {
		j.veil.key, j.veil.on = s.IDs, s.On
	}
	return s, err
}

// stateOf says what a spool of a state says, but for what is found while it is made.
func (j *job) stateOf(snap *store.Snapshot, org *store.Org) (is spooled, err error) {
	if err := j.allow(snap, org); err != nil {
		return is, err
	}
	if is.Rights, err = j.rights.digest(); err != nil {
		return is, err
	}
	if is.Head, err = snap.Head(); err != nil {
		return is, err
	}
	is.Erased[0], is.Erased[1], err = snap.Erased()
	return is, err
}

// spoolOf writes a state down. Of what no export of these options passes on it has no more than
// that it is there.
func (j *job) spoolOf(snap *store.Snapshot, org *store.Org) (key []byte, err error) {
	says, err := j.stateOf(snap, org)
	if err != nil {
		return nil, err
	}
	if says.Kinds, err = snap.Kinds(); err != nil {
		return nil, err
	}
	if err := spoolRoom(filepath.Dir(j.dir.to), says.Kinds); err != nil {
		return nil, err
	}
	if j.veil != nil {
		says.IDs, says.On = j.veil.key, j.veil.on
	}
	w, err := newSpoolWriter(j.dir.spool())
	if err != nil {
		return nil, err
	}
	w.says = says
	err = snap.EachOf(nil, func(rec *syncengine.StoredRecord) error {
		if kind := j.domain.Kind(rec.Kind); kind == nil || j.rights.never(rec.Compartment(kind)) {
			rec.Body = nil
		}
		return w.add(rec)
	})
	if err == nil {
		err = w.finish()
	}
	return w.key, errors.Join(err, w.close())
}

// spoolRoom refuses a spool that would not leave as much room on the disk as it takes: what
// devices send comes before exports.
func spoolRoom(dir string, kinds []store.KindCount) error {
	needs := int64(0)
	for _, k := range kinds {
		needs += k.Bytes + k.Records*spoolEach
	}
	room, err := diskRoom(dir)
	if err == nil && room/2 < needs {
		err = fmt.Errorf("an export needs %d MiB beside its files, and as much again is left to others: %w", needs>>20+1, store.ErrDisk)
	}
	return err
}

// spoolEach is what a spool has of a record beside its bytes, about.
const spoolEach = 32

// goesOn reports whether an export that has come to an error leaves what it has kept to the next
// attempt. Where a record cannot be taken apart it does not: it may be mended by then.
func (j *job) goesOn(err error) bool {
	if _, ok := errors.AsType[*recordError](err); ok {
		return false
	}
	return j.o.Keep != nil && j.kept != nil && !Refused(err) && !noRoom(err) && !errors.Is(err, errSpool)
}

// resume goes on from the files that were kept, where they are what they were.
func (j *job) resume() error {
	if j.kept == nil {
		j.kept = &Kept{}
	}
	k := *j.kept
	if j.whole() || k.Parts > len(j.parts) {
		k = Kept{}
	}
	if err := j.dir.keep(k.Files, j.o.Whole); err != nil {
		return err
	}
	if len(j.dir.kept) < len(k.Files) {
		k = Kept{}
	}
	j.kept = &Kept{Asked: j.kept.Asked, Key: j.kept.Key, Parts: k.Parts, Records: k.Records, LeftOut: k.LeftOut, Files: slices.Clone(k.Files), Form: k.Form}
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
