package client

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"unicode"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Problems returns what a form is to say of a message: everything that its fields
// break by themselves and together with the records that they name, as far as those are
// on this device. id is the record's, zero for one that is still to be made, which is
// completed as Create does.
func (c *Client) Problems(ctx context.Context, id syncengine.ID, msg proto.Message, e record.Entry) ([]record.Problem, error) {
	if e.NowMS == 0 {
		e.NowMS = c.opts.Now().UnixMilli()
	}
	kind := c.domain.KindOf(msg)
	if kind != nil && id.IsZero() {
		msg = proto.Clone(msg)
		if err := c.complete(kind, msg); err != nil {
			return nil, err
		}
	}
	problems := c.validate(ctx, msg, e)
	body, err := c.domain.Body(msg)
	if kind == nil || err != nil || e.Imported {
		return problems, nil //nolint:nilerr // Validate has said so.
	}
	rec := &syncengine.Record{ID: id, Kind: kind.Number, Body: body}
	err = c.store.read(ctx, "checking a form", func(rtx *sql.Tx) error {
		more, err := c.domain.ValidateAmong(rec, e.NowMS, lookRow(ctx, rtx), lookAbout(ctx, rtx))
		problems = append(problems, more...)
		return err
	})
	return problems, err
}

// lookRow reads one shown record by its id.
func lookRow(ctx context.Context, rtx *sql.Tx) syncengine.Lookup {
	return func(id syncengine.ID) (*syncengine.Record, error) {
		recs, err := rowsBy(ctx, rtx, "id", id)
		if err != nil || len(recs) == 0 {
			return nil, err
		}
		return recs[0], nil
	}
}

// lookAbout reads the shown records about a person.
func lookAbout(ctx context.Context, rtx *sql.Tx) syncengine.LookAbout {
	return func(id syncengine.ID) ([]*syncengine.Record, error) { return rowsBy(ctx, rtx, "person", id) }
}

func rowsBy(ctx context.Context, rtx *sql.Tx, column string, id syncengine.ID) (recs []*syncengine.Record, err error) {
	//nolint:gosec // The column is this package's text.
	rows, err := rtx.QueryContext(ctx, `SELECT `+recordColumns+` FROM rec WHERE `+column+` = ? AND `+visible, id[:])
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		_, r, err := scanRecord(scan)
		if err == nil {
			recs = append(recs, &r.Record)
		}
		return err
	})
	return recs, err
}

// touched returns, for each write of a save, the fields that it writes; nil for all of a
// record that it makes.
func (c *Client) touched(change *tandemv1.Change) []map[string]bool {
	out := make([]map[string]bool, len(change.GetRecords()))
	for i, w := range change.GetRecords() {
		if w.GetAct() == tandemv1.Act_ACT_CREATE {
			continue
		}
		out[i] = map[string]bool{}
		for _, pw := range w.GetWrites() {
			out[i][c.cols.fieldName(c.domain.Kind(w.GetKind()), pw.GetField())] = true
		}
	}
	return out
}

// among refuses a save that leaves a record at odds with others that are here, where the
// save itself wrote what is at fault. It is called with the save in place: what it
// refuses is rolled back.
func (c *Client) among(t *tx, change *tandemv1.Change) error {
	now := c.opts.Now().UnixMilli()
	touched := c.touched(change)
	var fields []string
	for i, w := range change.GetRecords() {
		kind := c.domain.Kind(w.GetKind())
		id, ok := syncengine.IDFromBytes(w.GetRecord())
		if kind == nil || !ok || w.GetImportedFrom() != nil || w.GetAct() == tandemv1.Act_ACT_VOID {
			continue
		}
		rec, err := t.Record(id)
		if err != nil || rec == nil {
			return err
		}
		problems, err := c.domain.ValidateAmong(&rec.Record, now, t.look, c.aboutIn(t))
		if err != nil {
			return err
		}
		for _, p := range problems {
			if p.Warn || touched[i] != nil && !touched[i]["lifecycle"] && !touched[i]["state"] &&
				!slices.ContainsFunc(p.Fields, func(f string) bool { return touched[i][f] }) {
				continue
			}
			for _, f := range p.Fields {
				fields = append(fields, kind.Name+"/"+f)
			}
		}
	}
	if len(fields) == 0 {
		return nil
	}
	slices.SortFunc(fields, cmp.Compare[string])
	return &InvalidError{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: slices.Compact(fields)}
}

