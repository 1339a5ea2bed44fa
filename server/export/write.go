package export

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Options say what is exported, for whom and how.
type Options struct {
	// ID of the export, made by the caller.
	ID syncengine.ID
	// Person whose rights hold, zero for the operator of the server. Approver is the
	// second person, where there is one.
	Person, Approver syncengine.ID
	// Purpose, Recipient and Basis (a code of disclosure_basis) stand in the manifest as
	// they were given.
	Purpose, Recipient, Basis string
	// Format of the files: CSV where empty, or XLSX, Parquet, FHIR.
	Format string
	// Set of fields: Full where empty, or Limited, which needs the name of an Agreement
	// on the use of the data, or SafeHarbor.
	Set, Agreement string
	// Key from which a limited or de-identified set has its ids; none: a random one that
	// is kept nowhere. At is the day on which ages are reckoned; zero: today.
	Key []byte
	At  time.Time
	// Kinds to export by name; none: all but notes.
	Kinds []string
	// Types of FHIR resources to export; none: all. Without AuditEvent among them the
	// disclosures are only exported where their kind is named.
	Types []string
	// Since takes only what has changed after a sequence. From and Until take only what
	// happened from one day to another, both included, where it happened; people are
	// those whom it is about, and reference data is there in any case.
	Since       uint64
	From, Until string
	// Program takes only the records of one program, and reference data; zero: of all.
	Program syncengine.ID
	// Notes, Drafts, Void and SUD (42 CFR Part 2) take in what is left out otherwise.
	Notes, Drafts, Void, SUD bool
	// Labels is en or es for a column of labels beside each column of codes.
	Labels string
	// ExcelSafe puts an apostrophe before text that a spreadsheet would run as a
	// formula. BOM begins each CSV file with a byte order mark.
	ExcelSafe, BOM bool
	// Generator is the version of the program.
	Generator string
	// Encrypt returns a writer that encrypts the file of a name to the recipient; nil: the
	// files are in the clear. The name of an encrypted file ends in .age.
	Encrypt func(name string, w io.Writer) (io.WriteCloser, error) `json:"-"`
	// AtRest: what Encrypt does is undone before the files are passed on, and the manifest
	// does not speak of it.
	AtRest bool
	// Begin is called once it is known what the export covers, before the first byte is
	// written: it notes the disclosure. An error ends the export.
	Begin func(Cut) error `json:"-"`
	// End is called with the finished manifest and its SHA-256, before the export has
	// its name.
	End func(*Manifest, syncengine.Hash) error `json:"-"`
	// Progress is called with the number of records read since the last call.
	Progress func(records int) `json:"-"`
	// Keep is called when the state is read, which is written down sealed before anything is made
	// of it, each time that some files of a full set are whole, and between after every 10,000 records
	// that are passed on as CSV or FHIR, with what an export of the same ID that is given it as Kept
	// goes on from. What was kept lies beside the place of the export
	// until Discard, but for a full disk and what is refused, where it goes at once. An error ends
	// the export. Where Keep is nil the database is read as the files are made.
	Keep func(*Kept) error `json:"-"`
	// Kept holds with the Since that it was made with.
	Kept *Kept `json:"-"`
	// Whole reports whether a file that was kept is what it was, where it lies now; nil: none is.
	Whole func(path string, f File) bool `json:"-"`
}

// Cut is the state of the database that an export is of.
type Cut struct {
	// Epoch and Seq of the state, and its commit hash.
	Epoch syncengine.ID
	Seq   uint64
	Hash  syncengine.Hash
	// Teams whose records are in the export; none for a limited or de-identified set, which
	// is no disclosure that has to be accounted for (45 CFR 164.528(a)(1), 164.502(d)(2)).
	Teams []syncengine.ID
	// What is passed on, in codes of disclosed_field.
	What []string
	// People whom it is about, counted where a person exports what names somebody.
	People int
}

