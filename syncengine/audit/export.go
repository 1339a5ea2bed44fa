package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// ErrExport says that a file is no export of an audit log.
var ErrExport = errors.New("this is no export of an audit log: make one with \"tandem admin audit export\"")

// header is the first line of an export.
type header struct {
	Format string            `json:"format"`
	Org    string            `json:"org"`
	Key    []byte            `json:"key"`
	Size   int64             `json:"size"`
	Keys   map[string][]byte `json:"replica_keys"`
	Signed []string          `json:"checkpoints"`
	// Successors are how Key followed from the org's first, each an encoded OrgSuccessor.
	Successors [][]byte `json:"successors,omitempty"`
}

const exportFormat = "tandem-audit-export-v1"

// Line is one entry for reading: what its bytes say, and the bytes themselves, which
// are what hashes are over.
type Line struct {
	N       int64     `json:"n"`
	At      int64     `json:"at_ms"`
	Act     string    `json:"act"`
	Person  string    `json:"person,omitempty"`
	Replica string    `json:"replica,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Kind    uint32    `json:"kind,omitempty"`
	Count   uint64    `json:"count,omitempty"`
	Ops     string    `json:"ops,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	First   uint64    `json:"first_seq,omitempty"`
	Code    string    `json:"code,omitempty"`
	Number  uint64    `json:"number,omitempty"`
	Refused []Refused `json:"refused,omitempty"`
	Records []string  `json:"records,omitempty"`
	// Device is what a device noted, in an entry of its chain.
	Device *Line  `json:"device,omitempty"`
	Entry  []byte `json:"entry,omitempty"`
}

// Refused is a change that was not applied.
type Refused struct {
	Op      uint64 `json:"op"`
	Verdict string `json:"verdict"`
	Refusal string `json:"refusal,omitempty"`
}

// NewLine puts an entry into words.
func NewLine(n int64, raw []byte) (*Line, error) {
	l, err := newLine(raw)
	if err != nil {
		return nil, err
	}
	l.N, l.Entry = n, raw
	return l, nil
}

func newLine(raw []byte) (*Line, error) {
	e, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	const prefix = len("AUDIT_ACT_")
	act := e.GetAct().String()
	if _, known := tandemv1.AuditAct_name[int32(e.GetAct())]; known {
		act = act[prefix:]
	}
	l := &Line{
		At: e.GetAtMs(), Act: act, Person: idText(e.GetPerson()), Replica: idText(e.GetReplica()), Subject: idText(e.GetSubject()),
		Kind: e.GetKind(), Count: e.GetCount(), Seq: e.GetSeq(), First: e.GetFirstSeq(), Code: e.GetCode(), Number: e.GetNumber(),
	}
	for i, r := range e.GetOps() {
		if i > 0 {
			l.Ops += ","
		}
		l.Ops += fmt.Sprintf("%d-%d", r.GetFirst(), r.GetLast())
	}
	for _, r := range e.GetRefused() {
		refusal := ""
		if r.GetRefusal() != 0 {
			refusal = r.GetRefusal().String()
		}
		l.Refused = append(l.Refused, Refused{Op: r.GetOp(), Verdict: r.GetVerdict().String(), Refusal: refusal})
	}
	for b := e.GetRecords(); len(b) >= len(syncengine.ID{}); b = b[len(syncengine.ID{}):] {
		l.Records = append(l.Records, idText(b[:len(syncengine.ID{})]))
	}
	if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE {
		if l.Device, err = newLine(e.GetEntry()); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func idText(b []byte) string {
	if id, ok := syncengine.IDFromBytes(b); ok {
		return id.String()
	}
	return ""
}

// Export writes a log in an open form: lines of JSON, a header and then the entries.
type Export struct{ w *bufio.Writer }

// NewExport begins an export. key is the org's, successors how it followed from the first.
func NewExport(w io.Writer, org syncengine.ID, key ed25519.PublicKey, successors []*tandemv1.OrgSuccessor, keys map[syncengine.ID]ed25519.PublicKey, size int64, checkpoints []*Checkpoint) (*Export, error) {
	h := header{Format: exportFormat, Org: org.String(), Key: key, Size: size, Keys: map[string][]byte{}, Signed: []string{}}
	for id, k := range keys {
		h.Keys[id.String()] = k
	}
	ring, _ := syncengine.OrgKeys(org, key, successors)
	for _, c := range checkpoints {
		h.Signed = append(h.Signed, c.Note(ring...))
	}
	for _, step := range successors {
		raw, err := proto.Marshal(step)
		if err != nil {
			return nil, fmt.Errorf("exporting the audit log: %w", err)
		}
		h.Successors = append(h.Successors, raw)
	}
	e := &Export{w: bufio.NewWriter(w)}
	return e, e.line(h)
}

func (e *Export) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(text, '\n'))
	return err
}

