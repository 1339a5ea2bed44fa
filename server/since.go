package server

import (
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// unerased is an erasure of the security journal of which this database does not know all.
type unerased struct {
	*store.JournalEvent

	left []syncengine.ID
}

// writtenSince are the records of some erasures that stay, since this database went on
// without them. Where it stood where an erasure began, or a legal hold was placed, or a
// policy changed, that is all of the erasure. Else, as where a journal comes late to a
// database that was set back, it is what somebody has written about since, with all that is
// about the same person or call.
func writtenSince(tx *store.Tx, engine *syncengine.Server, open []*unerased) (stays map[syncengine.ID]bool, err error) {
	t := &ties{tx: tx, engine: engine, domain: record.New(), of: map[syncengine.ID][]syncengine.ID{}, tied: map[syncengine.ID]bool{}}
	fromMS := open[0].AtMS
	for _, u := range open {
		fromMS = min(fromMS, u.AtMS)
		if err := t.tie(u.left); err != nil {
			return nil, err
		}
	}
	known := map[syncengine.ID]bool{}
	for id := range t.of {
		known[id] = true
	}
	since, err := tx.Since(fromMS, known)
	if err != nil {
		return nil, err
	}
	parts := t.parts(since)
	stays = map[syncengine.ID]bool{}
	for _, u := range open {
		all, err := wentOn(tx, u.JournalEvent)
		if err != nil {
			return nil, err
		}
		all = all || since.Unread > u.AtMS
		for kind, at := range since.Written {
			k := t.domain.Kind(kind)
			all = all || at > u.AtMS && (k == nil || slices.Contains([]string{"agency", "program", "team"}, k.Name))
		}
		for _, id := range u.left {
			if part := parts[id]; all || part.lastMS > u.AtMS {
				for _, id := range part.ids {
					stays[id] = true
				}
			}
		}
	}
	return stays, nil
}

// wentOn reports whether this database stood where an erasure began, and went on without it,
// or has a legal hold that it did not know.
func wentOn(tx *store.Tx, e *store.JournalEvent) (bool, error) {
	if len(e.Hash) == 0 {
		return false, nil
	}
	holds, err := tx.LegalHolds()
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(holds, func(h *store.Hold) bool {
		return h.Stands() && !slices.ContainsFunc(e.Holds, func(id string) bool { return strings.EqualFold(id, h.ID.String()) })
	}) {
		return true, nil
	}
	return tx.WentOn(e.Seq, e.Hash)
}

// ties are which records are about which, both ways: of some, and of all that is about them.
type ties struct {
	tx     *store.Tx
	engine *syncengine.Server
	domain *record.Domain
	of     map[syncengine.ID][]syncengine.ID
	tied   map[syncengine.ID]bool
}

// tie adds records, and all that is about them.
func (t *ties) tie(ids []syncengine.ID) error {
	for len(ids) > 0 {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id syncengine.ID) bool {
			known := t.tied[id]
			t.tied[id] = true
			return known
		})
		for _, id := range ids {
			t.of[id] = append(t.of[id], id)
		}
		recs, err := t.tx.Records(ids)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			about := t.domain.About(&rec.Record)
			if msg, err := t.domain.Message(&rec.Record); err == nil {
				if m, is := msg.(*tandemv1.Person); is {
					if into, err := syncengine.ParseID(m.GetMergedInto()); err == nil {
						about = append(about, into)
					}
				}
			}
			if k := t.domain.Kind(rec.Kind); k != nil && k.Name == "safety_alert" {
				// Its card, which nothing makes again once it is erased.
				about = append(about, t.engine.Secrets.DeriveID(rec.ID, "alert_card", 0))
			}
			for _, to := range about {
				t.of[rec.ID], t.of[to] = append(t.of[rec.ID], to), append(t.of[to], rec.ID)
			}
		}
		if ids, err = t.tx.AboutAny(ids); err != nil {
			return err
		}
	}
	return nil
}

// part is some records that are tied, and when one of them was last named.
type part struct {
	ids    []syncengine.ID
	lastMS int64
}

func (t *ties) parts(since *store.Since) map[syncengine.ID]*part {
	parts := map[syncengine.ID]*part{}
	for id := range t.of {
		if parts[id] != nil {
			continue
		}
		p := &part{ids: []syncengine.ID{id}}
		parts[id] = p
		for i := 0; i < len(p.ids); i++ {
			p.lastMS = max(p.lastMS, since.Named[p.ids[i]])
			for _, to := range t.of[p.ids[i]] {
				if parts[to] == nil {
					parts[to], p.ids = p, append(p.ids, to)
				}
			}
		}
	}
	return parts
}
