package syncengine

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// Position is how far a device has read: the last row's sequence and record id, in
// one life of the server's database.
type Position struct {
	// Epoch of the server's database; zero at the start of everything.
	Epoch ID
	// Seq and Record of the last row read.
	Seq    uint64
	Record ID
	// Commit is the first 8 bytes of the hash of the commit that holds At.
	Commit [8]byte
	// Cut is the sequence of the last closing page: the device holds every row of its
	// ready scopes in the state that it had then, or a later one. Between two closing
	// pages Seq runs ahead of it, over rows that have since moved behind Seq. 0: it
	// need not hold any, as after a reconciliation.
	Cut uint64
	// Since is the head of the oldest snapshot that the reading rests on: a row that
	// was dropped after it must still be known as dropped.
	Since uint64
	// At is the head of the newest snapshot read.
	At uint64
}

// Compare orders positions of one epoch.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.Seq, q.Seq); c != 0 {
		return c
	}
	return p.Record.Compare(q.Record)
}

// Secrets are the keys that an org's server derives from its secret. Safe for
// concurrent use.
type Secrets struct {
	positions cipher.AEAD
	scopes    []byte
	derive    []byte
	// ids are the wire ids of scopes so far: every answer needs some.
	ids sync.Map
	// macs are those of derive that are free: every page needs one.
	macs sync.Pool
}

// Format implements fmt.Formatter: keys are not printed.
func (*Secrets) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("(secrets)")) }

// NewSecrets derives the keys from the org's secret (RFC 5869).
func NewSecrets(secret []byte) (*Secrets, error) {
	keys := make([][]byte, 3)
	for i, info := range []string{"tandem-position-v1", "tandem-scope-v1", "tandem-derive-v1"} {
		key, err := hkdf.Key(sha256.New, secret, nil, info, 32)
		if err != nil {
			return nil, fmt.Errorf("deriving a key of the org: %w", err)
		}
		keys[i] = key
	}
	block, err := aes.NewCipher(keys[0])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Secrets{positions: aead, scopes: keys[1], derive: keys[2]}, nil
}

// ErrPosition says that a position was not sealed by this server.
var ErrPosition = errors.New("the position is not one that this server gave out")

// Sizes of a position; the older form has neither Since nor At. The short form is of one
// sequence: see short.
const (
	oldPositionSize   = 16 + 8 + 16 + 8 + 8
	positionSize      = oldPositionSize + 8 + 8
	shortPositionSize = 1 + 16 + 8 + 8
)

// Forms of a short position: a cut that was read to its end, and a snapshot alone.
const (
	cutForm byte = iota + 1
	snapshotForm
)

// short returns the position of a form at one sequence.
func (p Position) short(form byte) Position {
	q := Position{Epoch: p.Epoch, Commit: p.Commit, Since: p.At, At: p.At}
	if form == cutForm {
		q.Seq, q.Record, q.Cut = p.At, lastID, p.At
	}
	return q
}

// encode returns the plain bytes of a position, which stand in every request and answer.
func (p Position) encode() []byte {
	for _, form := range []byte{cutForm, snapshotForm} {
		if p == p.short(form) {
			plain := append(append([]byte{form}, p.Epoch[:]...), p.Commit[:]...)
			return binary.BigEndian.AppendUint64(plain, p.At)
		}
	}
	plain := make([]byte, 0, positionSize)
	plain = append(plain, p.Epoch[:]...)
	plain = binary.BigEndian.AppendUint64(plain, p.Seq)
	plain = append(plain, p.Record[:]...)
	plain = append(plain, p.Commit[:]...)
	plain = binary.BigEndian.AppendUint64(plain, p.Cut)
	plain = binary.BigEndian.AppendUint64(plain, p.Since)
	return binary.BigEndian.AppendUint64(plain, p.At)
}

// decodePosition is the inverse of encode; false for what it cannot have made.
func decodePosition(plain []byte) (Position, bool) {
	switch len(plain) {
	case shortPositionSize:
		p := Position{Epoch: ID(plain[1:17]), Commit: [8]byte(plain[17:25]), At: binary.BigEndian.Uint64(plain[25:])}
		return p.short(plain[0]), plain[0] == cutForm || plain[0] == snapshotForm
	case oldPositionSize, positionSize:
	default:
		return Position{}, false
	}
	p := Position{
		Epoch: ID(plain[:16]), Seq: binary.BigEndian.Uint64(plain[16:24]),
		Record: ID(plain[24:40]), Commit: [8]byte(plain[40:48]), Cut: binary.BigEndian.Uint64(plain[48:56]),
	}
	if len(plain) == oldPositionSize {
		p.At, p.Since = p.Seq, cmp.Or(p.Cut, p.Seq)
		return p, true
	}
	p.Since, p.At = binary.BigEndian.Uint64(plain[56:64]), binary.BigEndian.Uint64(plain[64:72])
	return p, true
}

