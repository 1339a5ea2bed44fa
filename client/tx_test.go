package client

import (
	"bytes"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// write runs fn in a transaction of a store.
func write(t *testing.T, s *store, fn func(x *tx) error) {
	t.Helper()
	if err := s.write(t.Context(), "testing", fn); err != nil {
		t.Fatal(err)
	}
}

func number(ops []*syncengine.Op) (numbers []uint64) {
	for _, op := range ops {
		numbers = append(numbers, op.Number)
	}
	return numbers
}

func TestOutboxTables(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	record, other := syncengine.ID{1}, syncengine.ID{2}
	classes := []tandemv1.Class{
		tandemv1.Class_CLASS_BULK, tandemv1.Class_CLASS_NORMAL, tandemv1.Class_CLASS_UNSPECIFIED, tandemv1.Class_CLASS_URGENT, tandemv1.Class_CLASS_BULK,
	}
	var added []*syncengine.Op
	write(t, s, func(x *tx) error {
		var prev syncengine.Hash
		for i, class := range classes {
			n := uint64(i + 1)
			op := &syncengine.Op{
				Number: n, Change: syncengine.ID{9, byte(n)}, Class: class, Raw: make([]byte, 100*n), Prev: prev, Envelope: syncengine.Hash{byte(n)},
				Records: []syncengine.ID{record, other}, Needs: []uint64{n - 1}, State: syncengine.OpQueued, AtMS: int64(n),
			}
			prev = op.Envelope
			added = append(added, op)
			if err := x.AddOp(op); err != nil {
				return err
			}
		}
		return nil
	})
	write(t, s, func(x *tx) error {
		for _, want := range added {
			got, err := x.Op(want.Number)
			if err != nil {
				return err
			}
			if got.Change != want.Change || got.Class != want.Class || len(got.Raw) != len(want.Raw) || got.Prev != want.Prev ||
				got.Envelope != want.Envelope || !slices.Equal(got.Records, want.Records) || !slices.Equal(got.Needs, want.Needs) || got.AtMS != want.AtMS {
				t.Errorf("op %d: got %+v, want %+v", want.Number, got, want)
			}
		}
		for _, tc := range []struct {
			limit, bytes int
			want         []uint64
		}{
			{100, 1 << 20, []uint64{4, 2, 3, 1, 5}}, {2, 1 << 20, []uint64{4, 2}}, {100, 0, []uint64{4}}, {100, 450, []uint64{4, 2}}, {100, 699, []uint64{4, 2, 3}},
		} {
			got, err := x.Queued(nil, tc.limit, tc.bytes)
			if err != nil {
				return err
			}
			if !slices.Equal(number(got), tc.want) {
				t.Errorf("queued (%d, %d bytes): got %v, want %v", tc.limit, tc.bytes, number(got), tc.want)
			}
		}
		for _, tc := range []struct {
			but, want []uint64
		}{
			{[]uint64{4}, []uint64{2, 3, 1, 5}}, {[]uint64{2, 4, 77}, []uint64{3, 1, 5}}, {[]uint64{1, 3}, []uint64{4, 2, 5}}, {[]uint64{1, 2, 3, 4, 5}, []uint64{}},
		} {
			but := map[uint64]bool{}
			for _, op := range tc.but {
				but[op] = true
			}
			got, err := x.Queued(but, 100, 1<<20)
			if err != nil {
				return err
			}
			if !slices.Equal(number(got), tc.want) {
				t.Errorf("queued but %v: got %v, want %v", tc.but, number(got), tc.want)
			}
		}
		if none, err := x.Op(77); err != nil || none != nil {
			t.Errorf("an op that is not there: got %v, %v", none, err)
		}
		return nil
	})
	write(t, s, func(x *tx) error {
		for i, state := range []syncengine.OpState{syncengine.OpApplied, syncengine.OpSettled, syncengine.OpQuarantined} {
			op := *added[i]
			op.State, op.Outcome = state, &tandemv1.Outcome{Op: op.Number, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}
			if state == syncengine.OpSettled {
				op.Raw = nil
			}
			if err := x.SaveOp(&op); err != nil {
				return err
			}
		}
		return nil
	})
	write(t, s, func(x *tx) error {
		for state, want := range map[syncengine.OpState][]uint64{
			syncengine.OpQueued: {4, 5}, syncengine.OpApplied: {1}, syncengine.OpSettled: {2}, syncengine.OpQuarantined: {3},
		} {
			got, err := x.OpsIn(state, 0, 10)
			if err != nil {
				return err
			}
			if !slices.Equal(number(got), want) {
				t.Errorf("ops in state %d: got %v, want %v", state, number(got), want)
			}
			for _, op := range got {
				if op.State != state || (op.Raw == nil) != (state == syncengine.OpSettled) || (op.Outcome == nil) != (state == syncengine.OpQueued) {
					t.Errorf("op %d: got state %d, %d bytes, outcome %v", op.Number, op.State, len(op.Raw), op.Outcome)
				}
			}
		}
		if got, err := x.OpsIn(syncengine.OpQueued, 4, 10); err != nil || !slices.Equal(number(got), []uint64{5}) {
			t.Errorf("queued beyond 4: got %v, %v", number(got), err)
		}
		if got, err := x.OpsOn(record); err != nil || !slices.Equal(number(got), []uint64{1, 4, 5}) {
			t.Errorf("ops on a record: got %v, %v", number(got), err)
		}
		return nil
	})
}

func TestRecordTable(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	next := someRecords(t)
	var all []*syncengine.DeviceRecord
	for i := range 3 * insertMany / 2 {
		r := next()
		r.Scopes = 1 << 63
		if i%2 == 0 {
			r.Scopes = 1
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *syncengine.DeviceRecord) int { return a.ID.Compare(b.ID) })
	same := func(x *tx, want *syncengine.DeviceRecord) {
		t.Helper()
		got, err := x.Record(want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil || got.Hash() != want.Hash() || got.Scopes != want.Scopes || got.HasBase != want.HasBase || got.BaseHash != want.BaseHash ||
			got.Pending != want.Pending || got.Conflicts != want.Conflicts || (got.Base == nil) != (want.Base == nil) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	write(t, s, func(x *tx) error {
		for _, r := range all {
			if err := x.SaveRecord(r); err != nil {
				return err
			}
			same(x, r)
		}
		return nil
	})
	changed := *all[0]
	changed.Base = &syncengine.Record{ID: changed.ID, Kind: changed.Kind, Body: all[0].Body, Stamps: all[0].Stamps}
	changed.Record, changed.Pending, changed.Conflicts = all[1].Record, 2, 1
	changed.ID = all[0].ID
	write(t, s, func(x *tx) error {
		if err := x.Prefetch([]syncengine.ID{all[0].ID, {7}, all[2].ID}); err != nil {
			return err
		}
		same(x, all[0])
		if err := x.SaveRecord(&changed); err != nil {
			return err
		}
		// What is saved is seen at once, and is not shared.
		same(x, &changed)
		got, err := x.Record(changed.ID)
		if err != nil {
			return err
		}
		got.Pending = 99
		same(x, &changed)
		meta := *all[2]
		meta.Scopes, meta.Conflicts = 6, 3
		all[2] = &meta
		if err := x.SaveRecord(&meta); err != nil {
			return err
		}
		return x.DropRecord(all[3].ID)
	})
	write(t, s, func(x *tx) error {
		same(x, &changed)
		same(x, all[2])
		if got, err := x.Record(all[3].ID); err != nil || got != nil {
			t.Errorf("a dropped record: got %v, %v", got, err)
		}
		var want []syncengine.ID
		for _, r := range all[4:] {
			if r.Scopes == 1<<63 {
				want = append(want, r.ID)
			}
		}
		got, err := x.InScope(63, all[3].ID, len(all))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("in scope 63: got %d records, want %d, error %v", len(got), len(want), err)
		}
		if got, err = x.InScope(63, all[3].ID, 2); err != nil || !slices.Equal(got, want[:2]) {
			t.Errorf("the first two: got %v, %v", got, err)
		}
		// A record that is dropped and comes back within one transaction.
		if err := x.DropRecord(all[4].ID); err != nil {
			return err
		}
		return x.SaveRecord(all[4])
	})
	write(t, s, func(x *tx) error {
		same(x, all[4])
		return nil
	})
}

func TestStagedRows(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	row := func(id byte, body string, scopes uint64) *syncengine.Incoming {
		return &syncengine.Incoming{Record: syncengine.Record{ID: syncengine.ID{id}, Kind: 20, Body: []byte(body), Stamps: []byte{1}}, Scopes: scopes}
	}
	write(t, s, func(x *tx) error {
		for _, in := range []*syncengine.Incoming{row(3, "c", 1), row(1, "a", 1<<63), row(2, "b", 0), row(3, "cc", 2)} {
			if err := x.Stage(in); err != nil {
				return err
			}
		}
		return nil
	})
	// A row that waits may bring back the record that is dropped before it.
	write(t, s, func(x *tx) error { return x.DropRecord(syncengine.ID{3}) })
	write(t, s, func(x *tx) error {
		staged, err := x.Staged(syncengine.ID{1}, 10)
		if err != nil {
			return err
		}
		if len(staged) != 2 || staged[0].Scopes != 0 || string(staged[1].Body) != "cc" || staged[1].Scopes != 2 {
			t.Errorf("got %+v", staged)
		}
		one, err := x.StagedRow(syncengine.ID{1})
		if err != nil || one == nil || one.Scopes != 1<<63 || one.Kind != 20 {
			t.Errorf("got %+v, %v", one, err)
		}
		if none, err := x.StagedRow(syncengine.ID{9}); err != nil || none != nil {
			t.Errorf("a row that is not staged: got %v, %v", none, err)
		}
		if err := x.Unstage(); err != nil {
			return err
		}
		staged, err = x.Staged(syncengine.ID{}, 10)
		if len(staged) != 0 {
			t.Errorf("after Unstage: got %d rows", len(staged))
		}
		return err
	})
}

func TestStateAndScopes(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	want := &syncengine.DeviceState{
		Org: syncengine.ID{1}, Replica: syncengine.ID{2}, Person: syncengine.ID{3}, Device: syncengine.ID{4}, NextOp: 5, LastHash: syncengine.Hash{6},
		KnownOp: 4, Staged: []byte{7}, OffsetMS: -8, OffsetKnown: true, LastContactMS: 9, Forked: true, Want: []syncengine.ID{{10}, {11}}, ToldAt: [][]byte{{12}, {13, 14}},
	}
	scope := syncengine.DeviceScope{
		ID: syncengine.ScopeID{1}, Bit: 63, Compartment: tandemv1.Compartment_COMPARTMENT_OPS, Open: true, Ready: true,
		Position: []byte{2}, Sum: syncengine.Sum{Hi: 1 << 63, Lo: 3}, VerifiedMS: 4,
	}
	write(t, s, func(x *tx) error {
		if err := x.SaveState(want); err != nil {
			return err
		}
		return x.SaveScope(scope)
	})
	write(t, s, func(x *tx) error {
		got, err := x.State()
		if err != nil {
			return err
		}
		if got.Org != want.Org || got.Replica != want.Replica || got.Person != want.Person || got.Device != want.Device || got.NextOp != want.NextOp ||
			got.LastHash != want.LastHash || got.KnownOp != want.KnownOp || !slices.Equal(got.Staged, want.Staged) || got.OffsetMS != want.OffsetMS ||
			!got.OffsetKnown || got.LastContactMS != want.LastContactMS || !got.Forked || !slices.Equal(got.Want, want.Want) || !slices.EqualFunc(got.ToldAt, want.ToldAt, bytes.Equal) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		scopes, err := x.Scopes()
		if err != nil {
			return err
		}
		if len(scopes) != 1 || scopes[0].ID != scope.ID || scopes[0].Bit != 63 || scopes[0].Sum != scope.Sum || !scopes[0].Ready || !scopes[0].Open ||
			!slices.Equal(scopes[0].Position, scope.Position) || scopes[0].Compartment != scope.Compartment || scopes[0].VerifiedMS != 4 {
			t.Errorf("got %+v, want %+v", scopes, scope)
		}
		if err := x.DropScope(scope.ID); err != nil {
			return err
		}
		scopes, err = x.Scopes()
		if len(scopes) != 0 {
			t.Errorf("after DropScope: got %d", len(scopes))
		}
		return err
	})
}

// What is settled leaves the records it wrote, and nothing else does, whether its
// records stand together or not.
func TestSettledWrites(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(n int) syncengine.ID{
		"together":     func(n int) syncengine.ID { return syncengine.ID{5: byte(n / 10), 6: byte(97 * n), 15: byte(n)} },
		"years apart":  func(n int) syncengine.ID { return syncengine.ID{0: byte(97 * n), 15: byte(n)} },
		"all the same": func(int) syncengine.ID { return syncengine.ID{1} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTestStore(t)
			const made, settled = 150, 100
			op := func(n, record int) *syncengine.Op {
				return &syncengine.Op{
					Number: uint64(n), Change: syncengine.ID{9, byte(n)}, Raw: []byte{1}, Records: []syncengine.ID{at(record)}, State: syncengine.OpQueued,
				}
			}
			ops := make([]*syncengine.Op, 0, made)
			write(t, s, func(x *tx) error {
				for n := 1; n <= made; n++ {
					// The later half is made, one for one, of the records of the first.
					ops = append(ops, op(n, (n-1)%(made/2)))
					if err := x.AddOp(ops[n-1]); err != nil {
						return err
					}
				}
				return nil
			})
			write(t, s, func(x *tx) error {
				for _, o := range ops[:settled] {
					next := *o
					next.State = syncengine.OpSettled
					if err := x.SaveOp(&next); err != nil {
						return err
					}
				}
				return nil
			})
			var left []uint64
			write(t, s, func(x *tx) error {
				left = left[:0]
				return x.rows(`SELECT op FROM outbox_write ORDER BY op`, nil, func(scan func(...any) error) error {
					var n uint64
					err := scan(&n)
					left = append(left, n)
					return err
				})
			})
			if len(left) != made-settled || left[0] != settled+1 {
				t.Errorf("%d writes left, want %d: %v", len(left), made-settled, left)
			}
			write(t, s, func(x *tx) error {
				if _, ok := x.ops[1]; ok {
					t.Error("a settled change is still in memory")
				}
				return nil
			})
		})
	}
}
