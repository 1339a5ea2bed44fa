package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Kept is what an export that was broken off leaves to an attempt that is asked for the same: the
// state that it is of, and whole files. It goes on from there, whatever has changed meanwhile.
type Kept struct {
	// Asked is a digest of what was asked for, and Key opens the state that was spooled.
	Asked string `json:"asked"`
	Key   []byte `json:"key"`
	// Standing is what must not be another one by the time that the files are handed out: see
	// [Stands].
	Standing Standing `json:"standing"`
	// Since is that of the options at that time.
	Since uint64 `json:"since,omitempty"`
	// Parts that are done, the Records in them, and what they left out.
	Parts   int     `json:"parts"`
	Records int64   `json:"records"`
	LeftOut LeftOut `json:"left_out"`
	Files   []File  `json:"files"`
	// Within is how far the next part is, nil where nothing of it was kept. Records and LeftOut
	// are of that too.
	Within *Within `json:"within,omitempty"`
	// Form is what a form of files has to know of the parts before, in its own words.
	Form json.RawMessage `json:"form,omitempty"`
}

// A full set is made part by part: all records of some kinds, whose files are whole and on
// the disk before the next ones begin. Each part is a reading of its own, so there are few. What
// there is of a large one is kept piece by piece: see journal.
const (
	leastPart = 5000
	mostParts = 6
)

// kindsPart is the kinds that are read together, how many records of them there are, and how many
// bytes are in those.
type kindsPart struct {
	kinds          []uint32
	records, bytes int64
}

// whole reports whether an export has one part: one workbook is one file, and a set whose ids
// are its own is only known once all of it is.
func (j *job) whole() bool { return j.veil != nil || j.o.Format == XLSX }

// divide sets the parts, in the order of kinds.
func (j *job) divide(from source) error {
	counts, err := from.Kinds()
	if err != nil {
		return err
	}
	of := map[uint32]store.KindCount{}
	all := int64(0)
	for _, c := range counts {
		if of[c.Kind] = c; j.byKind[c.Kind] != nil {
			all += c.Records
		}
	}
	least := max(leastPart, all/mostParts)
	for _, t := range j.tables {
		if t.field != nil {
			continue
		}
		if len(j.parts) == 0 || j.parts[len(j.parts)-1].records >= least && !j.whole() {
			j.parts = append(j.parts, kindsPart{})
		}
		last := &j.parts[len(j.parts)-1]
		last.kinds = append(last.kinds, t.kind.Number)
		last.records += of[t.kind.Number].Records
		last.bytes += of[t.kind.Number].Bytes
	}
	return nil
}

// asked is a digest of what was asked for, and of the program that makes it. Whoever asks by time
// finds a Since of their own each time: that of the state holds.
func (j *job) asked() (string, error) {
	o := j.o
	o.Since = 0
	text, err := json.Marshal(o)
	sum := sha256.Sum256(fmt.Appendf(text, " %d %d %d %d", schemaVersion, leastPart, mostParts, piece))
	return hex.EncodeToString(sum[:]), err
}

// Of reports whether it is of an export that asks for this, with the same ID and At, by the same
// program.
func (k *Kept) Of(o Options) (bool, error) {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return false, err
	}
	asked, err := j.asked()
	return asked == k.Asked && k.Since == o.Since, err
}

// spooled is the state that the export is of, as an earlier attempt has spooled it, or as it is
// now.
func (j *job) spooled(ctx context.Context, st *store.Store, org *store.Org) (*spool, error) {
	asked, err := j.asked()
	if err != nil {
		return nil, err
	}
	if k := j.o.Kept; k != nil && k.Asked == asked {
		s, err := j.again(ctx, st, org, k)
		if err == nil || !errors.Is(err, errSpool) {
			return s, err
		}
	}
	// What was kept is in the way of what takes its place.
	if err := errors.Join(os.RemoveAll(j.dir.spool()), j.dir.clear()); err != nil {
		return nil, err
	}
	k := &Kept{Asked: asked, Since: j.o.Since}
	if err := st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) (err error) {
		if k.Standing, err = j.standing(snap, org); err == nil {
			k.Key, err = j.spoolOf(snap)
		}
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
	return openSpool(ctx, j.dir.spool(), k.Key)
}

