package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// databaseFlag names a server's database, where that is no file in its directory.
type databaseFlag struct {
	Database string `env:"TANDEM_DATABASE" placeholder:"postgres://…" help:"PostgreSQL database of the server ($$${env}); keys and security journal stay in the directory."`
}

// address returns the address of the database. A command line can be seen by others on
// the machine, so a password is not taken from there.
func (f databaseFlag) address() (string, error) {
	if f.Database != os.Getenv("TANDEM_DATABASE") {
		if err := noPassword(f.Database); err != nil {
			return "", exits(exitUsage, fmt.Errorf("--database %w: put the address into TANDEM_DATABASE, or the password into PGPASSWORD or ~/.pgpass", err))
		}
	}
	return f.Database, nil
}

// noPassword refuses an address with a password in it.
func noPassword(address string) error {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			return errors.New("holds a password, which everybody on this machine can read")
		}
	}
	return nil
}

// placeFlag names a server's data.
type placeFlag struct {
	Data string `default:"tandem-data" env:"TANDEM_DATA" placeholder:"DIR" help:"Directory of the server's data (default ${default})."`
	databaseFlag
}

// dataFlag names a server's data, and an org in it.
type dataFlag struct {
	placeFlag
	Org string `placeholder:"ID" help:"Org, where the server holds several."`
}

// openData opens a server's data.
func openData(ctx context.Context, p placeFlag, o store.Options) (_ *store.Store, err error) {
	if o.Database, err = p.address(); err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, p.Data, o)
	switch {
	case errors.Is(err, store.ErrNoDatabase):
		return nil, exits(exitUsage, fmt.Errorf("%w: name the server's directory with --data, or begin with tandem admin org create --data %s", err, p.Data))
	case errors.Is(err, store.ErrAddress):
		return nil, exits(exitUsage, fmt.Errorf("--database: %w", err))
	case errors.Is(err, store.ErrUnreachable):
		return nil, exits(exitNoAnswer, err)
	}
	return st, err
}

// open opens the server's data; makeIt says that it may be new.
func (f placeFlag) open(a *app, makeIt bool) (*store.Store, error) {
	return openData(a.ctx, f, store.Options{Create: makeIt})
}

// org returns the org that the command is about.
func (f dataFlag) org(ctx context.Context, st *store.Store) (*store.Org, error) {
	orgs, err := st.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	if f.Org != "" {
		id, err := syncengine.ParseID(f.Org)
		if err != nil {
			return nil, exits(exitUsage, fmt.Errorf("--org: %w", err))
		}
		if i := slices.IndexFunc(orgs, func(o *store.Org) bool { return o.ID == id }); i >= 0 {
			return orgs[i], nil
		}
		return nil, exits(exitUsage, errors.New("--org: this server holds no such org"))
	}
	switch len(orgs) {
	case 0:
		return nil, exits(exitUsage, fmt.Errorf("this server holds no org yet: tandem admin org create --data %s --name NAME", f.Data))
	case 1:
		return orgs[0], nil
	}
	return nil, exits(exitUsage, fmt.Errorf("this server holds %d orgs: say which with --org", len(orgs)))
}

// sortedScopes returns the scopes of digests in their order.
func sortedScopes(digests map[syncengine.ScopeKey]syncengine.Sum) []syncengine.ScopeKey {
	keys := make([]syncengine.ScopeKey, 0, len(digests))
	for k := range digests {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, syncengine.ScopeKey.Compare)
	return keys
}

// agencyZone is the time zone of a program's agency; for no program that of the org's first
// agency, UTC where it has none.
func agencyZone(a *app, st *store.Store, org syncengine.ID, domain *record.Domain, program syncengine.ID) (string, error) {
	var of string
	if !program.IsZero() {
		err := st.EachRecord(a.ctx, org, domain.KindByName("program").Number, func(rec *syncengine.StoredRecord) error {
			if rec.ID == program {
				of = rec.Text(syncengine.FieldAgency)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	var first *syncengine.Record
	kind := domain.KindByName("agency")
	err := st.EachRecord(a.ctx, org, kind.Number, func(rec *syncengine.StoredRecord) error {
		if first == nil && of == "" || rec.ID.String() == of || of == "" && rec.ID.Compare(first.ID) < 0 {
			r := rec.Record
			first = &r
		}
		return nil
	})
	if err != nil || first == nil {
		return "UTC", err
	}
	msg, err := domain.Message(first)
	if err != nil {
		return "", err
	}
	if agency, ok := msg.(*tandemv1.Agency); ok && agency.GetAgencyTz() != "" {
		return agency.GetAgencyTz(), nil
	}
	return "UTC", nil
}
