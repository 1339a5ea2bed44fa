package faultfs

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/tandem-response/tandem/internal/vfs"
)

// ErrPower is what every call returns once the power is out.
var ErrPower = errors.New("the power is out")

// ErrHalf is, as the Err of Faults, what a read or a write returns that has done half of
// what it was to do.
var ErrHalf = errors.New("half of it was done")

// sector is how much of a write a drive keeps or loses at once, block what a file
// takes up at least.
const (
	sector = 512
	block  = 4096
)

// Faults are what goes wrong with a disk. The zero value is a disk that works.
type Faults struct {
	// CutAt is the operation at which the power goes: it may have reached the disk
	// or not, and returns an error like all after it. 0 is never.
	CutAt int
	// FailAt is the call that returns Err, and FailFor how many calls from it on;
	// 0 is never, and once. Only calls for which Err is possible count where Err is
	// ENOSPC: those that take room.
	// A read or a write that fails with ErrHalf has done half of what it was
	// to do.
	FailAt, FailFor int
	Err             error
	// Slow, where it is set, is called before each sync, and may take its time: meanwhile
	// others use the disk.
	Slow func()
	// Limit is the number of bytes that all files may take up; 0 sets none.
	Limit int64
	// Lies: a sync returns at once and makes nothing durable.
	Lies bool
}

// Disk is a file system in memory: a vfs.FS. Safe for concurrent use.
type Disk struct {
	mu     sync.Mutex
	rng    *rand.Rand
	names  map[string]*name
	faults Faults
	// ops and calls so far; room are the calls that could have found no room.
	ops, calls, room int
	// renames so far.
	renames int
	dead    bool
}

var _ vfs.FS = (*Disk)(nil)

// name is what a name stands for: durably, and after each change since. renames says
// of each change in which renaming it was made, 0 for none.
type name struct {
	durable *inode
	later   []*inode
	renames []int
}

func (n *name) becomes(ino *inode, rename int) {
	n.later, n.renames = append(n.later, ino), append(n.renames, rename)
}

func (n *name) lasts() { n.durable, n.later, n.renames = n.now(), nil, nil }

// renamed reports how many of the changes stand where the renamings up to some number
// have come through, and no later one; ok is false for a name that none has touched.
func (n *name) renamed(upTo int) (stand int, ok bool) {
	for i, r := range n.renames {
		ok = ok || r > 0
		if r > upTo {
			return i, true
		}
	}
	return len(n.renames), ok
}

func (n *name) now() *inode {
	if len(n.later) > 0 {
		return n.later[len(n.later)-1]
	}
	return n.durable
}

// inode is one file: its bytes as everybody sees them, those that are durable, and
// what lies between.
type inode struct {
	data, durable []byte
	pending       []change
	sharing       vfs.Sharing
}

// change is a write, or a truncation to at where data is nil.
type change struct {
	at   int64
	data []byte
}

func (c change) apply(b []byte) []byte {
	if c.data == nil {
		return resize(b, c.at)
	}
	if end := c.at + int64(len(c.data)); int64(len(b)) < end {
		b = resize(b, end)
	}
	copy(b[c.at:], c.data)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	old := len(b)
	b = slices.Grow(b, int(size)-old)[:size]
	clear(b[old:])
	return b
}

// New returns an empty disk.
func New(seed uint64) *Disk {
	return &Disk{rng: rand.New(rand.NewPCG(seed, 0)), names: map[string]*name{}}
}

// Set sets what goes wrong from now on. Operations and calls are counted from here.
func (d *Disk) Set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults, d.ops, d.calls, d.room = f, 0, 0, 0
}

// Counts returns how many operations and calls there were since Set, and how many of
// the calls took room.
func (d *Disk) Counts() (ops, calls, room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops, d.calls, d.room
}

// Out reports whether the power is out.
func (d *Disk) Out() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Used returns how many bytes all files take up.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() (n int64) {
	blocks := func(size int) int64 { return int64(size+block-1) / block * block }
	for _, entry := range d.names {
		if ino := entry.now(); ino != nil {
			n += blocks(len(ino.data))
			_, shared := ino.sharing.Regions()
			n += blocks(int(shared))
		}
	}
	return n
}

// call counts a call; takes are the bytes of room that it takes, -1 for a call that
// takes none.
func (d *Disk) call(op bool, takes int64) error {
	d.calls++
	if d.dead {
		return ErrPower
	}
	at := d.calls
	if takes >= 0 {
		d.room++
	}
	if errors.Is(d.faults.Err, syscall.ENOSPC) {
		at = d.room
	}
	if f := d.faults; f.FailAt > 0 && at >= f.FailAt && at < f.FailAt+max(f.FailFor, 1) && (takes >= 0 || !errors.Is(f.Err, syscall.ENOSPC)) {
		return f.Err
	}
	if d.faults.Limit > 0 && takes > 0 && d.used()+takes > d.faults.Limit {
		return syscall.ENOSPC
	}
	if op {
		d.ops++
		if d.faults.CutAt > 0 && d.ops >= d.faults.CutAt {
			d.dead = true
		}
	}
	return nil
}

