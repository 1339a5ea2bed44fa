package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/syncengine"
)

// markName is a file beside the database that says how far its histories had come,
// so that a database which was set back is seen when it is opened, before the first
// device shows it. It is written after what it says is durable, now and then and
// without being synced: it may lag behind, and it may be missing.
const markName = "highwater.json"

// markEvery is how many commits pass between two writings.
const markEvery = 64

// mark is the high-water mark as this process knows it.
type mark struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	heads map[syncengine.ID]syncengine.HistoryHead
	// at is where the database is, if it is PostgreSQL.
	at place
	// lower: what the file says of it may be newer, and is not meant to stay.
	lower bool
	// since counts the commits since the file was written.
	since int
}

// markFile is the content of the file. Sum is over all else, in hex: a torn file is
// none. System and Timeline are those of the newest primary that was met.
type markFile struct {
	Orgs     []markOrg `json:"orgs"`
	System   string    `json:"system,omitempty"`
	Timeline uint32    `json:"timeline,omitempty"`
	Sum      string    `json:"sum"`
}

func (f *markFile) place() place { return place{f.System, f.Timeline} }

type markOrg struct {
	ID    string `json:"id"`
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Hash  string `json:"hash"`
}

func (f *markFile) sum() string {
	text, err := json.Marshal(f.Orgs)
	if err != nil {
		return ""
	}
	if f.System != "" {
		text = fmt.Appendf(text, " %s %d", f.System, f.Timeline)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// commit notes a commit that is durable.
func (m *mark) commit(org syncengine.ID, head syncengine.HistoryHead) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heads == nil {
		m.heads = map[syncengine.ID]syncengine.HistoryHead{}
	}
	m.heads[org] = head
	if m.since++; m.since >= markEvery {
		m.save()
	}
}

// move notes where the database is now.
func (m *mark) move(to place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = to
	m.since++
	m.save()
}

// known returns how far this process has taken the histories.
func (m *mark) known() (orgs []markOrg) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, head := range m.heads {
		orgs = append(orgs, markOf(id, head))
	}
	return orgs
}

func markOf(id syncengine.ID, head syncengine.HistoryHead) markOrg {
	return markOrg{ID: id.String(), Epoch: head.Epoch.String(), Seq: head.Seq, Hash: hex.EncodeToString(head.Hash[:])}
}

// write writes the file, where there is anything new. A failure costs an early
// warning and nothing else.
func (m *mark) write() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.save()
}

func (m *mark) save() {
	if m.since == 0 {
		return
	}
	m.since = 0
	f := m.read()
	for id, head := range m.heads {
		o := markOf(id, head)
		i := slices.IndexFunc(f.Orgs, func(o markOrg) bool { return o.ID == id.String() })
		switch {
		case i < 0:
			f.Orgs = append(f.Orgs, o)
		case f.Orgs[i].Seq < head.Seq:
			f.Orgs[i] = o
		}
	}
	if m.at.system != "" && (m.lower || f.System != m.at.system || f.Timeline < m.at.timeline) {
		f.System, f.Timeline = m.at.system, m.at.timeline
	}
	f.Sum = f.sum()
	text, err := json.Marshal(f)
	if err != nil {
		return
	}
	file, err := m.fs.OpenFile(filepath.Join(m.dir, markName), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return
	}
	// In place: a torn one says nothing.
	if _, err = file.WriteAt(append(text, '\n'), 0); err == nil {
		_ = file.Truncate(int64(len(text)) + 1)
	}
	_ = file.Close()
}

// read reads the file; what cannot be read says nothing.
func (m *mark) read() *markFile {
	path := filepath.Join(m.dir, markName)
	if there, err := vfs.Exists(m.fs, path); err != nil || !there {
		return &markFile{}
	}
	file, err := m.fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return &markFile{}
	}
	defer func() { _ = file.Close() }()
	f := &markFile{}
	size, err := file.Size()
	if err != nil || json.NewDecoder(io.NewSectionReader(file, 0, size)).Decode(f) != nil || f.Sum != f.sum() {
		return &markFile{}
	}
	return f
}

// checkMark begins a new epoch for every org whose history is behind the mark.
func (s *Store) checkMark(ctx context.Context) error {
	return s.checkMarks(ctx, s.mark.read().Orgs)
}

func (s *Store) checkMarks(ctx context.Context, marks []markOrg) error {
	if len(marks) == 0 {
		return nil
	}
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, m := range marks {
		i := slices.IndexFunc(orgs, func(o *Org) bool { return o.ID.String() == m.ID })
		if i < 0 {
			continue
		}
		behind := false
		var lost syncengine.ID
		err := s.viewing(ctx, orgs[i], func(v *view) (err error) {
			behind, lost, err = v.behind(&m)
			return err
		})
		if err != nil {
			return err
		}
		if !behind {
			continue
		}
		// Another process may have begun one meanwhile.
		still := func(tx *Tx) (bool, error) {
			behind, _, err := tx.behind(&m)
			return behind, err
		}
		if err := s.mint(ctx, orgs[i], still, lost); err != nil {
			return fmt.Errorf("beginning a new epoch of a database that was set back: %w", err)
		}
	}
	return nil
}

// behind reports whether a history has not come as far as a mark says, and the epoch
// of the mark.
func (v *view) behind(m *markOrg) (bool, syncengine.ID, error) {
	epoch, err := syncengine.ParseID(m.Epoch)
	if err != nil {
		return false, epoch, nil //nolint:nilerr // It says nothing.
	}
	head, err := v.Head()
	if err != nil {
		return false, epoch, err
	}
	if epoch != head.Epoch {
		earlier, err := v.EarlierEpoch(epoch)
		return !earlier, epoch, err
	}
	if head.Seq < m.Seq {
		return true, epoch, nil
	}
	if head.Seq-m.Seq > syncengine.KeptSequences {
		return false, epoch, nil
	}
	_, hash, ok, err := v.CommitAt(m.Seq)
	return err == nil && (!ok || hex.EncodeToString(hash[:]) != m.Hash), epoch, err
}
