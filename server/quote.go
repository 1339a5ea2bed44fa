package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Errors of copies.
var (
	// ErrQuoteTarget: there is no record that the quotation could stand at.
	ErrQuoteTarget = errors.New("the change names no record that is there: say at which call, visit, referral or person the words shall stand")
	// ErrQuotePrivate: what is its author's alone is not quoted.
	ErrQuotePrivate = errors.New("a private note is its author's alone and is not quoted: nothing was changed")
)

// maxQuote is how much of a quotation one note holds, in bytes: fewer than the letters
// that it may have.
const maxQuote = 18_000

// quotable are the kinds of record that a note stands at.
var quotable = []string{"encounter", "referral", "incident", "person"}

// Quote copies the words of a change in quarantine, for a lead, into addenda of the lead's
// own that name its author and when it was written, and closes the change. It takes
// nobody's rights but the lead's: the words stand as a quotation, not as what they would
// have written. They stand at a record that is there: at on or, where that is zero, at one
// that the change writes or is about. It returns the ids of the notes.
func (a *Admin) Quote(ctx context.Context, as, change, on syncengine.ID) (notes []syncengine.ID, err error) {
	items, err := a.Quarantine(ctx, as)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(items, func(item *syncengine.QuarantineItem) bool { return item.Change.ID == change && item.Decoded != nil })
	if i < 0 {
		return nil, syncengine.ErrNoItem
	}
	q := &quotation{Admin: a, domain: record.New(), item: items[i]}
	if err := a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error { return q.read(view, as, on) }); err != nil {
		return nil, err
	}
	now := a.now().UnixMilli()
	id, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return nil, err
	}
	next := &tandemv1.Change{
		Id: id[:], Author: as[:], Replaces: change[:], Schema: syncengine.Schema, Class: tandemv1.Class_CLASS_NORMAL,
		Time: &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true},
	}
	for _, text := range q.texts() {
		note, err := syncengine.NewID(now, a.rand)
		if err != nil {
			return nil, err
		}
		w, err := q.note(note, text)
		if err != nil {
			return nil, err
		}
		notes, next.Records = append(notes, note), append(next.Records, w)
	}
	raw, err := proto.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	_, err = a.decide(ctx, as, change, tandemv1.AuditAct_AUDIT_ACT_QUOTED, func(b *syncengine.Batch, p *syncengine.Principal) (*tandemv1.Outcome, error) {
		return b.Replace(p, raw)
	})
	return notes, err
}

// quotation is one change to be quoted.
type quotation struct {
	*Admin

	domain      *record.Domain
	item        *syncengine.QuarantineItem
	compartment tandemv1.Compartment
	// author is what the author is called; target the record that the notes stand at.
	author                string
	target                *syncengine.StoredRecord
	kind                  string
	agency, program, team string
	words                 string
}

