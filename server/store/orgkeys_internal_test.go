package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/syncengine"
)

// Of rotations that begin from the same key exactly one is made, on one server and on two
// with keys files of their own; the others change nothing.
func TestRotateAtOnce(t *testing.T) {
	t.Parallel()
	for name, atOnce := range map[string]bool{"at once": true, "one after another": false} {
		t.Run("sqlite "+name, func(t *testing.T) { t.Parallel(); rotateAtOnce(t, "", atOnce) })
		t.Run("postgres "+name, func(t *testing.T) { t.Parallel(); rotateAtOnce(t, pgtest.Shared(t).Database(t), atOnce) })
	}
}

func rotateAtOnce(t *testing.T, database string, atOnce bool) {
	t.Helper()
	dir := t.TempDir()
	open := func(dir string) *Store {
		t.Helper()
		s, err := Open(t.Context(), dir, Options{Database: database, Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s, err := Open(t.Context(), dir, Options{Create: true, Database: database, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	org, err := s.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	all, dirs := []*Store{s, s}, []string{dir, dir}
	if database != "" {
		dirs[1] = t.TempDir()
		keys, err := os.ReadFile(filepath.Join(dir, keysName))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dirs[1], keysName), keys, 0o600); err != nil {
			t.Fatal(err)
		}
		all[1] = open(dirs[1])
	}
	var was [2]*Org
	for i, one := range all {
		if was[i], err = one.Signer(t.Context(), org.ID); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, keysName))
	if err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	var both sync.WaitGroup
	for i, one := range all {
		both.Go(func() { _, errs[i] = one.rotateFrom(t.Context(), was[i], time.Hour) })
		if !atOnce {
			both.Wait()
		}
	}
	both.Wait()
	lost := 0
	if errs[0] == nil {
		lost = 1
	}
	if errs[1-lost] != nil || !errors.Is(errs[lost], ErrRotated) {
		t.Fatalf("two at once: %v and %v", errs[0], errs[1])
	}
	now, err := all[1-lost].Signer(t.Context(), org.ID)
	if err != nil || len(now.Keys()) != 2 {
		t.Fatalf("the org has %d keys, %v", len(now.Keys()), err)
	}
	for i, one := range all {
		events, err := one.Journal(t.Context(), org.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := now.Holds(events); err != nil || len(events) != 1 {
			t.Errorf("server %d has %d keys in its security journal: %v", i, len(events), err)
		}
	}
	if database != "" {
		left, err := os.ReadFile(filepath.Join(dirs[lost], keysName))
		if err != nil || !bytes.Equal(left, before) {
			t.Error("the one that came late has changed its keys file")
		}
		if _, err := all[lost].Signer(t.Context(), org.ID); !errors.Is(err, ErrKeysBehind) {
			t.Errorf("and it signs: %v", err)
		}
	}
}

// A rotation that is interrupted between the keys file and the database is finished by the
// next who looks; the key that somebody may have heard of is not lost.
func TestRotationInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{Create: true, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	org, err := s.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateSigning(t.Context(), org.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	now, err := s.Org(t.Context(), org.ID)
	if err != nil {
		t.Fatal(err)
	}
	// As if the transaction had never been.
	err = s.raw(t.Context(), func(c *conn) error {
		return c.exec("UPDATE org SET public_key = $1, successors = NULL WHERE num = $2", []byte(org.PublicKey()), org.num)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.forgetOrg(org.ID)
	half, err := s.Org(t.Context(), org.ID)
	if err != nil || half.Certifies() || !half.PublicKey().Equal(now.PublicKey()) {
		t.Fatalf("half done it certifies: %t, %v", half.Certifies(), err)
	}
	whole, err := s.Signer(t.Context(), org.ID)
	if err != nil || !whole.Certifies() || !whole.PublicKey().Equal(now.PublicKey()) || len(whole.Keys()) != 2 {
		t.Errorf("it is not finished: %v", err)
	}
	// A chain that was tampered with is refused, whatever the keys file says.
	err = s.raw(t.Context(), func(c *conn) error {
		return c.exec("UPDATE org SET successors = $1 WHERE num = $2", []byte{1, 2, 3}, org.num)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Signer(t.Context(), org.ID); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged chain: %v", err)
	}
}

// A server that has not heard of a rotation yet signs nothing of the audit log with the key
// of before, and with the new one as soon as it has.
func TestSignsWithTheNewestKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var both [2]*Store
	for i := range both {
		s, err := Open(t.Context(), dir, Options{Create: i == 0, Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if both[i] = s; i == 0 {
			if _, err := s.CreateOrg(t.Context(), "Example County"); err != nil {
				t.Fatal(err)
			}
		}
	}
	orgs, err := both[1].Orgs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := orgs[0].ID
	if _, err := both[0].RotateSigning(t.Context(), id, time.Hour); err != nil {
		t.Fatal(err)
	}
	// It has just looked at its keys file.
	both[1].mu.Lock()
	both[1].keys.asked = both[1].monotonic() + time.Hour
	both[1].mu.Unlock()
	for range 2 {
		err = both[1].Write(t.Context(), id, 1, func(tx *Tx) error {
			tx.writes++
			tx.audit.sign = true
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_AUDIT_READ})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = both[0].ReadAudit(t.Context(), id, func(l *AuditLog) error {
		r, err := l.Check(nil)
		if err == nil && (len(r.Faults) > 0 || r.Signed != l.Size) {
			t.Errorf("of %d entries %d are signed: %v", l.Size, r.Signed, r.Faults)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// breaking makes no random bytes before it has broken something.
type breaking struct {
	io.Reader

	once sync.Once
	what func()
}

func (b *breaking) Read(p []byte) (int, error) {
	b.once.Do(b.what)
	return b.Reader.Read(p)
}

// A key that was made although the security journal could not be written is said to be made,
// and is in the journal as soon as that is possible; where the journal cannot be read none is
// made.
func TestRotationIsJournalled(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); rotationIsJournalled(t, "") })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); rotationIsJournalled(t, pgtest.Shared(t).Database(t)) })
}

func rotationIsJournalled(t *testing.T, database string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{Create: true, Database: database, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	org, err := s.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, journalName+".lock")
	block := func() {
		_ = os.Remove(lock)
		if err := os.Mkdir(lock, 0o700); err != nil {
			t.Error(err)
		}
	}
	block()
	if _, err := s.RotateSigning(t.Context(), org.ID, time.Hour); err == nil || errors.Is(err, ErrKeyMade) {
		t.Errorf("without a journal: %v", err)
	}
	now, err := s.OrgAnew(t.Context(), org.ID)
	if err != nil || len(now.Keys()) != 1 {
		t.Fatalf("without a journal the org has %d keys, %v", len(now.Keys()), err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	s.rand = &breaking{Reader: s.rand, what: block}
	if _, err := s.RotateSigning(t.Context(), org.ID, time.Hour); !errors.Is(err, ErrKeyMade) {
		t.Errorf("a key that is not in the journal: %v", err)
	}
	if now, err = s.OrgAnew(t.Context(), org.ID); err != nil || len(now.Keys()) != 2 || !now.Certifies() {
		t.Fatalf("the org has %d keys, %v", len(now.Keys()), err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.JournalKeys(t.Context(), org.ID); err != nil {
			t.Fatal(err)
		}
	}
	events, err := s.Journal(t.Context(), org.ID)
	if err != nil || len(events) != 1 || events[0].Generation != 1 || !bytes.Equal(events[0].Key, now.PublicKey()) {
		t.Errorf("the journal has %d keys, %v", len(events), err)
	}
}

// The log of an org that is imported with the keys of a former one begins with what it says
// of those keys, and holds.
func TestLogBeginsWithTheKeys(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); logBeginsWithTheKeys(t, func() string { return "" }) })
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		logBeginsWithTheKeys(t, func() string { return pgtest.Shared(t).Database(t) })
	})
}

func logBeginsWithTheKeys(t *testing.T, database func() string) {
	t.Helper()
	open := func(dir string, o Options) *Store {
		t.Helper()
		o.Database, o.Volatile = database(), true
		s, err := Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	dir, next := t.TempDir(), t.TempDir()
	first := open(dir, Options{Create: true})
	org, err := first.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	// One before the log begins, and one after.
	for range 2 {
		if _, err := first.RotateSigning(t.Context(), org.ID, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := os.ReadFile(filepath.Join(dir, keysName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(next, keysName), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	second := open(next, Options{Create: true, Import: true})
	if _, err := second.createOrg(t.Context(), org.ID, "Example County", importing); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{first, second} {
		err := s.Write(t.Context(), org.ID, 1, func(tx *Tx) error {
			tx.audit.sign = true
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_AUDIT_READ})
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.ReadAudit(t.Context(), org.ID, func(l *AuditLog) error {
			r, err := l.Check(nil)
			if err == nil && (len(r.Faults) > 0 || r.Signed != l.Size || l.Size != 4) {
				t.Errorf("of %d entries %d are signed: %v", l.Size, r.Signed, r.Faults)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What another server has made of one org is seen at once, whoever has just asked for another.
func TestOrgNow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var both [2]*Store
	var orgs [2]syncengine.ID
	for i := range both {
		s, err := Open(t.Context(), dir, Options{Create: i == 0, Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		both[i] = s
		for j := range orgs {
			if i == 0 {
				org, err := s.CreateOrg(t.Context(), "Example County")
				if err != nil {
					t.Fatal(err)
				}
				orgs[j] = org.ID
			}
			if _, err := s.Org(t.Context(), orgs[j]); err != nil {
				t.Fatal(err)
			}
		}
	}
	// It has just looked at its keys file.
	both[1].mu.Lock()
	both[1].keys.asked = both[1].monotonic() + time.Hour
	both[1].mu.Unlock()
	for _, id := range orgs {
		if _, err := both[0].RotateSigning(t.Context(), id, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := both[1].OrgNow(t.Context(), syncengine.ID{9}); !errors.Is(err, ErrUnknownOrg) {
			t.Errorf("an org that is not: %v", err)
		}
		if org, err := both[1].OrgNow(t.Context(), id); err != nil || len(org.Keys()) != 2 {
			t.Errorf("the org has %d keys, %v", len(org.Keys()), err)
		}
	}
}
