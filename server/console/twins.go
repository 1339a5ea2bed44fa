package console

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

// Devices without signal record one person twice. Here a lead sees who may be one, and
// says that they are, or that they are two. A merge moves nothing and discards nothing: the
// record says which other one it is the same person as, and can be taken back.

const (
	// mostAlike bounds the records of one key: a number that so many share, as a shelter's,
	// tells nobody apart.
	mostAlike = 12
	// mostMerged bounds the records of one person.
	mostMerged = 1000
	// unmergeMS is how long a merge can be taken back.
	unmergeMS = 90 * dayMS
)

// keyOf is a key of likeness as the store holds it.
func keyOf(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
}

// keysOf are the keys of a person, none for any other record. One that was merged is found
// by what it was merged into, and m is nil.
func (c *Console) keysOf(rec *syncengine.StoredRecord) (keys []int64, m *tandemv1.Person) {
	if life := rec.Lifecycle(); life != record.Active && life != record.Merged {
		return nil, nil
	}
	msg, err := c.domain.Message(&rec.Record)
	m, ok := msg.(*tandemv1.Person)
	if err != nil || !ok {
		return nil, nil
	}
	if rec.Lifecycle() == record.Merged {
		return []int64{intoKey(m.GetMergedInto())}, nil
	}
	for _, key := range record.LikenessKeys(m) {
		keys = append(keys, keyOf(key))
	}
	slices.Sort(keys)
	return slices.Compact(keys), m
}

func intoKey(id string) int64 { return keyOf("merged into " + id) }

// liken notes by what a person can be found at a desk, and sorts anew those who were or are
// like them.
func (c *Console) liken(tx *store.Tx, desk syncengine.ScopeKey, rec *syncengine.StoredRecord, here bool) error {
	var keys []int64
	if here {
		keys, _ = c.keysOf(rec)
	}
	old, err := tx.LikenessKeys(desk, rec.ID)
	if err != nil {
		return err
	}
	if !slices.Equal(old, keys) {
		if err := tx.SetLikeness(desk, rec.ID, keys); err != nil {
			return err
		}
	}
	var others []syncengine.ID
	for _, key := range slices.Concat(old, keys) {
		ids, err := tx.Alike(desk, key, mostAlike)
		if err != nil {
			return err
		}
		if len(ids) == mostAlike {
			// Sorting all who share it would be done again for each of them.
			continue
		}
		others = append(others, ids...)
	}
	slices.SortFunc(others, syncengine.ID.Compare)
	others = slices.DeleteFunc(slices.Compact(others), func(id syncengine.ID) bool { return id == rec.ID })
	recs, err := tx.Records(others)
	if err != nil {
		return err
	}
	for _, other := range recs {
		if err := c.placeWork(tx, desk, other, true, nil); err != nil {
			return err
		}
	}
	return nil
}

// twins are the people at a desk who are likely to be the same as one, and of whom nobody
// has said that they are not.
func (c *Console) twins(view store.DeskView, desk syncengine.ScopeKey, rec *syncengine.StoredRecord) (out []*syncengine.StoredRecord, err error) {
	keys, m := c.keysOf(rec)
	if m == nil {
		return nil, nil
	}
	apart, err := view.Apart(rec.ID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		ids, err := view.Alike(desk, key, mostAlike)
		if err != nil {
			return nil, err
		}
		if len(ids) == mostAlike {
			continue
		}
		ids = slices.DeleteFunc(ids, func(id syncengine.ID) bool {
			return id == rec.ID || slices.Contains(apart, id) || slices.ContainsFunc(out, func(r *syncengine.StoredRecord) bool { return r.ID == id })
		})
		recs, err := view.Records(ids)
		if err != nil {
			return nil, err
		}
		for _, other := range recs {
			if _, om := c.keysOf(other); om != nil && record.Likeness(m, om) >= record.LikelySame {
				out = append(out, other)
			}
		}
	}
	slices.SortFunc(out, func(a, b *syncengine.StoredRecord) int { return a.ID.Compare(b.ID) })
	return out, nil
}

// twinsOf are those whom the person may see.
func (s *sight) twinsOf(it *item) (rows []row, err error) {
	for _, desk := range s.desks {
		recs, err := s.c.twins(s.view, desk, it.rec)
		if err != nil {
			return nil, err
		}
		for _, rec := range recs {
			other := s.see(rec.ID)
			href := "same/" + it.rec.ID.String() + "/" + rec.ID.String()
			if other == nil || slices.ContainsFunc(rows, func(r row) bool { return r.Href == href }) {
				continue
			}
			r := s.row(other)
			r.Href = href
			rows = append(rows, r)
			s.show(other)
		}
	}
	return rows, nil
}

type sameData struct {
	Page   *web.Page
	Action string
	Sides  []sameSide
	Fields []sameField
	// Can: both are in use.
	Can bool
}

type sameSide struct {
	ID, Hash, Title, Made, Author string
	// About is how many records are about them.
	About int
}

type sameField struct {
	Label string
	Value [2]string
	Equal bool
}

// pairOf are the two people that an address names.
func (v *visit) pairOf() (ids [2]syncengine.ID, err error) {
	for i, name := range []string{"id", "other"} {
		if ids[i], err = syncengine.ParseID(v.r.PathValue(name)); err != nil {
			return ids, errAbsent
		}
	}
	if ids[0] == ids[1] {
		return ids, errAbsent
	}
	return ids, nil
}

