package export

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// Purpose and Recipient stand in the manifest as they were given.
	Purpose, Recipient string
	// Kinds to export by name; none: all but notes.
	Kinds []string
	// Notes, Drafts, Void and SUD (42 CFR Part 2) take in what is left out otherwise.
	Notes, Drafts, Void, SUD bool
	// Labels is en or es for a column of labels beside each column of codes.
	Labels string
	// ExcelSafe puts an apostrophe before text that a spreadsheet would run as a
	// formula. BOM begins each CSV file with a byte order mark.
	ExcelSafe, BOM bool
	// Generator is the version of the program.
	Generator string
	// Begin is called once it is known what the export covers, before the first byte is
	// written: it notes the disclosure. An error ends the export.
	Begin func(Cut) error
	// End is called with the finished manifest and its SHA-256, before the export has
	// its name.
	End func(*Manifest, syncengine.Hash) error
	// Progress is called with the number of records read since the last call.
	Progress func(records int)
}

// Cut is the state of the database that an export is of.
type Cut struct {
	// Epoch and Seq of the state, and its commit hash.
	Epoch syncengine.ID
	Seq   uint64
	Hash  syncengine.Hash
	// Teams whose records are in the export.
	Teams []syncengine.ID
	// What is passed on, in codes of disclosed_field.
	What []string
	// People that are named, counted where a person exports.
	People int
}

// Manifest is what manifest.json says.
type Manifest struct {
	Format    string   `json:"format"`
	ID        string   `json:"export_id"`
	Org       string   `json:"org"`
	Epoch     string   `json:"epoch"`
	Seq       uint64   `json:"seq"`
	Commit    string   `json:"commit"`
	Schema    int      `json:"schema"`
	Generator string   `json:"generator"`
	Person    string   `json:"person,omitempty"`
	Approver  string   `json:"approver,omitempty"`
	Purpose   string   `json:"purpose"`
	Recipient string   `json:"recipient"`
	Kinds     []string `json:"kinds"`
	Drafts    bool     `json:"include_drafts"`
	Void      bool     `json:"include_void"`
	SUD       bool     `json:"include_sud"`
	Labels    string   `json:"labels,omitempty"`
	ExcelSafe bool     `json:"excel_safe"`
	BOM       bool     `json:"bom"`
	Records   int64    `json:"records"`
	LeftOut   LeftOut  `json:"left_out"`
	Files     []File   `json:"files"`
}

// LeftOut counts records that the person may read and that were not exported.
type LeftOut struct {
	Drafts int64 `json:"drafts"`
	Void   int64 `json:"void"`
}

// File is one file of an export.
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

// job is one export on its way.
type job struct {
	o      Options
	domain *record.Domain
	rights *rights
	cut    Cut
	tables []*table
	byKind map[uint32][]*table
	files  map[*table]*file
	dir    *directory
	left   LeftOut
	n      int64
}

func newJob(o Options) *job {
	return &job{o: o, domain: record.New(), byKind: map[uint32][]*table{}, files: map[*table]*file{}}
}

// Write exports an org's records into a directory, which must not exist. A cancelled
// context ends it; then nothing is left behind.
func Write(ctx context.Context, st *store.Store, org *store.Org, to string, o Options) (m *Manifest, err error) {
	j := newJob(o)
	if err := j.choose(); err != nil {
		return nil, err
	}
	err = st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) (err error) {
		if j.rights, err = newRights(snap, org, j.domain, &o); err != nil {
			return err
		}
		if err := j.survey(snap); err != nil {
			return err
		}
		if j.dir, err = newDirectory(to); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, j.dir.abandon())
			}
		}()
		if o.Begin != nil {
			if err := o.Begin(j.cut); err != nil {
				return err
			}
		}
		if err := j.write(snap); err != nil {
			return err
		}
		m, err = j.finish(org.ID)
		return err
	})
	return m, err
}

// choose picks the tables.
func (j *job) choose() error {
	all, err := tables(j.domain, j.o.Labels)
	if err != nil {
		return err
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
		if named || len(j.o.Kinds) == 0 && (t.kind.Name != "note" || j.o.Notes) {
			j.tables = append(j.tables, t)
			j.byKind[t.kind.Number] = append(j.byKind[t.kind.Number], t)
		}
	}
	return nil
}

