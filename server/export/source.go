package export

import (
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// source is one state of an org: that which the database has in a snapshot, or one that was
// spooled. f of EachOf may read other records.
type source interface {
	Head() (syncengine.HistoryHead, error)
	Kinds() ([]store.KindCount, error)
	Record(id syncengine.ID) (*syncengine.StoredRecord, error)
	EachOf(kinds []uint32, f func(*syncengine.StoredRecord) error) error
}

var (
	_ source = (*store.Snapshot)(nil)
	_ source = (*spool)(nil)
)

// sure remembers the first error of looking a record up: who does that for a part of a row goes on
// without it, and nothing of that may be passed on.
type sure struct {
	source

	failed error
}

// Record implements source.
func (s *sure) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	rec, err := s.source.Record(id)
	if s.failed == nil {
		s.failed = err
	}
	return rec, err
}

// kindOf calls f for each record of one kind.
func (j *job) kindOf(from source, kind string, f func(*syncengine.StoredRecord) error) error {
	return from.EachOf([]uint32{j.domain.KindByName(kind).Number}, f)
}
