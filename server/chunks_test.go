package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// unzstd unpacks what an answer has packed.
func unzstd(packed []byte) ([]byte, error) {
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(packed, nil)
}

// fetched is what a device has got that read everything from the start.
type fetched struct {
	// held are the bodies that it holds at the end, sent the rows that came, and ever all
	// bytes of them.
	held map[string]string
	sent int
	ever []byte
	// packed is the newest answer that brought rows in chunks, with packs how many did.
	packed *tandemv1.SyncResponse
	packs  int
}

// everything reads everything from the start, by pages of a megabyte.
func (d *device) everything(packs bool) *fetched {
	d.w.t.Helper()
	got := &fetched{held: map[string]string{}}
	req := &tandemv1.SyncRequest{Budget: 1 << 20, Packs: packs, Positions: []*tandemv1.ScopePosition{{}}}
	var held []syncengine.ScopeID
	for range 100 {
		resp := must[*tandemv1.SyncResponse](d.w.t)(d.sync.Sync(d.w.t.Context(), req))
		if len(resp.GetPacked()) > 0 {
			got.packed, got.packs = resp, got.packs+1
		}
		answer := must[*tandemv1.SyncAnswer](d.w.t)(syncengine.Unframe(resp, unzstd))
		page := answer.GetPage()
		for _, s := range page.GetScopeSet().GetScopes() {
			held = append(held, syncengine.ScopeID(s.GetId()))
			req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
		}
		req.ScopeSet = syncengine.HashScopeSet(held)
		in := map[string]bool{}
		for _, row := range page.GetRows() {
			if in[string(row.GetRecord())] {
				d.w.t.Error("a record stands twice in a page")
			}
			in[string(row.GetRecord())] = true
			got.ever = append(got.ever, row.GetBody()...)
			if row.GetScopes() == 0 {
				delete(got.held, string(row.GetRecord()))
				continue
			}
			got.sent++
			var names strings.Builder
			for i, id := range page.GetScopes() {
				if row.GetScopes()&(1<<i) != 0 {
					fmt.Fprintf(&names, " %x", id)
				}
			}
			got.held[string(row.GetRecord())] = fmt.Sprintf("%x %x in", row.GetBody(), row.GetStamps()) + names.String()
		}
		for _, to := range page.GetTo() {
			for i, at := range req.GetPositions() {
				if bytes.Equal(at.GetScope(), to.GetScope()) {
					req.Positions[i].Position = to.GetPosition()
				}
			}
		}
		if !answer.GetTrailer().GetMore() && page.GetScopeSet() == nil {
			return got
		}
		for _, i := range page.GetReady() {
			for k, at := range req.GetPositions() {
				if bytes.Equal(at.GetScope(), page.GetScopes()[i]) {
					req.Positions = append(req.GetPositions()[:k:k], req.GetPositions()[k+1:]...)
					break
				}
			}
		}
	}
	d.w.t.Fatal("it never comes to an end")
	return nil
}

// pulled is how many rows the audit log says a device has been sent.
func (d *device) pulled() (rows int) {
	d.w.t.Helper()
	for _, e := range auditOf(d.w) {
		if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_PULLED && bytes.Equal(e.GetReplica(), d.replica[:]) {
			rows += int(e.GetCount())
		}
	}
	return rows
}

// What is made for one device and sent to the next is what would be read for it now:
// never what has changed or gone, never for who may not read it, and noted as any page is.
func TestChunks(t *testing.T) { each(t, testChunks) }