// again is what an earlier attempt has spooled. The error is errSpool where that is not to be gone
// on from: it is not whole, or not here, or too old; the database is another one, or an older state
// of it; or it does not stand any more.
func (j *job) again(ctx context.Context, st *store.Store, org *store.Org, k *Kept) (*spool, error) {
	s, err := openSpool(ctx, j.dir.spool(), k.Key)
	if err != nil {
		return nil, err
	}
	err = st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error {
		is, err := j.standing(snap, org)
		if err != nil {
			return err
		}
		head, err := snap.Head()
		if err != nil {
			return err
		}
		now, err := snap.NowMS()
		if err == nil && (is != k.Standing || head.Seq < s.spooled.Head.Seq || now-s.AtMS > oldest.Milliseconds()) {
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
	j.kept, j.o.Since = k, k.Since
	// What the set's ids and ages come from.
	if j.veil != nil {
		j.veil.key, j.veil.on = s.IDs, s.On
	}
	return s, nil
}

// oldest is how long a state is gone on from: what has changed since is not in the export.
const oldest = 24 * time.Hour

// spoolOf writes a state down. Of what no export of these options passes on it has no more than
// that it is there, and what it is about.
func (j *job) spoolOf(snap *store.Snapshot) (key []byte, err error) {
	var says spooled
	if says.Head, err = snap.Head(); err != nil {
		return nil, err
	}
	if says.AtMS, err = snap.NowMS(); err != nil {
		return nil, err
	}
	if says.Kinds, err = snap.Kinds(); err != nil {
		return nil, err
	}
	if err := spoolRoom(filepath.Dir(j.dir.to), j.spoolNeeds(says.Kinds)); err != nil {
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
		rec, err := j.passed(rec)
		if err != nil {
			return err
		}
		return w.add(rec)
	})
	if err == nil {
		err = w.finish()
	}
	return w.key, errors.Join(err, w.close())
}

// lookedUp are the kinds of which more than a link is read, whatever is exported: who exports and
// where, and agencies' own codes. A set without moments reads when an episode began besides.
var lookedUp = []string{"agency", "program", "team", "staff", "code_set"}

// spools reports whether a spool has records of a kind whole.
func (j *job) spools(kind *syncengine.Kind) bool {
	return kind != nil && (j.byKind[kind.Number] != nil || slices.Contains(lookedUp, kind.Name) || j.veil != nil && kind.Name == "episode")
}

// passed is what a spool has of a record: all of it where it may be passed on. Of others there is
// the compartment, and what they are about, by which people are counted.
func (j *job) passed(rec *syncengine.StoredRecord) (*syncengine.StoredRecord, error) {
	less := &syncengine.StoredRecord{}
	less.ID, less.Kind = rec.ID, rec.Kind
	kind := j.domain.Kind(rec.Kind)
	if kind == nil {
		return less, nil
	}
	in := rec.Compartment(kind)
	if j.spools(kind) {
		if ok, err := j.rights.reads(rec, in); err != nil || ok {
			return rec, err
		}
	}
	var err error
	// Stamps of no time: those of none are not read.
	if less.Stamps, err = proto.Marshal(&tandemv1.Stamps{Created: 1, Compartment: in}); err != nil {
		return nil, err
	}
	// What cannot be taken apart is about nothing.
	less.Body, _ = j.domain.Links(&rec.Record)
	return less, nil
}

// spoolNeeds is about how many bytes a spool takes.
func (j *job) spoolNeeds(kinds []store.KindCount) (needs int64) {
	for _, k := range kinds {
		if needs += k.Records * spoolEach; j.spools(j.domain.Kind(k.Kind)) {
			needs += k.Bytes
		} else {
			needs += k.Records * spoolLinks
		}
	}
	return needs
}

// spoolRoom refuses a spool that would not leave as much room on the disk as it takes: what
// devices send comes before exports.
func spoolRoom(dir string, needs int64) error {
	room, err := roomOn(dir)
	if err == nil && room/2 < needs {
		err = fmt.Errorf("an export needs %d MiB beside its files, and as much again is left to others: %w", needs>>20+1, store.ErrDisk)
	}
	return err
}

// roomOn is how many bytes may still be written to a disk.
var roomOn = diskRoom

// What a spool has of a record beside its bytes, and of one that is not passed on, about.
const (
	spoolEach  = 32
	spoolLinks = 96
)

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
	if k.Within != nil && !j.holds(&k) {
		k = Kept{}
	}
	if err := j.dir.keep(&k, j.o.Whole); err != nil {
		return err
	}
	if j.dir.kept == nil {
		k = Kept{}
	}
	j.kept = &Kept{
		Asked: j.kept.Asked, Key: j.kept.Key, Standing: j.kept.Standing, Since: j.kept.Since,
		Parts: k.Parts, Records: k.Records, LeftOut: k.LeftOut, Files: slices.Clone(k.Files), Within: k.Within, Form: k.Form,
	}
	j.n, j.left = k.Records, k.LeftOut
	return nil
}

// keep ends a part and, where there are several, notes that it is done.
func (j *job) keep() (err error) {
	if err := errors.Join(j.form.part(), j.from.failed); err != nil || j.whole() {
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
	j.kept.Within = nil
	if err := j.progressed(); err != nil || j.o.Keep == nil {
		return err
	}
	if err := syncDir(j.dir.at); err != nil {
		return err
	}
	// Until then the part before is what a next attempt is given, with its journal.
	if err := j.o.Keep(j.kept); err != nil {
		return err
	}
	return j.dir.endJournal()
}

// tablesOf are the tables of a part.
func (j *job) tablesOf(p kindsPart) (of []*table) {
	for _, t := range j.tables {
		if slices.Contains(p.kinds, t.kind.Number) {
			of = append(of, t)
		}
	}
	return of
}