// survey reads what must be known before the first byte.
func (j *job) survey(snap *store.Snapshot) error {
	head, err := snap.Head()
	if err != nil {
		return err
	}
	j.cut = Cut{Epoch: head.Epoch, Seq: head.Seq, Hash: head.Hash, What: j.what()}
	if err := snap.Each(j.domain.KindByName("team").Number, func(rec *syncengine.StoredRecord) error {
		in := j.rights.p == nil || slices.Contains(j.rights.p.Teams, rec.ID) ||
			j.rights.p.HasRole(admin) && rec.Text(syncengine.FieldAgency) == j.rights.p.Agency.String()
		if !in && j.rights.p.HasRole(lead) {
			program, err := syncengine.ParseID(rec.Text(syncengine.FieldProgram))
			in = err == nil && slices.Contains(j.rights.p.Programs, program)
		}
		if in {
			j.cut.Teams = append(j.cut.Teams, rec.ID)
		}
		return nil
	}); err != nil {
		return err
	}
	person := j.domain.KindByName("person")
	if j.rights.p == nil || j.byKind[person.Number] == nil {
		return nil
	}
	if err := snap.Each(person.Number, func(rec *syncengine.StoredRecord) error {
		ok, err := j.rights.reads(rec, rec.Compartment(person))
		if ok {
			j.cut.People++
		}
		return err
	}); err != nil {
		return err
	}
	if j.cut.People > ManyPeople && j.o.Approver.IsZero() {
		return ErrApproval
	}
	return nil
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

// bom is the byte order mark.
const bom = "\xef\xbb\xbf"

func (j *job) csv(name string) (*file, error) {
	f, err := j.dir.create(name)
	if err != nil {
		return nil, err
	}
	f.csv = &csvWriter{w: f.b, safe: j.o.ExcelSafe}
	if j.o.BOM {
		_, err = f.b.WriteString(bom)
	}
	return f, err
}

// write makes the files of the tables, and fills them.
func (j *job) write(snap *store.Snapshot) error {
	for _, t := range j.tables {
		f, err := j.csv(t.name + ".csv")
		if err != nil {
			return err
		}
		if err := f.csv.header(t.columns); err != nil {
			return err
		}
		j.files[t] = f
	}
	return j.read(snap, j.rows)
}

// read goes through every record once, by id, and calls f for each table of its kind.
func (j *job) read(snap *store.Snapshot, f func(*table, *row) error) error {
	zones := map[string]*time.Location{}
	read := 0
	err := snap.Each(0, func(rec *syncengine.StoredRecord) error {
		if read++; read == 1000 && j.o.Progress != nil {
			j.o.Progress(read)
			read = 0
		}
		r, err := j.row(rec, zones)
		if err != nil || r == nil {
			return err
		}
		j.n++
		for _, t := range j.byKind[rec.Kind] {
			if err := f(t, r); err != nil {
				return err
			}
		}
		return nil
	})
	if j.o.Progress != nil {
		j.o.Progress(read)
	}
	return err
}

// row takes a record apart, nil where it is not in the export.
func (j *job) row(rec *syncengine.StoredRecord, zones map[string]*time.Location) (*row, error) {
	if j.byKind[rec.Kind] == nil {
		return nil, nil //nolint:nilnil // Said above.
	}
	r := &row{rec: rec, kind: j.domain.Kind(rec.Kind), stamps: &tandemv1.Stamps{}}
	if ok, err := j.rights.reads(rec, rec.Compartment(r.kind)); err != nil || !ok {
		return nil, err
	}
	switch state := rec.Lifecycle(); {
	case state == record.Draft && !j.o.Drafts:
		j.left.Drafts++
		return nil, nil //nolint:nilnil // Said above.
	case state == record.Void && !j.o.Void:
		j.left.Void++
		return nil, nil //nolint:nilnil // Said above.
	}
	if err := proto.Unmarshal(rec.Stamps, r.stamps); err != nil {
		return nil, fmt.Errorf("record %s: %w", rec.ID, err)
	}
	msg, err := j.domain.Message(&rec.Record)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", rec.ID, err)
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
	return r, nil
}

// rows writes what a record has in a table.
func (j *job) rows(t *table, r *row) error {
	f, cells := j.files[t], make([]any, len(t.columns))
	return t.each(r, func(r *row) error {
		for i := range t.columns {
			cells[i] = t.columns[i].value(r)
		}
		f.rows++
		return f.csv.line(cells...)
	})
}

// finish writes what describes the tables, and the manifest last.
func (j *job) finish(org syncengine.ID) (*Manifest, error) {
	o := &j.o
	m := &Manifest{
		Format: "tandem-export csv 1", ID: o.ID.String(), Org: org.String(), Epoch: j.cut.Epoch.String(), Seq: j.cut.Seq,
		Commit: fmt.Sprintf("%x", j.cut.Hash[:]), Schema: schemaVersion, Generator: o.Generator, Purpose: o.Purpose, Recipient: o.Recipient,
		Drafts: o.Drafts, Void: o.Void, SUD: o.SUD, Labels: o.Labels, ExcelSafe: o.ExcelSafe, BOM: o.BOM, Records: j.n, LeftOut: j.left,
	}
	if !o.Person.IsZero() {
		m.Person = o.Person.String()
	}
	if !o.Approver.IsZero() {
		m.Approver = o.Approver.String()
	}
	for _, t := range j.tables {
		if t.field == nil {
			m.Kinds = append(m.Kinds, t.kind.Name)
		}
	}
	for name, fill := range map[string]func(*csvWriter, *record.Domain, []*table) error{"codebook.csv": codebook, "codes.csv": codeLists} {
		f, err := j.csv(name)
		if err != nil {
			return nil, err
		}
		if err := fill(f.csv, j.domain, j.tables); err != nil {
			return nil, err
		}
	}
	f, err := j.dir.create("README.txt")
	if err != nil {
		return nil, err
	}
	text := readme
	if j.o.SUD {
		text = record.Part2Notice + "\n\n" + readme
	}
	if _, err := f.b.WriteString(text); err != nil {
		return nil, err
	}
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
