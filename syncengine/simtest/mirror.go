package simtest

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// A mirror is the product's own store beside one of the world's, on a disk whose
// power goes now and then. Every transaction runs on both. What the engine reads
// comes from the product's store and must be what the world's has; after a cut the
// product's store is opened again and must be, whole, what the world's was before
// the transaction or is after it. Where it is as before, the transaction is run
// again: a cut changes nothing that happens in the world. An answer may be cut into
// other pages than without mirrors, because the product's store reads pages in its
// own way. Nothing is copied, set back or damaged in such a world but the disk of a
// device (World.copies).
type mirror struct {
	w     *World
	name  string
	dir   string
	rng   *rand.Rand
	disk  *faultfs.Disk
	mount *vfs.Mount
	// differs is the first thing that differed.
	differs *ViolationError
}

func (w *World) newMirror(name string) (*mirror, error) {
	m := &mirror{w: w, name: name, dir: filepath.Join(w.Dir, fmt.Sprintf("%d-%s", w.Seed, name))}
	salt := uint64(len(w.devices)) + 1
	m.rng = rand.New(rand.NewPCG(w.Seed, salt<<50))
	m.disk = faultfs.New(w.Seed<<8 | salt)
	return m, os.MkdirAll(m.dir, 0o700)
}

// context is where the store is opened.
func (m *mirror) context() (context.Context, error) {
	if m.mount != nil {
		m.mount.Close()
	}
	var err error
	if m.mount, err = vfs.New(m.disk); err != nil {
		return nil, err
	}
	return m.mount.Use(context.Background()), nil
}

// arm lets the power go in some transactions.
func (m *mirror) arm() {
	f := faultfs.Faults{}
	if m.rng.IntN(12) == 0 {
		f.CutAt = 1 + m.rng.IntN(1+m.rng.IntN(40))
	}
	m.disk.Set(f)
}

// restart is the power coming back.
func (m *mirror) restart() {
	m.w.seen("power cut")
	m.disk = m.disk.Restart()
}

// check compares what the product's store has with what the world's has.
func check[T any](m *mirror, what string, product, world T) T {
	if m.differs == nil && !same(product, world) {
		m.differs = &ViolationError{"I2", fmt.Sprintf("%s: %s: the store has %+v, it should have %+v", m.name, what, product, world)}
	}
	return product
}

// end closes every mirror.
func (w *World) end() {
	for _, d := range w.devices {
		if d.mirror != nil {
			d.mirror.stop()
			d.mirror.mount.Close()
		}
	}
	if w.server != nil && w.server.mirror != nil {
		w.server.mirror.stop()
		w.server.mirror.mount.Close()
	}
}

// mirrored checks at the end that every store is what the world's is.
func (w *World) mirrored() error {
	for _, d := range w.devices {
		if d.mirror == nil {
			continue
		}
		if d.mirror.compare(d.store); d.mirror.differs != nil {
			return d.mirror.differs
		}
	}
	if m := w.server.mirror; m != nil {
		if m.compare(w.server); m.differs != nil {
			return m.differs
		}
	}
	return nil
}

// deviceMirror is a device's.
type deviceMirror struct {
	*mirror

	c *client.Client
}

func (w *World) mirrorDevice(d *device) (err error) {
	if w.Dir == "" {
		return nil
	}
	m := &deviceMirror{}
	if m.mirror, err = w.newMirror(d.name); err != nil {
		return err
	}
	if err := m.open(); err != nil {
		return err
	}
	d.mirror = m
	return m.c.Transact(context.Background(), func(tx syncengine.DeviceTx) error { return tx.SaveState(d.store.state) })
}

func (m *deviceMirror) open() error {
	ctx, err := m.context()
	if err == nil {
		m.c, err = client.Open(ctx, m.dir, client.Options{Version: "sim", Logger: zerolog.Nop()})
	}
	if err != nil {
		return fmt.Errorf("opening the store of %s: %w", m.name, err)
	}
	return nil
}

func (m *deviceMirror) stop() { _ = m.c.Close() }

// errTakenBack ends a transaction that is not to stay.
var errTakenBack = errors.New("taken back")

