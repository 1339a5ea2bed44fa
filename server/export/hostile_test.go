package export_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// hostile is text that something on the way from one server to another could break.
var hostile = []string{
	"", "\u202egnirts\u202c \u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627", "\x00", "a\x00b", "\x00,\x00\r\n", "\r", "\n", "\r\n", "\n\r", "\"\r\n\"", "\ufeff", "\ufeff\ufeffid,seq",
	"\ufffd", "\uffff\ufffe", "\U0010ffff", "\ud7ff\ue000", "\x7f\x1b[31m", "\u2028\u2029\u0085\v\f", "=", "+", "-", "@", "\t=1+1", "'", "''=1", "-0", "1e999", "NaN", "+Inf", "nil",
	"\"", "\"\"", "\",\"", ",,,", " ", "  lead and trail  ", "\\", "\\u0000", "\\r\\n", "{\"en\":\"x\"}", "<script>&amp;", "e\u0301 \u00e9", "0001-01-01", "2024-02-30T25:00:00.000Z",
	"a_code_that_was_retired", "UPPER,case", strings.Repeat("long \U0001F6A8\r\n\",", 1<<16),
}

// TestImportHostile: nothing that a field can hold, be it what no form would take, is another thing
// once it was exported, read in and exported again.
func TestImportHostile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		for seed := range uint64(4) {
			a := &anything{
				w: w, r: rand.New(rand.NewPCG(seed, 9)), domain: record.New(), texts: hostile, numbers: []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, 0.1},
				times: []int64{0, 1, -1, -62135596800000, -62135596800001, 253402300799999, 253402300800000, math.MaxInt64, math.MinInt64, math.MaxInt64 - 999, -1 << 53, 951782400000},
			}
			w.ok(w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
				for _, k := range a.domain.Kinds() {
					for range 6 {
						if err := a.record(tx, k); err != nil {
							return fmt.Errorf("%s: %w", k.Name, err)
						}
					}
				}
				return nil
			}))
		}
		w.conflict()
		dir, _ := w.write(w.everything())
		p, err := export.Open(dir)
		w.ok(err)
		w.ok(p.Check(t.Context(), nil))
		st, org, err := w.emptied(on, p)
		w.ok(err)
		w.ok(w.bring(st, org, p, 1e9))
		again := &world{t: t, s: st, org: org}
		second, _ := again.write(w.everything())
		w.same(w.files(dir), w.files(second))
	})
}

// conflict keeps a person of whom three have written another day of birth over the same one.
func (w *world) conflict() {
	w.t.Helper()
	kind := record.New().KindByName("person")
	id := w.add(0, w.person(0, nasty))[0]
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		rec, err := tx.Record(id)
		if err != nil {
			return err
		}
		made := &tandemv1.Stamps{}
		w.ok(proto.Unmarshal(rec.Stamps, made))
		next, dob := *rec, (&tandemv1.Person{}).ProtoReflect().Descriptor().Fields().ByName("dob").Number()
		for n, day := range []string{"1971-01-01", "1972-02-02", "1973-03-03"} {
			applied, err := syncengine.Apply(kind, &next.Record, &tandemv1.RecordWrite{Record: id[:], Kind: kind.Number, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
				Field: uint32(dob), Value: syncengine.StringField(uint32(dob), day), Bases: syncengine.EncodeStamps([]syncengine.Stamp{syncengine.Stamp(made.GetCreated())}),
			}}}, syncengine.Writer{Stamp: syncengine.Stamp(100 + n), Author: w.staff["clinician"], Device: w.id(), AtMS: now}, alone{})
			if err != nil {
				return err
			}
			next.Record = *applied.Record
		}
		w.ok(proto.Unmarshal(next.Stamps, made))
		if heads := made.GetPaths()[0].GetHeads(); len(heads) != 3 {
			w.t.Errorf("%d values, not 3", len(heads))
		}
		next.Plain, next.Hash = false, next.Record.Hash()
		return tx.SaveRecord(&next)
	}))
}
