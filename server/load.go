package server

import (
	"bytes"
	"context"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ErrOtherImport says that the import that has not ended is of another export.
var ErrOtherImport = errors.New("another export is being read into this database: run the import of that one again, or remove the database and begin anew")

// ImportNote says of an export that is read back what the audit log keeps.
type ImportNote struct {
	// Export is its id, Manifest the SHA-256 of its manifest.
	Export   syncengine.ID
	Manifest syncengine.Hash
}

const (
	importBegun = "begun"
	importEnded = "ended"
)

func (n *ImportNote) entry(code string, count uint64) *tandemv1.AuditEntry {
	return &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_IMPORTED, Code: code, Subject: n.Export[:], Hash: n.Manifest[:], Count: count}
}

// BeginImport notes that an export is read into the org that [store.Store.BeginImport] has
// made. One that was begun before goes on if it is the same.
func (a *Admin) BeginImport(ctx context.Context, n *ImportNote) error {
	var begun []byte
	err := a.store.ReadAudit(ctx, a.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_IMPORTED {
				begun = e.GetHash()
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case begun == nil:
		return a.note(ctx, n.entry(importBegun, 0))
	case !bytes.Equal(begun, n.Manifest[:]):
		return ErrOtherImport
	}
	return nil
}

// Load stores records as another server of the org held them, in one transaction, and
// returns how many were not there yet.
func (a *Admin) Load(ctx context.Context, records []*syncengine.Loaded) (loaded int, err error) {
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	err = a.store.Write(ctx, a.org.ID, len(records), func(tx *store.Tx) error {
		loaded = 0
		batch, err := engine.Begin(tx, a.now().UnixMilli())
		if err != nil {
			return err
		}
		for _, l := range records {
			fresh, err := batch.Load(l)
			if err != nil {
				return err
			}
			if fresh {
				loaded++
			}
		}
		_, err = batch.Commit()
		return err
	})
	return loaded, err
}

// EndImport says that all of the export is there: servers take the database from then on.
func (a *Admin) EndImport(ctx context.Context, n *ImportNote, records int64) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if err := tx.EndImport(); err != nil {
			return err
		}
		return tx.Audit(n.entry(importEnded, uint64(records)))
	})
}
