package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/directory"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// DirectoryReport counts what an import of a directory did.
type DirectoryReport struct {
	// Added, Changed and Same are entries of the source; Retired those of an earlier
	// import that it no longer has, and Missing those of them that were left in use.
	Added, Changed, Same, Retired, Missing int
	// Lines say which entries, in the order of the source; those that stay as they are
	// have none.
	Lines []DirectoryLine
}

// DirectoryLine is what an import does with one entry: Act is added, changed, retired or
// missing, Fields are the names of those that change.
type DirectoryLine struct {
	Act, Name, Org string
	Fields         []string
}

func (r *DirectoryReport) line(act string, of *tandemv1.Resource, fields ...string) {
	r.Lines = append(r.Lines, DirectoryLine{Act: act, Name: of.GetServiceName().GetEn(), Org: of.GetOrgName(), Fields: fields})
}

// errPreview ends a transaction in which nothing is to be changed.
var errPreview = errors.New("this was a preview")

// Directory returns the resources of the directory, with the ids of their records.
func (a *Admin) Directory(ctx context.Context) (entries []directory.Entry, err error) {
	domain := record.New()
	err = a.store.EachRecord(ctx, a.org.ID, domain.KindByName("resource").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		if r, ok := msg.(*tandemv1.Resource); ok {
			entries = append(entries, directory.Entry{ID: rec.ID.String(), Resource: r})
		}
		return nil
	})
	return entries, err
}

// directoryImport is one import.
type directoryImport struct {
	*Admin

	domain *record.Domain
	now    int64
	report DirectoryReport
	// only counts: nothing is written.
	only   bool
	writes []*tandemv1.RecordWrite
}

// ImportDirectory brings resources into the directory of an agency: all of them or, where
// one is refused, none. An entry that an earlier import made is found by its key in the
// source and changed where the source now says otherwise; what people wrote into it
// besides (Spanish names, capacity) stays. Entries that the source no longer has are
// retired where retire says so.
func (a *Admin) ImportDirectory(ctx context.Context, agency syncengine.ID, resources []*tandemv1.Resource, retire bool) (*DirectoryReport, error) {
	return a.importDirectory(ctx, agency, resources, retire, false)
}

// PreviewDirectory says what ImportDirectory would do now, and does nothing.
func (a *Admin) PreviewDirectory(ctx context.Context, agency syncengine.ID, resources []*tandemv1.Resource, retire bool) (*DirectoryReport, error) {
	return a.importDirectory(ctx, agency, resources, retire, true)
}

func (a *Admin) importDirectory(ctx context.Context, agency syncengine.ID, resources []*tandemv1.Resource, retire, only bool) (*DirectoryReport, error) {
	known, err := a.Directory(ctx)
	if err != nil {
		return nil, err
	}
	i := &directoryImport{Admin: a, domain: record.New(), now: a.now().UnixMilli(), only: only}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if _, err := a.find(tx, "agency", agency); err != nil {
			return err
		}
		return i.run(tx, agency, known, resources, retire)
	})
	if err != nil && !errors.Is(err, errPreview) {
		return nil, err
	}
	return &i.report, nil
}