// read finds out where the quotation stands, how strict it is, and whose words it is.
func (q *quotation) read(view syncengine.ServerView, as, on syncengine.ID) error {
	p, err := q.staff(q.engine(), view, as)
	if err != nil {
		return err
	}
	wanted := []syncengine.ID{on}
	var words []string
	for _, w := range q.item.Decoded.GetRecords() {
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		rec, err := view.Record(id)
		if err != nil {
			return err
		}
		kind := q.domain.Kind(w.GetKind())
		if kind == nil {
			return &UndecidedError{Code: tandemv1.Refusal_REFUSAL_UNKNOWN_KIND}
		}
		q.stricter(kind.Compartment, w.GetCompartment())
		if rec != nil {
			q.stricter(rec.Compartment(kind))
		}
		wanted = append(wanted, id)
		made := &syncengine.Record{ID: id, Kind: w.GetKind(), Body: w.GetBody()}
		wanted = append(wanted, q.domain.About(made)...)
		msg, err := q.domain.Values(w)
		if err != nil {
			return err
		}
		words = append(words, fmt.Sprintf("%s, %s %s:\n%s", strings.ToLower(strings.TrimPrefix(w.GetAct().String(), "ACT_")), kind.Name, id,
			prototext.MarshalOptions{Multiline: true}.Format(msg)))
		if w.GetReason() != "" {
			words = append(words, "reason: "+w.GetReason())
		}
	}
	if draft := q.item.Decoded.GetDraft(); draft != nil {
		words = append(words, fmt.Sprintf("a draft, never saved (%s):\n%s", draft.GetKey(), draft.GetBody()))
	}
	if q.compartment == tandemv1.Compartment_COMPARTMENT_PRIVATE {
		return ErrQuotePrivate
	}
	q.words = strings.Join(words, "\n")
	for _, id := range wanted {
		rec, err := view.Record(id)
		if err != nil {
			return err
		}
		if rec == nil || id.IsZero() {
			continue
		}
		kind := q.domain.Kind(rec.Kind)
		if kind != nil && slices.Contains(quotable, kind.Name) {
			q.target, q.kind = rec, kind.Name
			break
		}
		if id == on {
			return ErrQuoteTarget
		}
	}
	if q.target == nil || !on.IsZero() && q.target.ID != on || len(p.Teams) == 0 {
		return ErrQuoteTarget
	}
	team := p.Teams[0]
	if of, err := syncengine.ParseID(q.target.Text(syncengine.FieldTeam)); err == nil && slices.Contains(p.Teams, of) {
		team = of
	}
	q.team = team.String()
	rec, err := view.Record(team)
	if err != nil || rec == nil {
		return errors.Join(err, ErrQuoteTarget)
	}
	q.agency, q.program = rec.Text(syncengine.FieldAgency), rec.Text(syncengine.FieldProgram)
	return q.names(view)
}

// stricter notes the compartments that the change names.
func (q *quotation) stricter(of ...tandemv1.Compartment) {
	for _, c := range append(of, tandemv1.Compartment_COMPARTMENT_CLINICAL) {
		q.compartment = max(q.compartment, c)
	}
}

// names finds out what the author is called.
func (q *quotation) names(view syncengine.ServerView) error {
	q.author = q.item.Change.Author.String()
	rec, err := view.Record(q.item.Change.Author)
	if err != nil || rec == nil || !q.domain.Staff(rec.Kind) {
		return err
	}
	msg, err := q.domain.Message(&rec.Record)
	if err != nil {
		return err
	}
	if s, ok := msg.(*tandemv1.Staff); ok && s.GetDisplayName() != "" {
		q.author = s.GetDisplayName()
	}
	return nil
}

// texts is the quotation, in as many notes as it takes.
func (q *quotation) texts() (texts []string) {
	at := time.UnixMilli(q.item.Change.AtMS).UTC().Format("2006-01-02 15:04")
	head := fmt.Sprintf("Quoted: %s wrote this on %s UTC by the clock of the device; it was not accepted (%s).", q.author, at, q.item.Change.ID)
	parts := []string{}
	for rest := strings.ToValidUTF8(q.words, "�"); len(rest) > 0; {
		n := min(len(rest), maxQuote)
		for n < len(rest) && rest[n]&0xc0 == 0x80 {
			n--
		}
		parts, rest = append(parts, rest[:n]), rest[n:]
	}
	for i, part := range parts {
		if len(parts) > 1 {
			part = fmt.Sprintf("(%d of %d)\n%s", i+1, len(parts), part)
		}
		texts = append(texts, head+"\n"+part)
	}
	return texts
}

// note is a write that makes one note.
func (q *quotation) note(id syncengine.ID, text string) (*tandemv1.RecordWrite, error) {
	target := q.target.ID.String()
	msg := &tandemv1.Note{
		AgencyId: &q.agency, ProgramId: &q.program, TeamId: &q.team, Lifecycle: new("draft"), Schema: schema(),
		Target: &tandemv1.RecordRef{Kind: &q.kind, Id: &target}, Type: new("addendum"), Text: &text,
	}
	body, err := q.domain.Body(msg)
	if err != nil {
		return nil, err
	}
	w := &tandemv1.RecordWrite{Record: id[:], Kind: q.domain.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body}
	if q.compartment > tandemv1.Compartment_COMPARTMENT_CLINICAL {
		w.Compartment = q.compartment
	}
	return w, nil
}