// power is the error of an operation at which the power went.
func (d *Disk) power() error {
	if d.dead {
		return ErrPower
	}
	return nil
}

// wait is what a slow disk does before a sync.
func (d *Disk) wait() {
	d.mu.Lock()
	slow := d.faults.Slow
	d.mu.Unlock()
	if slow != nil {
		slow()
	}
}

// Cut turns the power off now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// OpenFile implements vfs.FS.
func (d *Disk) OpenFile(path string, flag int) (vfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := d.names[path]
	var ino *inode
	if entry != nil {
		ino = entry.now()
	}
	create := ino == nil && flag&os.O_CREATE != 0
	takes := int64(-1)
	if create {
		takes = 0
	}
	if err := d.call(create, takes); err != nil {
		return nil, err
	}
	switch {
	case ino != nil && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case ino == nil && !create:
		return nil, fs.ErrNotExist
	case create:
		ino = &inode{}
		if entry == nil {
			entry = &name{}
			d.names[path] = entry
		}
		entry.becomes(ino, 0)
		if err := d.power(); err != nil {
			return nil, err
		}
	}
	return &file{disk: d, ino: ino, seat: ino.sharing.Join()}, nil
}

// Remove implements vfs.FS.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := d.names[path]
	there := entry != nil && entry.now() != nil
	if err := d.call(there, -1); err != nil {
		return err
	}
	if !there {
		return fs.ErrNotExist
	}
	entry.becomes(nil, 0)
	return d.power()
}

// Rename implements vfs.FS.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := d.names[from]
	there := entry != nil && entry.now() != nil
	if err := d.call(there, -1); err != nil {
		return err
	}
	if !there {
		return fs.ErrNotExist
	}
	d.renames++
	if d.names[to] == nil {
		d.names[to] = &name{}
	}
	d.names[to].becomes(entry.now(), d.renames)
	entry.becomes(nil, d.renames)
	return d.power()
}

// Size implements vfs.FS.
func (d *Disk) Size(path string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(false, -1); err != nil {
		return 0, err
	}
	entry := d.names[path]
	if entry == nil || entry.now() == nil {
		return 0, fs.ErrNotExist
	}
	return int64(len(entry.now().data)), nil
}

// SyncDir implements vfs.FS.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(true, -1); err != nil {
		return err
	}
	if err := d.power(); err != nil || d.faults.Lies {
		return err
	}
	for path, entry := range d.names {
		if filepath.Dir(path) == filepath.Clean(dir) {
			entry.lasts()
		}
	}
	return nil
}

// Restart returns the disk as a drive could have left it: a new one, without faults.
// The old one's power is out.
func (d *Disk) Restart() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	next := New(d.rng.Uint64())
	// A renaming changes two names at once.
	renames := 0
	if d.renames > 0 {
		renames = d.rng.IntN(d.renames + 1)
	}
	for _, path := range slices.Sorted(maps.Keys(d.names)) {
		entry := d.names[path]
		ino := entry.durable
		n, fixed := entry.renamed(renames)
		if !fixed {
			n = d.rng.IntN(len(entry.later) + 1)
		}
		if n > 0 {
			ino = entry.later[n-1]
		}
		if ino != nil {
			b := ino.survives(d.rng)
			next.names[path] = &name{durable: &inode{data: b, durable: slices.Clone(b)}}
		}
	}
	return next
}

// Copy returns a copy of the disk as everybody sees it, all of it durable, without
// faults. The seed is the copy's.
func (d *Disk) Copy(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := New(seed)
	for path, entry := range d.names {
		if ino := entry.now(); ino != nil {
			next.names[path] = &name{durable: &inode{data: slices.Clone(ino.data), durable: slices.Clone(ino.data)}}
		}
	}
	return next
}

// survives returns what is left of a file.
func (ino *inode) survives(rng *rand.Rand) []byte {
	b := slices.Clone(ino.durable)
	switch rng.IntN(4) {
	case 0:
		// The drive had come to nothing of it,
		return b
	case 1:
		// or to all,
		for _, c := range ino.pending {
			b = c.apply(b)
		}
		return b
	}
	// or to some of it. What a file had gained may be there without what was written.
	for _, c := range ino.pending {
		switch {
		case rng.IntN(3) == 0:
		case c.data == nil:
			b = c.apply(b)
		case rng.IntN(2) == 0:
			b = c.apply(b)
		default:
			b = c.tear(b, rng)
		}
	}
	return b
}

// tear applies some sectors of a write. What lies before them and was never written
// is zeros or rubbish.
func (c change) tear(b []byte, rng *rand.Rand) []byte {
	rubbish := rng.IntN(2) == 0
	for from := c.at; from < c.at+int64(len(c.data)); {
		to := min((from/sector+1)*sector, c.at+int64(len(c.data)))
		if rng.IntN(2) == 0 {
			old := int64(len(b))
			b = change{from, c.data[from-c.at : to-c.at]}.apply(b)
			for i := max(old, c.at); rubbish && i < from; i++ {
				b[i] = byte(rng.Uint32())
			}
		}
		from = to
	}
	return b
}