func (i *directoryImport) run(tx *store.Tx, agency syncengine.ID, known []directory.Entry, resources []*tandemv1.Resource, retire bool) error {
	i.report, i.writes = DirectoryReport{}, nil
	old := map[string]directory.Entry{}
	for _, e := range known {
		if key := directory.Key(e.Resource); key != "" && e.GetAgencyId() == agency.String() {
			old[key] = e
		}
	}
	for _, r := range resources {
		key := directory.Key(r)
		e, there := old[key]
		delete(old, key)
		if !there {
			if err := i.add(agency, r); err != nil {
				return err
			}
			continue
		}
		if e.GetLifecycle() == record.Void {
			i.report.Same++
			continue
		}
		fields, err := i.edit(tx, e, merged(e.Resource, r))
		if err != nil {
			return err
		}
		if len(fields) > 0 {
			i.report.Changed++
			i.report.line("changed", r, fields...)
		} else {
			i.report.Same++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		e := old[key]
		if e.GetLifecycle() != record.Active {
			continue
		}
		if !retire {
			i.report.Missing++
			i.report.line("missing", e.Resource)
			continue
		}
		gone := proto.CloneOf(e.Resource)
		gone.Lifecycle = new(record.Retired)
		if _, err := i.edit(tx, e, gone); err != nil {
			return err
		}
		i.report.Retired++
		i.report.line("retired", e.Resource)
	}
	if i.only {
		return errPreview
	}
	return i.apply(tx)
}

// merged is an entry with what a source says of it now.
func merged(before, source *tandemv1.Resource) *tandemv1.Resource {
	after := proto.CloneOf(before)
	after.Lifecycle = new(record.Active)
	after.ServiceName.En = source.GetServiceName().En
	after.OrgName, after.OrgKey, after.Description, after.Status = source.OrgName, source.OrgKey, source.Description, source.Status
	after.Address, after.City, after.Zip5, after.Lat, after.Lon = source.Address, source.City, source.Zip5, source.Lat, source.Lon
	after.Url, after.Email, after.Eligibility, after.Alert = source.Url, source.Email, source.Eligibility, source.Alert
	after.MinAge, after.MaxAge, after.AssuredOn = source.MinAge, source.MaxAge, source.AssuredOn
	after.Phones, after.Hours, after.Open_24_7, after.HsdsIds = source.Phones, source.Hours, source.Open_24_7, source.HsdsIds
	after.Langs, after.Category = source.Langs, source.Category
	if source.GetCost() != "unknown" {
		after.Cost = source.Cost
	}
	if source.GetAcceptsWalkIn() {
		after.AcceptsWalkIn = source.AcceptsWalkIn
	}
	if source.GetAcceptsPoliceDropoff() {
		after.AcceptsPoliceDropoff = source.AcceptsPoliceDropoff
	}
	if source.GetIsCrisisLine() {
		after.IsCrisisLine = source.IsCrisisLine
	}
	return after
}

// check refuses a resource that a form would not take.
func (i *directoryImport) check(r, before *tandemv1.Resource) error {
	e := record.Entry{NowMS: i.now}
	if before != nil {
		e.Before = before
	}
	var faults []record.Problem
	for _, p := range i.domain.Validate(r, e) {
		if !p.Warn {
			faults = append(faults, p)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s: %w", directory.Key(r), &InvalidError{Problems: faults})
	}
	return nil
}

func (i *directoryImport) add(agency syncengine.ID, source *tandemv1.Resource) error {
	r := proto.CloneOf(source)
	r.AgencyId, r.Lifecycle, r.Schema = new(agency.String()), new(record.Active), schema()
	if err := i.check(r, nil); err != nil {
		return err
	}
	body, err := i.domain.Body(r)
	if err != nil {
		return err
	}
	id, err := syncengine.NewID(i.now, i.rand)
	if err != nil {
		return err
	}
	i.report.Added++
	i.report.line("added", r)
	i.writes = append(i.writes, &tandemv1.RecordWrite{
		Record: id[:], Kind: i.domain.KindOf(r).Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
	})
	return nil
}

// edit writes what has changed of an entry, and returns the names of those fields.
func (i *directoryImport) edit(tx *store.Tx, e directory.Entry, after *tandemv1.Resource) (changed []string, err error) {
	id, err := syncengine.ParseID(e.ID)
	if err != nil {
		return nil, err
	}
	rec, err := i.find(tx, "resource", id)
	if err != nil {
		return nil, err
	}
	fields, err := i.domain.Diff(e.Resource, after)
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	if err := i.check(after, e.Resource); err != nil {
		return nil, err
	}
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return nil, err
	}
	w := &tandemv1.RecordWrite{Record: id[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET}
	names := e.ProtoReflect().Descriptor().Fields()
	for _, f := range fields {
		if fd := names.ByNumber(protoreflect.FieldNumber(f.Path.Field)); fd != nil {
			changed = append(changed, string(fd.Name()))
		}
		w.Writes = append(w.Writes, &tandemv1.PathWrite{
			Field: f.Path.Field, Key: []byte(f.Path.Key), Value: f.Raw, Bases: syncengine.EncodeStamps(state.Bases(f.Path, true)),
		})
	}
	i.writes = append(i.writes, w)
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// apply applies what was gathered, as many changes as it takes in one transaction.
func (i *directoryImport) apply(tx *store.Tx) error {
	if len(i.writes) == 0 {
		return nil
	}
	batch, err := i.engine().Begin(tx, i.now)
	if err != nil {
		return err
	}
	who, author := operator, i.org.ID
	if !i.by.IsZero() {
		if who, err = i.staff(i.engine(), tx, i.by); err != nil {
			return err
		}
		author = i.by
	}
	const most, size = 50, syncengine.MaxChange / 2
	for from := 0; from < len(i.writes); {
		to, bytes := from, 0
		for to < len(i.writes) && to-from < most && (to == from || bytes+proto.Size(i.writes[to]) < size) {
			bytes += proto.Size(i.writes[to])
			to++
		}
		if err := i.change(batch, who, author, i.writes[from:to]); err != nil {
			return err
		}
		from = to
	}
	if _, err := batch.Commit(); err != nil {
		return err
	}
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SET_UP, Kind: i.writes[0].GetKind()}
	if !i.by.IsZero() {
		e.Act, e.Person, e.Code, e.Count = tandemv1.AuditAct_AUDIT_ACT_CHANGED, i.by[:], "directory", uint64(len(i.writes))
	}
	return tx.Audit(e)
}

func (i *directoryImport) change(batch *syncengine.Batch, who *syncengine.Principal, author syncengine.ID, writes []*tandemv1.RecordWrite) error {
	id, err := syncengine.NewID(i.now, i.rand)
	if err != nil {
		return err
	}
	raw, err := proto.Marshal(&tandemv1.Change{
		Id: id[:], Author: author[:], Class: tandemv1.Class_CLASS_BULK, Schema: syncengine.Schema,
		Time: &tandemv1.ChangeTime{WallMs: i.now, OffsetKnown: true}, Records: writes,
	})
	if err != nil {
		return fmt.Errorf("encoding a change: %w", err)
	}
	out, err := batch.Local(who, raw)
	if err != nil {
		return err
	}
	if out.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		if author != i.org.ID {
			return &RefusedError{Code: out.GetRefusal()}
		}
		return fmt.Errorf("%w: %s %v", errNotApplied, out.GetRefusal(), out.GetFields())
	}
	return nil
}
