package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// pages fetches everything a device may hold in small pages. between is called with
// what has come where the server has read another page after it.
func (d *device) pages(between func(rows []*tandemv1.Row)) (rows []*tandemv1.Row, last *tandemv1.SyncAnswer) {
	d.w.t.Helper()
	req := &tandemv1.SyncRequest{Budget: 2000, Positions: []*tandemv1.ScopePosition{{}}}
	var held []syncengine.ScopeID
	for _, s := range d.must(req).GetPage().GetScopeSet().GetScopes() {
		held = append(held, syncengine.ScopeID(s.GetId()))
		req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
	}
	req.ScopeSet = syncengine.HashScopeSet(held)
	for range 1000 {
		answer := d.must(req)
		page := answer.GetPage()
		rows = append(rows, page.GetRows()...)
		for _, to := range page.GetTo() {
			for _, at := range req.GetPositions() {
				if bytes.Equal(at.GetScope(), to.GetScope()) {
					at.Position = to.GetPosition()
				}
			}
		}
		for _, i := range page.GetReady() {
			req.Positions = slices.DeleteFunc(req.GetPositions(), func(p *tandemv1.ScopePosition) bool {
				return bytes.Equal(p.GetScope(), page.GetScopes()[i])
			})
		}
		if !answer.GetTrailer().GetMore() {
			return rows, answer
		}
		if server.AheadOf(d.w.srv, d.replica) {
			between(rows)
		}
	}
	d.w.t.Fatal("the pages do not end")
	return nil, nil
}

func count(rows []*tandemv1.Row, text string) (n int) {
	for _, r := range rows {
		if bytes.Contains(r.GetBody(), []byte(text)) {
			n++
		}
	}
	return n
}

// What is read ahead is given out only where it is the answer that would be read now.
func TestReadAhead(t *testing.T) { each(t, testReadAhead) }

func testReadAhead(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 23)
	one, two, three := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.second)
	var changes []*tandemv1.Change
	for i := range 60 {
		changes = append(changes, one.creation(encounter(w, fmt.Sprintf("%s: number %02d", marker, i))))
	}
	one.must(one.push(changes...))

	ahead := 0
	rows, last := two.pages(func([]*tandemv1.Row) {
		if ahead++; ahead == 2 {
			// The history goes on between two pages: the one that waits is out of date.
			one.must(one.push(one.creation(encounter(w, "came in between"))))
		}
	})
	if ahead < 5 {
		t.Errorf("%d pages were read ahead of their request", ahead)
	}
	if got := count(rows, marker); got != 60 {
		t.Errorf("got %d of 60 records", got)
	}
	if got := count(rows, "came in between"); got != 1 {
		t.Errorf("got the record that came in between %d times", got)
	}
	if want := w.clock().UnixMilli(); last.GetTrailer().GetServerMs() != want {
		t.Errorf("the server's clock says %d, want %d", last.GetTrailer().GetServerMs(), want)
	}

	// What takes a device its rights between two pages takes it the next one, whether
	// that stands in the history or beside it.
	for _, tc := range []struct {
		name   string
		device *device
		act    func(tx *store.Tx) error
	}{
		{"shut out", three, func(tx *store.Tx) error {
			r, err := tx.Replica(three.replica)
			if err != nil {
				return err
			}
			revoked := *r
			revoked.Revoked = true
			return tx.SaveReplica(&revoked)
		}},
		{"in no team", two, func(tx *store.Tx) error {
			head, err := tx.Head()
			if err != nil {
				return err
			}
			rec, err := tx.Record(w.second)
			if err != nil {
				return err
			}
			staff := &tandemv1.Staff{}
			if err := proto.Unmarshal(rec.Body, staff); err != nil {
				return err
			}
			staff.TeamIds = nil
			next := *rec
			if next.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(staff); err != nil {
				return err
			}
			head.Seq, head.Hash = head.Seq+1, syncengine.Hash{1}
			next.Seq = head.Seq
			return errors.Join(tx.SaveRecord(&next), tx.SetHead(head))
		}},
	} {
		before := -1
		rows, _ := tc.device.pages(func(rows []*tandemv1.Row) {
			if before >= 0 || count(rows, marker) < 3 {
				return
			}
			before = count(rows, marker)
			if err := w.s.Write(t.Context(), w.org.ID, 1, tc.act); err != nil {
				t.Error(err)
			}
		})
		if after := count(rows, marker); before < 0 || after != before {
			t.Errorf("%s after %d records, a device got %d", tc.name, before, after)
		}
	}
}