// transact runs a transaction on both stores.
func (m *deviceMirror) transact(d *device, n int, stay bool, do func(tx syncengine.DeviceTx) error) error {
	for m.arm(); ; {
		d.store.begin(n)
		var inner error
		err := m.c.Transact(context.Background(), func(tx syncengine.DeviceTx) error {
			inner = do(&deviceTee{DeviceTx: d.store, m: m.mirror, tx: tx})
			if inner == nil && !stay {
				return errTakenBack
			}
			return inner
		})
		if d.store.blown && inner == nil {
			err = &ViolationError{"storage", d.name + ": the engine went on after its store had failed"}
		}
		blown := d.store.blown
		switch {
		case m.differs != nil:
			return m.differs
		case m.disk.Out():
			_ = m.c.Close()
			m.restart()
			if err := m.open(); err != nil {
				return &ViolationError{"I2", err.Error()}
			}
			if !blown && inner == nil && stay {
				if m.compare(d.store); m.differs == nil {
					d.store.end(true)
					return nil
				}
				m.differs = nil
			}
			d.store.end(false)
			if m.compare(d.store); m.differs != nil {
				return m.differs
			}
			m.w.seen("power cut took a transaction back")
		case inner != nil:
			d.store.end(false)
			return inner
		case !stay:
			d.store.end(false)
			return nil
		case err != nil:
			d.store.end(false)
			return &ViolationError{"storage", err.Error()}
		default:
			d.store.end(true)
			return nil
		}
		m.disk.Set(faultfs.Faults{})
	}
}

// compare compares everything.
func (m *deviceMirror) compare(s *deviceStore) {
	quiet := s.fuse
	s.fuse = fuse{}
	defer func() { s.fuse = quiet }()
	err := m.c.Transact(context.Background(), func(tx syncengine.DeviceTx) error {
		t := &deviceTee{DeviceTx: s, m: m.mirror, tx: tx}
		_, err := t.State()
		if err == nil {
			_, err = t.Scopes()
		}
		for _, id := range s.sorted() {
			if err == nil {
				_, err = t.Record(id)
			}
		}
		for n := uint64(1); n <= s.state.NextOp && err == nil; n++ {
			_, err = t.Op(n)
		}
		if err == nil {
			_, err = t.Staged(syncengine.ID{}, 1<<20)
		}
		if err == nil {
			_, err = t.LookedUp()
		}
		return errors.Join(err, errTakenBack)
	})
	if !errors.Is(err, errTakenBack) {
		m.differs = &ViolationError{"I2", fmt.Sprintf("%s: reading the store: %v", m.name, err)}
		return
	}
	v, err := m.c.Verify(context.Background())
	switch {
	case err != nil:
		m.differs = &ViolationError{"I2", fmt.Sprintf("%s: verifying the store: %v", m.name, err)}
	case !v.OK():
		m.differs = &ViolationError{"I2", fmt.Sprintf("%s: verify finds %q", m.name, v.Faults)}
	default:
		check(m.mirror, "the number of records", v.Records, len(s.records))
	}
}

// copy copies the disk, and putBack puts a copy in the disk's place.
func (m *deviceMirror) copy() *faultfs.Disk {
	if m == nil {
		return nil
	}
	return m.disk.Copy(m.rng.Uint64())
}

func (m *deviceMirror) putBack(s *deviceStore, disk *faultfs.Disk) error {
	if m == nil {
		return nil
	}
	_ = m.c.Close()
	m.disk = disk
	if err := m.open(); err != nil {
		return err
	}
	if m.compare(s); m.differs != nil {
		return m.differs
	}
	return nil
}

// serverMirror is the server's.
type serverMirror struct {
	*mirror

	st  *store.Store
	org syncengine.ID
	// cut: the connections with the database break before the commit of what runs.
	cut bool
}

// options are those of the store.
func (m *serverMirror) options(o store.Options) store.Options {
	o.Database, o.Volatile = m.w.Database, true
	return o
}

// arm lets the power go in some transactions, and breaks the connections in others.
func (m *serverMirror) arm() {
	m.mirror.arm()
	m.cut = m.w.Database != "" && m.rng.IntN(12) == 0
}

// sever breaks the connections, once, where it is time. The store has to find its way
// back by itself: it is not opened again.
func (m *serverMirror) sever() error {
	if !m.cut {
		return nil
	}
	m.cut = false
	m.w.seen("connections cut")
	return m.w.Cut()
}

// chance is a source of chance that gives the bytes it was told to.
type chance []byte

// Read implements io.Reader.
func (s *chance) Read(p []byte) (int, error) {
	if len(*s) == 0 && len(p) > 0 {
		return 0, io.EOF // whoever asks for more than was given would ask for ever
	}
	n := copy(p, *s)
	*s = (*s)[n:]
	return n, nil
}

// mirrorServer makes the org of the world in a store of the product's.
func (w *World) mirrorServer(secret []byte) (err error) {
	if w.Dir == "" {
		return nil
	}
	m := &serverMirror{org: w.office.org}
	if m.mirror, err = w.newMirror("server"); err != nil {
		return err
	}
	// An id is its time, then chance; the epoch is told at each reading. Around the
	// secret lie the keys of certificates and of sealed outboxes.
	given := chance(slices.Concat(m.org[6:], make([]byte, 10), make([]byte, ed25519.SeedSize), secret, make([]byte, seal.SeedSize)))
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(m.org[:]) >> 16))
	ctx, err := m.context()
	if err != nil {
		return err
	}
	m.st, err = store.Open(ctx, m.dir, m.options(store.Options{Create: true, Rand: &given, Clock: func() time.Time { return at }}))
	if err != nil {
		return err
	}
	w.server.mirror = m
	org, err := m.st.CreateOrg(ctx, "Example County")
	if err != nil {
		return err
	}
	if org.ID != m.org {
		return fmt.Errorf("the org of the store is %s", org.ID)
	}
	return nil
}