// Manifest is what manifest.json says.
type Manifest struct {
	Format    string   `json:"format"`
	ID        string   `json:"export_id"`
	Org       string   `json:"org,omitempty"`
	OrgName   string   `json:"org_name,omitempty"`
	Epoch     string   `json:"epoch,omitempty"`
	Seq       uint64   `json:"seq"`
	Commit    string   `json:"commit,omitempty"`
	Schema    int      `json:"schema"`
	Generator string   `json:"generator"`
	Person    string   `json:"person,omitempty"`
	Approver  string   `json:"approver,omitempty"`
	Purpose   string   `json:"purpose"`
	Recipient string   `json:"recipient"`
	Basis     string   `json:"basis,omitempty"`
	Set       string   `json:"field_set"`
	Agreement string   `json:"agreement,omitempty"`
	AsOf      string   `json:"ages_as_of,omitempty"`
	Since     uint64   `json:"changed_since,omitempty"`
	From      string   `json:"from,omitempty"`
	Until     string   `json:"until,omitempty"`
	Kinds     []string `json:"kinds"`
	Types     []string `json:"types,omitempty"`
	Drafts    bool     `json:"include_drafts"`
	Void      bool     `json:"include_void"`
	SUD       bool     `json:"include_sud"`
	Labels    string   `json:"labels,omitempty"`
	ExcelSafe bool     `json:"excel_safe"`
	BOM       bool     `json:"bom"`
	Records   int64    `json:"records"`
	LeftOut   LeftOut  `json:"left_out"`
	// KAnonymity is that of a de-identified set.
	KAnonymity *KAnonymity `json:"k_anonymity,omitempty"`
	Encrypted  bool        `json:"encrypted,omitempty"`
	Files      []File      `json:"files"`
}

// LeftOut counts records that the person may read and that were not exported.
type LeftOut struct {
	Drafts int64 `json:"drafts"`
	Void   int64 `json:"void"`
}

// File is one file of an export, as it is before it is encrypted.
type File struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// UnknownKindError names a kind that is none.
type UnknownKindError struct{ Kind string }

// Error implements error.
func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("%q is no kind of record: kinds are named as in codebook.csv, in the singular, for example incident", e.Kind)
}

// recordError names a record that cannot be taken apart.
type recordError struct {
	id  syncengine.ID
	err error
}

// Error implements error.
func (e *recordError) Error() string { return fmt.Sprintf("record %s: %v", e.id, e.err) }

// Unwrap implements error.
func (e *recordError) Unwrap() error { return e.err }

// job is one export on its way.
type job struct {
	o      Options
	domain *record.Domain
	rights *rights
	cut    Cut
	tables []*table
	byKind map[uint32][]*table
	form   form
	veil   *veil
	period *period
	dir    *directory
	from   *sure
	// parts are made one after the other; kept says how far it is.
	parts []kindsPart
	kept  *Kept
	left  LeftOut
	n     int64
	// own are the codes of agencies. A limited or de-identified set has none: there they are
	// the core codes that they are kinds of.
	own, kinds record.OwnCodes
}

func newJob(o Options) *job {
	return &job{o: o, domain: record.New(), byKind: map[uint32][]*table{}}
}

// Write exports an org's records into a directory, which must not exist. A cancelled
// context ends it; then nothing is left behind but what Keep was told of.
func Write(ctx context.Context, st *store.Store, org *store.Org, to string, o Options) (m *Manifest, err error) {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return nil, err
	}
	if j.dir, err = newDirectory(to); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.dir.abandon(j.goesOn(err)))
		}
	}()
	if o.Keep == nil {
		err = st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) (err error) {
			m, err = j.make(snap, org)
			return err
		})
		return m, err
	}
	from, err := j.spooled(ctx, st, org)
	if err != nil {
		return nil, err
	}
	m, err = j.make(from, org)
	return m, errors.Join(err, from.close())
}

// make makes an export of one state.
func (j *job) make(read source, org *store.Org) (*Manifest, error) {
	from := &sure{source: read}
	j.from = from
	if err := j.allow(from, org); err != nil {
		return nil, err
	}
	if err := j.survey(from); err != nil {
		return nil, err
	}
	if err := j.countNamed(from); err != nil {
		return nil, err
	}
	if err := j.divide(from); err != nil {
		return nil, err
	}
	if err := j.resume(); err != nil {
		return nil, err
	}
	j.dir.encrypt = j.o.Encrypt
	if j.o.Begin != nil {
		if err := j.o.Begin(j.cut); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(j.write(from), from.failed); err != nil {
		return nil, err
	}
	return j.finish(org)
}

var refusals = []error{
	ErrSet, ErrFormat, ErrAgreement, ErrResearch, ErrIdentified, ErrDrafts, ErrPeriod, ErrType, ErrProgram, ErrLeadFormat, ErrForbidden, ErrInactive,
	ErrApproval, ErrApprover, ErrLongText,
}

// Refused reports whether an error of an export is one that another attempt would meet too:
// what was asked for is not allowed, or makes no sense.
func Refused(err error) bool {
	if _, ok := errors.AsType[*UnknownKindError](err); ok {
		return true
	}
	return slices.ContainsFunc(refusals, func(refused error) bool { return errors.Is(err, refused) })
}

// noRoom reports whether the disk is full: then what was kept goes too, since what devices send
// comes before exports.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrDisk) }

// Allowed refuses, with an error that Refused knows, what the person may not export, or not
// any longer. It reads no more than the records of staff.
func Allowed(ctx context.Context, st *store.Store, org *store.Org, o Options) error {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return err
	}
	return st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error { return j.allow(snap, org) })
}

