package export

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Standing is what an export stands on: which database, what had been erased by law there by then,
// and a digest of the rights of those who export.
type Standing struct {
	Epoch  syncengine.ID `json:"epoch"`
	Erased [2]int64      `json:"erased"`
	Rights string        `json:"rights"`
}

// standing finds it.
func (j *job) standing(snap *store.Snapshot, org *store.Org) (is Standing, err error) {
	if err := j.allow(snap, org); err != nil {
		return is, err
	}
	if is.Rights, err = j.rights.digest(); err != nil {
		return is, err
	}
	head, err := snap.Head()
	if err != nil {
		return is, err
	}
	is.Epoch = head.Epoch
	is.Erased[0], is.Erased[1], err = snap.Erased()
	return is, err
}

// Stands looks whether an export that was made in a directory, of what is kept, may be handed out:
// nothing was erased by law since its state was read, the rights are the same, and no record has gone
// since to where those who export do not read it. What it returns reports that to the transaction that
// hands the export out, and looks at no more records than have changed meanwhile: writers do not
// wait for the rest. The errors are ones that Refused knows where the person may not export any
// longer.
func Stands(ctx context.Context, st *store.Store, org *store.Org, to string, o Options, k *Kept) (still func(*store.Tx) (bool, error), err error) {
	var upTo uint64
	stood := false
	if err := st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error {
		head, err := snap.Head()
		if err == nil {
			upTo = head.Seq
			stood, err = stands(ctx, snap, org, to, o, k, 0)
		}
		return err
	}); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) (bool, error) {
		snap, err := tx.Snapshot(ctx)
		if err != nil || !stood {
			return false, err
		}
		return stands(ctx, snap, org, to, o, k, upTo)
	}, nil
}

// stands looks at what has changed after a sequence, and after the state was read.
func stands(ctx context.Context, snap *store.Snapshot, org *store.Org, to string, o Options, k *Kept, after uint64) (bool, error) {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return false, err
	}
	if is, err := j.standing(snap, org); err != nil || is != k.Standing {
		return false, err
	}
	// That of the state, whoever asks by time.
	j.o.Since = k.Since
	s, err := openSpool(ctx, filepath.Clean(to)+spoolEnd, k.Key)
	if err != nil {
		return false, err
	}
	strayed, err := j.strayed(snap, s, max(after, s.spooled.Head.Seq))
	return err == nil && !strayed, errors.Join(err, s.close())
}

// strayed reports whether a record that is passed on is not theirs any more who export: of another
// agency, program or team, or in another compartment. Types of FHIR resources are not looked at, nor
// in a period whom it is about, nor what a de-identified set leaves out for being rare: there more
// may be taken to be passed on than is.
func (j *job) strayed(snap *store.Snapshot, s *spool, after uint64) (bool, error) {
	ids, err := snap.ChangedSince(after)
	if err != nil {
		return false, err
	}
	// As they stand in the spool, of which each block is opened once.
	slices.SortFunc(ids, syncengine.ID.Compare)
	zones := map[string]*time.Location{}
	for _, id := range ids {
		was, err := s.Record(id)
		if err != nil {
			return false, err
		}
		if was == nil {
			continue
		}
		if passed, err := j.candidate(was, zones); err != nil {
			return false, err
		} else if passed == nil {
			continue
		}
		is, err := snap.Record(id)
		if err != nil {
			return false, err
		}
		if still, err := j.theirs(is); err != nil || !still {
			return true, err
		}
	}
	return false, nil
}

// theirs reports whether a record is one that those who export are given, as it is now.
func (j *job) theirs(rec *syncengine.StoredRecord) (bool, error) {
	if rec == nil || j.byKind[rec.Kind] == nil {
		return false, nil
	}
	kind := j.domain.Kind(rec.Kind)
	ok, err := j.rights.reads(rec, rec.Compartment(kind))
	return ok && j.ofProgram(kind, rec), err
}
