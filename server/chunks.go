package server

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of the chunks that are kept for devices which fetch a scope from its beginning.
const (
	// leastChunk is the size of a chunk's rows: devices on a link that is slower than
	// to fetch so much at once read row by row.
	leastChunk = 256 << 10
	// keptChunks is how many bytes of them are kept, compressed, and chunkAge how long
	// one is kept that nobody asks for.
	keptChunks = 64 << 20
	chunkAge   = 15 * time.Minute
	// chunkWait is how long one waits for another that makes the same chunk.
	chunkWait = 2 * time.Second
	// chunkOverhead is about what a chunk takes beside its bytes.
	chunkOverhead = 1 << 10
)

// chunks implements syncengine.Chunks in memory, with the rows compressed as they go
// over the wire. It forgets what was used longest ago. Nothing of it is ever on a disk.
type chunks struct {
	now     func() time.Time
	packed  *zstd.Encoder
	mu      sync.Mutex
	scopes  map[chunkedScope][]*keptChunk
	making  map[chunkStart]chan struct{}
	size    int
	recent  *list.List // of *keptChunk, the one used last in front
	sweeper *time.Timer
}

type chunkedScope struct {
	epoch syncengine.ID
	scope syncengine.ScopeKey
}

type chunkStart struct {
	chunkedScope

	from syncengine.Place
}

type keptChunk struct {
	*syncengine.Chunk

	used time.Time
	at   *list.Element
}

var _ syncengine.Chunks = (*chunks)(nil)

func newChunks(now func() time.Time) *chunks {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		// The options are constants; a test makes one.
		panic(err)
	}
	return &chunks{now: now, packed: e, scopes: map[chunkedScope][]*keptChunk{}, making: map[chunkStart]chan struct{}{}, recent: list.New()}
}

// Least implements syncengine.Chunks.
func (c *chunks) Least() int { return leastChunk }

// At implements syncengine.Chunks.
func (c *chunks) At(epoch syncengine.ID, scope syncengine.ScopeKey, from syncengine.Place) (at []*syncengine.Chunk, next syncengine.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.scopes[chunkedScope{epoch, scope}]
	i, _ := slices.BinarySearchFunc(kept, from, func(k *keptChunk, from syncengine.Place) int { return k.From.Compare(from) })
	for ; i < len(kept); i++ {
		if kept[i].From != from {
			return at, kept[i].From
		}
		kept[i].used = c.now()
		c.recent.MoveToFront(kept[i].at)
		at = append(at, kept[i].Chunk)
	}
	return at, next
}

// Making implements syncengine.Chunks.
func (c *chunks) Making(epoch syncengine.ID, scope syncengine.ScopeKey, from syncengine.Place) (done func()) {
	key := chunkStart{chunkedScope{epoch, scope}, from}
	c.mu.Lock()
	late := time.NewTimer(chunkWait)
	defer late.Stop()
	for c.making[key] != nil {
		other := c.making[key]
		c.mu.Unlock()
		select {
		case <-other:
		case <-late.C:
			// The other one may be at it for long: this one makes its own.
			return func() {}
		}
		c.mu.Lock()
	}
	made := make(chan struct{})
	c.making[key] = made
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		delete(c.making, key)
		c.mu.Unlock()
		close(made)
	}
}

// Keep implements syncengine.Chunks.
func (c *chunks) Keep(chunk *syncengine.Chunk, rows []byte) {
	chunk.Data = c.packed.EncodeAll(rows, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	in := chunkedScope{chunk.Epoch, chunk.Scope}
	kept := c.scopes[in]
	i, _ := slices.BinarySearchFunc(kept, chunk.From, func(k *keptChunk, from syncengine.Place) int { return k.From.Compare(from) })
	k := &keptChunk{Chunk: chunk, used: c.now()}
	k.at = c.recent.PushFront(k)
	c.scopes[in] = slices.Insert(kept, i, k)
	c.size += len(chunk.Data) + chunkOverhead
	for c.size > keptChunks {
		c.forget(c.recent.Back())
	}
	c.sweepLater()
}

// Drop implements syncengine.Chunks.
func (c *chunks) Drop(chunk *syncengine.Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.scopes[chunkedScope{chunk.Epoch, chunk.Scope}] {
		if k.Chunk == chunk {
			c.forget(k.at)
			return
		}
	}
}

// forget drops the chunk of an element.
func (c *chunks) forget(e *list.Element) {
	k, ok := e.Value.(*keptChunk)
	if !ok {
		return
	}
	c.recent.Remove(e)
	c.size -= len(k.Data) + chunkOverhead
	in := chunkedScope{k.Epoch, k.Scope}
	c.scopes[in] = slices.DeleteFunc(c.scopes[in], func(o *keptChunk) bool { return o == k })
	if len(c.scopes[in]) == 0 {
		delete(c.scopes, in)
	}
}

// sweepLater has what nobody asks for any more dropped in its time.
func (c *chunks) sweepLater() {
	if c.sweeper == nil {
		c.sweeper = time.AfterFunc(chunkAge, c.sweep)
	}
}

func (c *chunks) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweeper = nil
	for e := c.recent.Back(); e != nil; e = c.recent.Back() {
		if k, ok := e.Value.(*keptChunk); ok && c.now().Sub(k.used) < chunkAge {
			break
		}
		c.forget(e)
	}
	if c.recent.Len() > 0 {
		c.sweepLater()
	}
}
