package store_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var encounterKind = record.New().KindByName("encounter").Number

// world is a store with an org, a team and one clinician's replica.
type world struct {
	tb  testing.TB
	ctx context.Context // says where the store is
	dir string
	// database is the address of a PostgreSQL database, empty for a file.
	database string
	s        *store.Store
	org      *store.Org
	srv      *syncengine.Server
	rand     *rand.ChaCha8
	now      int64
	team     syncengine.ID
	agency   syncengine.ID
	staff    syncengine.ID
	device   syncengine.ID
	replica  syncengine.ID
	key      ed25519.PrivateKey
	op       uint64
	last     syncengine.Hash
}

func newWorld(tb testing.TB, on engine, seed byte) *world {
	tb.Helper()
	return newWorldAt(tb.Context(), tb, on, seed)
}

// newWorldAt makes the store on the file system of a context.
func newWorldAt(ctx context.Context, tb testing.TB, on engine, seed byte) *world {
	tb.Helper()
	w := &world{tb: tb, ctx: ctx, dir: tb.TempDir(), database: on.Database(tb), rand: rand.NewChaCha8([32]byte{seed}), now: 1_700_000_000_000}
	w.open()
	tb.Cleanup(func() {
		if w.s != nil {
			_ = w.s.Close()
		}
	})
	var err error
	if w.org, err = w.s.CreateOrg(tb.Context(), "Example County"); err != nil {
		tb.Fatal(err)
	}
	w.srv = &syncengine.Server{Rules: record.New(), Secrets: w.org.Secrets}
	w.key = ed25519.NewKeyFromSeed(w.bytes(32))
	w.agency, w.team, w.staff, w.device, w.replica = w.id(), w.id(), w.id(), w.id(), w.id()
	agency, team := w.agency.String(), w.team.String()
	w.local(w.agency, &tandemv1.Agency{AgencyId: &agency, Lifecycle: new("active"), Name: new("Example Agency"), AgencyTz: new("America/Chicago")})
	w.local(w.team, &tandemv1.Team{AgencyId: &agency, Lifecycle: new("active"), Name: new("Night")})
	w.local(w.staff, &tandemv1.Staff{AgencyId: &agency, Lifecycle: new("active"), DisplayName: new("A. Clinician"),
		Roles: []string{"clinician"}, TeamIds: []string{team}})
	w.write(func(tx *store.Tx) error {
		return tx.SaveReplica(&syncengine.Replica{ID: w.replica, Person: w.staff, Device: w.device, Key: w.public()})
	})
	return w
}

func (w *world) open() {
	w.tb.Helper()
	s, err := store.Open(w.ctx, w.dir, store.Options{Create: true, Database: w.database, Volatile: true, Rand: w.rand, Clock: func() time.Time { return time.UnixMilli(w.now) }})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.s = s
}

func (w *world) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(w.rand, b); err != nil {
		w.tb.Fatal(err)
	}
	return b
}

func (w *world) id() syncengine.ID {
	id, err := syncengine.NewID(w.now, w.rand)
	if err != nil {
		w.tb.Fatal(err)
	}
	return id
}

func (w *world) write(do func(tx *store.Tx) error) {
	w.tb.Helper()
	if err := w.s.Write(w.tb.Context(), w.org.ID, 1, do); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		w.tb.Fatal(err)
	}
	return b
}

// creation returns a change that makes a record of a message.
func (w *world) creation(author, id syncengine.ID, msg proto.Message) *tandemv1.Change {
	w.tb.Helper()
	body, err := record.New().Body(msg)
	if err != nil {
		w.tb.Fatal(err)
	}
	change := w.id()
	return &tandemv1.Change{
		Id: change[:], Author: author[:], Schema: 1, Class: tandemv1.Class_CLASS_NORMAL, Time: &tandemv1.ChangeTime{WallMs: w.now},
		Records: []*tandemv1.RecordWrite{{
			Record: id[:], Kind: record.New().KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
		}},
	}
}

// local makes a record at the server itself.
func (w *world) local(id syncengine.ID, msg proto.Message) {
	w.tb.Helper()
	raw := w.marshal(w.creation(w.org.ID, id, msg))
	w.write(func(tx *store.Tx) error {
		b, err := w.srv.Begin(tx, w.now)
		if err != nil {
			return err
		}
		out, err := b.Local(&syncengine.Principal{Server: true}, raw)
		if err != nil {
			return err
		}
		if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			return errors.New("not applied: " + out.String())
		}
		_, err = b.Commit()
		return err
	})
}