// Seal encrypts a position for a replica. The nonce is synthetic (a MAC of the
// content), so that equal positions seal to equal bytes and no randomness is
// needed; nothing else is learned from that.
func (s *Secrets) Seal(replica ID, p Position) []byte {
	plain := p.encode()
	mac, ok := s.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, s.derive)
	}
	mac.Reset()
	mac.Write([]byte("position"))
	mac.Write(replica[:])
	mac.Write(plain)
	nonce := mac.Sum(nil)[:s.positions.NonceSize()]
	s.macs.Put(mac)
	return s.positions.Seal(slices.Clone(nonce), nonce, plain, replica[:])
}

// Open decrypts a position that was sealed for a replica; empty bytes are the
// start of everything. The error is ErrPosition.
func (s *Secrets) Open(replica ID, sealed []byte) (Position, error) {
	if len(sealed) == 0 {
		return Position{}, nil
	}
	n := s.positions.NonceSize()
	if len(sealed) < n {
		return Position{}, ErrPosition
	}
	plain, err := s.positions.Open(nil, sealed[:n], sealed[n:], replica[:])
	if err != nil {
		return Position{}, ErrPosition
	}
	p, ok := decodePosition(plain)
	if !ok {
		return Position{}, ErrPosition
	}
	return p, nil
}

// ScopeID returns a scope's id on the wire.
func (s *Secrets) ScopeID(k ScopeKey) ScopeID {
	if known, ok := s.ids.Load(k); ok {
		if id, ok := known.(ScopeID); ok {
			return id
		}
	}
	mac := hmac.New(sha256.New, s.scopes)
	mac.Write([]byte{byte(k.Owner), byte(k.Compartment), boolByte(k.Open)})
	mac.Write(k.OwnerID[:])
	id := ScopeID(mac.Sum(nil)[:8])
	s.ids.Store(k, id)
	return id
}

// DeriveID returns the id of the n-th change or record that the server derives
// from a change by a rule, so that a replay derives the same.
func (s *Secrets) DeriveID(change ID, rule string, n uint64) ID {
	mac := hmac.New(sha256.New, s.derive)
	mac.Write(change[:])
	mac.Write([]byte(rule))
	mac.Write(binary.BigEndian.AppendUint64(nil, n))
	return ID(mac.Sum(nil)[:16])
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// HashScopeSet returns what a request carries of the device's scopes: the first 16
// bytes of SHA-256 over the sorted ids.
func HashScopeSet(ids []ScopeID) []byte {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b ScopeID) int { return slices.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, id := range ids {
		h.Write(id[:])
	}
	return h.Sum(nil)[:16]
}

// EndMark ends every complete answer.
const EndMark = "tandem"

// ErrIncomplete says that an answer is not complete: no answer at all.
var ErrIncomplete = errors.New("the answer is incomplete or not from a Tandem server")

// Frame wraps an encoded answer so that a truncated or foreign one is told apart.
func Frame(answer []byte, count int) *tandemv1.SyncResponse { return FramePacked(nil, answer, count) }

// FramePacked is Frame with the rows of [Answer.Chunks] as they were packed; count is
// that of both.
func FramePacked(packed, answer []byte, count int) *tandemv1.SyncResponse {
	return &tandemv1.SyncResponse{
		Schema: Schema, Packed: packed, Answer: answer, Count: uint32(count), Digest: digestOf(packed, answer), End: EndMark,
	}
}

func digestOf(packed, answer []byte) []byte {
	h := sha256.New()
	h.Write(packed)
	h.Write(answer)
	return h.Sum(nil)[:16]
}

// framed is a response in which an answer is wrapped.
type framed interface {
	GetSchema() uint32
	GetAnswer() []byte
	GetDigest() []byte
	GetEnd() string
}

// open decodes what a response wraps. The error is ErrIncomplete.
func open(resp framed, into proto.Message) error {
	sum := sha256.Sum256(resp.GetAnswer())
	if resp.GetEnd() != EndMark || resp.GetSchema() == 0 || !bytes.Equal(sum[:16], resp.GetDigest()) && !planted.Is(planted.TruncatedTaken) ||
		proto.Unmarshal(resp.GetAnswer(), into) != nil {
		return ErrIncomplete
	}
	return nil
}
