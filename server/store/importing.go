package store

import (
	"context"

	"github.com/tandem-response/tandem/syncengine"
)

// mayImport refuses a database that an export is not to be read into.
func (s *Store) mayImport(ctx context.Context, state moving) error {
	if state == importing {
		return s.checkMark(ctx)
	}
	orgs, err := s.Orgs(ctx)
	if err == nil && len(orgs) > 0 {
		err = ErrImportTarget
	}
	return err
}

// BeginImport makes the org that an export is of, in a store that was opened for it, or
// returns the one for which that was done before. Servers refuse the database until
// [Tx.EndImport]. Keys of the org that are in the keys file are its keys again.
func (s *Store) BeginImport(ctx context.Context, id syncengine.ID, name string) (org *Org, again bool, err error) {
	orgs, err := s.Orgs(ctx)
	switch {
	case err != nil:
		return nil, false, err
	case len(orgs) == 0:
		org, err = s.createOrg(ctx, id, name, importing)
		return org, false, err
	case len(orgs) > 1 || orgs[0].ID != id:
		return nil, false, ErrImportTarget
	}
	state, err := s.moving(ctx)
	if err == nil && state != importing {
		err = ErrImportTarget
	}
	return orgs[0], true, err
}

// EndImport says that all of an export is there, once the transaction is.
func (tx *Tx) EndImport() error {
	tx.writes++
	return tx.c.exec("UPDATE org SET moved = $1 WHERE num = $2", int64(stays), tx.org.num)
}
