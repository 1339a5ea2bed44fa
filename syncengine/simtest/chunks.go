package simtest

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// chunks keeps every chunk that a node makes until the engine drops it: the older what
// is kept, the more has changed beneath it.
type chunks struct {
	kept map[chunkedScope][]*syncengine.Chunk
}

type chunkedScope struct {
	epoch syncengine.ID
	scope syncengine.ScopeKey
}

// newChunks returns what a node keeps chunks in; nil for a node that keeps none.
func newChunks(keeps bool) syncengine.Chunks {
	if !keeps {
		return nil
	}
	return &chunks{kept: map[chunkedScope][]*syncengine.Chunk{}}
}

// Least is that of a few rows.
func (c *chunks) Least() int { return 400 }

// At implements syncengine.Chunks.
func (c *chunks) At(epoch syncengine.ID, scope syncengine.ScopeKey, from syncengine.Place) (at []*syncengine.Chunk, next syncengine.Place) {
	for _, k := range c.kept[chunkedScope{epoch, scope}] {
		switch {
		case k.From == from:
			at = append(at, k)
		case k.From.Compare(from) > 0 && (next == syncengine.Place{} || k.From.Compare(next) < 0):
			next = k.From
		}
	}
	return at, next
}

// Making implements syncengine.Chunks.
func (c *chunks) Making(syncengine.ID, syncengine.ScopeKey, syncengine.Place) func() {
	return func() {}
}

// Keep implements syncengine.Chunks.
func (c *chunks) Keep(k *syncengine.Chunk, rows []byte) {
	k.Data = rows
	in := chunkedScope{k.Epoch, k.Scope}
	c.kept[in] = append(c.kept[in], k)
}

// Drop implements syncengine.Chunks.
func (c *chunks) Drop(k *syncengine.Chunk) {
	in := chunkedScope{k.Epoch, k.Scope}
	c.kept[in] = slices.DeleteFunc(c.kept[in], func(o *syncengine.Chunk) bool { return o == k })
}

// unpack puts the rows of an answer's chunks into its message, as a device does.
func (w *World) unpack(ans *syncengine.Answer) error {
	if len(ans.Chunks) == 0 {
		return nil
	}
	w.seen("rows from a chunk")
	raw, err := proto.Marshal(ans.Message)
	if err != nil {
		return err
	}
	raw = append(ans.Packed(), raw...)
	ans.Message.Reset()
	ans.Chunks = nil
	return proto.Unmarshal(raw, ans.Message)
}
