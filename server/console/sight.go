package console

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// sight is what one person may see in one snapshot. Not to be used after it.
type sight struct {
	*visit
	view store.DeskView
	p    *syncengine.Principal
	// held are the scopes that the person holds; nobody holds a private one here.
	held map[syncengine.ScopeKey]bool
	// desks are the teams and compartments that the person leads.
	desks []syncengine.ScopeKey
	zone  *time.Location
	// seen are the records that were looked at, nil for those that are not to be seen.
	seen map[syncengine.ID]*item
	// refs is all reference data, once it has been walked.
	refs   []*item
	walked bool
	// added are the codes of agencies, once they were asked for.
	added *record.OwnCodes
	// shown are those that a page shows, of people and calls; quarantined are the changes in
	// quarantine that it shows.
	shown, quarantined []syncengine.ID
	// err is what reading has failed with: then there is no page.
	err error
}

// item is a record with its message.
type item struct {
	rec  *syncengine.StoredRecord
	kind *syncengine.Kind
	msg  proto.Message
}

// look reads for a page. What it shows of records is noted before anything is sent: code
// says which page, subject which record it is about.
func (v *visit) look(code string, subject syncengine.ID, f func(*sight) error) error {
	var s *sight
	err := v.c.store.ReadDesk(v.ctx(), v.who.Org.ID, func(view store.DeskView) (err error) {
		if s, err = v.sight(view); err != nil {
			return err
		}
		// What could not be read is a fault, whatever the page makes of it.
		if err = f(s); s.err != nil {
			return s.err
		}
		return err
	})
	if err != nil {
		if !subject.IsZero() && errors.Is(err, errAbsent) {
			if nerr := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Code: "console " + code, Subject: subject[:], Count: 1}); nerr != nil {
				return nerr
			}
		}
		return err
	}
	entry := func(act tandemv1.AuditAct, ids []syncengine.ID) *tandemv1.AuditEntry {
		e := &tandemv1.AuditEntry{Act: act, Code: code, Count: uint64(len(ids))}
		if !subject.IsZero() {
			e.Subject = subject[:]
		}
		for _, id := range ids {
			e.Records = append(e.Records, id[:]...)
		}
		return e
	}
	var entries []*tandemv1.AuditEntry
	if len(s.shown) > 0 {
		act := tandemv1.AuditAct_AUDIT_ACT_CONSOLE_LISTED
		if !subject.IsZero() {
			act = tandemv1.AuditAct_AUDIT_ACT_CONSOLE_READ
		}
		entries = append(entries, entry(act, s.shown))
	}
	if len(s.quarantined) > 0 {
		entries = append(entries, entry(tandemv1.AuditAct_AUDIT_ACT_QUARANTINE_READ, s.quarantined))
	}
	if subject.IsZero() {
		return v.note(entries...)
	}
	return v.noteThen(s.tellAuthors, entries...)
}

