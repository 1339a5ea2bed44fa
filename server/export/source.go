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

// kindOf calls f for each record of one kind.
func (j *job) kindOf(from source, kind string, f func(*syncengine.StoredRecord) error) error {
	return from.EachOf([]uint32{j.domain.KindByName(kind).Number}, f)
}