// Check refuses, with an error that Refused knows, what Write would refuse before its first
// byte.
func Check(ctx context.Context, st *store.Store, org *store.Org, o Options) error {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return err
	}
	return st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error {
		if err := j.allow(snap, org); err != nil {
			return err
		}
		if err := j.survey(snap); err != nil {
			return err
		}
		// A record that cannot be read is met once more when the files are made.
		if err := j.countNamed(snap); Refused(err) {
			return err
		}
		return ctx.Err()
	})
}

// allow finds the rights of whoever exports.
func (j *job) allow(from source, org *store.Org) (err error) {
	if j.rights, err = newRights(from, org, j.domain, &j.o); err != nil || j.o.Program.IsZero() {
		return err
	}
	program, err := j.rights.look(j.o.Program)
	if err == nil && (program == nil || program.Kind != j.domain.KindByName("program").Number) {
		err = ErrProgram
	}
	return err
}

// choose picks the tables.
func (j *job) choose() error {
	if err := errors.Join(j.o.checkSet(), j.choosePeriod()); err != nil {
		return err
	}
	if j.o.Format == "" {
		j.o.Format = CSV
	}
	if !slices.Contains(Formats, j.o.Format) {
		return ErrFormat
	}
	if j.o.Format == XLSX && j.o.Labels == "" {
		j.o.Labels = record.English
	}
	if j.o.Format == FHIR && j.o.Set != Full {
		return ErrIdentified
	}
	for _, typ := range j.o.Types {
		if !slices.Contains(Resources, typ) {
			return fmt.Errorf("%s: %w", typ, ErrType)
		}
	}
	all, err := tables(j.domain, &j.own, j.o.Labels)
	if err != nil {
		return err
	}
	if j.o.Set != Full {
		if j.veil, err = newVeil(j); err != nil {
			return err
		}
		if err := checkVocabularies(all); err != nil {
			return err
		}
		all = j.veil.tables(all)
	}
	if j.o.Labels != "" && j.o.Labels != record.English && j.o.Labels != record.Spanish {
		return fmt.Errorf("there are no labels in %q: take en or es", j.o.Labels)
	}
	for _, name := range j.o.Kinds {
		if j.domain.KindByName(name) == nil {
			return &UnknownKindError{Kind: name}
		}
	}
	for _, t := range all {
		named := slices.Contains(j.o.Kinds, t.kind.Name)
		if named || len(j.o.Kinds) == 0 && (t.kind.Name != "note" || j.o.Notes) && (t.kind.Name != "disclosure" || j.o.Format != FHIR || slices.Contains(j.o.Types, "AuditEvent")) {
			j.tables = append(j.tables, t)
			j.byKind[t.kind.Number] = append(j.byKind[t.kind.Number], t)
		}
	}
	return nil
}

// survey reads what must be known before the first byte.
func (j *job) survey(from source) error {
	head, err := from.Head()
	if err != nil {
		return err
	}
	j.cut = Cut{Epoch: head.Epoch, Seq: head.Seq, Hash: head.Hash, What: j.what()}
	if err := j.kindOf(from, "team", func(rec *syncengine.StoredRecord) error {
		in := j.rights.p == nil || slices.Contains(j.rights.p.Teams, rec.ID) ||
			j.rights.agency() && rec.Text(syncengine.FieldAgency) == j.rights.p.Agency.String()
		if !in && j.rights.p.HasRole(lead) {
			program, err := syncengine.ParseID(rec.Text(syncengine.FieldProgram))
			in = err == nil && slices.Contains(j.rights.p.Programs, program)
		}
		if in && j.o.Set == Full {
			j.cut.Teams = append(j.cut.Teams, rec.ID)
		}
		return nil
	}); err != nil {
		return err
	}
	return j.readOwnCodes(from)
}

func (j *job) readOwnCodes(from source) error {
	into := &j.own
	if j.veil != nil {
		into = &j.kinds
	}
	return j.kindOf(from, "code_set", func(rec *syncengine.StoredRecord) error {
		msg, err := j.domain.Message(&rec.Record)
		if err != nil {
			return &recordError{rec.ID, err}
		}
		if m, ok := msg.(*tandemv1.CodeSet); ok && rec.Lifecycle() == record.Active {
			into.Add(m)
		}
		return nil
	})
}

