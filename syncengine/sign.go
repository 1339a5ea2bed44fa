package syncengine

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// seenHeads is the screen that an act on a whole record was made on.
type seenHeads struct {
	created Stamp
	paths   map[Path][]Stamp
	// shown is the displayed head of each listed path, zero for none.
	shown map[Path]Stamp
}

// decodeSeen decodes the stamp form of a screen; nil means none was given.
func decodeSeen(b []byte) (*seenHeads, error) {
	if len(b) == 0 {
		return nil, nil
	}
	s, paths, err := decodeStamps(b)
	if err != nil {
		return nil, err
	}
	if !s.bare() {
		return nil, errStamps
	}
	seen := newSeen(s.Created)
	for i := range paths {
		seen.shown[paths[i].Path] = paths[i].held()
		for _, h := range paths[i].Heads {
			if !h.bare() {
				return nil, errStamps
			}
			seen.paths[paths[i].Path] = append(seen.paths[paths[i].Path], h.Stamp)
		}
	}
	return seen, nil
}

func newSeen(created Stamp) *seenHeads {
	return &seenHeads{created: created, paths: map[Path][]Stamp{}, shown: map[Path]Stamp{}}
}

// bare reports whether the header is that of a screen: a stamp and nothing else.
func (s *State) bare() bool {
	return s.Origin == Origin{Created: s.Created} && s.Compartment == 0 && s.Import == nil && s.Rev == 0
}

// bare reports whether the decoded head is that of a screen: a stamp, and whether
// it is an absence.
func (h *Head) bare() bool {
	return (h.Raw == nil || h.cleared()) && h.Author.IsZero() && h.Device.IsZero() && h.AtMS == 0 && h.ReceivedMS == 0
}

// CheckSeen refuses a screen that is not in canonical stamp form.
func CheckSeen(b []byte) error {
	_, err := decodeSeen(b)
	return err
}

// HashSeen returns the state hash that a review names.
func HashSeen(seen []byte) Hash { return sha256.Sum256(seen) }