// Add writes an entry.
func (e *Export) Add(n int64, raw []byte) error {
	l, err := NewLine(n, raw)
	if err != nil {
		// It is shown as what it is: damaged.
		l = &Line{N: n, Act: "UNREADABLE", Entry: raw}
	}
	return e.line(l)
}

// Flush writes what is left.
func (e *Export) Flush() error { return e.w.Flush() }

// CheckExport checks an export, against checkpoints that others have kept too. key is one
// of the org's, as the reader knows it; nil takes the one that the file names, which proves
// nothing against whoever made the file. kept is given all the org's keys, the first one
// first, as far as the file connects them with that one.
func CheckExport(r io.Reader, key ed25519.PublicKey, kept func(org syncengine.ID, ring []ed25519.PublicKey) ([]Witness, error)) (*Report, error) {
	const longest = 64 << 20
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longest)
	h := &header{}
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), h) != nil || h.Format != exportFormat || len(h.Key) != ed25519.PublicKeySize {
		return nil, errors.Join(ErrExport, lines.Err())
	}
	org, err := syncengine.ParseID(h.Org)
	if err != nil {
		return nil, ErrExport
	}
	if key == nil {
		key = h.Key
	}
	keys := map[syncengine.ID]ed25519.PublicKey{}
	for text, k := range h.Keys {
		if id, err := syncengine.ParseID(text); err == nil {
			keys[id] = k
		}
	}
	var successors []*tandemv1.OrgSuccessor
	for _, raw := range h.Successors {
		step := &tandemv1.OrgSuccessor{}
		if proto.Unmarshal(raw, step) != nil {
			return nil, ErrExport
		}
		successors = append(successors, step)
	}
	ring, _ := syncengine.OrgKeys(org, key, successors)
	witnesses, err := kept(org, ring)
	if err != nil {
		return nil, err
	}
	var faults []string
	for _, text := range h.Signed {
		c, err := ParseNote(text, org, ring...)
		if err != nil {
			faults = append(faults, "a checkpoint in the file is not signed by the organization's key")
			continue
		}
		witnesses = append(witnesses, Witness{Checkpoint: c, From: "in the file"})
	}
	check := NewCheck(org, ring, keys, witnesses)
	for lines.Scan() {
		l := &Line{}
		if err := json.Unmarshal(lines.Bytes(), l); err != nil {
			faults = append(faults, fmt.Sprintf("the line behind entry %d cannot be read", check.Tree().Size()))
			continue
		}
		if want, err := NewLine(l.N, l.Entry); err == nil {
			if text, err := json.Marshal(want); err != nil || !bytes.Equal(text, lines.Bytes()) {
				faults = append(faults, fmt.Sprintf("entry %d: its words do not say what its bytes say", l.N))
			}
		}
		check.Add(l.N, l.Entry)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the export: %w", err)
	}
	report := check.End()
	if report.Entries != h.Size {
		faults = append(faults, fmt.Sprintf("the file has %d entries and says that there are %d", report.Entries, h.Size))
	}
	report.Faults = append(faults, report.Faults...)
	return report, nil
}
