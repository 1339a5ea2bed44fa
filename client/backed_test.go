package client

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// bulk saves incidents with numbers from first on.
func bulk(t *testing.T, c *Client, first, n int) {
	t.Helper()
	if _, err := c.Bulk(t.Context(), func(b *Bulk) error {
		for i := range n {
			if _, err := b.Edit(func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Number: new(word(first + i))})
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// backUp makes a backup and reports it.
func (o *office) backUp() string {
	o.t.Helper()
	to := filepath.Join(o.t.TempDir(), "copy.db")
	made, err := o.st.BackUp(o.t.Context(), to)
	if err != nil || len(made) != 1 || made[0].Seq != o.seq() {
		o.t.Fatalf("made %v, %v", made, err)
	}
	return to
}

// What two verified backups hold leaves the file; what one holds stays.
func TestBackedUp(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	// Small enough that a rewrite is worth its while.
	c := o.enrol(o.clinician, dir, func(o *Options) { o.SealedBytes = 8_000 })
	c.sealed().limit = 1 << 30
	c.sealed().looked = 0
	bulk(t, c, 1, 40)
	mustSync(t, c)
	o.backUp()
	mustSync(t, c)
	if s := mustStatus(t, c).Sealed; s.Waiting != 40 {
		t.Fatalf("after one backup: %+v", s)
	}
	incident(t, c, word(41))
	mustSync(t, c)
	o.backUp()
	incident(t, c, word(42))
	c.sealed().limit = 8_000
	mustSync(t, c)
	if got := c.sealed().backed; !slices.Equal(got, []syncengine.OpRange{{First: 1, Last: 40}}) {
		t.Fatalf("backed up are %v", got)
	}
	mustSync(t, c)
	s := mustStatus(t, c).Sealed
	if s.Waiting != 2 || s.LetGo != 0 {
		t.Errorf("after two backups: %+v", s)
	}
	if got := o.opened(SealedPath(dir)); len(got) != 2 || got[41] != word(41) || got[42] != word(42) {
		t.Errorf("the file holds %v", got)
	}
	if info, err := os.Stat(SealedPath(dir)); err != nil || info.Size() != s.Bytes || s.Bytes > 4000 {
		t.Errorf("the file has %v bytes, the status says %d", info.Size(), s.Bytes)
	}
	// The rewritten file goes on being one.
	incident(t, c, word(43))
	shut(t, c)
	c = newClient(t, dir)
	if got := o.opened(SealedPath(dir)); len(got) != 3 {
		t.Errorf("opened again it holds %v", got)
	}
	if done, err := c.Deliver(t.Context(), SealedPath(dir)); err != nil || done.Taken != 3 || done.Left() != 0 {
		t.Errorf("delivered %+v, %v", done, err)
	}
}

// Without backups the file keeps to its limit, by letting go of the oldest
// acknowledged saves; unacknowledged ones never go.
func TestSealedLimit(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir, func(o *Options) { o.SealedBytes = 20_000 })
	bulk(t, c, 1, 60)
	if s := mustStatus(t, c).Sealed; s.Bytes < 20_000 || s.Entries < 60 {
		t.Fatalf("unacknowledged: %+v", s)
	}
	if err := c.compact(t.Context(), c.sealed()); err != nil {
		t.Fatal(err)
	}
	if s := mustStatus(t, c).Sealed; s.Entries < 60 {
		t.Fatalf("unacknowledged saves have left: %+v", s)
	}
	mustSync(t, c)
	s := mustStatus(t, c).Sealed
	if s.Bytes > 20_000 || s.LetGo == 0 || s.Waiting+s.LetGo != 60 {
		t.Errorf("acknowledged: %+v", s)
	}
	present := c.sealed().present
	if len(present) != 1 || present[0].Last != 60 {
		t.Errorf("the file holds ops %v", present)
	}
}

func TestBackups(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	incident(t, c, word(1))
	mustSync(t, c)
	to := o.backUp()
	if _, err := o.st.BackUp(t.Context(), to); !errors.Is(err, serverstore.ErrBackupThere) {
		t.Errorf("over a file that is there: %v", err)
	}
	all, err := o.st.Backups(t.Context(), o.org.ID)
	if err != nil || len(all) != 1 || all[0].Seq != o.seq() {
		t.Errorf("remembered are %v, %v", all, err)
	}
	incident(t, c, word(2))
	mustSync(t, c)
	for name, tc := range map[string]struct {
		seq  uint64
		hash syncengine.Hash
		want error
	}{
		"a sequence to come":  {o.seq() + 1, syncengine.Hash{}, serverstore.ErrBackupSeq},
		"another history":     {o.seq(), syncengine.Hash{1}, serverstore.ErrBackupHash},
		"where it ends":       {o.seq(), syncengine.Hash{}, nil},
		"once more, the same": {o.seq(), syncengine.Hash{}, nil},
	} {
		if err := o.st.MarkBackup(t.Context(), o.org.ID, tc.seq, tc.hash, serverstore.BackupReport{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if all, err = o.st.Backups(t.Context(), o.org.ID); err != nil || len(all) != 2 {
		t.Errorf("remembered are %v, %v", all, err)
	}
	// A copy can be served.
	restored := t.TempDir()
	for from, name := range map[string]string{to: "tandem.db", filepath.Join(o.dir, "keys.json"): "keys.json"} {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(restored, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st, err := serverstore.Open(t.Context(), restored, serverstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if r, err := st.Verify(t.Context(), o.org.ID); err != nil || len(r.Faults) > 0 || r.Changes == 0 {
		t.Errorf("the copy verifies as %+v, %v", r, err)
	}
}

// A record that a server set back has lost is kept as a witness, named first, and
// brought where it is wanted; it closes when the changes it came from are there again.
func TestWitness(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	one, two := o.enrol(o.clinician, t.TempDir()), o.enrol(o.second, t.TempDir())
	first := incident(t, one, word(1))
	mustSync(t, one)
	restore := o.copyAway()
	second := incident(t, one, word(2))
	mustSync(t, one)
	mustSync(t, two)
	record := func(id syncengine.ID) *syncengine.Record {
		v := mustGet(t, two, id)
		return v.rec
	}
	if err := two.KeepWitness(record(first), record(second)); err != nil {
		t.Fatal(err)
	}
	restore()
	done, err := two.OfferWitnesses(t.Context())
	if err != nil || done.Taken != 1 {
		t.Fatalf("offered: %+v, %v", done, err)
	}
	open, err := o.st.Witnesses(t.Context(), o.org.ID)
	if err != nil || len(open) != 1 || open[0].ID != second || open[0].Replica != two.me.replica || len(open[0].Body) == 0 {
		t.Fatalf("open witnesses: %v, %v", open, err)
	}
	if done, err = two.OfferWitnesses(t.Context()); err != nil || done.Taken != 0 {
		t.Errorf("offered again: %+v, %v", done, err)
	}
	if _, err := one.Reoffer(t.Context(), o.processed(one)); err != nil {
		t.Fatal(err)
	}
	if open, err = o.st.Witnesses(t.Context(), o.org.ID); err != nil || len(open) != 0 {
		t.Errorf("after its change came again: %v, %v", open, err)
	}
	// A process that has forgotten the names brings the bytes.
	if err := two.KeepWitness(record(first)); err != nil {
		t.Fatal(err)
	}
	two.sealed().offers = nil
	if done, err = two.OfferWitnesses(t.Context()); err != nil || done.Taken != 1 {
		t.Errorf("without names: %+v, %v", done, err)
	}
	if open, err = o.st.Witnesses(t.Context(), o.org.ID); err != nil || len(open) != 0 {
		t.Errorf("what the log has is no open witness: %v, %v", open, err)
	}
}

// A revoked person's words, from a store that is lost, reach a lead.
func TestARevokedStoreIsDelivered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	lost := t.TempDir()
	c := o.enrol(o.clinician, lost)
	incident(t, c, word(1))
	shut(t, c)
	if err := o.admin.RevokePerson(t.Context(), o.clinician); err != nil {
		t.Fatal(err)
	}
	other := o.enrol(o.second, t.TempDir())
	done, err := other.Deliver(t.Context(), SealedPath(lost))
	if err != nil || done.Taken != 1 {
		t.Fatalf("got %+v, %v", done, err)
	}
	if got := o.quarantined(); !slices.Equal(got, []string{"REVOKED"}) || len(o.numbers()) != 0 {
		t.Errorf("in quarantine are %v, applied %v", got, o.numbers())
	}
}

// A store enrolled after the copy was made is known to the server that was set back:
// by its journal. Its words come by another device all the same.
func TestEnrolledAfterTheCopy(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	other := o.enrol(o.second, t.TempDir())
	restore := o.copyAway()
	lost := t.TempDir()
	c := o.enrol(o.clinician, lost)
	incident(t, c, word(1))
	shut(t, c)
	restore()
	if done, err := other.Deliver(t.Context(), SealedPath(lost)); err != nil || done.Taken != 1 {
		t.Errorf("got %+v, %v", done, err)
	}
	if got := o.numbers(); !slices.Equal(got, []string{word(1)}) {
		t.Errorf("the server has %v", got)
	}
}

// What stays in the file stays provable: the entries up to the next signature stay
// too, and the introduction of another replica while there is anything of it.
func TestWhatARewriteKeeps(t *testing.T) {
	t.Parallel()
	own, other := syncengine.ID{1}, syncengine.ID{2}
	entries := []sealedEntry{
		{kind: seal.KindReplica, own: true, replica: own}, {kind: seal.KindReplica, replica: other},
		{kind: seal.KindChange, own: true, replica: own, number: 1}, {kind: seal.KindChange, own: true, replica: own, number: 2},
		{kind: seal.KindChange, own: true, replica: own, number: 3, signed: true}, {kind: seal.KindChange, own: true, replica: own, number: 4, signed: true},
		{kind: seal.KindChange, own: true, replica: own, number: 6, signed: true}, {kind: seal.KindChange, replica: other, number: 7},
		{kind: 0, own: true, replica: own},
	}
	for name, tc := range map[string]struct {
		drop func(*sealedEntry) bool
		want string
	}{
		"nothing goes":   {func(*sealedEntry) bool { return false }, "-xxxxxxxx"},
		"all but op 2":   {func(e *sealedEntry) bool { return e.number != 2 }, "---xx----"},
		"all but op 5":   {func(*sealedEntry) bool { return true }, "---------"},
		"the other's go": {func(e *sealedEntry) bool { return e.replica == other }, "--xxxxx-x"},
	} {
		var got strings.Builder
		for _, keep := range keptEntries(entries, tc.drop) {
			got.WriteString(map[bool]string{true: "x", false: "-"}[keep])
		}
		if got.String() != tc.want {
			t.Errorf("%s: keeps %s, want %s", name, got.String(), tc.want)
		}
	}
}

// A torn entry is gone from the file after the next start.
func TestTornTailIsCut(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	mustSync(t, c)
	shut(t, c)
	whole, err := os.ReadFile(SealedPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(SealedPath(dir), append(slices.Clone(whole), whole[:200]...), 0o600); err != nil {
		t.Fatal(err)
	}
	newClient(t, dir)
	if now, err := os.ReadFile(SealedPath(dir)); err != nil || !slices.Equal(now, whole) {
		t.Errorf("the file has %d bytes, want %d; %v", len(now), len(whole), err)
	}
}
