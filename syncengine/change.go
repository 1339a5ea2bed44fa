package syncengine

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// Limits of one change and one push.
const (
	// MaxChange is the largest encoded change that is applied, in bytes. A larger
	// one is quarantined.
	MaxChange = 256 << 10
	// MaxPush is the largest sum of encoded changes in one request, in bytes.
	MaxPush = 4 << 20
	// MaxPushChanges is the largest number of changes in one request.
	MaxPushChanges = 2000
)

// Schema is the schema version that this build writes and understands.
const Schema = 1

// Envelope binds a change to its place in the history of one replica.
type Envelope struct {
	// Op is the op number, gap-free from 1.
	Op uint64
	// Prev is the envelope hash of the op before it; zero before op 1.
	Prev Hash
	// Body is SHA-256 of the encoded change.
	Body Hash
	// Hash is the envelope's own: see HashEnvelope.
	Hash Hash
}

// HashEnvelope returns SHA-256("tandem-envelope-v1" ‖ replica ‖ op, 8 bytes big
// endian ‖ prev ‖ body hash).
func HashEnvelope(replica ID, op uint64, prev, body Hash) Hash {
	const context = "tandem-envelope-v1"
	b := make([]byte, 0, len(context)+len(replica)+8+len(prev)+len(body))
	b = append(b, context...)
	b = append(b, replica[:]...)
	b = binary.BigEndian.AppendUint64(b, op)
	b = append(b, prev[:]...)
	return sha256.Sum256(append(b, body[:]...))
}

// HashBody returns the body hash of an encoded change: its SHA-256.
func HashBody(raw []byte) Hash { return sha256.Sum256(raw) }

// Prepared is one pushed change, decoded and judged alone, before any look-up.
type Prepared struct {
	Envelope
	// Raw are the bytes as they were sent.
	Raw []byte
	// Change is the decoded change; nil where it could not be decoded.
	Change *tandemv1.Change
	// ID is the change id; zero where it could not be read.
	ID ID
	// Refusal is why it cannot be applied, nil where nothing speaks against it yet.
	Refusal *Refusal
}

// Errors of a push that is refused as a whole, because it is no well-formed push.
var (
	ErrPushTooLarge = errors.New("the push is larger than the server takes: send smaller batches")
	ErrPushForm     = errors.New("the push is malformed: runs must be in order, begin at op 1 or later and carry a 32-byte hash")
	ErrSignature    = errors.New("the signature does not fit the pushed changes")
)

// batchContext is what a batch signature signs before the hash of the batch,
// runsContext what stands before the hashes of several runs.
const (
	batchContext = "tandem-batch-v1"
	runsContext  = "tandem-runs-v1"
)

// HashBatch returns the hash that stands for a batch: the envelope hash of its last
// op, which commits to all before it in its run. Where there are several runs the
// ops between them are elsewhere and nobody could follow the chain, so it is
// SHA-256("tandem-runs-v1" ‖ the envelope hash of the last op of each, in order).
func HashBatch(ends []Hash) Hash {
	if len(ends) == 1 || planted.Is(planted.RunsUnsigned) {
		return ends[len(ends)-1]
	}
	h := sha256.New()
	h.Write([]byte(runsContext))
	for _, end := range ends {
		h.Write(end[:])
	}
	return Hash(h.Sum(nil))
}

// SignBatch signs a batch by its hash.
func SignBatch(key ed25519.PrivateKey, batch Hash) []byte {
	return ed25519.Sign(key, append([]byte(batchContext), batch[:]...))
}

// Verify reports whether a signature is one over the hash of a batch.
type Verify func(batch Hash, signature []byte) bool

// VerifyBatch returns the Verify of a replica's public key.
func VerifyBatch(key ed25519.PublicKey) Verify {
	return func(batch Hash, signature []byte) bool {
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(batchContext), batch[:]...), signature)
	}
}

// Prepare decodes the runs of a push, computes their hashes, checks the batch
// signature and judges each change alone. It reads nothing but its arguments.
func Prepare(rules Rules, replica ID, key ed25519.PublicKey, req *tandemv1.SyncRequest) ([]Prepared, error) {
	return PrepareWith(rules, replica, VerifyBatch(key), req)
}

// PrepareWith is Prepare where the key is not at hand, but who checks with it.
func PrepareWith(rules Rules, replica ID, verify Verify, req *tandemv1.SyncRequest) ([]Prepared, error) {
	count, size := 0, 0
	for _, run := range req.GetRuns() {
		for _, raw := range run.GetChanges() {
			count, size = count+1, size+len(raw)
		}
	}
	if count == 0 {
		return nil, nil
	}
	if count > MaxPushChanges || size > MaxPush {
		return nil, ErrPushTooLarge
	}
	out := make([]Prepared, 0, count)
	var ends []Hash
	seen := make(map[uint64]bool, count)
	for _, run := range req.GetRuns() {
		if run.GetFirstOp() == 0 || len(run.GetPrevHash()) != len(Hash{}) || run.GetFirstOp() > 1<<62 {
			return nil, ErrPushForm
		}
		prev := Hash(run.GetPrevHash())
		for i, raw := range run.GetChanges() {
			op := run.GetFirstOp() + uint64(i)
			if seen[op] {
				return nil, ErrPushForm
			}
			seen[op] = true
			p := prepareOne(rules, raw)
			if p.Change == nil && planted.Is(planted.PoisonBlocks) {
				return nil, ErrPushForm
			}
			p.Op, p.Prev = op, prev
			p.Hash = HashEnvelope(replica, op, prev, p.Body)
			prev = p.Hash
			out = append(out, p)
		}
		if len(run.GetChanges()) > 0 {
			ends = append(ends, prev)
		}
	}
	if !verify(HashBatch(ends), req.GetSignature()) && !planted.Is(planted.SignatureUnchecked) {
		return nil, ErrSignature
	}
	return out, nil
}

// prepareOne decodes and judges one change.
func prepareOne(rules Rules, raw []byte) Prepared {
	p := Prepared{Raw: raw, Envelope: Envelope{Body: sha256.Sum256(raw)}}
	if len(raw) > MaxChange {
		p.Refusal = &Refusal{Code: tandemv1.Refusal_REFUSAL_OVERSIZE}
		return p
	}
	c := &tandemv1.Change{}
	if err := proto.Unmarshal(raw, c); err != nil {
		p.Refusal = &Refusal{Code: tandemv1.Refusal_REFUSAL_UNDECODABLE}
		return p
	}
	p.Change = c
	id, ok := IDFromBytes(c.GetId())
	if !ok || StampOf(id) == 0 {
		p.Refusal = &Refusal{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: []string{"id"}}
		return p
	}
	p.ID = id
	if c.GetDraft() != nil {
		// Nobody has saved it: it is for a person to read, and never applied.
		p.Refusal = &Refusal{Code: tandemv1.Refusal_REFUSAL_DRAFT}
		return p
	}
	p.Refusal = rules.Check(c)
	return p
}