// older reports whether the screen showed anything but the present heads.
func (m *merger) older(b []byte) (bool, error) {
	seen, err := decodeSeen(b)
	if err != nil || seen == nil {
		return false, err
	}
	for i := range m.s.Paths {
		p := &m.s.Paths[i]
		want, err := m.seenAt(seen, p.Path)
		if err != nil {
			return false, err
		}
		if !sameHeads(p.Heads, want) {
			return true, nil
		}
	}
	for path, want := range seen.paths {
		if m.s.at(path) == nil && len(want) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func sameHeads(heads []Head, want []Stamp) bool {
	if len(heads) != len(want) {
		return false
	}
	for _, h := range heads {
		if !slices.Contains(want, h.Stamp) {
			return false
		}
	}
	return true
}

// seenAt returns the heads that a screen showed at a path: those it lists, else
// the creating change's where that wrote the path, else none.
func (m *merger) seenAt(seen *seenHeads, path Path) ([]Stamp, error) {
	if listed, ok := seen.paths[path]; ok {
		return listed, nil
	}
	if p := m.s.at(path); p != nil && p.find(seen.created) >= 0 {
		return []Stamp{seen.created}, nil
	}
	_, ok, err := m.hist.Written(path, seen.created)
	if err != nil || !ok {
		return nil, err
	}
	return []Stamp{seen.created}, nil
}

// sign makes exactly the heads on the signer's screen, with the act's own writes
// over them, the displayed version. What stands beside them stays, and asks.
func (m *merger) sign(writes []Write, b []byte) ([]Item, error) {
	seen, err := decodeSeen(b)
	if err != nil {
		return nil, err
	}
	if seen == nil || planted.Is(planted.SignUnseen) {
		seen = m.screen()
	}
	want, err := m.version(seen, writes)
	if err != nil {
		return nil, err
	}
	m.settle = true
	for _, w := range writes {
		if err := m.write(w); err != nil {
			return nil, err
		}
	}
	var items []Item
	for path, heads := range want {
		display := seen.created
		if listed, ok := seen.shown[path]; ok {
			display = listed
		}
		if slices.ContainsFunc(writes, func(w Write) bool { return w.Path == path }) {
			display = m.by.Stamp
		}
		if err := m.show(path, heads, display); err != nil {
			return nil, err
		}
	}
	for i := range m.s.Paths {
		p := &m.s.Paths[i]
		if _, ok := want[p.Path]; !ok {
			p.Displayed = noneDisplayed
		}
		if p.Displayed == noneDisplayed && len(p.Heads) == 1 {
			if err := m.describe(p.Path, &p.Heads[0]); err != nil {
				return nil, err
			}
		}
		if !m.kind.asks(p) {
			continue
		}
		item := Item{Kind: ItemDiffers, Path: p.Path}
		outside := func(h Head) bool { return !hasHead(want[p.Path], h.Stamp) }
		if p.Displayed == noneDisplayed || slices.ContainsFunc(p.Heads, outside) {
			item.Kind = ItemNotInSigned
		}
		items = append(items, item)
	}
	m.s.Rev++
	return items, nil
}

// screen is the screen that shows the present heads.
func (m *merger) screen() *seenHeads {
	seen := newSeen(m.s.Created)
	for i := range m.s.Paths {
		seen.shown[m.s.Paths[i].Path] = m.s.Paths[i].held()
		for _, h := range m.s.Paths[i].Heads {
			seen.paths[m.s.Paths[i].Path] = append(seen.paths[m.s.Paths[i].Path], h.Stamp)
		}
	}
	return seen
}

// version returns the heads of the signed version by path: what was seen, less
// what the act writes over, plus what it writes. Heads that have already been
// written over are read back from the change log; one that never arrived is
// ErrWaiting.
func (m *merger) version(seen *seenHeads, writes []Write) (map[Path][]Head, error) {
	own := map[Path]Write{}
	for _, w := range writes {
		own[w.Path] = w
	}
	paths := map[Path]bool{}
	for i := range m.s.Paths {
		paths[m.s.Paths[i].Path] = true
	}
	for p := range seen.paths {
		paths[p] = true
	}
	if known, err := m.knows(seen.created); err != nil || !known {
		return nil, cmp.Or(err, ErrWaiting)
	}
	want := map[Path][]Head{}
	for path := range paths {
		stamps, err := m.seenAt(seen, path)
		if err != nil {
			return nil, err
		}
		w, written := own[path]
		for _, s := range stamps {
			if written && slices.Contains(w.Bases, s) {
				continue
			}
			h, err := m.accepted(path, s)
			if err != nil {
				return nil, err
			}
			want[path] = append(want[path], h)
		}
	}
	for path, w := range own {
		want[path] = append(want[path], m.head(w))
	}
	return want, nil
}

// knows reports whether the creating change of a screen has been accepted here.
func (m *merger) knows(created Stamp) (bool, error) {
	if created == m.s.Created {
		return true, nil
	}
	for i := range m.s.Paths {
		if _, ok, err := m.hist.Written(m.s.Paths[i].Path, created); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// accepted returns a head from the state, else from the change log.
func (m *merger) accepted(path Path, s Stamp) (Head, error) {
	if p := m.s.at(path); p != nil {
		if i := p.find(s); i >= 0 {
			return p.Heads[i], nil
		}
	}
	h, ok, err := m.hist.Written(path, s)
	if err != nil {
		return Head{}, err
	}
	if !ok {
		return Head{}, ErrWaiting
	}
	return h, nil
}

func hasHead(heads []Head, s Stamp) bool {
	return slices.ContainsFunc(heads, func(h Head) bool { return h.Stamp == s })
}

// show puts the heads of the signed version back where they are missing and
// displays the one that was displayed; zero is none.
func (m *merger) show(path Path, heads []Head, display Stamp) error {
	p := m.s.ensure(path)
	for _, h := range heads {
		if p.find(h.Stamp) >= 0 {
			continue
		}
		if len(p.Heads) == 1 {
			if err := m.describe(path, &p.Heads[0]); err != nil {
				return err
			}
		}
		p.Heads = append(p.Heads, h)
	}
	p.Displayed = noneDisplayed
	if display != 0 {
		p.Displayed = p.find(display)
	}
	return nil
}

// DecodeStamps reads concatenated 8-byte stamps, as PathWrite.bases carries them.
// A remainder is ignored; Check refuses it.
func DecodeStamps(b []byte) []Stamp {
	out := make([]Stamp, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		out = append(out, Stamp(binary.BigEndian.Uint64(b)))
	}
	return out
}

// EncodeStamps is the inverse of DecodeStamps.
func EncodeStamps(stamps []Stamp) []byte {
	b := make([]byte, 0, 8*len(stamps))
	for _, s := range stamps {
		b = binary.BigEndian.AppendUint64(b, uint64(s))
	}
	return b
}

// encodeImport returns the canonical encoding of an import origin, nil for none.
func encodeImport(i *tandemv1.Import) []byte {
	if i == nil {
		return nil
	}
	b := appendBytes(nil, 1, []byte(i.GetMapping()))
	b = appendBytes(b, 2, i.GetFile())
	return appendVarint(b, 3, i.GetRow())
}