// tellAuthors notes for those who made what a page shows that a lead has opened it.
func (s *sight) tellAuthors(tx *store.Tx) error {
	for _, id := range s.shown {
		it := s.seen[id]
		if !s.lead || it == nil {
			continue
		}
		o, err := it.rec.Origin()
		if err != nil {
			return err
		}
		if o.Author.IsZero() || o.Author == s.who.Staff {
			continue
		}
		if err := tx.SeenByLead(o.Author, id, it.rec.Hash, s.now().UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// sight finds out what the person may see in a snapshot.
func (v *visit) sight(view store.DeskView) (*sight, error) {
	s := &sight{visit: v, view: view, held: map[syncengine.ScopeKey]bool{}, zone: time.UTC, seen: map[syncengine.ID]*item{}}
	engine := &syncengine.Server{Rules: v.c.domain, Secrets: v.who.Org.Secrets}
	var err error
	if s.p, err = engine.Principal(view, &syncengine.Replica{Person: v.who.Staff}); err != nil {
		return nil, err
	}
	lead := v.c.domain.Supervises(s.p)
	if !lead && !v.c.domain.Oversees(s.p) {
		return nil, errArea
	}
	for _, k := range v.c.domain.Grants(view.Org(), s.p) {
		switch {
		case k.Compartment == tandemv1.Compartment_COMPARTMENT_REF:
			s.held[k] = true
		case lead && k.Owner == syncengine.OwnerTeam && k.Compartment != tandemv1.Compartment_COMPARTMENT_PRIVATE:
			s.held[k] = true
			if k.Open {
				s.desks = append(s.desks, k)
			}
		}
	}
	if agency := s.see(s.p.Agency); agency != nil {
		if a, ok := agency.msg.(*tandemv1.Agency); ok {
			if zone, err := time.LoadLocation(a.GetAgencyTz()); err == nil {
				s.zone = zone
			}
		}
	}
	return s, nil
}

// may reports whether a record is in a scope that the person holds.
func (s *sight) may(rec *syncengine.StoredRecord) bool {
	return rec != nil && slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool {
		return k.Compartment != tandemv1.Compartment_COMPARTMENT_PRIVATE && s.held[k]
	})
}

// see returns a record that the person may see, nil for every other.
func (s *sight) see(id syncengine.ID) *item {
	if it, known := s.seen[id]; known || id.IsZero() {
		return it
	}
	s.load(id)
	return s.seen[id]
}

// seeText is see for an id as records hold it.
func (s *sight) seeText(text string) *item {
	id, err := syncengine.ParseID(text)
	if err != nil {
		return nil
	}
	return s.see(id)
}

// load looks at many records at once.
func (s *sight) load(ids ...syncengine.ID) {
	wanted := slices.DeleteFunc(slices.Clone(ids), func(id syncengine.ID) bool { _, known := s.seen[id]; return known || id.IsZero() })
	if len(wanted) == 0 {
		return
	}
	recs, err := s.view.Records(wanted)
	if err != nil {
		s.err = err
		return
	}
	for _, id := range wanted {
		s.seen[id] = nil
	}
	for _, rec := range recs {
		kind := s.c.domain.Kind(rec.Kind)
		if kind == nil || !s.may(rec) {
			continue
		}
		msg, err := s.c.domain.Message(&rec.Record)
		if err != nil {
			continue
		}
		s.seen[rec.ID] = &item{rec: rec, kind: kind, msg: msg}
	}
}

// show notes that a page shows a record.
func (s *sight) show(it *item) {
	if it.rec.Compartment(it.kind) != tandemv1.Compartment_COMPARTMENT_REF && !slices.Contains(s.shown, it.rec.ID) {
		s.shown = append(s.shown, it.rec.ID)
	}
}

// mark is where everything stands that the person may see: a text that is another one once
// any of it has changed, and tells nothing else.
func (s *sight) mark() (string, error) {
	h := hmac.New(sha256.New, s.who.Session.Hash[:])
	for _, k := range s.c.domain.Grants(s.view.Org(), s.p) {
		if !s.held[k] {
			continue
		}
		d, err := s.view.Digest(k)
		if err != nil {
			return "", err
		}
		id := s.who.Org.Secrets.ScopeID(k)
		h.Write(id[:])
		h.Write(d.Total().Bytes())
	}
	if s.lead {
		items, err := s.quarantineItems()
		if err != nil {
			return "", err
		}
		for _, it := range items {
			h.Write(it.Change.ID[:])
		}
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12]), nil
}

// quarantineItems are the changes in quarantine that the person may decide on.
func (s *sight) quarantineItems() ([]*syncengine.QuarantineItem, error) {
	engine := &syncengine.Server{Rules: s.c.domain, Secrets: s.who.Org.Secrets}
	items, err := engine.Quarantined(s.view, s.p)
	return slices.DeleteFunc(items, func(it *syncengine.QuarantineItem) bool { return !it.Whole || private(s, it) }), err
}

// private reports whether a change in quarantine is about what is its author's alone.
func private(s *sight, it *syncengine.QuarantineItem) bool {
	for _, w := range it.Decoded.GetRecords() {
		if w.GetCompartment() == tandemv1.Compartment_COMPARTMENT_PRIVATE {
			return true
		}
		if w.GetAct() == tandemv1.Act_ACT_CREATE {
			look := func(id syncengine.ID) (*syncengine.Record, error) {
				rec, err := s.view.Record(id)
				if err != nil || rec == nil {
					return nil, err
				}
				return &rec.Record, nil
			}
			in, err := s.c.domain.Inherited(w.GetKind(), w.GetBody(), look, nil)
			if err != nil || in == tandemv1.Compartment_COMPARTMENT_PRIVATE {
				return true
			}
			continue
		}
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		rec, err := s.view.Record(id)
		kind := s.c.domain.Kind(w.GetKind())
		switch {
		case err != nil || kind == nil:
			return true
		case rec == nil && kind.Name == "note":
			// Nobody can tell what note it is of.
			return true
		case rec != nil && rec.Compartment(kind) == tandemv1.Compartment_COMPARTMENT_PRIVATE:
			return true
		}
	}
	return it.Decoded.GetDraft() != nil && bytes.Contains(it.Decoded.GetDraft().GetBody(), []byte("private_psychotherapy"))
}

func (s *sight) at(ms int64) time.Time { return time.UnixMilli(ms).In(s.zone) }