// disclosed says what is passed on with a kind, in codes of disclosed_field; other kinds
// pass on what the list has no word for.
var disclosed = map[string][]string{
	"incident": {"location"}, "person": {"identity", "contact"}, "encounter": {"danger", "disposition", "presenting", "screening"},
	"note": {"narrative"}, "referral": {"referrals"}, "episode": {"episode"}, "follow_up": {"episode"},
	"safety_alert": {"safety"}, "alert_card": {"safety"}, "attachment": {"attachments"},
}

func (j *job) what() []string {
	var codes []string
	if j.o.SUD {
		codes = append(codes, "substance_use")
	}
	for _, t := range j.tables {
		if t.field == nil {
			if said, ok := disclosed[t.kind.Name]; ok {
				codes = append(codes, said...)
			} else {
				codes = append(codes, "other")
			}
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// write fills the files.
func (j *job) write(from source) error {
	if j.veil != nil && j.veil.classes != nil {
		if err := j.look(from, j.veil.survey); err != nil {
			return err
		}
		j.veil.classes.settle()
		if err := j.look(from, j.veil.count); err != nil {
			return err
		}
	}
	j.form = j.newForm(from)
	if f, ok := j.form.(*fhirForm); ok {
		if err := f.restore(j.kept.Form); err != nil {
			return err
		}
	}
	for _, p := range j.parts[j.kept.Parts:] {
		if err := j.writePart(from, p); err != nil {
			return err
		}
	}
	return j.form.end()
}

// writePart fills the files of some kinds.
func (j *job) writePart(from source, p kindsPart) error {
	var after syncengine.ID
	if j.journaled(p) {
		if j.kept.Within != nil {
			after = j.kept.Within.After
		}
		if err := j.replay(); err != nil {
			return err
		}
	}
	if err := j.form.begin(j.tablesOf(p)); err != nil {
		return err
	}
	put := func(of []*table, r *row) error { return j.form.write(of, r, nil) }
	if j.form.tabular() {
		put = j.entry
	}
	var waiting *waiting
	if j.veil != nil {
		waiting = j.newWaiting()
		put = waiting.add
	}
	if j.dir.journal != nil {
		write, next := put, j.n+piece
		put = func(of []*table, r *row) error {
			if err := write(of, r); err != nil || j.n < next {
				return err
			}
			next += piece
			return j.hold(r.rec.ID)
		}
	}
	if len(j.parts) == 1 {
		p.kinds = nil
	}
	if err := j.read(from, after, put, p.kinds...); err != nil {
		return errors.Join(err, waiting.remove())
	}
	if err := waiting.release(); err != nil {
		return err
	}
	return j.keep()
}

// look reads everything once before anything is written.
func (j *job) look(from source, f func([]*table, *row) error) error {
	progress := j.o.Progress
	j.o.Progress = nil
	err := j.read(from, syncengine.ID{}, f)
	j.o.Progress, j.n, j.left = progress, 0, LeftOut{}
	return err
}

// read goes through the records of some kinds once, of every kind for none, by id from the one
// after the given one, and calls f with the tables of each.
func (j *job) read(from source, after syncengine.ID, f func([]*table, *row) error, kinds ...uint32) error {
	zones := map[string]*time.Location{}
	read := 0
	err := from.EachOf(kinds, func(rec *syncengine.StoredRecord) error {
		if rec.ID.Compare(after) <= 0 {
			return nil
		}
		if read++; read == 1000 && j.o.Progress != nil {
			j.o.Progress(read)
			read = 0
		}
		r, err := j.row(rec, zones)
		if err != nil || r == nil {
			return err
		}
		j.n++
		return f(j.byKind[rec.Kind], r)
	})
	if j.o.Progress != nil {
		j.o.Progress(read)
	}
	return err
}

// admits reports whether a record is in the export, as far as that is known before it is taken
// apart.
func (j *job) admits(rec *syncengine.StoredRecord) (bool, error) {
	if j.byKind[rec.Kind] == nil {
		return false, nil
	}
	kind := j.domain.Kind(rec.Kind)
	if ok, err := j.rights.reads(rec, rec.Compartment(kind)); err != nil || !ok {
		return false, err
	}
	switch state := rec.Lifecycle(); {
	case state == record.Draft && !j.o.Drafts:
		j.left.Drafts++
		return false, nil
	case state == record.Void && !j.o.Void:
		j.left.Void++
		if f, ok := j.form.(*fhirForm); ok && j.o.Since > 0 && rec.Seq > j.o.Since {
			f.void(kind.Name, rec.ID)
		}
		return false, nil
	}
	return j.ofProgram(kind, rec) && (rec.Seq > j.o.Since || j.o.Since == 0), nil
}

// ofProgram reports whether a record is of the program that is asked for, where one is.
func (j *job) ofProgram(kind *syncengine.Kind, rec *syncengine.StoredRecord) bool {
	return j.o.Program.IsZero() || kind.Compartment == tandemv1.Compartment_COMPARTMENT_REF || rec.Text(syncengine.FieldProgram) == j.o.Program.String()
}

// row takes a record apart, nil where it is not in the export.
func (j *job) row(rec *syncengine.StoredRecord, zones map[string]*time.Location) (*row, error) {
	r, err := j.candidate(rec, zones)
	if err == nil && r != nil && j.veil != nil && j.veil.classes != nil {
		if r.level = j.veil.classes.of(r); r.level >= gone || j.veil.classes.merged(rec.ID) {
			return nil, nil //nolint:nilnil // Said above.
		}
	}
	return r, err
}

// candidate is row before it is known who is alike.
func (j *job) candidate(rec *syncengine.StoredRecord, zones map[string]*time.Location) (*row, error) {
	if ok, err := j.admits(rec); err != nil || !ok {
		return nil, err
	}
	r := &row{rec: rec, kind: j.domain.Kind(rec.Kind), stamps: &tandemv1.Stamps{}}
	if err := proto.Unmarshal(rec.Stamps, r.stamps); err != nil {
		return nil, &recordError{rec.ID, err}
	}
	msg, err := j.domain.Message(&rec.Record)
	if err != nil {
		return nil, &recordError{rec.ID, err}
	}
	r.msg = msg.ProtoReflect()
	name := rec.Text(syncengine.FieldTZ)
	if r.zone = zones[name]; r.zone == nil {
		// A zone that is not known here is shown in UTC, which its offset says.
		if r.zone, err = time.LoadLocation(name); err != nil || strings.EqualFold(name, "local") {
			r.zone = time.UTC
		}
		zones[name] = r.zone
	}
	if j.period != nil && !j.period.has(r) {
		return nil, nil //nolint:nilnil // Said above.
	}
	return r, nil
}

// finish writes what describes the tables, and the manifest last.
func (j *job) finish(org *store.Org) (*Manifest, error) {
	o := &j.o
	m := &Manifest{
		Format: "tandem-export " + o.Format + " 1", ID: o.ID.String(), Seq: j.cut.Seq, Schema: schemaVersion, Generator: o.Generator,
		Purpose: o.Purpose, Recipient: o.Recipient, Basis: o.Basis, Set: o.Set, Agreement: o.Agreement, Types: o.Types, Since: o.Since, From: o.From, Until: o.Until,
		Drafts: o.Drafts, Void: o.Void, SUD: o.SUD, Labels: o.Labels, ExcelSafe: o.ExcelSafe, BOM: o.BOM, Records: j.n, LeftOut: j.left,
		Encrypted: o.Encrypt != nil && !o.AtRest,
	}
	if j.veil == nil {
		m.Org, m.OrgName, m.Epoch, m.Commit = org.ID.String(), org.Name, j.cut.Epoch.String(), fmt.Sprintf("%x", j.cut.Hash[:])
		if !o.Person.IsZero() {
			m.Person = o.Person.String()
		}
		if !o.Approver.IsZero() {
			m.Approver = o.Approver.String()
		}
	} else {
		m.AsOf = j.veil.on.Format(time.DateOnly)
		if j.veil.classes != nil {
			m.KAnonymity = &j.veil.classes.result
			m.KAnonymity.RareCodes = j.veil.others
		}
	}
	for _, t := range j.tables {
		if t.field == nil {
			m.Kinds = append(m.Kinds, t.kind.Name)
		}
	}
	f, err := j.dir.create("README.txt")
	if err != nil {
		return nil, err
	}
	text := readmeOf(o.Format)
	if j.o.SUD {
		text = record.Part2Notice + "\n\n" + text
	}
	if _, err := f.b.WriteString(text); err != nil {
		return nil, err
	}
	m.Files = slices.Clone(j.kept.Files)
	for _, f := range j.dir.files {
		done, err := f.finish()
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, done)
	}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return m, j.seal(m)
}

// seal writes the manifest, has its digest noted, and gives the export its name.
func (j *job) seal(m *Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := j.dir.create("manifest.json")
	if err != nil {
		return err
	}
	if _, err := f.b.Write(append(text, '\n')); err != nil {
		return err
	}
	if _, err := f.finish(); err != nil {
		return err
	}
	if j.o.End != nil {
		if err := j.o.End(m, sha256.Sum256(append(text, '\n'))); err != nil {
			return err
		}
	}
	return j.dir.commit()
}