// same shows two people side by side.
func (v *visit) same() error {
	ids, err := v.pairOf()
	if err != nil {
		return err
	}
	d := &sameData{Page: v.page("same", "same/"+ids[0].String()+"/"+ids[1].String()), Can: true}
	d.Action = d.Page.Here
	err = v.look("same", ids[0], func(s *sight) error {
		words := map[string]*sameField{}
		for i, id := range ids {
			it := s.see(id)
			if it == nil || it.kind.Name != "person" {
				return errAbsent
			}
			s.show(it)
			state, err := syncengine.Decode(&it.rec.Record)
			if err != nil {
				return err
			}
			about, err := s.view.About(id, mostCount)
			if err != nil {
				return err
			}
			d.Can = d.Can && it.rec.Lifecycle() == record.Active
			d.Sides = append(d.Sides, sameSide{
				ID: id.String(), Hash: strconv.FormatUint(uint64(it.rec.Hash), 16), Title: s.title(it), Made: s.moment(state.AtMS), Author: s.author(it), About: len(about),
			})
			for _, f := range s.fields("person", it.msg) {
				if words[f.Name] == nil {
					words[f.Name] = &sameField{Label: f.Label}
					d.Fields = append(d.Fields, sameField{Label: f.Name})
				}
				words[f.Name].Value[i] = f.Value
			}
		}
		for i, f := range d.Fields {
			d.Fields[i] = *words[f.Label]
			d.Fields[i].Equal = d.Fields[i].Value[0] == d.Fields[i].Value[1]
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "same", d)
}

// mergePeople says of two people that they are one: the record that is not kept says which
// one it is the same as.
func (v *visit) mergePeople() error {
	ids, err := v.pairOf()
	if err != nil {
		return err
	}
	keep := slices.IndexFunc(ids[:], func(id syncengine.ID) bool { return id.String() == v.form("keep") })
	if keep < 0 {
		return errForm
	}
	kept, gone := ids[keep], ids[1-keep]
	_, err = v.office().Change(v.ctx(), v.who.Staff, func(c *server.Composer) error {
		for _, id := range ids {
			rec, _, err := c.Record(id)
			if err != nil {
				return err
			}
			if strconv.FormatUint(uint64(rec.Hash), 16) != v.form("hash."+id.String()) {
				return server.ErrMoved
			}
			if kind := v.c.domain.Kind(rec.Kind); kind == nil || kind.Name != "person" || rec.Lifecycle() != record.Active {
				return errForm
			}
		}
		rec, msg, err := c.Record(gone)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Person)
		m.MergedInto, m.Lifecycle = new(kept.String()), new(record.Merged)
		return c.Write(rec, tandemv1.Act_ACT_MERGE, m, v.t("mergeReason"))
	})
	if err != nil {
		return err
	}
	return v.to("case/" + kept.String() + "?done=okMerged")
}

// keepApart says of two people that they are two.
func (v *visit) keepApart() error {
	ids, err := v.pairOf()
	if err != nil {
		return err
	}
	err = v.look("same", ids[0], func(s *sight) error {
		for _, id := range ids {
			if it := s.see(id); it == nil || it.kind.Name != "person" {
				return errAbsent
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = v.c.store.Write(v.ctx(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		if err := tx.SetApart(ids[0], ids[1], v.who.Staff, v.c.o.Clock().UnixMilli()); err != nil {
			return err
		}
		recs, err := tx.Records(ids[:])
		if err != nil {
			return err
		}
		for _, rec := range recs {
			// It holds for every team that holds them: another one is asked no more either.
			for _, k := range rec.Scopes {
				if d, ok := deskOf(k); ok {
					if err := v.c.placeWork(tx, d, rec, true, nil); err != nil {
						return err
					}
				}
			}
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Person: v.who.Staff[:], Subject: ids[0][:], Records: slices.Concat(ids[0][:], ids[1][:]), Code: "two people", Count: 1,
		})
	})
	if err != nil {
		return err
	}
	return v.to("record/" + ids[0].String() + "?done=okApart")
}

// mergedMS is when a person was merged, zero for one that was not.
func mergedMS(view store.DeskView, rec *syncengine.StoredRecord) (at int64, err error) {
	if rec.Lifecycle() != record.Merged {
		return 0, nil
	}
	changes, err := view.History(rec)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		change := &tandemv1.Change{}
		if err := proto.Unmarshal(c.Body, change); err != nil {
			return 0, err
		}
		for _, w := range change.GetRecords() {
			if w.GetAct() == tandemv1.Act_ACT_MERGE && string(w.GetRecord()) == string(rec.ID[:]) {
				at = max(at, c.ReceivedMS, c.CorrectedMS)
			}
		}
	}
	return at, nil
}

// unmerge takes a merge back, with a reason, within 90 days.
func (v *visit) unmerge() error {
	reason := record.CleanText(v.form("reason"))
	if reason == "" {
		return errForm
	}
	return v.change("okUnmerged", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Person)
		if !ok || rec.Lifecycle() != record.Merged {
			return errForm
		}
		at, err := mergedMS(c.Tx, rec)
		if err != nil {
			return err
		}
		if at+unmergeMS < c.NowMS() {
			return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"merged_into"}, EN: "A merge can be taken back for 90 days.", ES: "Una fusión se puede deshacer durante 90 días."}}}
		}
		m.MergedInto, m.Lifecycle = nil, new(record.Active)
		return c.Write(rec, tandemv1.Act_ACT_RESTORE, m, reason)
	})
}