func testChunks(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 77)
	one, two, police := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.partner)
	var made []*tandemv1.Change
	for i := range 400 {
		made = append(made, one.creation(encounter(w, fmt.Sprintf("%s %d %s", marker, i, strings.Repeat("words of the night ", 100)))))
	}
	one.must(one.push(made...))
	same := func(when string, d *device) *fetched {
		t.Helper()
		plain, first, again := d.everything(false), d.everything(true), d.everything(true)
		if plain.packs > 0 {
			t.Errorf("%s: who takes no chunks is sent one", when)
		}
		if !maps.Equal(plain.held, first.held) || !maps.Equal(plain.held, again.held) {
			t.Errorf("%s: %d records row by row, %d and %d by chunks, and they differ", when, len(plain.held), len(first.held), len(again.held))
		}
		return again
	}
	before := two.pulled()
	got := same("at first", two)
	if got.packs == 0 || len(got.held) < 400 {
		t.Fatalf("%d records, %d answers with chunks", len(got.held), got.packs)
	}
	if noted := two.pulled() - before; noted != 3*got.sent {
		t.Errorf("%d rows are noted of %d", noted, 3*got.sent)
	}
	for what, spoil := range map[string]func(*tandemv1.SyncResponse){
		"a bit flipped": func(r *tandemv1.SyncResponse) { r.Packed[len(r.GetPacked())/2] ^= 1 },
		"the end cut":   func(r *tandemv1.SyncResponse) { r.Packed = r.GetPacked()[:len(r.GetPacked())-1] },
		"all gone":      func(r *tandemv1.SyncResponse) { r.Packed = nil },
		"twice":         func(r *tandemv1.SyncResponse) { r.Packed = append(r.GetPacked(), r.GetPacked()...) },
	} {
		resp := proto.CloneOf(got.packed)
		spoil(resp)
		if _, err := syncengine.Unframe(resp, unzstd); !errors.Is(err, syncengine.ErrIncomplete) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := syncengine.Unframe(got.packed, nil); !errors.Is(err, syncengine.ErrIncomplete) {
		t.Errorf("chunks for who takes none: %v", err)
	}
	if seen := same("a partner", police); bytes.Contains(seen.ever, []byte(marker)) {
		t.Error("the police partner got a clinical record")
	}
	// One changes.
	narrative := fieldNumber(t, "encounter", "narrative")
	change := w.id()
	out := one.must(one.push(&tandemv1.Change{
		Id: change[:], Author: one.person[:], Device: one.dev[:], Schema: 1,
		Records: []*tandemv1.RecordWrite{{
			Record: made[5].GetRecords()[0].GetRecord(), Kind: made[5].GetRecords()[0].GetKind(), Act: tandemv1.Act_ACT_SET,
			Writes: []*tandemv1.PathWrite{{Field: narrative, Value: syncengine.StringField(narrative, "other words"), Bases: made[5].GetId()[8:]}},
		}},
	})).GetOutcomes()
	if len(out) != 1 || out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("got %v", out)
	}
	changed := two.everything(true)
	if bytes.Contains(changed.ever, []byte(marker+" 5 ")) || changed.packs == 0 {
		t.Error("a chunk brings back what was written over")
	}
	same("after a change", two)
	// What was made of a history that is lost is not sent, though its numbers are used again.
	lost := server.Rewrite(w.srv)
	before = lost()
	same("after a history was lost", two)
	if after := lost(); before == 0 || after > before/2 {
		t.Errorf("%d chunks of a history that is lost, of %d, are kept", after, before)
	}
	// All of them leave one scope for another.
	w.tend(64)
	two.renew()
	same("aged", two)
	// The chunks are there, and who is revoked gets none of them.
	if err := w.admin.RevokeDevice(t.Context(), two.dev); err != nil {
		t.Fatal(err)
	}
	if got := two.everything(true); got.sent > 0 || got.packs > 0 {
		t.Errorf("a revoked device got %d rows", got.sent)
	}
	w.quiet()
}

// auditOf returns the entries of the audit log.
func auditOf(w *world) (entries []*tandemv1.AuditEntry) {
	w.t.Helper()
	if err := w.s.ReadAudit(w.t.Context(), w.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			entries = append(entries, e)
			return proto.Unmarshal(raw, e)
		})
	}); err != nil {
		w.t.Fatal(err)
	}
	return entries
}