func (m *serverMirror) open() error {
	ctx, err := m.context()
	if err == nil {
		m.st, err = store.Open(ctx, m.dir, m.options(store.Options{}))
	}
	if err != nil {
		return fmt.Errorf("opening the store of the server: %w", err)
	}
	return nil
}

func (m *serverMirror) stop() { _ = m.st.Close() }

// write runs a transaction on both stores.
func (m *serverMirror) write(s *serverStore, n int, stay bool, do func(tx syncengine.ServerTx) error) error {
	for m.arm(); ; {
		s.begin(n)
		var inner error
		ran, severed := false, m.cut
		err := m.st.Write(context.Background(), m.org, 1, func(tx *store.Tx) error {
			if ran {
				// A job that failed by itself is tried again.
				s.end(false)
				s.begin(n)
			}
			ran = true
			inner = do(&serverTee{viewTee: viewTee{world: s, m: m.mirror, view: tx}, tx: tx})
			if inner == nil && !stay {
				return errTakenBack
			}
			return first(inner, m.sever())
		})
		if s.blown && inner == nil && ran {
			err = &ViolationError{"storage", "the server went on after its store had failed"}
		}
		switch {
		case m.differs != nil:
			return m.differs
		case m.disk.Out():
			m.stop()
			m.restart()
			if err := m.open(); err != nil {
				return &ViolationError{"I2", err.Error()}
			}
			if done, err := m.either(s, ran && inner == nil && stay); done || err != nil {
				return err
			}
			m.w.seen("power cut took a transaction back")
		case inner != nil:
			s.end(false)
			return inner
		case !stay:
			s.end(false)
			return nil
		case err != nil && severed && !m.cut:
			// It was not committed, or the answer to that is what got lost.
			if done, err := m.either(s, true); done || err != nil {
				return err
			}
			m.w.seen("cut connections took a transaction back")
		case err != nil:
			s.end(false)
			return &ViolationError{"storage", err.Error()}
		default:
			s.end(true)
			return nil
		}
		m.disk.Set(faultfs.Faults{})
	}
}

// either ends a transaction of the world as the store has ended it: whole, if it may have
// been, or not at all. The error is that it is neither.
func (m *serverMirror) either(s *serverStore, may bool) (whole bool, err error) {
	if may {
		if m.compare(s); m.differs == nil {
			s.end(true)
			return true, nil
		}
		m.differs = nil
	}
	s.end(false)
	if m.compare(s); m.differs != nil {
		return false, m.differs
	}
	return false, nil
}

// read runs do over one snapshot of both.
func (m *serverMirror) read(s *serverStore, do func(view syncengine.ServerView) error) error {
	err := m.st.Read(context.Background(), m.org, func(view syncengine.ServerView) error {
		return do(&viewTee{world: s, m: m.mirror, view: view})
	})
	if m.differs != nil {
		return m.differs
	}
	return err
}

// compare compares everything.
func (m *serverMirror) compare(s *serverStore) {
	quiet := s.fuse
	s.fuse = fuse{}
	defer func() { s.fuse = quiet }()
	err := m.st.Write(context.Background(), m.org, 0, func(tx *store.Tx) error {
		t := &serverTee{viewTee: viewTee{world: s, m: m.mirror, view: tx}, tx: tx}
		_, err := t.Head()
		for _, id := range s.ids {
			if err == nil {
				_, err = t.Record(id)
			}
		}
		for id := range s.about {
			if err == nil {
				_, err = t.About(id, 1<<20)
			}
		}
		for scope := range s.digests {
			if err == nil {
				_, err = t.Digest(scope)
			}
		}
		for id := range s.replicas {
			if err == nil {
				_, err = t.Replica(id)
			}
		}
		for id := range s.changes {
			if err == nil {
				_, err = t.Change(id)
			}
		}
		return err
	})
	if err == nil {
		var r *store.Report
		if r, err = m.st.Verify(context.Background(), m.org); err == nil {
			check(m.mirror, "verify", r.Faults, nil)
			check(m.mirror, "the number of records", r.Records, len(s.records))
			check(m.mirror, "the number of changes", r.Changes, len(s.changes))
		}
	}
	if err != nil && m.differs == nil {
		m.differs = &ViolationError{"I2", fmt.Sprintf("reading the store of the server: %v", err)}
	}
}