// encounter returns a record of the usual size.
func (w *world) encounter() *tandemv1.Encounter {
	words := strings.Fields("client reported calm agitated street officer team offered water ride home voices plan denied sister shelter intake morning")
	var b strings.Builder
	for b.Len() < 560 {
		b.WriteString(words[w.rand.Uint64()%uint64(len(words))])
		b.WriteByte(' ')
	}
	agency, team := w.agency.String(), w.team.String()
	person := w.id().String()
	return &tandemv1.Encounter{
		AgencyId: &agency, TeamId: &team, Lifecycle: new("draft"), Tz: new("America/Chicago"), Schema: new(uint32(1)),
		PersonId: &person, Type: new("crisis_response"), StartedAt: &tandemv1.Instant{AtMs: new(w.now)},
		PresentingPrimary: new("suicidal_thoughts"), DangerSelf: new("low"), Disposition: new("resolved_on_scene"), Narrative: new(b.String()),
	}
}

// edit returns a change that writes one field of a record whose value was written
// under base.
func (w *world) edit(id syncengine.ID, kind uint32, field uint32, text string, base syncengine.Stamp) *tandemv1.Change {
	change := w.id()
	return &tandemv1.Change{
		Id: change[:], Author: w.staff[:], Schema: 1, Time: &tandemv1.ChangeTime{WallMs: w.now},
		Records: []*tandemv1.RecordWrite{{
			Record: id[:], Kind: kind, Act: tandemv1.Act_ACT_SET,
			Writes: []*tandemv1.PathWrite{{Field: field, Value: syncengine.StringField(field, text), Bases: syncengine.EncodeStamps([]syncengine.Stamp{base})}},
		}},
	}
}

// request signs a push of changes of the replica and moves its chain on.
func (w *world) request(changes ...*tandemv1.Change) *tandemv1.SyncRequest {
	run := &tandemv1.Run{FirstOp: w.op + 1, PrevHash: w.last[:]}
	run.PrevHash = append([]byte(nil), run.PrevHash...)
	for _, c := range changes {
		c.Device = w.device[:]
		raw := w.marshal(c)
		w.op++
		w.last = syncengine.HashEnvelope(w.replica, w.op, w.last, sha256.Sum256(raw))
		run.Changes = append(run.Changes, raw)
	}
	return &tandemv1.SyncRequest{Runs: []*tandemv1.Run{run}, Signature: syncengine.SignBatch(w.key, w.last), NewestOp: w.op, Schema: 1}
}

func (w *world) prepare(req *tandemv1.SyncRequest) []syncengine.Prepared {
	w.tb.Helper()
	p, err := syncengine.Prepare(w.srv.Rules, w.replica, w.public(), req)
	if err != nil {
		w.tb.Fatal(err)
	}
	return p
}

// push sends changes in one transaction.
func (w *world) push(changes ...*tandemv1.Change) []*tandemv1.Outcome {
	w.tb.Helper()
	req := w.request(changes...)
	out, err := w.apply(w.prepare(req), req)
	if err != nil {
		w.tb.Fatal(err)
	}
	return out
}

func (w *world) apply(pushed []syncengine.Prepared, req *tandemv1.SyncRequest) (out []*tandemv1.Outcome, err error) {
	err = w.s.Write(w.tb.Context(), w.org.ID, len(pushed), func(tx *store.Tx) error {
		b, err := w.srv.Begin(tx, w.now)
		if err != nil {
			return err
		}
		if out, err = b.Push(w.replica, pushed, req); err != nil {
			return err
		}
		_, err = b.Commit()
		return err
	})
	return out, err
}

func (w *world) applied(out []*tandemv1.Outcome) {
	w.tb.Helper()
	for _, o := range out {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			w.tb.Fatalf("op %d: got %v", o.GetOp(), o)
		}
	}
}

// verified fails the test unless the database holds together.
func (w *world) verified() *store.Report {
	w.tb.Helper()
	r, err := w.s.Verify(w.tb.Context(), w.org.ID)
	if err != nil {
		w.tb.Fatal(err)
	}
	if len(r.Faults) > 0 {
		w.tb.Fatalf("verify: %s", strings.Join(r.Faults, "\n"))
	}
	return r
}

func stampOf(c *tandemv1.Change) syncengine.Stamp {
	return syncengine.Stamp(binary.BigEndian.Uint64(c.GetId()[8:]))
}

// resign computes the envelope hashes of a request's only run anew and signs it.
func (w *world) resign(req *tandemv1.SyncRequest) []syncengine.Prepared {
	w.tb.Helper()
	run := req.Runs[0]
	w.last, w.op = syncengine.Hash(run.PrevHash), run.FirstOp-1
	for _, raw := range run.Changes {
		w.op++
		w.last = syncengine.HashEnvelope(w.replica, w.op, w.last, sha256.Sum256(raw))
	}
	req.Signature, req.NewestOp = syncengine.SignBatch(w.key, w.last), w.op
	return w.prepare(req)
}

func cmpDiff(a, b any) string { return cmp.Diff(a, b, protocmp.Transform()) }

func (w *world) public() ed25519.PublicKey {
	return ed25519.PublicKey(w.key[ed25519.SeedSize:])
}
