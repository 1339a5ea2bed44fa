package client

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// SealedFile is the name of the sealed outbox in a store's directory. It outlives the
// store: package syncengine/seal specifies it.
const SealedFile = "device.sealed"

// introduceEvery is after how many bytes the replica introduces itself again.
const introduceEvery = 1 << 20

// sealer is who seals.
type sealer struct {
	org, replica syncengine.ID
	key          ed25519.PrivateKey
	certificate  string
	// public is the org's key.
	public []byte
}

// sealedEntry is where an entry stands in the file.
type sealedEntry struct {
	kind    seal.Kind
	signed  bool
	own     bool
	replica syncengine.ID
	number  uint64
	offset  int64
	size    int64
}

// sealedFile is the sealed outbox of an open store. Safe for concurrent use.
type sealedFile struct {
	path string
	// writing is held while the file changes.
	writing sync.Mutex
	// drafting is held while drafts are gathered and sealed.
	drafting sync.Mutex
	// compacting is held from a look at what may go until it has gone.
	compacting sync.Mutex
	f          *os.File
	session    *seal.Session
	buf        []byte
	// since are the bytes written since the replica introduced itself, -1 where it
	// has not.
	since int64

	mu sync.Mutex
	me sealer
	// pending gathers what the next write takes along.
	pending *sealing
	size    int64
	entries []sealedEntry
	// present are the own ops that stand in the file, sealed those that stand there or
	// stood there.
	present, sealed []syncengine.OpRange
	// damaged counts the places that could not be read.
	damaged int
	// fault is why the newest write failed, nil where it did not.
	fault error
	// serial is the newest serial number of an own witness; unwanted are the witnesses
	// that need not be kept.
	serial   uint64
	unwanted []syncengine.OpRange
	// offers name the witnesses of this process, by serial number.
	offers map[uint64]*tandemv1.WitnessOffer
	// backed are the own ops that are in two verified backups. limit is the size that
	// acknowledged changes may fill, looked the size when that was last looked at, acked
	// how many have been acknowledged since.
	backed        []syncengine.OpRange
	limit, looked int64
	acked         int
}

// sealing is a group of changes that are written together.
type sealing struct {
	ops  []*syncengine.Op
	done chan struct{}
	err  error
}

// openSealed opens the sealed outbox of a store's directory, makes it where there is
// none, and cuts off what a power cut has left of an entry.
func openSealed(dir string, me sealer, limit int64) (_ *sealedFile, err error) {
	s := &sealedFile{path: filepath.Join(dir, SealedFile), me: me, since: -1, limit: limit}
	if err := createSealed(dir, s.path); err != nil {
		return nil, err
	}
	if s.f, err = os.OpenFile(s.path, os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("opening the sealed outbox: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.f.Close()
		}
	}()
	if err := s.scan(); err != nil {
		return nil, err
	}
	// What an interrupted rewrite has left is not the file.
	if err := os.Remove(s.path + newSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening the sealed outbox: %w", err)
	}
	return s, nil
}

// scan reads what stands in the file.
func (s *sealedFile) scan() error {
	r := seal.NewReader(io.NewSectionReader(s.f, 0, 1<<62))
	for {
		e, offset, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the sealed outbox: %w", err)
		}
		s.note(&e.Header, offset, int64(len(e.Raw)))
		s.size = offset + int64(len(e.Raw))
	}
	for _, d := range r.Damage() {
		if !d.Tail {
			s.damaged++
			continue
		}
		if err := s.f.Truncate(d.Offset); err != nil {
			return fmt.Errorf("opening the sealed outbox: %w", err)
		}
		if err := s.f.Sync(); err != nil {
			return fmt.Errorf("opening the sealed outbox: %w", err)
		}
	}
	return nil
}

// note notes an entry of the file.
func (s *sealedFile) note(h *seal.Header, offset, size int64) {
	e := sealedEntry{
		kind: h.Kind, signed: h.Signed, own: h.Org == s.me.org && h.Replica == s.me.replica,
		replica: h.Replica, number: h.Number, offset: offset, size: size,
	}
	s.entries = append(s.entries, e)
	switch {
	case e.own && e.kind == seal.KindChange:
		s.present, s.sealed = syncengine.AddOp(s.present, e.number), syncengine.AddOp(s.sealed, e.number)
	case e.own && e.kind == seal.KindWitness:
		s.serial = max(s.serial, e.number)
	}
}

// has reports whether an own op stands in the file, or stood there.
func (s *sealedFile) has(op uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return syncengine.HoldsOp(s.sealed, op)
}

// add seals changes and returns when they are on the disk. Who calls while another
// write is under way shares the next one.
func (s *sealedFile) add(ops []*syncengine.Op) error {
	if len(ops) == 0 {
		return nil
	}
	s.mu.Lock()
	if s.pending == nil {
		s.pending = &sealing{done: make(chan struct{})}
	}
	group := s.pending
	group.ops = append(group.ops, ops...)
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	select {
	case <-group.done:
		return group.err
	default:
	}
	s.mu.Lock()
	s.pending = nil
	s.mu.Unlock()
	group.err = s.append(group.ops)
	close(group.done)
	return group.err
}

// append seals changes in order of op, one signature for a run of them, and syncs.
func (s *sealedFile) append(ops []*syncengine.Op) error {
	slices.SortFunc(ops, compareOps)
	return s.put(func(dst []byte) []byte {
		run := 0
		for i, op := range ops {
			run++
			c := &seal.Change{Op: op.Number, Class: op.Class, Prev: op.Prev, Raw: op.Raw}
			if i == len(ops)-1 || ops[i+1].Number != op.Number+1 || run == seal.SignEvery {
				c.Signature, run = syncengine.SignBatch(s.me.key, op.Envelope), 0
			}
			dst = s.session.AppendChange(dst, c)
		}
		return dst
	})
}

