package syncengine

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Projection is a record that the server makes of another and keeps in step with it, for
// readers who may not read that one, or once, for what the other one did.
type Projection struct {
	// Source is the record that it follows, Rule the name of how. The id of the projection
	// is derived from both with the org's secret: it links to nothing for who has not got
	// that.
	Source ID
	Rule   string
	// Kind and Body are what is to stand there. Where nothing has stood there yet, a body
	// whose Quiet is set makes nothing.
	Kind  uint32
	Body  []byte
	Quiet bool
	// Once: what stands there already stays as it is.
	Once bool
	// Compartment, where stricter than the kind's; zero otherwise.
	Compartment tandemv1.Compartment
}

// project brings the projections of what a change wrote up to date, in the transaction
// of the change, by changes of the server's own. Their ids are derived from its id: a
// replay makes the same.
func (b *Batch) project(results []*result, c *StoredChange) error {
	n, by := uint64(0), c.Author
	if by == b.tx.Org() {
		by = ID{}
	}
	// What the change wrote itself is projected for its own sake, as its author's doing, and
	// not for the sake of what it is about.
	about := func(id ID) ([]*Record, error) {
		recs, err := b.about(id)
		return slices.DeleteFunc(recs, func(rec *Record) bool {
			return slices.ContainsFunc(results, func(res *result) bool { return res.Record.ID == rec.ID })
		}), err
	}
	for _, res := range results {
		wanted, err := b.srv.Rules.Project(res.Record, b.look, about, by, c.CorrectedMS)
		if err != nil {
			return err
		}
		for _, p := range wanted {
			if err := b.projectOne(p, c, n); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

func (b *Batch) projectOne(p Projection, c *StoredChange, n uint64) error {
	id := b.srv.Secrets.DeriveID(p.Source, p.Rule, 0)
	old, err := b.tx.Record(id)
	if err != nil {
		return err
	}
	w := &tandemv1.RecordWrite{Record: id[:], Kind: p.Kind, Act: tandemv1.Act_ACT_CREATE, Body: p.Body, Compartment: p.Compartment}
	switch {
	case old == nil && p.Quiet, old != nil && p.Once:
		return nil
	case old == nil:
		if erased, err := b.erased(id); err != nil || erased {
			return err
		}
	default:
		w.Act, w.Body, w.Compartment = tandemv1.Act_ACT_SET, nil, 0
		if w.Writes, err = rewrite(&old.Record, p.Body); err != nil || len(w.Writes) == 0 {
			return err
		}
	}
	change, org := b.srv.Secrets.DeriveID(c.ID, p.Rule, n), b.tx.Org()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&tandemv1.Change{
		Id: change[:], Author: org[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: Schema,
		Time: &tandemv1.ChangeTime{WallMs: b.now, OffsetKnown: true}, Records: []*tandemv1.RecordWrite{w},
	})
	if err != nil {
		return err
	}
	_, err = b.Local(&Principal{Server: true}, raw)
	return err
}

// rewrite returns the writes that turn a record into a body.
func rewrite(rec *Record, body []byte) ([]*tandemv1.PathWrite, error) {
	s, err := Decode(rec)
	if err != nil {
		return nil, err
	}
	fields, err := ParseBody(body)
	if err != nil {
		return nil, err
	}
	var writes []*tandemv1.PathWrite
	put := func(path Path, raw []byte) {
		w := &tandemv1.PathWrite{Field: path.Field, Value: raw, Bases: EncodeStamps(s.Bases(path, true))}
		if path.Key != "" {
			w.Key = []byte(path.Key)
		}
		writes = append(writes, w)
	}
	for i := range s.Paths {
		p := &s.Paths[i]
		if p.Shown() != nil && !slices.ContainsFunc(fields, func(f Field) bool { return f.Path == p.Path }) {
			put(p.Path, nil)
		}
	}
	for _, f := range fields {
		if p := s.at(f.Path); p == nil || !slices.Equal(p.Shown(), f.Raw) {
			put(f.Path, f.Raw)
		}
	}
	slices.SortFunc(writes, func(x, y *tandemv1.PathWrite) int {
		return Path{Field: x.GetField(), Key: string(x.GetKey())}.Compare(Path{Field: y.GetField(), Key: string(y.GetKey())})
	})
	return writes, nil
}