// house gives each record that a save makes its compartment, where its author has not
// said a stricter one: nothing lands beside a wall that what it hangs on stands behind.
func (c *Client) house(t *tx, change *tandemv1.Change) error {
	made := map[syncengine.ID]tandemv1.Compartment{}
	for _, w := range change.GetRecords() {
		kind := c.domain.Kind(w.GetKind())
		id, ok := syncengine.IDFromBytes(w.GetRecord())
		if w.GetAct() != tandemv1.Act_ACT_CREATE || kind == nil || !ok {
			continue
		}
		if w.GetCompartment() == tandemv1.Compartment_COMPARTMENT_UNSPECIFIED {
			in, err := c.domain.Inherited(w.GetKind(), w.GetBody(), t.look, made)
			if err != nil {
				return err
			}
			if in != kind.Compartment {
				w.Compartment = in
			}
		}
		made[id] = w.GetCompartment()
		if made[id] == tandemv1.Compartment_COMPARTMENT_UNSPECIFIED {
			made[id] = kind.Compartment
		}
	}
	return nil
}

// look reads a record as it stands in the transaction.
func (t *tx) look(id syncengine.ID) (*syncengine.Record, error) {
	r, err := t.Record(id)
	if err != nil || r == nil {
		return nil, err
	}
	return &r.Record, nil
}

// aboutIn reads the records about a person as they stand in the transaction.
func (c *Client) aboutIn(t *tx) syncengine.LookAbout {
	return func(id syncengine.ID) ([]*syncengine.Record, error) {
		var ids []syncengine.ID
		err := t.rows(`SELECT id FROM rec WHERE person = $1`, []any{id[:]}, func(scan func(...any) error) error {
			var one syncengine.ID
			err := scan((*idColumn)(&one))
			ids = append(ids, one)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range t.dirty {
			if e.cur != nil && !slices.Contains(ids, e.id) {
				ids = append(ids, e.id)
			}
		}
		var recs []*syncengine.Record
		for _, one := range ids {
			rec, err := t.look(one)
			if err != nil {
				return nil, err
			}
			if rec != nil && slices.Contains(c.domain.About(rec), id) {
				recs = append(recs, rec)
			}
		}
		return recs, nil
	}
}

// Match is a person on this device who may be the same as another.
type Match struct {
	View *View
	// Likeness is from record.LikelySame to 1.
	Likeness float64
}

// Matches returns the persons on this device who are likely to be the same as one that
// is about to be created, the likeliest first. Reading them is noted as a search is.
func (c *Client) Matches(ctx context.Context, person *tandemv1.Person) ([]Match, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	var texts []string
	for _, n := range person.GetNames() {
		texts = append(texts, n.GetFamily(), n.GetGiven())
	}
	for _, p := range person.GetPhones() {
		texts = append(texts, p.GetNumber())
	}
	var matches []Match
	var views []*View
	for _, text := range texts {
		if text = beginning(text); text == "" {
			continue
		}
		found, err := c.search(ctx, text, maxMatched)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			other, ok := v.Message.(*tandemv1.Person)
			if !ok || v.Lifecycle != record.Active || slices.ContainsFunc(views, func(w *View) bool { return w.ID == v.ID }) {
				continue
			}
			if l := record.Likeness(person, other); l >= record.LikelySame {
				views, matches = append(views, v), append(matches, Match{View: v, Likeness: l})
			}
		}
	}
	slices.SortStableFunc(matches, func(a, b Match) int { return cmp.Compare(b.Likeness, a.Likeness) })
	return matches, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_SEARCHED, views...)
}

// maxMatched bounds the records that are compared for one name or number.
const maxMatched = 200

// beginning returns what is searched for to find names that are written a little
// otherwise: the first letters of a name, the whole of a number.
func beginning(text string) string {
	text = strings.TrimSpace(text)
	if !strings.ContainsFunc(text, unicode.IsLetter) {
		return text
	}
	letters := []rune(strings.Fields(text)[0])
	return string(letters[:min(len(letters), 2)])
}

// Hanging returns the records on this device that hang on one by its id: the notes,
// referrals, episodes, disclosures, attachments and reviews of a contact, the follow-ups
// of an episode. Voiding a record voids none of them: whoever voids one is shown these
// and decides on each.
func (c *Client) Hanging(ctx context.Context, id syncengine.ID) ([]*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	views, err := c.views(ctx, false, "rec.parent = ? ORDER BY rec.at, rec.id", 0, id[:])
	if err != nil {
		return nil, err
	}
	return views, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_LISTED, views...)
}