// witness seals a record as it stands, and returns when it is on the disk.
func (s *sealedFile) witness(records []*seal.Witness) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.put(func(dst []byte) []byte {
		for _, w := range records {
			s.serial++
			w.Serial, w.Signature = s.serial, seal.SignWitness(s.me.key, w.Record, w.Hash)
			dst = s.session.AppendWitness(dst, w)
		}
		return dst
	})
}

// put appends what fill appends, and syncs. writing is held.
func (s *sealedFile) put(fill func(dst []byte) []byte) (err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fault = err; err == nil {
			return
		}
		// What was written in part is written over by the next try, or cut at the next
		// start.
		_ = s.f.Truncate(s.size)
	}()
	if s.session == nil {
		if s.session, err = seal.NewSession(s.me.public, s.me.org, s.me.replica); err != nil {
			return err
		}
	}
	buf := s.buf[:0]
	if s.since < 0 || s.since > introduceEvery {
		buf = seal.AppendReplica(buf, s.me.org, s.me.replica, publicKey(s.me.key), s.me.certificate)
		s.since = 0
	}
	buf = fill(buf)
	if s.buf = buf; cap(buf) > introduceEvery {
		s.buf = nil
	}
	s.since += int64(len(buf))
	if _, err := s.f.WriteAt(buf, s.size); err != nil {
		s.since = -1
		return fmt.Errorf("writing the sealed outbox: %w", err)
	}
	if err := s.f.Sync(); err != nil {
		s.since = -1
		return fmt.Errorf("writing the sealed outbox: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := buf; len(rest) > 0; {
		h, n, ok := seal.HeaderOf(rest)
		if !ok {
			return seal.ErrDamaged
		}
		s.note(&h, s.size, int64(n))
		s.size += int64(n)
		rest = rest[n:]
	}
	return nil
}

// rekey seals to another public key from now on.
func (s *sealedFile) rekey(public []byte) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.me.public, s.session = public, nil
}

// newSuffix is that of the file that takes the place of the sealed outbox.
const newSuffix = ".new"

// rewrite leaves out the entries that drop names and puts what is left in the file's
// place. An entry stays whose signature speaks for one that stays.
func (s *sealedFile) rewrite(drop func(*sealedEntry) bool) (err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	old := slices.Clone(s.entries)
	s.mu.Unlock()
	keep := keptEntries(old, drop)
	f, err := os.OpenFile(s.path+newSuffix, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("rewriting the sealed outbox: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("rewriting the sealed outbox: %w", err)
			_ = f.Close()
			_ = os.Remove(s.path + newSuffix)
		}
	}()
	next := &sealedFile{me: s.me}
	buf := seal.AppendReplica(nil, s.me.org, s.me.replica, publicKey(s.me.key), s.me.certificate)
	flush := func(least int) error {
		if len(buf) < least {
			return nil
		}
		_, err := f.Write(buf)
		buf = buf[:0]
		return err
	}
	h, n, _ := seal.HeaderOf(buf)
	next.note(&h, 0, int64(n))
	next.size = int64(n)
	for i := range old {
		e := &old[i]
		if !keep[i] {
			continue
		}
		from := len(buf)
		buf = append(buf, make([]byte, e.size)...)
		if _, err := s.f.ReadAt(buf[from:], e.offset); err != nil {
			return err
		}
		// The disk may have spoiled it since it was noted.
		entry, err := seal.Parse(buf[from:])
		if err != nil {
			buf = buf[:from]
			continue
		}
		next.note(&entry.Header, next.size, e.size)
		next.size += e.size
		if err := flush(introduceEvery); err != nil {
			return err
		}
	}
	if err := flush(0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(s.path+newSuffix, s.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.f.Close()
	s.f, s.size, s.entries, s.present, s.since, s.damaged = f, next.size, next.entries, next.present, next.size, 0
	s.looked = next.size
	return nil
}

// createSealed makes an empty file that only its owner can read, and makes its name
// durable.
func createSealed(dir, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fileError("making the sealed outbox", err)
	}
	if err := f.Close(); err != nil {
		return fileError("making the sealed outbox", err)
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fileError("making the sealed outbox", err)
	}
	// Some file systems cannot sync a directory; they need not be told to.
	_ = d.Sync()
	return d.Close()
}

// keptEntries tells which entries stay.
func keptEntries(entries []sealedEntry, drop func(*sealedEntry) bool) []bool {
	keep := make([]bool, len(entries))
	order := make([]int, 0, len(entries))
	// The newest introduction of every other replica stays with its entries.
	introduced := map[syncengine.ID]int{}
	for i := range entries {
		e := &entries[i]
		switch e.kind {
		case seal.KindReplica:
			introduced[e.replica] = i
		case seal.KindChange:
			keep[i] = !drop(e)
			order = append(order, i)
		default:
			keep[i] = !drop(e)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(entries[a].replica.Compare(entries[b].replica), cmp.Compare(entries[a].number, entries[b].number))
	})
	for k, i := range order[:max(len(order)-1, 0)] {
		next := order[k+1]
		chained := entries[next].replica == entries[i].replica && entries[next].number <= entries[i].number+1
		if keep[i] && !entries[i].signed && chained {
			keep[next] = true
		}
	}
	for i := range entries {
		if at, ok := introduced[entries[i].replica]; ok && keep[i] && !entries[i].own {
			keep[at] = true
		}
	}
	return keep
}

func (s *sealedFile) close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.f.Close()
}
