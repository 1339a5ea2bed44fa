package syncengine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Bounds of what is remembered of earlier messages.
const (
	// MaxRecall is how many bytes are remembered, and the largest message that is: a
	// larger one has enough to lean on in itself.
	MaxRecall = 16 << 10
	// maxRecalled is how many states are remembered. Requests are under way beside each
	// other, and each leans on what was the newest when it was sent.
	maxRecalled = 4
	recallLevel = 7
)

// Recall is what one end remembers of the small messages that it has sent to the other, or
// had from it: what comes next is packed with them as dictionary, since one record alone is
// too short to have one of its own. Both ends keep states, each with the name of its bytes;
// a message that leans on a state makes a longer one of it, and one that leans on nothing
// begins anew. Who has forgotten a state says so by not naming it, and nothing is lost but
// bytes of the link. The zero value remembers nothing. Not safe for concurrent use.
type Recall struct {
	states []recalled
}

// recalled is a state; within is what it may be used with.
type recalled struct {
	name   uint64
	before []byte
	within string
}

// nameNothing is the name of no bytes.
const nameNothing = 1

// nameRecall is the name of remembered bytes; never 0.
func nameRecall(before []byte) uint64 {
	sum := sha256.Sum256(before)
	return max(binary.BigEndian.Uint64(sum[:8])>>8, nameNothing+1)
}

// Newest returns the newest state.
func (r *Recall) Newest() (name uint64, before []byte) {
	if len(r.states) == 0 {
		return nameNothing, nil
	}
	last := &r.states[len(r.states)-1]
	return last.name, last.before
}

// At returns the bytes of a state that is remembered; nil for none. within is who may see
// what is packed with it, in any form: a state serves the same alone, so that what one may
// write and another may not see are never packed together.
func (r *Recall) At(name uint64, within string) []byte {
	for i := range r.states {
		if s := &r.states[i]; s.name == name && s.within == within {
			return s.before
		}
	}
	return nil
}

// Keep remembers a message that leaned on a state, nil for none, and returns the name of
// the state that it made; 0 where the message is too large, and nothing has changed.
func (r *Recall) Keep(before, message []byte, within string) uint64 {
	if len(message) == 0 || len(message) > MaxRecall {
		return 0
	}
	all := slices.Concat(before, message)
	all = bytes.Clone(all[max(0, len(all)-MaxRecall):])
	name := nameRecall(all)
	r.states = slices.DeleteFunc(r.states, func(s recalled) bool { return s.name == name })
	if len(r.states) == maxRecalled {
		r.states = slices.Delete(r.states, 0, 1)
	}
	r.states = append(r.states, recalled{name: name, before: all, within: within})
	return name
}

// Forget forgets everything.
func (r *Recall) Forget() { r.states = nil }

// packers are of the whole process: what each works with takes half a megabyte.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, recallLevel)
	if err != nil {
		// The level is a constant; a test makes one.
		panic(err)
	}
	return w
}}

// PackRecalled deflates a message with what came before it as dictionary.
func PackRecalled(message, before []byte) ([]byte, error) {
	w, ok := packers.Get().(*flate.Writer)
	if !ok {
		return nil, errors.New("no packer")
	}
	defer packers.Put(w)
	var out bytes.Buffer
	w.ResetDict(&out, before)
	if _, err := w.Write(message); err != nil {
		return nil, err
	}
	err := w.Close()
	// What it has read is not kept.
	w.ResetDict(io.Discard, nil)
	return out.Bytes(), err
}

// UnpackRecalled is the way back; ErrIncomplete where the bytes are damaged, or more than
// MaxRecall.
func UnpackRecalled(packed, before []byte) ([]byte, error) {
	r := flate.NewReaderDict(bytes.NewReader(packed), before)
	message, err := io.ReadAll(io.LimitReader(r, MaxRecall+1))
	if err != nil || len(message) > MaxRecall {
		return nil, ErrIncomplete
	}
	return message, nil
}

// PushMessage is what a push is remembered as.
func PushMessage(req *tandemv1.SyncRequest) ([]byte, error) {
	return proto.Marshal(&tandemv1.SyncRequest{Runs: req.GetRuns()})
}

// Recallable reports whether an answer is remembered: it holds rows of a page and nothing
// else that somebody has written. within names the scopes that the rows are in.
func Recallable(a *tandemv1.SyncAnswer) (within string, ok bool) {
	page := a.GetPage()
	if len(page.GetRows()) == 0 || len(a.GetLookedUp()) > 0 || len(a.GetOutcomes()) > 0 {
		return "", false
	}
	used := uint64(0)
	for _, r := range page.GetRows() {
		used |= r.GetScopes()
	}
	var ids []string
	for i, id := range page.GetScopes() {
		if used&(1<<i) != 0 {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, ""), true
}
